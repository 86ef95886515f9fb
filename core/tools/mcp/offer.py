"""What a server offers, read leniently: an odd tool is left out and named, the others stay.

It must never import the SDK, which refuses a whole list for one wrong field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.base.values import Value
from core.tools.mcp.types import RemoteTool

if TYPE_CHECKING:
    from collections.abc import Iterable


class Offer(Value):
    """The tools of a server, and what cannot be used of its list, each with its name and the reason."""

    tools: tuple[RemoteTool, ...] = ()
    left_out: tuple[str, ...] = ()


def read_offer(listed: Iterable[object]) -> Offer:
    """The offer in the entries of `tools/list`, as they came."""
    tools: list[RemoteTool] = []
    left_out: list[str] = []
    for number, entry in enumerate(listed, start=1):
        fields = entry if isinstance(entry, dict) else {}
        name = fields.get("name")
        if not isinstance(name, str) or not name.strip():
            left_out.append(f"tool {number} (it has no name)")
        elif problem := _schema_problem(fields.get("inputSchema")):
            left_out.append(f"{name} ({problem})")
        else:
            tools.append(_tool(name, fields))
    return Offer(tuple(tools), tuple(left_out))


def _tool(name: str, fields: dict[str, Any]) -> RemoteTool:
    """Of what is not needed, what makes no sense counts as not said: a wrong hint is none."""
    texts = (fields.get("description"), fields.get("title"))
    description = next((text for text in texts if text and isinstance(text, str)), "")
    hints = fields.get("annotations")
    read_only = isinstance(hints, dict) and hints.get("readOnlyHint") is True
    return RemoteTool(name, description, fields["inputSchema"], read_only)


def _schema_problem(schema: object) -> str:
    """Why providers would refuse this as the schema of arguments; empty if they would not."""
    if not isinstance(schema, dict):
        return f"its inputSchema is {_kind(schema)}, not an object"
    if schema.get("type", "object") != "object":
        return "its inputSchema is not that of an object"
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not all(
        isinstance(one, dict | bool) for one in properties.values()
    ):
        return "the properties of its inputSchema are no schemas"
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return "what its inputSchema requires are no names"
    return ""


def _kind(value: object) -> str:
    match value:
        case None:
            return "missing or null"
        case list():
            return "a list"
        case str():
            return "a text"
        case _:
            return "a number or a truth value"
