"""Compactions: when one is made, what a stop or a failure leaves of it, and that it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.cancel import Cancelled, CancelToken
from core.context.compaction import (
    ContextFull,
    NoCompaction,
    NothingToCompact,
    TurnGuard,
    compact,
)
from core.context.compaction_plan import Plan, decide
from core.context.summary import ATTEMPTS, CompactionFailed
from core.context.window import Context, room_of, text_tokens, visible
from core.model.messages import (
    REMINDER,
    FinishReason,
    Message,
    ResultStatus,
    Step,
    Usage,
    UserMessage,
    sendable,
)
from core.model.provider import (
    AttemptStarted,
    Closing,
    FailureKind,
    Finished,
    ModelError,
    ModelInfo,
    ModelRequest,
    Phase,
    PhaseChanged,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)
from core.operations.backoffs import BackoffRegistry
from core.operations.events import (
    Action,
    BackOffEnded,
    BackOffStarted,
    CompactionEnded,
    CompactionStarted,
    Trigger,
)
from core.operations.operation import OperationKind, OperationState
from core.operations.registry import Registry
from core.operations.session_operations import SessionOperations
from core.operations.supervise import Graces
from core.storage.codec import to_text
from core.storage.records import NOTHING_USED, Compaction
from tests.core.context.test_window import called, conversations, said
from tests.support.cancel_sweep import Ended, Trial, sweep
from tests.support.scripted_models import (
    ENDLESS,
    ESCAPE,
    MODEL,
    NO_KEY,
    SHORT,
    USAGE,
    Break,
    Deaf,
    Hold,
    Script,
    ScriptedProvider,
    Swallow,
    assert_accepted,
    say,
)
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = "word " * 400
LONG = tuple(said(f"{number} {WORDS}") for number in range(6))
"""Six turns of about 1,200 tokens each."""
NEXT = UserMessage("next")
TOO_LONG = ModelError(FailureKind.CONTEXT_TOO_LONG, "The conversation is too long: start a new one.")
SUMMARY = say("## Goal\n", "a short one")


class Compacted:
    """A conversation that is compacted, its services, and the events about it."""

    session_id = "session"
    parent_id = None

    def __init__(self, *scripts: Script, steps: Sequence[Step] = LONG, window: int | None = 10_000) -> None:
        self.provider = ScriptedProvider(*scripts)
        self.registry = Registry()
        self.steps = tuple(steps)
        self.compactions: list[Compaction] = []
        self.events: list[CompactionStarted | CompactionEnded | BackOffStarted | BackOffEnded] = []
        self.backoffs = BackoffRegistry()
        self.token = CancelToken("turn 1")
        self.abandoned_tasks: set[asyncio.Task[Any]] = set()
        self.window = window
        self.written = to_text(steps)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(MODEL, self.window, 1_000)

    def emit(self, event: CompactionStarted | CompactionEnded | BackOffStarted | BackOffEnded) -> None:
        self.events.append(event)

    def keep_compaction(self, compaction: Compaction) -> None:
        self.compactions.append(compaction)

    def context(self, pending: tuple[Message, ...] = ()) -> Context:
        return Context(self.steps, tuple(self.compactions), pending)

    def request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest:
        return ModelRequest(MODEL, sendable(messages), "be good", tools=tools)

    def guard(self) -> TurnGuard:
        return TurnGuard(self, self, 1, self.token)

    @property
    def ended(self) -> CompactionEnded:
        """The last one, of which there is one for each begin."""
        begun = [event.call_id for event in self.events if isinstance(event, CompactionStarted)]
        ended = [event for event in self.events if isinstance(event, CompactionEnded)]
        assert [event.call_id for event in ended] == begun
        return ended[-1]

    @property
    def asked(self) -> list[str]:
        """The prompts of the requests."""
        texts = []
        for request in self.provider.requests:
            assert_accepted(request.messages)
            assert request.tools == ()
            (message,) = request.messages
            assert isinstance(message, UserMessage)
            texts.append(message.text)
        return texts

    async def waiting(self) -> None:
        async with asyncio.timeout(GENEROUS_S):
            await self.provider.waiting.wait()

    def check_unchanged(self) -> None:
        assert self.compactions == []
        assert to_text(self.steps) == self.written
        assert self.context().messages() == visible(LONG, ())
        assert self.registry.snapshot() == ()
        assert self.ended.number is None
        assert self.ended.summary == ""


# -- one that goes well --


async def test_a_summary_is_kept_with_what_it_stands_for() -> None:
    talk = Compacted(SUMMARY)
    made = await compact(talk, talk, talk.token, "the file names")
    assert talk.compactions == [made]
    assert (made.number, made.upto, made.summary, made.usage) == (1, 5, "## Goal\na short one", USAGE)
    assert (made.trimmed, made.made_after, made.undone) == (5, 6, False)
    begun, ended = talk.events
    assert isinstance(begun, CompactionStarted)
    assert (begun.action, begun.trigger, begun.steps) == (Action.SUMMARISE, Trigger.ASKED, 5)
    assert ended == talk.ended
    assert isinstance(ended, CompactionEnded)
    assert (ended.number, ended.summary, ended.usage) == (1, made.summary, USAGE)
    assert ended.tokens < begun.tokens / 3
    (asked,) = talk.asked
    assert "[User]\nask 0" in asked
    assert "ask 5" not in asked
    assert asked.endswith("the file names")
    assert talk.provider.requests[0].system != "be good"
    assert talk.registry.snapshot() == ()


async def test_a_second_summary_is_made_of_the_first() -> None:
    talk = Compacted(SUMMARY, say("another"))
    await compact(talk, talk, talk.token)
    talk.steps = (*talk.steps, *LONG)
    made = await compact(talk, talk, talk.token)
    assert (made.number, made.upto) == (2, 11)
    asked = talk.asked[1]
    assert "[Summary of what was said before]\n## Goal\na short one" in asked
    assert asked.count("[User]") == 6


async def test_calls_are_told_in_short_and_reminders_dropped() -> None:
    told = f"Stopped after 1.0 s: the user stopped this call. {REMINDER}"
    stopped = called("a", told, prompt="go", status=ResultStatus.STOPPED)
    talk = Compacted(SUMMARY, steps=(stopped, called("b", "x" * 100_000), *LONG))
    await compact(talk, talk, talk.token)
    assert "[Assistant calls read]\n{}" in talk.asked[0]
    assert "[Result of read: stopped]\nStopped after 1.0 s: the user stopped this call.\n" in talk.asked[0]
    assert "[Result of read: completed]\nxxx" in talk.asked[0]
    assert len(talk.asked[0]) < 40_000


async def test_its_operation_is_listed_and_tells_how_far_it_is() -> None:
    talk = Compacted((PhaseChanged(Phase.STREAMING), TextDelta("x" * 600), Hold()))
    task = asyncio.create_task(compact(talk, talk, talk.token))
    await talk.waiting()
    (view,) = talk.registry.snapshot("session")
    assert (view.kind, view.phase, view.detail) == (OperationKind.COMPACTION, Phase.COMPACTION, "5 steps")
    assert view.state is OperationState.RUNNING
    assert "600 characters" in SessionOperations(talk.registry, "session").tail(view.call_id, 1)
    (emit,) = talk.provider.emits
    emit(AttemptStarted(600.0, 60.0))
    (view,) = talk.registry.snapshot("session")
    assert view.silence is not None
    assert (view.silence.limit_s, view.silence.is_begun) == (600.0, False)
    talk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task


async def test_a_last_step_alone_is_nothing_to_summarise() -> None:
    talk = Compacted(SUMMARY, steps=LONG[:1])
    with pytest.raises(NothingToCompact):
        await compact(talk, talk, talk.token)
    assert talk.events == []
    assert talk.provider.requests == []


# -- stopped --

PHASES: dict[str, Script] = {
    "waiting": (PhaseChanged(Phase.WAITING_FOR_HEADERS), Hold()),
    "streaming": (PhaseChanged(Phase.STREAMING), TextDelta("## Goal"), Hold()),
    "swallowing the stop": (TextDelta("## Goal"), Swallow(), *SUMMARY),
    "failing because of it": (TextDelta("## Goal"), Break(RuntimeError("closed"))),
}


@pytest.mark.promise("C1", "T9")
@pytest.mark.parametrize("script", PHASES.values(), ids=list(PHASES))
async def test_a_stop_changes_nothing(script: Script) -> None:
    talk = Compacted(script)
    task = asyncio.create_task(compact(talk, talk, talk.token))
    await talk.waiting()
    talk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    talk.check_unchanged()
    assert talk.ended.proof is not None
    assert talk.ended.error is None
    (record,) = talk.registry.records
    assert (record.kind, record.phase) == (OperationKind.COMPACTION, Phase.COMPACTION)
    assert record.state is OperationState.CANCELLED
    assert talk.abandoned_tasks == set()


@pytest.mark.promise("C1")
async def test_a_stop_before_the_request_makes_none() -> None:
    talk = Compacted(SUMMARY)
    task = asyncio.create_task(compact(talk, talk, talk.token))
    talk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    talk.check_unchanged()
    assert talk.provider.requests == []


@pytest.mark.promise("C1", "U10")
async def test_a_provider_that_ignores_the_stop_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.context.summary.GRACES", Graces(SHORT, ENDLESS))
    deaf = Deaf()
    talk = Compacted((TextDelta("## Goal"), deaf, *SUMMARY))
    task = asyncio.create_task(compact(talk, talk, talk.token))
    await talk.waiting()
    talk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    assert talk.ended.proof is not None
    assert talk.ended.proof.unconfirmed == ("compaction",)
    # It stays listed until it has really ended, and what it then says counts no more.
    assert len(talk.registry.snapshot()) == len(talk.abandoned_tasks) == 1
    (straggler,) = talk.abandoned_tasks
    (view,) = talk.registry.snapshot()
    talk.provider.emits[0](TextDelta("x" * 600))
    assert "characters" not in SessionOperations(talk.registry, "session").tail(view.call_id, 9)
    deaf.released.set()
    await asyncio.wait({straggler})
    talk.check_unchanged()


@pytest.mark.promise("C1")
async def test_the_proof_of_a_stop_tells_of_the_connection() -> None:
    talk = Compacted(PHASES["streaming"])
    guard = talk.guard()
    talk.window = 3_000
    task = asyncio.create_task(guard.fit((NEXT,)))
    await talk.waiting()
    talk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    assert guard.stop_report is not None
    assert guard.stop_report.closing is Closing.CLOSED
    assert guard.stop_report.after_s is not None
    assert guard.stop_report.after_s >= 0


@pytest.mark.promise("C1", "C2")
def test_a_stop_at_any_await_leaves_all_of_it_or_nothing() -> None:
    whole = 0

    def trial() -> Trial:
        talk = Compacted((TOO_LONG,), SUMMARY)

        def check(ended: Ended) -> None:
            nonlocal whole
            assert ended.leftover == ()
            assert ended.complaints == ()
            assert talk.registry.snapshot() == ()
            if ended.error is None:
                # Stopped after it was kept, or not at all: that takes nothing back.
                whole += 1
                assert [made.summary.rpartition("\n")[2] for made in talk.compactions] == ["a short one"]
                assert talk.ended.number == 1
            else:
                assert isinstance(ended.error, Cancelled)
                talk.check_unchanged()

        return Trial(
            lambda: compact(talk, talk, talk.token), lambda _: _ignore(talk.token.cancel(ESCAPE)), check
        )

    assert sweep(trial) >= 10
    assert whole


def _ignore(_: object) -> None:
    return None


# -- failed --

FAILURES: dict[str, tuple[Script, str]] = {
    "empty": (say(" \n"), "empty"),
    "only thought": (say("<think>", "hm", "</think>\n"), "empty"),
    "cut": ((TextDelta("## Goal"), Finished(FinishReason.LENGTH, USAGE, MODEL)), "cut off"),
    "refused": ((TextDelta("no"), Finished(FinishReason.CONTENT_FILTER, USAGE, MODEL)), "refused"),
    "unknown": (
        (TextDelta("no"), Finished(FinishReason.OTHER, USAGE, MODEL, words="odd")),
        "not known: .odd",
    ),
    "a call": ((ToolCallDelta(0, "{}", "a", "b"), Finished(FinishReason.TOOL_CALLS, USAGE, MODEL)), "tool"),
    "longer": (say("word " * 5_000), "not shorter"),
    "endless": ((TextDelta("word " * 20_000), Hold()), "longer than"),
    "an error": ((NO_KEY,), "no key"),
    "an error in the middle": ((TextDelta("## Goal"), NO_KEY), "no key"),
}


@pytest.mark.promise("C1")
@pytest.mark.parametrize(("script", "why"), FAILURES.values(), ids=list(FAILURES))
async def test_what_is_no_summary_changes_nothing(script: Script, why: str) -> None:
    talk = Compacted(script)
    with pytest.raises(CompactionFailed, match=why) as failed:
        await compact(talk, talk, talk.token)
    talk.check_unchanged()
    assert talk.ended.error == str(failed.value)
    assert "The conversation is as it was" in str(failed.value)
    assert talk.registry.records == ()


@pytest.mark.promise("C1")
async def test_a_failure_inside_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    talk = Compacted((TextDelta("## Goal"), RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        await compact(talk, talk, talk.token)
    talk.check_unchanged()
    assert talk.ended.error
    assert "failed unexpectedly" in caplog.text


@pytest.mark.promise("C1", "T5")
async def test_the_end_of_the_program_changes_nothing() -> None:
    talk = Compacted(PHASES["streaming"])
    task = asyncio.create_task(compact(talk, talk, talk.token))
    await talk.waiting()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait(talk.abandoned_tasks)
    talk.check_unchanged()


# -- too long to be summarised --


async def test_a_request_that_is_too_long_is_made_again_without_the_oldest_half() -> None:
    talk = Compacted((TOO_LONG,), (TOO_LONG,), SUMMARY)
    made = await compact(talk, talk, talk.token)
    assert [asked.count("[User]") for asked in talk.asked] == [5, 3, 2]
    assert "[User]\nask 3" in talk.asked[2]
    assert made.upto == 5
    assert made.summary.startswith("[The first 3 of the steps")


async def test_it_is_not_tried_for_ever() -> None:
    talk = Compacted((TOO_LONG,), steps=LONG * 8, window=None)
    with pytest.raises(CompactionFailed, match="even to be summarised"):
        await compact(talk, talk, talk.token)
    assert len(talk.asked) == ATTEMPTS
    assert talk.compactions == []


async def test_one_step_is_not_halved() -> None:
    talk = Compacted((TOO_LONG,), steps=LONG[:2])
    with pytest.raises(CompactionFailed, match="too long"):
        await compact(talk, talk, talk.token)
    assert len(talk.asked) == 1


async def test_what_cannot_fit_is_not_even_asked() -> None:
    talk = Compacted(SUMMARY, window=3_000)
    await compact(talk, talk, talk.token)
    assert [asked.count("[User]") for asked in talk.asked] == [2]


# -- in a turn --


async def test_what_fits_is_sent_as_it_is() -> None:
    talk = Compacted(SUMMARY)
    await talk.guard().fit((NEXT,))
    talk.window = None
    await talk.guard().fit((NEXT,))
    assert talk.events == []
    assert talk.provider.requests == []


OUTPUTS = tuple(called(f"call-{number}", "x" * 20_000, prompt="go") for number in range(10))


async def test_outputs_are_trimmed_before_anything_is_summarised() -> None:
    talk = Compacted(SUMMARY, steps=OUTPUTS, window=60_000)
    await talk.guard().fit((NEXT,))
    assert talk.provider.requests == []
    (made,) = talk.compactions
    assert (made.upto, made.summary, made.trimmed, made.usage) == (0, "", 6, NOTHING_USED)
    assert talk.ended.action is Action.TRIM
    before, after = Context(OUTPUTS).tokens(), talk.context((NEXT,)).tokens()
    assert after == talk.ended.tokens < 0.7 * before


async def test_trimming_keeps_the_summary_there_is() -> None:
    talk = Compacted(SUMMARY, steps=(*LONG, *OUTPUTS), window=60_000)
    talk.compactions.append(Compaction(1, 6, "the first", 0.0, trimmed=6, made_after=6))
    await talk.guard().fit((NEXT,))
    made = talk.compactions[-1]
    assert (made.number, made.upto, made.summary, made.trimmed) == (2, 6, "the first", 12)


async def test_a_context_that_is_nearly_full_is_summarised_within_the_turn() -> None:
    talk = Compacted(SUMMARY, window=4_000)
    await talk.guard().fit((NEXT,))
    (made,) = talk.compactions
    begun = talk.events[0]
    assert isinstance(begun, CompactionStarted)
    assert (begun.turn_id, begun.trigger) == (1, Trigger.AUTOMATIC)
    assert made.upto == 5
    assert talk.context((NEXT,)).tokens() < 1_500
    # Once is enough.
    await talk.guard().fit((NEXT,))
    assert len(talk.compactions) == 1


async def test_a_failure_does_not_end_a_turn_that_still_fits() -> None:
    talk = Compacted(say(" "))
    talk.window = Context(LONG).tokens() + 1_100
    guard = talk.guard()
    await guard.fit((NEXT,))
    await guard.fit((NEXT,))
    # Once in a turn: it would fail again at every step.
    assert len(talk.asked) == 1
    talk.check_unchanged()


async def test_one_that_is_stopped_alone_does_not_end_a_turn_that_still_fits() -> None:
    talk = Compacted(PHASES["streaming"])
    talk.window = Context(LONG).tokens() + 1_100
    task = asyncio.create_task(talk.guard().fit((NEXT,)))
    await talk.waiting()
    (view,) = talk.registry.snapshot()
    SessionOperations(talk.registry, "session").cancel(view.call_id, ESCAPE)
    await task
    talk.check_unchanged()
    assert talk.ended.error is None
    assert talk.ended.proof is not None


async def test_a_failure_ends_a_turn_that_does_not_fit() -> None:
    talk = Compacted(say(" "), window=3_000)
    with pytest.raises(CompactionFailed, match="empty"):
        await talk.guard().fit((NEXT,))
    talk.check_unchanged()


async def test_a_prompt_that_is_too_long_by_itself_is_said_to_be() -> None:
    talk = Compacted(SUMMARY, window=10_000)
    with pytest.raises(ContextFull, match=r"too long for test/model.*Choose a model"):
        await talk.guard().fit((UserMessage("word " * 20_000),))
    assert talk.provider.requests == []
    assert talk.events == []


async def test_a_stopped_turn_makes_no_compaction() -> None:
    talk = Compacted(SUMMARY, steps=OUTPUTS, window=60_000)
    talk.token.cancel(ESCAPE)
    await talk.guard().fit((NEXT,))
    assert talk.events == []
    await talk.guard().compact_after_refusal(TOO_LONG, (NEXT,))
    assert talk.events == []


@pytest.mark.parametrize("window", [None, 200_000], ids=["unknown", "known, but wrong"])
async def test_a_refusal_leads_to_one_compaction_and_one_retry(window: int | None) -> None:
    talk = Compacted(SUMMARY, window=window)
    guard = talk.guard()
    await guard.compact_after_refusal(TOO_LONG, (NEXT,))
    assert len(talk.compactions) == 1
    with pytest.raises(ContextFull):
        await guard.compact_after_refusal(TOO_LONG, (NEXT,))
    assert len(talk.asked) == 1
    # The next step of the turn has its own chance.
    talk.steps = (*talk.steps, *LONG)
    await guard.compact_after_refusal(TOO_LONG, ())
    assert len(talk.compactions) == 2


async def test_a_retry_that_is_refused_again_is_the_last() -> None:
    talk = Compacted(SUMMARY, steps=OUTPUTS, window=None)
    guard = talk.guard()
    await guard.compact_after_refusal(TOO_LONG, (NEXT,))
    assert talk.ended.action is Action.TRIM
    with pytest.raises(ContextFull):
        await guard.compact_after_refusal(TOO_LONG, (NEXT,))
    assert len(talk.compactions) == 1


def test_no_retry_is_made_for_a_saving_of_nothing() -> None:
    steps = (called("a", "x" * 3_300, prompt="word " * 20_000),)
    assert decide(Context(steps), None, Trigger.REFUSED) == Plan(Action.FULL)


async def test_another_failure_is_none_of_its_business() -> None:
    talk = Compacted(SUMMARY)
    for guard in (talk.guard(), NoCompaction()):
        with pytest.raises(ModelError) as raised:
            await guard.compact_after_refusal(NO_KEY, (NEXT,))
        assert raised.value is NO_KEY
    assert talk.events == []


async def test_the_latest_outputs_are_trimmed_when_nothing_else_helps() -> None:
    big = called("a", "x" * 100_000, prompt="go")
    talk = Compacted(SUMMARY, steps=(big,), window=20_000)
    await talk.guard().fit(())
    assert (talk.compactions[0].upto, talk.compactions[0].trimmed) == (0, 1)
    assert talk.provider.requests == []
    talk = Compacted(SUMMARY, steps=(*LONG, big), window=20_000)
    await talk.guard().fit(())
    assert (talk.compactions[0].upto, talk.compactions[0].trimmed) == (6, 7)


# -- it ends --


@pytest.mark.slow
@pytest.mark.promise("C1", "C3")
@given(conversations(), st.integers(100, 9_000), st.sampled_from(Trigger), st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_plans_come_to_an_end_and_keep_calls_with_their_results(
    steps: tuple[Step, ...], window: int, trigger: Trigger, wordy: bool
) -> None:
    room = room_of(ModelInfo(MODEL, window))
    context = Context(steps, (), (NEXT,))
    for number in range(1, 3 * len(steps) + 2):
        plan = decide(context, room, trigger)
        if plan.action in (Action.NOTHING, Action.FULL):
            break
        newest = context.newest
        assert plan.upto >= context.upto
        assert plan.trimmed <= len(steps)
        if plan.action is Action.SUMMARISE:
            assert context.upto < plan.upto < len(steps)
        else:
            assert plan.trimmed > context.trimmed
        summary = "" if newest is None else newest.summary
        if plan.action is Action.SUMMARISE:
            summary = "x" * (900 if wordy else 9)
        made = Compaction(number, plan.upto, summary, 0.0, trimmed=plan.trimmed, made_after=len(steps))
        context = context.with_compaction(made)
        assert_accepted(sendable(context.messages()))
    else:
        pytest.fail("a plan for ever")
    assert context.steps is steps


def test_a_small_window_is_not_compacted_at_every_step() -> None:
    """The system prompt and the tools alone nearly fill it: a summary of a little each time helps nobody."""
    room = room_of(ModelInfo(MODEL, 8_000))
    steps = (*LONG[:1], said("short"), said("shorter"))
    made = Compaction(1, 1, "summary", 0.0, trimmed=1, made_after=1)
    context = Context(steps, (made,), (NEXT,), overhead=6_500)
    assert room is not None
    assert room.threshold < context.tokens() < room.full
    assert decide(context, room, Trigger.AUTOMATIC) == Plan(Action.NOTHING)


def test_usage_of_the_provider_decides() -> None:
    counted = (*LONG[:5], replace(LONG[5], usage=Usage(9_000, 100)))
    room = room_of(ModelInfo(MODEL, 10_000, 1_000))
    assert decide(Context(LONG), room, Trigger.AUTOMATIC).action is Action.NOTHING
    assert decide(Context(counted), room, Trigger.AUTOMATIC).action is Action.SUMMARISE
    assert text_tokens(WORDS) > 500
