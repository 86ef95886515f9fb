"""The result of a server as text for the model: other content is described, a long text is cut.

It runs in a thread: a result may be megabytes. It must never import the SDK.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, assert_never

from core.engine.tool import ToolOutput
from core.operations.events import Shown

if TYPE_CHECKING:
    import mcp_types as types

MOST_CHARS = 60_000
"""Of a result, for the model and the person alike: two thirds of them its beginning, one third its end."""

_LINE_CHARS = 300


def output_of(result: types.CallToolResult) -> ToolOutput:
    """The text of a result."""
    parts = [_described(content) for content in result.content]
    structured = result.structured_content
    if structured is not None and not any(_says(content, structured) for content in result.content):
        parts.append(json.dumps(structured, ensure_ascii=False, indent=1))
    text = shortened("\n".join(part for part in parts if part))
    return ToolOutput(text, Shown(text), failed=result.is_error is True)


def shortened(text: str) -> str:
    """Its beginning and its end, with a line about what is left out between them."""
    if len(text) <= MOST_CHARS:
        return text
    head, tail = MOST_CHARS * 2 // 3, MOST_CHARS // 3
    note = f"[… {len(text) - head - tail:,} characters left out …]"
    return f"{text[:head]}\n{note}\n{text[-tail:]}"


def one_line(text: str, most: int = _LINE_CHARS) -> str:
    """`text` on one line of at most `most` characters."""
    line = " ".join(text[: most * 4].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _described(content: types.ContentBlock) -> str:
    match content.type:
        case "text":
            return content.text
        case "image":
            return f"[image, {content.mime_type}, {_size(content.data)}; it cannot be shown here]"
        case "audio":
            return f"[audio, {content.mime_type}, {_size(content.data)}; it cannot be played here]"
        case "resource_link":
            about = f": {one_line(content.description)}" if content.description else ""
            return f"[link to the resource {content.name}, {content.uri}{about}]"
        case "resource":
            return _resource(content.resource)
        case _:
            assert_never(content.type)


def _resource(resource: types.TextResourceContents | types.BlobResourceContents) -> str:
    kind = resource.mime_type or "unknown type"
    text = getattr(resource, "text", None)
    if isinstance(text, str):
        return f"[resource {resource.uri}, {kind}]\n{text}"
    return (
        f"[resource {resource.uri}, {kind}, {_size(getattr(resource, 'blob', ''))}; its bytes are left out]"
    )


def _size(base64: str) -> str:
    count = len(base64) * 3 // 4
    return f"{count:,} bytes" if count < 10_000 else f"{count // 1000:,} kB"


def _says(content: types.ContentBlock, structured: Any) -> bool:
    """Whether a text is that same value, as servers write it for clients that know only text."""
    if content.type != "text":
        return False
    if isinstance(structured, dict) and [*structured.values()] == [content.text]:
        return True
    try:
        return bool(json.loads(content.text) == structured)
    except (ValueError, RecursionError):
        return False
