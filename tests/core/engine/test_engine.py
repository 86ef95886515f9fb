"""One turn, from its begin to its stop or commit, U1 to U10: whatever the model does, nothing comes after."""

from __future__ import annotations

import logging

import pytest

import core.engine.step
from core.cancel import CancelReason, Cause
from core.model.messages import AssistantMessage, FinishReason, Reasoning, Step, Text, UserMessage
from core.model.provider import (
    Closing,
    Finished,
    ModelError,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.model.reply_end import ReplyEnd
from core.operations.events import (
    Event,
    Outcome,
    ReasoningArrived,
    Status,
    StepCommitted,
    StopReport,
    TextArrived,
    TurnEnded,
    TurnStarted,
    TurnStopping,
)
from core.operations.operation import CancelAnswer, OperationKind, OperationState
from core.operations.session_operations import SessionOperations
from core.operations.supervise import Graces
from tests.support.bound_tasks import rounds
from tests.support.cancel_sweep import in_thread
from tests.support.scripted_models import (
    DONE,
    ENDLESS,
    ESCAPE,
    MODEL,
    NO_KEY,
    NOTHING,
    QUIT,
    REPLY,
    REPLY_TEXT,
    SHORT,
    SOME,
    USAGE,
    Break,
    CancelItself,
    Conversation,
    Deaf,
    Hold,
    Script,
    Swallow,
    assert_in_order,
    say,
)

LATE = (TextDelta("late"), ReasoningDelta("late"), ToolCallDelta(0, "{}", "id", "late"))


# ---- the normal end


@pytest.mark.promise("U4", "S9", "H6")
async def test_a_turn_tells_its_story_and_is_committed() -> None:
    talk = Conversation(REPLY)
    statuses: list[Status] = [talk.session.status]
    talk.session.subscribe(lambda _: statuses.append(talk.session.status))
    ended = await talk.turn("ask")
    started = talk.events[0]
    assert isinstance(started, TurnStarted)
    assert talk.events == [
        TurnStarted(1, "ask", started.started_at),
        ReasoningArrived(1, "thin"),
        ReasoningArrived(1, "king"),
        TextArrived(1, "one "),
        TextArrived(1, "two"),
        StepCommitted(1, USAGE, USAGE),
        TurnEnded(1, Outcome.COMPLETED, REPLY_TEXT, end=ReplyEnd.COMPLETE),
    ]
    assert ended is talk.events[-1]
    assert statuses == [Status.IDLE, *[Status.RUNNING] * 6, Status.IDLE]
    parts = (Reasoning("thinking", "signature"), Text(REPLY_TEXT))
    reply = AssistantMessage(parts, MODEL, FinishReason.STOP)
    assert talk.session.record.plain_steps == (Step((UserMessage("ask"), reply), USAGE),)
    assert talk.registry.snapshot() == ()
    assert talk.registry.records == ()


@pytest.mark.promise("S1")
async def test_the_stream_is_listed_while_it_lives() -> None:
    talk = Conversation((PhaseChanged(Phase.STREAMING), TextDelta("a"), Hold()))
    await talk.begin("ask")
    (view,) = talk.registry.snapshot(talk.session.session_id)
    assert (view.kind, view.title, view.state, view.phase) == (
        OperationKind.STREAM,
        MODEL,
        OperationState.RUNNING,
        Phase.STREAMING,
    )
    await talk.stop()
    assert talk.registry.snapshot() == ()


# ---- a stop before anything was sent


@pytest.mark.promise("U1", "U4", "H1", "T3", "T9", "S9")
@pytest.mark.parametrize("listening", [False, True], ids=["after Enter", "by a listener of the start"])
async def test_a_stop_in_the_gap_sends_nothing_and_gives_the_prompt_back(listening: bool) -> None:
    talk = Conversation(REPLY)
    if listening:
        talk.session.subscribe(
            lambda event: None if not isinstance(event, TurnStarted) else _ignore(talk.session.stop(ESCAPE))
        )
    talk.session.submit("ask")
    assert listening or talk.session.stop(ESCAPE)
    assert talk.session.status is Status.STOPPING
    await talk.idle()
    (ended,) = talk.ended
    assert (ended.outcome, ended.text, ended.returned_prompt) == (Outcome.CANCELLED, "", "ask")
    assert ended.proof is not None
    assert (ended.proof.source, ended.proof.closing, ended.proof.unconfirmed) == ("escape", None, ())
    assert talk.provider.requests == []
    assert talk.session.record.plain_steps == ()
    assert talk.registry.snapshot() == ()
    (record,) = talk.registry.records
    assert (record.reason, record.phase, record.kind) == (
        ESCAPE,
        Phase.BEFORE_REQUEST,
        OperationKind.STREAM,
    )
    assert_in_order(talk.events)


def _ignore(_: object) -> None:
    return None


# ---- a stop in the middle, and what providers make of it

AFTER_A_STOP: list[Script] = [
    (Hold(),),
    (Swallow(), *LATE, DONE),
    (Swallow(), *LATE, Hold()),
    (Swallow(), *LATE, NO_KEY),
    (Break(NO_KEY),),
    (Break(ConnectionResetError("bug")),),
    (Break(ExceptionGroup("bug", [ValueError("bug")])),),
    (CancelItself(),),
]


@pytest.mark.promise("U4", "U7", "U8", "H1", "H2", "P3", "S9", "T9")
@pytest.mark.parametrize("thread", [False, True], ids=["loop", "thread"])
@pytest.mark.parametrize("alone", [False, True], ids=["turn", "stream"])
@pytest.mark.parametrize("begin", [NOTHING, SOME], ids=["nothing", "some"])
@pytest.mark.parametrize("rest", AFTER_A_STOP[:-1], ids=str)
async def test_whatever_follows_a_stop_is_a_stop(
    begin: Script, rest: Script, alone: bool, thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    talk = Conversation((*begin, *rest), say("fine"))
    await talk.begin("ask")

    def stop() -> None:
        if alone:
            (view,) = talk.registry.snapshot()
            answer = SessionOperations(talk.registry, view.session_id).cancel(view.call_id, ESCAPE).answer
            assert answer is CancelAnswer.CANCELLED
        else:
            assert talk.session.stop(ESCAPE)
            assert not talk.session.stop(QUIT)

    in_thread(stop) if thread else stop()
    await talk.idle()
    (ended,) = talk.ended
    assert ended.outcome is Outcome.CANCELLED
    assert ended.error is None
    assert ended.proof is not None
    assert ended.proof.source == "escape"
    assert "late" not in str(talk.events)
    assert (ended.text, ended.returned_prompt) == (("part", None) if begin is SOME else ("", "ask"))
    assert talk.replies == (["part"] if begin is SOME else [])
    assert all(step.usage is None for step in talk.session.record.plain_steps)
    (record,) = talk.registry.records
    phase = Phase.STREAMING if begin is SOME else Phase.WAITING_FOR_HEADERS
    assert (record.reason, record.phase) == (ESCAPE, phase)
    assert "bug" not in str(ended)
    if isinstance(rest[-1], Break):
        assert any(entry.exc_info and entry.exc_info[1] is rest[-1].error for entry in caplog.records)
    assert (await talk.turn("again")).outcome is Outcome.COMPLETED
    assert_in_order(talk.events)
    assert talk.registry.snapshot() == ()


async def test_the_proof_of_a_stop_is_the_providers() -> None:
    talk = Conversation((*SOME, Hold()))
    ended = await talk.stopped()
    assert ended.proof is not None
    assert (ended.proof.source, ended.proof.closing, ended.proof.unconfirmed) == (
        "escape",
        Closing.CLOSED,
        (),
    )
    assert ended.proof.after_s is not None
    assert ended.proof.after_s >= 0
    assert TurnStopping(1, "escape") in talk.events


async def test_a_stop_by_a_deadline_is_told_from_one_by_a_person() -> None:
    talk = Conversation((*SOME, Hold()))
    await talk.begin("ask")
    talk.session.stop(CancelReason(Cause.DEADLINE, "60 s"))
    await talk.idle()
    assert talk.outcomes == [Outcome.TIMEOUT]


@pytest.mark.promise("U5", "U1")
async def test_a_stop_needs_neither_lock_nor_loop() -> None:
    """While the loop stands still and holds the registry's lock: a thread stops the turn and forces it."""
    talk = Conversation((*SOME, Hold()))
    await talk.begin("ask")
    answers: list[bool] = []
    told: list[CancelReason] = []

    def stop() -> None:
        answers.extend((talk.session.stop(ESCAPE), talk.session.stop(ESCAPE), talk.session.force()))

    turn = talk.session.turn
    assert turn is not None
    turn.token.on_cancel(told.append)
    with talk.registry.lock:
        in_thread(stop)
        assert answers == [True, False, True]
        assert told == [ESCAPE], "what kills the model process is told at once"
        assert talk.session.status is Status.STOPPING
    await talk.idle()
    assert talk.outcomes == [Outcome.CANCELLED]


# ---- a provider that ignores its token


@pytest.mark.promise("U8", "U10", "P3", "S1", "H6", "T9")
@pytest.mark.parametrize("forced", [False, True], ids=["grace", "second stop"])
@pytest.mark.parametrize("end", [DONE, NO_KEY, CancelItself()], ids=["finished", "failed", "cancelled"])
async def test_a_straggler_holds_nothing_up_and_changes_nothing(
    end: Finished | ModelError | CancelItself, forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    graces = Graces(ENDLESS, SHORT) if forced else Graces(SHORT, ENDLESS)
    monkeypatch.setattr(core.engine.step, "GRACES", graces)
    deaf = Deaf()
    talk = Conversation((*SOME, deaf, *LATE, end), say("fine"))
    await talk.begin("ask")
    assert talk.session.stop(ESCAPE)
    if forced:
        await rounds()
        assert talk.session.status is Status.STOPPING
        assert talk.session.force()
    await talk.idle()
    (ended,) = talk.ended
    assert (ended.outcome, ended.text) == (Outcome.CANCELLED, "part")
    assert ended.proof == StopReport("escape", None, None, unconfirmed=(MODEL,))
    (view,) = talk.registry.snapshot()
    assert view.state is OperationState.STOPPING
    assert not talk.registry.records

    assert (await talk.turn("again")).outcome is Outcome.COMPLETED
    before = (
        list(talk.events),
        talk.session.record.plain_steps,
        talk.session.record.usage,
        talk.session.record.context_used,
    )
    assert talk.session.record.usage == USAGE
    deaf.released.set()
    await talk.until(lambda: not talk.registry.snapshot())
    await rounds()
    assert (
        talk.events,
        talk.session.record.plain_steps,
        talk.session.record.usage,
        talk.session.record.context_used,
    ) == before
    assert [(record.reason, record.forced) for record in talk.registry.records] == [(ESCAPE, forced)]
    assert_in_order(talk.events)
    assert talk.provider.streaming == 0


@pytest.mark.promise("U8", "P3")
@pytest.mark.parametrize("end", [DONE, NO_KEY, Hold()], ids=["completed", "error", "cancelled"])
async def test_no_delta_arrives_after_the_outcome(end: Finished | ModelError | Hold) -> None:
    talk = Conversation((*SOME, end))
    if isinstance(end, Hold):
        await talk.stopped()
    else:
        await talk.turn()
    before = (list(talk.events), talk.session.record.plain_steps, talk.session.record.usage)
    for delta in (*LATE, PhaseChanged(Phase.CONNECTING)):
        talk.provider.emits[0](delta)
    await rounds()
    assert (talk.events, talk.session.record.plain_steps, talk.session.record.usage) == before


# ---- after the commit


@pytest.mark.promise("U6", "U2")
@pytest.mark.parametrize("at", [StepCommitted, TurnEnded])
async def test_a_committed_turn_stays_completed(at: type[Event]) -> None:
    talk = Conversation(REPLY)
    answers: list[bool] = []

    def stop(event: Event) -> None:
        if isinstance(event, at):
            answers.extend((talk.session.stop(ESCAPE), talk.session.force()))

    talk.session.subscribe(stop)
    ended = await talk.turn()
    assert (ended.outcome, ended.text, ended.proof) == (Outcome.COMPLETED, REPLY_TEXT, None)
    assert answers == [False, False]
    assert_in_order(talk.events)


@pytest.mark.promise("U6", "T9")
async def test_even_the_end_of_the_session_does_not_relabel_it() -> None:
    talk = Conversation(REPLY)
    talk.session.subscribe(
        lambda event: _ignore(isinstance(event, StepCommitted) and talk.session.token.cancel(QUIT))
    )
    ended = await talk.turn()
    assert (ended.outcome, ended.proof) == (Outcome.COMPLETED, None)
    assert not any(isinstance(event, TurnStopping) for event in talk.events)
    # A stop is a stop: its record tells that the stream had come to its own end.
    assert [record.state for record in talk.registry.records] == [OperationState.READY]


@pytest.mark.promise("U6", "P3", "H2", "T9")
async def test_a_stop_between_the_last_delta_and_the_commit_counts() -> None:
    talk = Conversation(REPLY)
    talk.session.submit("ask")
    await talk.until(lambda: bool(talk.provider.requests) and not talk.registry.snapshot())
    assert talk.session.status is Status.RUNNING
    await talk.stop()
    (ended,) = talk.ended
    assert (ended.outcome, ended.text) == (Outcome.CANCELLED, REPLY_TEXT)
    assert talk.session.record.usage.output_tokens == 0
    assert [(record.reason, record.state) for record in talk.registry.records] == [
        (ESCAPE, OperationState.READY)
    ]
