"""Images in results of tools: what is kept and sent, and the words that stand for it elsewhere.

An image is sent again with each later request. So what a provider would refuse is never kept: it would make
the conversation unusable.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, AnyStr, Final

from core.base.base64_text import Base64
from core.base.values import Record

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 3_900_000
"""Of the images of one result, all together. In base64 that is 5.2 MB: Anthropic takes no longer image."""
MOST_IMAGES = 20
"""Of a request, and so of one result: beside more, Anthropic takes no side of more than 2,000 pixels."""
MOST_PIXELS = 8_000
"""Of a side of an image: providers refuse larger ones."""

_PIECE: Final = 100_000
"""How many groups of base64 are converted at once: each is four characters, and three bytes."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_NO_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers of a JPEG file without a segment."""


class Image(Record):
    """An image of the type `mime`; `data` is base64."""

    mime: str
    data: Base64

    def __repr__(self) -> str:
        return f"Image({self})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("mime", self.mime)]

    @property
    def url(self) -> str:
        return f"data:{self.mime};base64,{self.data}"

    def __str__(self) -> str:
        return f"{self.mime}, {size_text(size_of(self.data))}"


class Unusable(ValueError):
    """No image that can be sent. The text says which one it is and why, for the model and the person."""


def read_image(mime: str, data: str, room: int = MOST_BYTES) -> tuple[Image, str]:
    """An image from a tool, and its words for the person. Raises `Unusable`.

    The first bytes decide the type, for providers refuse an image of another type than the one it is said to
    be. Blocks, for some milliseconds if it is large, but in short pieces: other threads get on.
    """
    size = size_of(data)
    told = f"{' '.join(mime[:60].split()) or 'no type'}, {size_text(size)}"
    if size > room:
        limit = f"the limit is {size_text(MOST_BYTES)}{'' if room == MOST_BYTES else ' for a result'}"
        raise Unusable(f"{told}, {limit}")
    try:
        content = _decoded(data)
    except ValueError:
        raise Unusable(f"{told}, it is not base64") from None
    kind = _kind(content)
    if not kind:
        raise Unusable(f"{told}, it is no PNG, JPEG, GIF or WebP")
    width, height = _sides(kind, content)
    sides = f"{width}x{height}" if width and height else ""
    if max(width, height) > MOST_PIXELS:
        raise Unusable(f"{kind}, {sides}, {size_text(size)}, the limit is {MOST_PIXELS} pixels a side")
    # As it is written properly: the decoder takes more than that.
    image = Image(kind, Base64(_piecewise(base64.b64encode, content, 3 * _PIECE), "ascii"))
    return image, ", ".join(part for part in (kind, sides, size_text(size)) if part)


def _decoded(data: str) -> bytes:
    """The bytes that are in base64. Raises `ValueError` for anything else."""
    if data.find("=", 0, -2) >= 0:
        raise ValueError("There is something behind the end")
    return _piecewise(lambda piece: base64.b64decode(piece, validate=True), data, 4 * _PIECE)


def _piecewise(convert: Callable[[AnyStr], bytes], data: AnyStr, size: int) -> bytes:
    """What `convert` makes of the pieces of `data`. For the whole of a large image base64 would let no other
    thread run for some 15 ms."""
    return b"".join(convert(data[at : at + size]) for at in range(0, len(data), size))


def size_of(data: str) -> int:
    """The bytes that are in base64."""
    return len(data) * 3 // 4 - data.count("=", -2)


def size_text(size: int) -> str:
    """
    >>> [size_text(size) for size in (950, 12_300, 999_999, 7_100_000, 3_900_000)]
    ['950 bytes', '12 KB', '1 MB', '7.1 MB', '3.9 MB']
    """
    if size < 1_000:
        return f"{size} bytes"
    if size < 999_500:
        return f"{size / 1_000:.0f} KB"
    return f"{size / 1_000_000:.1f}".removesuffix(".0") + " MB"


def _kind(content: bytes) -> str:
    """Its type; empty if it is none that all providers take."""
    if content.startswith(_PNG):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ""


def _sides(kind: str, content: bytes) -> tuple[int, int]:
    """Width and height from the header; zeros where they are not found."""
    match kind:
        case "image/png":
            return _big(content[16:20]), _big(content[20:24])
        case "image/gif":
            return _little(content[6:8]), _little(content[8:10])
        case "image/jpeg":
            return _sides_of_jpeg(content)
        case _:
            return _sides_of_webp(content)


def _sides_of_webp(content: bytes) -> tuple[int, int]:
    """Its three forms have 14 bits for a side, but the extended one 24."""
    if len(content) < 30:
        return 0, 0
    match content[12:16]:
        case b"VP8 ":
            return _little(content[26:28]) & 0x3FFF, _little(content[28:30]) & 0x3FFF
        case b"VP8L":
            bits = _little(content[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return _little(content[24:27]) + 1, _little(content[27:30]) + 1
        case _:
            return 0, 0


def _sides_of_jpeg(content: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF or marker in _NO_LENGTH:
            at += 1 if marker == 0xFF else 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(content[at + 7 : at + 9]), _big(content[at + 5 : at + 7])
        else:
            at += 2 + max(2, _big(content[at + 2 : at + 4]))
    return 0, 0


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
