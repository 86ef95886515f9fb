"""The description of a tool for the model."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.model.provider import ToolSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from core.engine.tool import Tool


def spec_of(tool: Tool[Any]) -> ToolSpec:
    """Its name, description and the JSON Schema of its arguments, without titles, which say nothing new.

    Some milliseconds for the first tool with these arguments: made in a thread, looked up from then on.
    """
    arguments: type[BaseModel] = tool.arguments
    return ToolSpec(tool.name, tool.description, _schema_text(arguments))


@lru_cache(maxsize=1_024)
def _schema_text(arguments: type[BaseModel]) -> str:
    return json.dumps(_without_titles(arguments.model_json_schema()))


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
