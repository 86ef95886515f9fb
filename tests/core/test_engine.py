"""One turn, from U1 to U10: however it ends, it ends once, and nothing comes after it."""

from __future__ import annotations

import asyncio
import logging

import pytest

import core.engine
from core.cancel import CancelReason, CancelToken, Cause
from core.engine import Surroundings, Turn, run_turn
from core.events import (
    CallRefused,
    Event,
    Outcome,
    ReasoningArrived,
    Status,
    StepCommitted,
    StopProof,
    TextArrived,
    TurnEnded,
    TurnStarted,
    TurnStopping,
)
from core.messages import AssistantMessage, FinishReason, Reasoning, Step, Text, UserMessage
from core.model import (
    Closing,
    FailureKind,
    Finished,
    ModelError,
    ModelRequest,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.operations import CancelAnswer, OperationKind, OperationState, Registry
from tests.core.blocks import rounds
from tests.core.providers import (
    DONE,
    ESCAPE,
    MODEL,
    REPLY,
    REPLY_TEXT,
    USAGE,
    Break,
    CancelItself,
    Conversation,
    Deaf,
    Hold,
    Script,
    ScriptedProvider,
    Swallow,
    assert_in_order,
    say,
)
from tests.core.sweep import in_thread

QUIT = CancelReason(Cause.QUIT, "end of the program")
NO_KEY = ModelError(FailureKind.NO_KEY, "There is no key: set one.", detail="detail")
LATE = (TextDelta("late"), ReasoningDelta("late"), ToolCallDelta(0, "{}", "id", "late"))


def turn_task() -> asyncio.Task[object]:
    (task,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("turn ")]
    return task


def kept(talk: Conversation) -> list[str]:
    """The replies of the history."""
    return [message.text for message in talk.messages if isinstance(message, AssistantMessage)]


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
        CallRefused(1, "read"),
        TurnEnded(1, Outcome.COMPLETED, REPLY_TEXT),
    ]
    assert ended is talk.events[-1]
    assert statuses == [Status.IDLE, *[Status.RUNNING] * 7, Status.IDLE]
    parts = (Reasoning("thinking", "signature"), Text(REPLY_TEXT))
    reply = AssistantMessage(parts, MODEL, FinishReason.STOP)
    assert talk.session.history == (Step((UserMessage("ask"), reply), USAGE),)
    assert talk.registry.snapshot() == ()
    assert talk.registry.records == ()


@pytest.mark.promise("S1")
async def test_the_stream_is_listed_while_it_lives() -> None:
    talk = Conversation((PhaseChanged(Phase.STREAMING), TextDelta("a"), Hold()))
    talk.session.submit("ask")
    await talk.waiting()
    (view,) = talk.registry.snapshot(talk.session.session_id)
    assert (view.kind, view.title, view.state, view.phase) == (
        OperationKind.STREAM,
        MODEL,
        OperationState.RUNNING,
        Phase.STREAMING,
    )
    talk.session.stop(ESCAPE)
    await talk.idle()
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
    assert talk.session.history == ()
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

NOTHING: Script = (PhaseChanged(Phase.WAITING_FOR_HEADERS), TextDelta(""), ReasoningDelta("", "signature"))
SOME: Script = (PhaseChanged(Phase.STREAMING), TextDelta("part"))
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
    talk.session.submit("ask")
    await talk.waiting()

    def stop() -> None:
        if alone:
            (view,) = talk.registry.snapshot()
            answer = talk.registry.cancel(view.session_id, view.call_id, ESCAPE).answer
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
    assert (ended.text, ended.returned_prompt) == (("part", None) if begin is SOME else ("", "ask"))
    assert kept(talk) == (["part"] if begin is SOME else [])
    assert all(step.usage is None for step in talk.session.history)
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
    talk.session.submit("ask")
    await talk.waiting()
    talk.session.stop(CancelReason(Cause.DEADLINE, "60 s"))
    await talk.idle()
    assert talk.outcomes == [Outcome.TIMEOUT]


@pytest.mark.promise("U5", "U1")
async def test_a_stop_needs_neither_lock_nor_loop() -> None:
    """While the loop stands still and holds the registry's lock: a thread stops the turn and forces it."""
    talk = Conversation((*SOME, Hold()))
    talk.session.submit("ask")
    await talk.waiting()
    answers: list[bool] = []
    told: list[CancelReason] = []

    def stop() -> None:
        answers.extend((talk.session.stop(ESCAPE), talk.session.stop(ESCAPE), talk.session.force()))

    turn = talk.session._turn
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


ENDLESS, SHORT = 3_600.0, 0.001
"""Seconds of grace: one of the two never ends within the test, the other is the one that must."""


@pytest.mark.promise("U8", "U10", "P3", "S1", "H6", "T9")
@pytest.mark.parametrize("forced", [False, True], ids=["grace", "second stop"])
@pytest.mark.parametrize("end", [DONE, NO_KEY, CancelItself()], ids=["finished", "failed", "cancelled"])
async def test_a_straggler_holds_nothing_up_and_changes_nothing(
    end: Finished | ModelError | CancelItself, forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.engine, "GRACE_S", ENDLESS if forced else SHORT)
    monkeypatch.setattr(core.engine, "FORCED_GRACE_S", SHORT if forced else ENDLESS)
    deaf = Deaf()
    talk = Conversation((*SOME, deaf, *LATE, end), say("fine"))
    talk.session.submit("ask")
    await talk.waiting()
    assert talk.session.stop(ESCAPE)
    if forced:
        await rounds()
        assert talk.session.status is Status.STOPPING
        assert talk.session.force()
    await talk.idle()
    (ended,) = talk.ended
    assert (ended.outcome, ended.text) == (Outcome.CANCELLED, "part")
    assert ended.proof == StopProof("escape", None, None, unconfirmed=(MODEL,))
    (view,) = talk.registry.snapshot()
    assert view.state is OperationState.STOPPING
    assert not talk.registry.records

    assert (await talk.turn("again")).outcome is Outcome.COMPLETED
    before = (list(talk.events), talk.session.history, talk.session.usage, talk.session.context_used)
    assert talk.session.usage == USAGE
    deaf.released.set()
    await talk.until(lambda: not talk.registry.snapshot())
    await rounds()
    assert (talk.events, talk.session.history, talk.session.usage, talk.session.context_used) == before
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
    before = (list(talk.events), talk.session.history, talk.session.usage)
    for delta in (*LATE, PhaseChanged(Phase.CONNECTING)):
        talk.provider.emits[0](delta)
    await rounds()
    assert (talk.events, talk.session.history, talk.session.usage) == before


# ---- after the commit


@pytest.mark.promise("U6", "U2")
@pytest.mark.parametrize("at", [StepCommitted, CallRefused, TurnEnded])
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
    assert talk.session.stop(ESCAPE)
    await talk.idle()
    (ended,) = talk.ended
    assert (ended.outcome, ended.text) == (Outcome.CANCELLED, REPLY_TEXT)
    assert talk.session.usage.output_tokens == 0
    assert [(record.reason, record.state) for record in talk.registry.records] == [
        (ESCAPE, OperationState.READY)
    ]


# ---- failures


@pytest.mark.promise("U4", "S9", "H1")
@pytest.mark.parametrize("begin", [NOTHING, SOME], ids=["nothing", "some"])
@pytest.mark.parametrize("error", [NO_KEY, LookupError("bug"), CancelItself()], ids=str)
async def test_a_failure_is_told_once_and_the_session_goes_on(
    error: Exception | CancelItself, begin: Script, caplog: pytest.LogCaptureFixture
) -> None:
    talk = Conversation((*begin, error), say("fine"))
    ended = await talk.turn("ask")
    assert ended.outcome is Outcome.ERROR
    assert ended.proof is None
    expected = str(NO_KEY) if error is NO_KEY else "The turn failed inside Caesura"
    assert (ended.error or "").startswith(expected)
    assert "bug" not in str(ended)
    assert any(entry.levelno >= logging.WARNING for entry in caplog.records)
    assert ended.returned_prompt == (None if begin is SOME else "ask")
    assert kept(talk) == (["part"] if begin is SOME else [])
    assert talk.registry.snapshot() == ()
    assert (await talk.turn("again")).outcome is Outcome.COMPLETED
    assert_in_order(talk.events)


@pytest.mark.promise("U4")
@pytest.mark.parametrize("partial", [False, True])
async def test_a_commit_that_fails_is_no_completed_turn(partial: bool) -> None:
    """A store may fail. The turn then says so, and that before anything is taken for saved."""
    events: list[Event] = []
    turn = Turn(1, UserMessage("ask"), CancelToken("turn"))

    def commit(turn_id: int, step: Step) -> None:
        raise OSError(f"cannot save {turn_id}")

    around = Surroundings(
        "s",
        ScriptedProvider((*SOME, NO_KEY if partial else DONE)),
        Registry(),
        lambda prompt: ModelRequest(MODEL, (prompt,)),
        commit,
        events.append,
        set(),
    )
    await run_turn(turn, around)
    ended = events[-1]
    assert isinstance(ended, TurnEnded)
    assert ended.outcome is Outcome.ERROR
    assert not turn.committed
    assert [type(event) for event in events].count(TurnEnded) == 1
    assert around.registry.snapshot() == ()


# ---- cancelled from outside


@pytest.mark.promise("T5", "U4", "S9", "H1", "H2")
@pytest.mark.parametrize("begin", [NOTHING, SOME], ids=["nothing", "some"])
async def test_outer_cancellation_passes_through_and_is_not_the_users(begin: Script) -> None:
    talk = Conversation((*begin, Hold()), say("fine"))
    talk.session.submit("ask")
    await talk.waiting()
    task = turn_task()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    (ended,) = talk.ended
    assert ended.outcome is Outcome.CANCELLED
    assert ended.proof is not None
    assert ended.proof.source == "end of the program"
    assert (ended.text, ended.returned_prompt) == (("part", None) if begin is SOME else ("", "ask"))
    await talk.until(lambda: not talk.registry.snapshot())
    assert [record.reason.cause for record in talk.registry.records] == [Cause.QUIT]
    assert (await talk.turn("again")).outcome is Outcome.COMPLETED
    assert_in_order(talk.events)


@pytest.mark.promise("T5", "U4", "H1")
async def test_a_turn_cancelled_before_its_first_step_ends_too() -> None:
    talk = Conversation(REPLY)
    talk.session.submit("ask")
    turn_task().cancel()
    await talk.idle()
    (ended,) = talk.ended
    assert (ended.outcome, ended.returned_prompt) == (Outcome.CANCELLED, "ask")
    assert talk.provider.requests == []
    assert (await talk.turn("again")).outcome is Outcome.COMPLETED
    assert_in_order(talk.events)


@pytest.mark.promise("T5", "U4", "S9")
@pytest.mark.parametrize("steps", range(12))
def test_the_end_of_the_event_loop_ends_the_turn_and_leaves_nothing(
    steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    """All tasks are cancelled at once, those that never ran included."""
    talks: list[Conversation] = []

    async def main() -> None:
        talk = Conversation(REPLY)
        talks.append(talk)
        talk.session.submit("ask")
        await rounds(steps)

    asyncio.run(main())
    (talk,) = talks
    assert len(talk.ended) == 1
    assert talk.registry.snapshot() == ()
    assert caplog.text == ""
    assert_in_order(talk.events)


# ---- listeners


@pytest.mark.promise("U4", "U8")
@pytest.mark.parametrize("error", [LookupError("listener"), asyncio.CancelledError()], ids=repr)
async def test_a_listener_that_fails_at_everything_disturbs_nobody(error: BaseException) -> None:
    talk = Conversation(REPLY)
    heard: list[Event] = []

    def fail(_: Event) -> None:
        raise error

    talk.session.subscribe(fail)
    talk.session.subscribe(heard.append)
    assert (await talk.turn()).outcome is Outcome.COMPLETED
    assert heard == talk.events
    assert kept(talk) == [REPLY_TEXT]


@pytest.mark.promise("U2", "U4")
async def test_all_listeners_hear_the_same_story_though_one_acts_on_it() -> None:
    """What a listener causes is told after what caused it, also to those who come after it in the list."""
    talk = Conversation(say("one"), (*SOME, Hold()), say("three"))
    late: list[Event] = []

    def act(event: Event) -> None:
        match event:
            case TurnStarted(1):
                talk.session.submit("queued")
            case TurnEnded(1):
                talk.session.submit("two, before the queued one")
            case TextArrived(2):
                talk.session.stop(ESCAPE)
            case TurnEnded(2):
                talk.session.send_queued()
            case _:
                pass

    talk.session.subscribe(act)
    talk.session.subscribe(late.append)
    await talk.turn("one")
    assert talk.outcomes == [Outcome.COMPLETED, Outcome.CANCELLED, Outcome.COMPLETED]
    prompts = [event.prompt for event in talk.events if isinstance(event, TurnStarted)]
    assert prompts == ["one", "two, before the queued one", "queued"]
    assert late == talk.events
    assert_in_order(late)
