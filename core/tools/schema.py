"""A tool as the model is told of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.model import ToolSpec

if TYPE_CHECKING:
    from core.tools.base import Tool


def spec_of(tool: Tool[Any]) -> ToolSpec:
    """Its name, description and the JSON Schema of its arguments, without titles, which say nothing new."""
    schema = tool.arguments.model_json_schema()
    return ToolSpec(tool.name, tool.description, json.dumps(_without_titles(schema)))


def _without_titles(schema: Any, *, names: bool = False) -> Any:
    """`names`: the keys of this level are names of fields, of which one may be `title`."""
    match schema:
        case dict():
            return {
                key: _without_titles(value, names=key in ("properties", "$defs"))
                for key, value in schema.items()
                if names or key != "title"
            }
        case list():
            return [_without_titles(item) for item in schema]
    return schema
