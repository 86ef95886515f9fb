"""Images of the tests, and what an MCP server says with them."""

from __future__ import annotations

import base64
import json
import struct
import zlib

from core.base.base64_text import Base64
from core.model.images import Image


def png(width: int = 2, height: int = 3, more: int = 0) -> bytes:
    """A grey picture, with `more` bytes behind its end."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" + b"\x80" * width) if more else zlib.compress(b"\0\x80\x80" * height)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    body = b"".join(_chunk(name, data) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body + b"x" * more


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def text64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def image(content: bytes, mime: str = "image/png") -> Image:
    return Image(mime, Base64(text64(content)))


def block(content: bytes, mime: str = "image/png") -> dict[str, str]:
    """An image in the result of an MCP server."""
    return {"type": "image", "mimeType": mime, "data": text64(content)}


def result(*content: dict[str, str], **more: object) -> str:
    return json.dumps({"content": content, **more})


def words(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
