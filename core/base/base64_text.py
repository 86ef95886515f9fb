"""Base64 in JSON: megabytes of it are put into the text as they are.

The encoder of `json` reads each character, some 15 ms for a megabyte, and lets no other thread run meanwhile:
neither the event loop nor the one that reads the keyboard.
"""

from __future__ import annotations

import string
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


_ALPHABET = (string.ascii_letters + string.digits + "+/=").encode()


class Base64(str):
    """Text of the letters of base64."""

    __slots__ = ()


def to_json(value: object, encode: Callable[[Any], bytes]) -> bytes:
    """`value` as `encode` writes its built-in form."""
    apart: list[bytes] = []
    mark = uuid.uuid4().hex

    def take(data: object) -> str:
        if not isinstance(data, Base64):
            raise TypeError(f"a {type(data).__name__} has no form in JSON")
        apart.append(data.encode("ascii"))
        return mark

    text = encode(msgspec.to_builtins(value, enc_hook=take))
    if not apart:
        return text
    before, *pieces = text.split(mark.encode())
    return b"".join((before, *(part for pair in zip(apart, pieces, strict=True) for part in pair)))


def read(kind: type, data: object) -> object:
    """The `dec_hook` of `msgspec.convert`."""
    if kind is not Base64 or not isinstance(data, str) or not data.isascii():
        raise ValueError("There is something else than base64")
    if data.encode().translate(None, _ALPHABET):
        raise ValueError("There is no base64")
    return Base64(data)
