"""P7 in a session with a scripted model: what becomes of a turn whose reply is not whole, and its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.model.messages import AssistantMessage, FinishReason, ResultStatus, Step, Text, UserMessage
from core.model.provider import (
    FailureKind,
    Finished,
    ModelChoice,
    ModelError,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.model.reply_end import ReplyEnd, note_for_model, sentence_for_person
from core.operations.events import Notice, Outcome, StepCommitted
from core.operations.registry import Registry
from core.session.continuation import CONTINUE_PROMPT
from core.session.session import Session
from core.storage.journal import NullJournal, OpenedSession
from core.storage.records import LoadedSession, SessionInfo, StoredStep, TurnRecord
from tests.core.engine.test_dispatch import asks, call, talk, task
from tests.support.no_tools import no_tools
from tests.support.scripted_models import (
    DONE,
    ESCAPE,
    MODEL,
    SOME,
    USAGE,
    Conversation,
    Script,
    ScriptedProvider,
    assert_accepted,
    say,
)
from tests.support.scripted_tools import PlayedTool

if TYPE_CHECKING:
    from core.operations.events import Event

pytestmark = pytest.mark.promise("P7")

WORDS = "SAFETY"
BROKEN = ModelError(FailureKind.BROKEN_STREAM, "The reply broke off: send it again.")
OVERLOADED = ModelError(FailureKind.OVERLOADED, "The model is overloaded: try again.")


def ended(reason: FinishReason) -> Finished:
    return Finished(reason, USAGE, MODEL, words=WORDS)


THOUGHT = ReasoningDelta("hm")
ENDS: list[tuple[Script, ReplyEnd, str]] = [
    ((*SOME, ended(FinishReason.LENGTH)), ReplyEnd.CUT, WORDS),
    ((THOUGHT, ended(FinishReason.LENGTH)), ReplyEnd.CUT, WORDS),
    ((*SOME, ended(FinishReason.CONTENT_FILTER)), ReplyEnd.FILTERED, WORDS),
    ((ended(FinishReason.CONTENT_FILTER),), ReplyEnd.FILTERED, WORDS),
    ((*SOME, ended(FinishReason.OTHER)), ReplyEnd.UNKNOWN, WORDS),
    ((DONE,), ReplyEnd.EMPTY, ""),
    ((THOUGHT, DONE), ReplyEnd.EMPTY, ""),
    ((*SOME, BROKEN), ReplyEnd.BROKEN_OFF, ""),
    ((*SOME, OVERLOADED), ReplyEnd.FAILED, "overloaded"),
    ((THOUGHT, OVERLOADED), ReplyEnd.FAILED, "overloaded"),
]
each_end = pytest.mark.parametrize(
    ("script", "end", "words"), ENDS, ids=[f"{len(script)}-{end}" for script, end, _ in ENDS]
)


@each_end
async def test_it_is_an_error_that_is_kept_and_told_and_the_next_prompt_stands_apart(
    script: Script, end: ReplyEnd, words: str
) -> None:
    conversation = Conversation(script, say("fine"))
    turn = await conversation.turn("ask")
    above = script[: len(SOME)] == SOME
    assert (turn.outcome, turn.end, turn.returned_prompt) == (Outcome.ERROR, end, None)
    failed = end in (ReplyEnd.BROKEN_OFF, ReplyEnd.FAILED)
    assert turn.error == (str(script[-1]) if failed else sentence_for_person(end, words, above=above))
    kept = conversation.messages[-1]
    assert isinstance(kept, AssistantMessage)
    assert (kept.end, kept.words or "", kept.text) == (end, words, "part" if above else "")
    assert (conversation.session.record.usage == USAGE) is not failed

    assert (await conversation.turn("again")).outcome is Outcome.COMPLETED
    sent = conversation.provider.requests[-1].messages
    note = note_for_model(end, words, above=above)
    assert sent[-1] == UserMessage(f"{note}\n\nagain" if above else f"ask\n\n{note}\n\nagain")
    assert_accepted(sent)


@each_end
@pytest.mark.promise("H9")
async def test_continue_goes_on_and_the_queue_waits(script: Script, end: ReplyEnd, words: str) -> None:
    conversation = Conversation(script, say("the rest"))
    conversation.session.submit("ask")
    conversation.session.submit("another thing")
    await conversation.idle()
    assert conversation.outcomes == [Outcome.ERROR]
    assert (conversation.session.queue.texts, conversation.session.queue.paused) == (("another thing",), True)
    conversation.session.queue.take_all()
    conversation.session.resume()
    await conversation.idle()
    assert conversation.outcomes == [Outcome.ERROR, Outcome.COMPLETED]
    last = conversation.provider.requests[-1].messages[-1]
    assert isinstance(last, UserMessage)
    above = script[: len(SOME)] == SOME
    assert last.text.endswith(f"{note_for_model(end, words, above=above)}\n\n{CONTINUE_PROMPT}")


@pytest.mark.promise("U6")
async def test_a_stop_after_the_commit_does_not_relabel_it() -> None:
    conversation = Conversation((*SOME, ended(FinishReason.LENGTH)))
    answers: list[bool] = []

    def stop(event: Event) -> None:
        if isinstance(event, StepCommitted):
            answers.append(conversation.session.stop(ESCAPE))

    conversation.session.subscribe(stop)
    turn = await conversation.turn("ask")
    assert answers == [False]
    assert (turn.outcome, turn.end, turn.proof) == (Outcome.ERROR, ReplyEnd.CUT, None)


# ---- calls

CUT = Finished(FinishReason.LENGTH, USAGE, MODEL)
HALF = (ToolCallDelta(7, '{"do": "return", "say": "x', "half", "read"),)


def cut_in(*calls: tuple[ToolCallDelta, ...]) -> Script:
    return (*asks(*calls, text="look")[:-1], CUT)


@pytest.mark.promise("H4", "H5")
@pytest.mark.parametrize(
    "last",
    [HALF, call(7, "read", "half", say="x"), (ToolCallDelta(7, "", "half", "read"),)],
    ids=["half", "closed by the provider", "without arguments"],
)
async def test_of_a_cut_reply_all_calls_run_but_the_one_that_it_was_cut_in(
    last: tuple[ToolCallDelta, ...],
) -> None:
    tool = PlayedTool("read", changing=True)
    conversation = talk(cut_in(call(0, say="a"), call(1, say="b"), last), say("done"), tools=(tool,))
    turn = await conversation.turn("go")
    assert tool.begun == ["a", "b"]
    *whole, cut = conversation.results.values()
    assert [(result.status, result.text) for result in whole] == [
        (ResultStatus.COMPLETED, "a"),
        (ResultStatus.COMPLETED, "b"),
    ]
    assert (cut.call_id, cut.status) == ("half", ResultStatus.NOT_STARTED)
    assert "cut off by the output limit" in cut.text
    assert "JSON" not in cut.text
    # The model has read it, and what it then said was whole.
    assert (turn.outcome, turn.end) == (Outcome.COMPLETED, ReplyEnd.COMPLETE)
    (told,) = [event.text for event in conversation.events if isinstance(event, Notice)]
    assert "cut off by the output limit" in told
    assert len(conversation.provider.requests) == 2


@pytest.mark.promise("H5")
async def test_arguments_that_are_no_json_in_a_cut_reply_are_cut_too() -> None:
    """Some servers write several calls at once."""
    tool = PlayedTool("read")
    conversation = talk(cut_in(HALF, call(8, say="b")), say("done"), tools=(tool,))
    await conversation.turn("go")
    assert tool.begun == []
    assert all("cut off by the output limit" in result.text for result in conversation.results.values())


async def test_a_reply_that_is_cut_in_a_call_twice_in_a_row_ends_the_turn() -> None:
    tool = PlayedTool("read")
    again = (ToolCallDelta(0, '{"say": "y', "more", "read"),)
    later = (ToolCallDelta(0, '{"say": "z', "last", "read"),)
    conversation = talk(
        cut_in(HALF),
        asks(call(0, say="a")),
        cut_in(again),
        cut_in(later),
        say("never asked for"),
        tools=(tool,),
    )
    turn = await conversation.turn("go")
    assert (turn.outcome, turn.end) == (Outcome.ERROR, ReplyEnd.CUT)
    assert len(conversation.provider.requests) == 4
    assert tool.begun == ["a"]


@pytest.mark.promise("H5")
@pytest.mark.parametrize(
    ("reason", "end"),
    [(FinishReason.CONTENT_FILTER, ReplyEnd.FILTERED), (FinishReason.OTHER, ReplyEnd.UNKNOWN)],
)
async def test_no_call_runs_of_a_reply_that_ended_for_another_reason(
    reason: FinishReason, end: ReplyEnd
) -> None:
    tool = PlayedTool("read")
    conversation = talk((*asks(call(0, say="a"))[:-1], ended(reason)), say("fine"), tools=(tool,))
    turn = await conversation.turn("go")
    assert (turn.outcome, turn.end, tool.begun) == (Outcome.ERROR, end, [])
    (result,) = conversation.results.values()
    assert result.status is ResultStatus.NOT_STARTED
    assert "not complete" in result.text
    assert (await conversation.turn("again")).outcome is Outcome.COMPLETED


@pytest.mark.promise("H4", "H5")
@pytest.mark.parametrize(
    ("failure", "why"), [(BROKEN, "the server broke it off"), (OVERLOADED, "it failed")], ids=str
)
async def test_half_a_call_of_a_broken_reply_is_kept_and_did_not_run(failure: ModelError, why: str) -> None:
    tool = PlayedTool("read")
    conversation = talk((*SOME, *HALF, failure), say("fine"), tools=(tool,))
    await conversation.turn("go")
    (result,) = conversation.results.values()
    assert (result.status, tool.begun) == (ResultStatus.NOT_STARTED, [])
    assert why in result.text
    reply = conversation.messages[1]
    assert isinstance(reply, AssistantMessage)
    assert [kept.arguments for kept in reply.calls] == [HALF[0].arguments]
    assert (await conversation.turn("again")).outcome is Outcome.COMPLETED


@pytest.mark.promise("X5")
async def test_a_sub_agents_cut_answer_is_not_its_answer() -> None:
    conversation = talk(
        asks(task("look")), (TextDelta("half of it"), CUT), say("done"), tools=(), agents=True
    )
    assert (await conversation.turn("go")).outcome is Outcome.COMPLETED
    (result,) = conversation.results.values()
    assert result.status is ResultStatus.FAILED
    assert "cut off by the output limit" in result.text
    assert "half of it" in result.text


# ---- stored


def opened(reply: AssistantMessage, outcome: Outcome | None) -> Session:
    info = SessionInfo("0123456789ab", "", "/w", MODEL, 0.0, 0.0, 1)
    steps = (StoredStep(Step((UserMessage("ask"), reply)), 1, 1.0),)
    turns = (TurnRecord(1, "ask", 0.0, outcome=outcome, kept=True),)
    stored = OpenedSession(NullJournal(), LoadedSession(info, steps, turns))
    return Session(ScriptedProvider(say("fine")), Registry(), ModelChoice(MODEL), no_tools(), stored)


@pytest.mark.promise("H8")
@pytest.mark.parametrize("finish", list(FinishReason))
async def test_a_crash_after_the_last_step_leaves_the_turn_as_its_reply_ended(finish: FinishReason) -> None:
    session = opened(AssistantMessage((Text("part"),), MODEL, finish), None)
    (turn,) = session.record.turns
    if finish is FinishReason.STOP:
        assert (turn.outcome, turn.error) == (Outcome.COMPLETED, None)
    else:
        assert turn.outcome is Outcome.ERROR
        assert (turn.error or "").startswith("The reply is not complete: ")


@pytest.mark.promise("H9")
async def test_a_reply_that_an_earlier_version_took_for_complete_can_be_continued() -> None:
    session = opened(AssistantMessage((Text("part"),), MODEL, FinishReason.LENGTH), Outcome.COMPLETED)
    session.resume()
    await session.wait_idle()
    assert session.record.turns[-1].outcome is Outcome.COMPLETED
