"""One reply while it grows: its parts, and whether anything of it was shown."""

from __future__ import annotations

import pytest

from core.model.messages import AssistantMessage, FinishReason, Part, Reasoning, Text, ToolCall
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from core.model.reply_builder import Reply

Deltas = list[TextDelta | ReasoningDelta | ToolCallDelta]


def grown(*deltas: TextDelta | ReasoningDelta | ToolCallDelta) -> Reply:
    reply = Reply("asked")
    for delta in deltas:
        reply.add(delta)
    return reply


CASES: list[tuple[Deltas, tuple[Part, ...]]] = [
    ([], ()),
    ([TextDelta("a"), TextDelta("b")], (Text("ab"),)),
    ([ReasoningDelta("a"), ReasoningDelta("b", "s")], (Reasoning("ab", "s"),)),
    # The signature comes alone, at the end: it belongs to what was thought before.
    ([ReasoningDelta("a"), ReasoningDelta("", "s"), TextDelta("b")], (Reasoning("a", "s"), Text("b"))),
    ([ReasoningDelta("a", "s"), ReasoningDelta("b", "t")], (Reasoning("a", "s"), Reasoning("b", "t"))),
    ([ReasoningDelta("", "s")], (Reasoning("", "s"),)),
    ([TextDelta("a"), ReasoningDelta("b"), TextDelta("c")], (Text("a"), Reasoning("b"), Text("c"))),
    # An empty piece neither begins a part nor ends one: a signature is good for exactly its own block.
    ([ReasoningDelta("a"), TextDelta(""), ReasoningDelta("b", "s")], (Reasoning("ab", "s"),)),
    ([TextDelta("a"), ReasoningDelta(""), TextDelta("b")], (Text("ab"),)),
    ([TextDelta("a"), ToolCallDelta(0, "{}", "id", "read"), TextDelta("b")], (Text("ab"),)),
]


@pytest.mark.parametrize(("deltas", "parts"), CASES, ids=str)
def test_pieces_are_put_together_in_order(deltas: Deltas, parts: tuple[Part, ...]) -> None:
    reply = grown(*deltas)
    assert reply.message(finish=FinishReason.STOP, model="answering") == AssistantMessage(
        parts, "answering", FinishReason.STOP
    )
    assert reply.message(finish=None) == AssistantMessage(parts, "asked", None, interrupted=True)


@pytest.mark.promise("H1")
@pytest.mark.parametrize(
    ("deltas", "started"),
    [
        ([], False),
        ([TextDelta("")], False),
        ([ReasoningDelta("")], False),
        ([ReasoningDelta("", "signature")], False),
        ([TextDelta(" ")], True),
        ([ReasoningDelta("a")], True),
        ([ToolCallDelta(0, "", "id", "read")], True),
    ],
    ids=str,
)
def test_what_shows_nothing_starts_nothing(deltas: Deltas, started: bool) -> None:
    assert grown(*deltas).started is started


def test_calls_are_told_apart_and_named_in_order() -> None:
    reply = grown(
        ToolCallDelta(3, "", "a", "read"),
        ToolCallDelta(1, "", "b", "write"),
        ToolCallDelta(3, "{}"),
    )
    assert [call.name for call in reply.calls.values()] == ["read", "write"]
    assert reply.calls[3].given_id == "a"
    message = reply.message(finish=FinishReason.TOOL_CALLS, call_ids={3: "a", 1: "b_2"})
    assert message.calls == (ToolCall("a", "read", "{}"), ToolCall("b_2", "write", ""))


@pytest.mark.promise("H4")
@pytest.mark.parametrize(
    ("arguments", "kept"), [("", False), ("{", False), ("[]", False), ("{}", True), ('{"a": 1}', True)]
)
def test_an_interrupted_reply_keeps_only_calls_that_had_come_to_their_end(arguments: str, kept: bool) -> None:
    reply = grown(ToolCallDelta(0, arguments, "id", "read"))
    assert bool(reply.message(finish=None, call_ids={0: "id"}).calls) is kept
    assert reply.message(finish=FinishReason.TOOL_CALLS, call_ids={0: "id"}).calls
