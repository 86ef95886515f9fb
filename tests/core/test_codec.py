"""What is stored comes back as it was, and what is broken is said to be."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import codec
from core.codec import CodecError
from core.events import Shown, StopProof
from core.messages import (
    AssistantMessage,
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
from core.model import Closing, TextDelta
from core.records import CallCard, Compaction, StoredStep, TurnRecord
from tests.core import records_made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHAPES: tuple[tuple[st.SearchStrategy[Any], Callable[[Any], object], Callable[[object], object]], ...] = (
    (records_made.messages, codec.encode_message, codec.decode_message),
    (records_made.stored_steps, codec.encode_stored, codec.decode_stored),
    (records_made.turns, codec.encode_turn, codec.decode_turn),
    (records_made.compactions, codec.encode_compaction, codec.decode_compaction),
    (records_made.pieces, codec.encode_piece, codec.decode_piece),
    (records_made.usages, codec.encode_usage, codec.decode_usage),
)

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
            "c1", "ls", Shown("out"), 1.5, StopProof("Esc", 0.1, Closing.CLOSED, ("x",), 2, ((7, "sh"),))
        ),
    ),
    beside=Usage(5, 6),
)


@pytest.mark.promise("H3")
@given(st.data())
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape[1].__name__.removeprefix("encode_"))
def test_everything_comes_back_as_it_was(
    shape: tuple[st.SearchStrategy[Any], Callable[[Any], object], Callable[[object], object]],
    data: st.DataObject,
) -> None:
    values, encode, decode = shape
    value = data.draw(values)
    text = codec.to_text(encode(value))
    assert text.isascii()
    assert decode(codec.from_text(text)) == value


def test_what_a_later_version_adds_is_skipped() -> None:
    def with_more(data: object) -> object:
        if isinstance(data, dict):
            return {**{key: with_more(value) for key, value in data.items()}, "later": {"x": 1}}
        return [with_more(item) for item in data] if isinstance(data, list) else data

    assert codec.decode_stored(with_more(codec.encode_stored(STEP))) == STEP


def paths(data: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """To everything in `data`."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


@pytest.mark.parametrize("wrong", [object, True, "wrong", 3, [1], {}], ids=repr)
def test_what_is_broken_is_an_error_that_is_ours(wrong: object) -> None:
    encoded = codec.encode_stored(STEP)
    for path in paths(encoded):
        broken = json.loads(json.dumps({"it": encoded}))
        place: Any = broken
        for key in ("it", *path[:-1]) if path else ():
            place = place[key]
        place[path[-1] if path else "it"] = wrong
        # Some of it is right by chance; anything else that is raised fails.
        with contextlib.suppress(CodecError):
            codec.decode_stored(broken["it"])


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (codec.decode_stored, {}),
        (codec.decode_message, {"role": "system", "text": "x"}),
        (codec.decode_part, {"type": "image"}),
        (codec.decode_piece, {"type": "image"}),
        (codec.decode_turn, {**codec.encode_turn(TurnRecord(1, "p", 1.0)), "outcome": "exploded"}),
        (codec.decode_turn, {**codec.encode_turn(TurnRecord(1, "p", 1.0)), "turn": True}),
        (codec.decode_turn, {**codec.encode_turn(TurnRecord(1, "p", 1.0)), "at": 10**400}),
        (codec.decode_compaction, {**codec.encode_compaction(Compaction(1, 2, "s", 1.0)), "upto": "2"}),
        (codec.decode_user_message, codec.encode_message(AssistantMessage((), "m"))),
        (codec.decode_pieces, codec.encode_piece(TextDelta("x"))),
        (codec.decode_texts, ["a", 1]),
        (codec.from_text, "{"),
        (codec.from_text, "[" * 100_000),
    ],
)
def test_nothing_is_guessed(decode: Callable[[Any], object], data: object) -> None:
    with pytest.raises(CodecError):
        decode(data)
