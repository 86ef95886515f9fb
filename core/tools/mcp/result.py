"""The result of a server for the model: texts and images; other content is described, a long text is cut.

It runs in a thread: a result may be megabytes. It must never import the SDK.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, assert_never

from core.engine.tool import ToolOutput
from core.model.images import MOST_BYTES, MOST_IMAGES, Unusable, read_image, size_of, size_text
from core.operations.events import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import mcp_types as types

    from core.model.images import Image

    _NoImage = types.TextContent | types.AudioContent | types.ResourceLink | types.EmbeddedResource

MOST_CHARS = 60_000
"""Of a result, for the model and the person alike: two thirds of them its beginning, one third its end."""

_LINE_CHARS = 300


def output_of(result: types.CallToolResult) -> ToolOutput:
    """The text and the images of a result. The person is shown where between its texts an image was."""
    told: list[str] = []
    shown: list[str] = []
    images: list[Image] = []
    for content in result.content:
        if content.type == "image":
            room = MOST_BYTES - sum(size_of(image.data) for image in images)
            try:
                if len(images) == MOST_IMAGES:
                    raise Unusable(f"the limit is {MOST_IMAGES} images for a result")
                image, words = read_image(content.mime_type, content.data, room)
            except Unusable as error:
                told.append(f"[image left out: {error}]")
                shown.append(told[-1])
            else:
                images.append(image)
                shown.append(f"[{words}]")
        else:
            told.append(_described(content))
            shown.append(told[-1])
    structured = result.structured_content
    if structured is not None and not _told_already(result.content, structured):
        told.append(json.dumps(structured, ensure_ascii=False, indent=1))
        shown.append(told[-1])
    return ToolOutput(
        _joined(told), Shown(_joined(shown)), failed=result.is_error is True, images=tuple(images)
    )


def _joined(parts: Iterable[str]) -> str:
    return shortened("\n".join(part for part in parts if part))


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


def _described(content: _NoImage) -> str:
    match content.type:
        case "text":
            return content.text
        case "audio":
            size = _size(content.data)
            return f"[audio left out, {content.mime_type}, {size}: only text and images are passed on]"
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
    return size_text(size_of(base64))


def _told_already(contents: Sequence[types.ContentBlock], structured: Any) -> bool:
    """Whether the contents are that same value, as servers write it for clients that know only contents.

    Frameworks put what is no object into one with a single field, and make a content of each item of a list.
    """
    values = [structured]
    if isinstance(structured, dict) and len(structured) == 1:
        values += structured.values()
    texts = [content.text for content in contents if content.type == "text"]
    read = [_read(text) for text in texts]
    told: list[Any] = [*texts, *read]
    if contents:
        told += [texts, read, [content.model_dump(by_alias=True, exclude_none=True) for content in contents]]
    return any(value == one for value in values for one in told)


def _read(text: str) -> Any:
    """The JSON value in a text, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
