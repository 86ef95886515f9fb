"""What a provider wants to see again besides text and calls: notes that parsers make and requests return.

A note stands where the signature of reasoning stands: a JSON object with one key, its kind. Like a signature
it is kept with the name of its signer, goes back to it alone, and means nothing to anybody else.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.model.provider import ReasoningDelta

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}


class Kind(StrEnum):
    """What a note holds.

    `FIELD`: the field that the text of the reasoning before it came in; `CONTENT_PARTS` for parts of the
    content. `DETAILS`: OpenRouter's list. `FIELDS`: fields of the reply itself, or of its text. `CALLS`:
    fields of its calls by their place; by id only to say that the provider has made it. `REDACTED`:
    Anthropic's thinking that nobody can read.
    """

    FIELD = "field"
    DETAILS = "details"
    FIELDS = "fields"
    CALLS = "calls"
    REDACTED = "redacted_thinking"


CONTENT_PARTS = "content"

Note = tuple[Kind, Any]


def note(kind: Kind, value: object) -> ReasoningDelta:
    return ReasoningDelta("", to_json({kind.value: value}))


def to_json(value: object) -> str:
    # Not escaped: what is half a surrogate pair is replaced on the way out, which cannot look into escapes.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_note(signature: str | None) -> Note | None:
    """A note with its kind and its value; None for a signature that is none."""
    if not (signature or "").startswith("{"):
        return None
    try:
        read = json.loads(signature or "")
    except ValueError:
        return None
    if not isinstance(read, dict) or len(read) != 1:
        return None
    ((kind, value),) = read.items()
    return (Kind(kind), value) if kind in set(Kind) else None


def add_details(whole: list[Json], more: Iterable[Json]) -> None:
    """Add `more` of a reply's reasoning details. The first one may go on with the last that is there, because
    a stream cuts them into pieces; those of one list are as many as they are."""
    for place, detail in enumerate(more):
        if place == 0 and whole and _goes_on(whole[-1], detail):
            last, text = whole.pop(), _GROWING[detail["type"]]
            known = {name: value for name, value in detail.items() if value is not None}
            detail = {**last, **known, text: (last.get(text) or "") + (detail.get(text) or "")}
        whole.append(detail)


def _goes_on(last: Json, detail: Json) -> bool:
    kind = detail.get("type")
    is_same = last.get("type") == kind and last.get("index") == detail.get("index")
    return kind in _GROWING and is_same and not last.get("signature")
