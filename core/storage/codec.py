"""Records of a session as JSON, to store and to export.

The fields of the records are the format; `rename` and `tag` of their classes give the names in a file.
Unknown fields are skipped, so that files of later versions can be read. A missing field has its default, if
there is one. A wrong field raises `CodecError`.

Text is escaped to ASCII, because Python strings may hold lone surrogates, as in broken arguments of calls and
names of files, and UTF-8 cannot. Lone surrogates come back unchanged; two that form a pair come back as one
character. `msgspec` only converts and `json` reads and writes the text, because `msgspec` refuses surrogates.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

import msgspec

from core.base import base64_text
from core.base.errors import CaesuraError
from core.base.values import Record
from core.model.messages import ToolResult
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from core.storage.journal import CallBegun, CallIdentified

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.storage.journal import DraftEntry

T = TypeVar("T")

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class CodecError(CaesuraError):
    """The data does not have the expected form. The text names the field."""


def to_text(data: object) -> str:
    """Encode records, or lists and dictionaries of them, as compact JSON in ASCII."""
    return base64_text.to_json(data, lambda builtins: _encode(builtins).encode("ascii")).decode("ascii")


def from_text(text: str, kind: type[T]) -> T:
    """Read the result of `to_text`. Raises `CodecError` if it is not the JSON of a `kind`."""
    return decode(_parse(text), kind)


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"This is not JSON: {error}.") from error


def decode(data: object, kind: type[T]) -> T:
    """Convert parsed JSON to a `kind`. Raises `CodecError`, which names the path of the wrong field."""
    try:
        return msgspec.convert(data, kind, dec_hook=base64_text.read)
    except msgspec.ValidationError as error:
        raise CodecError(f"{error}.") from error
    except UnicodeEncodeError as error:
        # A lone surrogate where another type is expected. The path is not known.
        raise CodecError("There is a text where something else is expected.") from error


class _ResultEntry(Record, tag="result"):
    """A result in a draft. It needs a tag there, which a result in a message does not have."""

    result: ToolResult


class _StoredDraft(Record, array_like=True):
    """Entries of a draft. `msgspec` keeps its plan for a struct, but makes one for a union at each call."""

    entries: tuple[
        TextDelta | ReasoningDelta | ToolCallDelta | CallIdentified | CallBegun | _ResultEntry, ...
    ]


def draft_to_text(entries: Iterable[DraftEntry]) -> str:
    return to_text([_ResultEntry(entry) if isinstance(entry, ToolResult) else entry for entry in entries])


def draft_from_text(text: str) -> tuple[DraftEntry, ...]:
    """Read the result of `draft_to_text`. Raises `CodecError`."""
    stored = decode((_parse(text),), _StoredDraft).entries
    return tuple(entry.result if isinstance(entry, _ResultEntry) else entry for entry in stored)
