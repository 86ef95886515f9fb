"""A draft that a crash left becomes a correct step that a provider accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.messages import AssistantMessage, ResultStatus, ToolResult, ToolResults, UserMessage
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from core.storage.journal import CallBegun, CallIdentified, Draft, DraftEntry
from core.storage.records import TurnRecord
from core.storage.recovery import recover

TURN = TurnRecord(3, "ask", 0.0)
COMMAND = '{"command": "make\\ntest", "deadline": 9}'
MESSAGE = UserMessage("a note\n\nask")


def draft(*pieces: DraftEntry) -> Draft:
    return Draft(TURN, MESSAGE, pieces)


@pytest.mark.promise("H1", "H8")
def test_of_a_turn_that_had_shown_nothing_nothing_is_kept() -> None:
    assert recover(draft(), "m", first=True) is None
    assert recover(draft(TextDelta(""), ReasoningDelta("", None)), "m", first=True) is None


@pytest.mark.promise("H2", "H8")
def test_what_had_arrived_is_an_interrupted_reply_to_its_prompt() -> None:
    found = recover(draft(ReasoningDelta("hm"), TextDelta("one "), TextDelta("two")), "m", first=True)
    assert found is not None
    prompt, reply = found[0].messages
    assert prompt == MESSAGE
    assert isinstance(reply, AssistantMessage)
    assert (reply.text, reply.interrupted, reply.model) == ("one two", True, "m")
    assert found[0].usage is None


@pytest.mark.promise("H2", "H8")
def test_a_later_step_does_not_repeat_the_prompt() -> None:
    found = recover(draft(TextDelta("more")), "m", first=False)
    assert found is not None
    assert [type(message) for message in found[0].messages] == [AssistantMessage]


@pytest.mark.promise("H4", "H5", "H8")
def test_each_result_says_whether_the_call_had_begun_before_the_crash() -> None:
    done = ToolResult("a", "shell", ResultStatus.COMPLETED, "Exit code 0.")
    pieces = [TextDelta("I run three.")]
    for index, call_id in enumerate("abc"):
        pieces += [ToolCallDelta(index, COMMAND, call_id, "shell"), CallIdentified(index, call_id)]  # type: ignore[list-item]
    found = recover(draft(*pieces, CallBegun("a"), CallBegun("b"), done), "m", first=True)
    assert found is not None
    step, cards = found
    reply, results = step.messages[1:]
    assert isinstance(reply, AssistantMessage)
    assert isinstance(results, ToolResults)
    assert not reply.interrupted
    assert [call.call_id for call in reply.calls] == ["a", "b", "c"]
    assert results.results[0] == done
    assert [result.status for result in results.results[1:]] == [
        ResultStatus.STOPPED,
        ResultStatus.NOT_STARTED,
    ]
    assert "What it had done by then is unknown" in results.results[1].text
    assert [(card.call_id, card.title) for card in cards] == [(name, "make test") for name in "abc"]


@pytest.mark.promise("H4", "H8")
def test_a_call_whose_arguments_had_not_come_to_their_end_is_left_out() -> None:
    pieces = (TextDelta("I run."), ToolCallDelta(0, '{"command": "ls', "a", "shell"), CallIdentified(0, "a"))
    found = recover(draft(*pieces), "m", first=True)
    assert found is not None
    assert [type(message) for message in found[0].messages] == [UserMessage, AssistantMessage]


@pytest.mark.promise("H2", "H8")
def test_a_call_that_was_stopped_while_it_was_named_makes_no_reply_whole() -> None:
    pieces = (
        TextDelta("I run."),
        ToolCallDelta(0, '{"command": "ls', "a", "shell"),
        CallIdentified(0, "a"),
        ToolResult("a", "shell", ResultStatus.NOT_STARTED, "Not started: the user stopped this call."),
    )
    found = recover(draft(*pieces), "m", first=True)
    assert found is not None
    _, reply = found[0].messages
    assert isinstance(reply, AssistantMessage)
    assert (reply.interrupted, reply.calls) == (True, ())


PIECES = st.one_of(
    st.builds(TextDelta, st.sampled_from(["", "x", "\ud800"])),
    st.builds(ReasoningDelta, st.sampled_from(["", "hm"]), st.sampled_from([None, "sig"])),
    st.builds(
        ToolCallDelta,
        st.integers(0, 2),
        st.sampled_from(["", "{}", '{"a":', "1}"]),
        st.sampled_from([None, "a", "b"]),
        st.sampled_from([None, "shell"]),
    ),
    st.builds(CallIdentified, st.integers(0, 2), st.sampled_from("abc")),
    st.builds(CallBegun, st.sampled_from("abc")),
    st.builds(
        ToolResult, st.sampled_from("abc"), st.just("shell"), st.sampled_from(ResultStatus), st.just("said")
    ),
)


@pytest.mark.promise("H4", "H8")
@given(st.lists(PIECES, max_size=12))
def test_whatever_was_written_it_has_one_result_for_each_call(pieces: list[DraftEntry]) -> None:
    found = recover(draft(*pieces), "m", first=True)
    if found is None:
        return
    prompt, reply, *rest = found[0].messages
    assert prompt == MESSAGE
    assert isinstance(reply, AssistantMessage)
    told = [result.call_id for each in rest if isinstance(each, ToolResults) for result in each.results]
    assert told == [call.call_id for call in reply.calls]
