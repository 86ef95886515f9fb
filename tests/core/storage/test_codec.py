"""Records are read back unchanged, and broken data is refused."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.messages import (
    AssistantMessage,
    Message,
    Part,
    Reasoning,
    ResultStatus,
    Step,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    Usage,
    UserMessage,
)
from core.model.provider import Closing
from core.operations.events import Shown, StopReport
from core.storage import codec
from core.storage.codec import CodecError
from core.storage.records import CallCard, Compaction, StoredStep, TurnRecord
from tests.core.storage import random_records as records_made

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.storage.journal import DraftEntry

KINDS = {
    Message: records_made.messages,
    StoredStep: records_made.stored_steps,
    TurnRecord: records_made.turns,
    Compaction: records_made.compactions,
    Usage: records_made.usages,
}

STEP = StoredStep(
    Step(
        (
            UserMessage("go"),
            AssistantMessage((Reasoning("hm", "sig"), Text("yes"), ToolCall("c1", "shell", "{}")), "gpt"),
            ToolResults((ToolResult("c1", "shell", ResultStatus.STOPPED, "stopped"),)),
        ),
        Usage(1, 2, 3, 4),
    ),
    turn=1,
    at=5.5,
    cost=0.25,
    cards=(
        CallCard(
            "c1", "ls", Shown("out"), 1.5, StopReport("Esc", 0.1, Closing.CLOSED, ("x",), 2, ((7, "sh"),))
        ),
    ),
    subagent_usage=Usage(5, 6),
)


@pytest.mark.promise("H3")
@given(st.data())
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_everything_comes_back_as_it_was(kind: Any, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    text = codec.to_text(value)
    assert text.isascii()
    assert codec.from_text(text, kind) == value


@pytest.mark.promise("H3")
@given(st.lists(records_made.pieces).map(tuple))
def test_a_draft_comes_back_as_it_was(pieces: tuple[DraftEntry, ...]) -> None:
    text = codec.draft_to_text(pieces)
    assert text.isascii()
    assert codec.draft_from_text(text) == pieces


def test_what_a_later_version_adds_is_skipped() -> None:
    def with_more(data: object) -> object:
        if isinstance(data, dict):
            return {**{key: with_more(value) for key, value in data.items()}, "later": {"x": 1}}
        return [with_more(item) for item in data] if isinstance(data, list) else data

    later = with_more(json.loads(codec.to_text(STEP)))
    assert codec.decode(later, StoredStep) == STEP


def places(data: object, path: str = "$") -> Iterator[tuple[str, Any, Any]]:
    """Everything in `data`: its path as errors name it, its container, and its key there."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        inner = f"{path}.{key}" if isinstance(data, dict) else f"{path}[{key}]"
        yield inner, data, key
        yield from places(value, inner)


OPTIONAL = {"signature", "finish", "usage", "cost", "seconds", "proof", "after_s", "closing", "beside"}
CHOICES = {"role", "type", "finish", "status", "kind", "closing"}


def fits(wrong: object, right: object, name: str) -> bool:
    """Whether `wrong` is a value that the field `name` may have, of which `right` is another."""
    if wrong is None:
        return name in OPTIONAL
    if isinstance(right, float):
        return type(wrong) in (int, float)
    return type(wrong) is type(right) and isinstance(right, str | int) and name not in CHOICES


def test_a_value_of_a_wrong_type_is_an_error_that_names_its_path() -> None:
    encoded = json.loads(codec.to_text(STEP))
    refused = 0
    for path, container, key in places(encoded):
        right = container[key]
        for wrong in (object(), True, "wrong", 3, 1.5, [True], {"a": 1}, None):
            container[key] = wrong
            if fits(wrong, right, str(key)):
                assert codec.decode(encoded, StoredStep) != STEP or wrong == right
            else:
                with pytest.raises(CodecError, match=re.escape(f"`{path}")):
                    codec.decode(encoded, StoredStep)
                refused += 1
        container[key] = right
    assert refused > 300
    assert codec.decode(encoded, StoredStep) == STEP


TURN = {"turn": 1, "prompt": "p", "at": 1.0}


@pytest.mark.parametrize(
    ("kind", "data", "complaint"),
    [
        (StoredStep, {}, "missing required field `step`"),
        (Message, {"role": "system", "text": "x"}, "`$.role`"),
        (Message, {"text": "x"}, "missing required field `role`"),
        (Part, {"type": "image"}, "`$.type`"),
        (TurnRecord, TURN | {"outcome": "exploded"}, "`$.outcome`"),
        (TurnRecord, TURN | {"turn": True}, "`$.turn`"),
        (TurnRecord, TURN | {"at": 10**400}, "`$.at`"),
        (Compaction, {"number": 1, "upto": "2", "summary": "s", "at": 1.0}, "`$.upto`"),
        (UserMessage, {"role": "assistant", "parts": [], "model": "m"}, "`$.role`"),
        (tuple[str, ...], ["a", 1], "`$[1]`"),
        (Part, {"type": "\ud800"}, "something else is expected"),
    ],
)
def test_nothing_is_guessed(kind: Any, data: object, complaint: str) -> None:
    with pytest.raises(CodecError, match=re.escape(complaint)):
        codec.decode(data, kind)


@pytest.mark.parametrize(
    "text", ['[{"type": "image"}]', '{"type": "text", "text": "x"}', "[1]", "{", "[" * 100_000]
)
def test_what_is_no_draft_is_an_error(text: str) -> None:
    with pytest.raises(CodecError):
        codec.draft_from_text(text)
