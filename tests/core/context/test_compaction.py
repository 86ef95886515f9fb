"""Compactions: when one is made, what a stop or a failure leaves of it, and that it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cancel import Cancelled, CancelToken
from core.codec import encode_step, to_text
from core.compaction import (
    AsItIs,
    CompactionHome,
    ContextFull,
    NothingToCompact,
    TurnFitter,
    compact,
)
from core.compaction_plan import Action, Plan, Trigger, decide
from core.context import Context, room_of, text_tokens, visible
from core.events import BackOffEnded, BackOffStarted, CompactionEnded, CompactionStarted
from core.messages import FinishReason, Message, ResultStatus, Step, Usage, UserMessage, sendable
from core.model import (
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
from core.operations import OperationKind, OperationState, Registry
from core.records import NOTHING_USED, Compaction
from core.results import REMINDER
from core.summary import ATTEMPTS, CompactionFailed
from core.supervision import Graces
from core.waits import Waits
from tests.core.providers import (
    BOUND,
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
from tests.core.sweep import Ended, Trial, sweep
from tests.core.test_context import called, conversations, said

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = "word " * 400
LONG = tuple(said(f"{number} {WORDS}") for number in range(6))
"""Six turns of about 1,200 tokens each."""
NEXT = UserMessage("next")
TOO_LONG = ModelError(FailureKind.CONTEXT_TOO_LONG, "The conversation is too long: start a new one.")
SUMMARY = say("## Goal\n", "a short one")


class Desk:
    """A conversation that is compacted, and all that is told of it."""

    def __init__(self, *scripts: Script, steps: Sequence[Step] = LONG, window: int | None = 10_000) -> None:
        self.provider = ScriptedProvider(*scripts)
        self.registry = Registry()
        self.steps = tuple(steps)
        self.compactions: list[Compaction] = []
        self.events: list[CompactionStarted | CompactionEnded | BackOffStarted | BackOffEnded] = []
        self.waits = Waits()
        self.token = CancelToken("turn 1")
        self.stragglers: set[asyncio.Task[Any]] = set()
        self.window = window
        self.written = to_text([encode_step(step) for step in steps])
        self.home = CompactionHome(
            "session",
            self.provider,
            self.registry,
            self.context,
            lambda: ModelInfo(MODEL, self.window, 1_000),
            self.request,
            self.compactions.append,
            self.events.append,
            self.stragglers,
            self.waits,
        )

    def context(self, pending: tuple[Message, ...] = ()) -> Context:
        return Context(self.steps, tuple(self.compactions), pending)

    def request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest:
        return ModelRequest(MODEL, sendable(messages), "be good", tools=tools)

    def fitter(self) -> TurnFitter:
        return TurnFitter(self.home, 1, self.token)

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
        async with asyncio.timeout(BOUND):
            await self.provider.waiting.wait()

    def check_unchanged(self) -> None:
        assert self.compactions == []
        assert to_text([encode_step(step) for step in self.steps]) == self.written
        assert self.context().messages() == visible(LONG, ())
        assert self.registry.snapshot() == ()
        assert self.ended.number is None
        assert self.ended.summary == ""


# -- one that goes well --


async def test_a_summary_is_kept_with_what_it_stands_for() -> None:
    desk = Desk(SUMMARY)
    made = await compact(desk.home, desk.token, "the file names")
    assert desk.compactions == [made]
    assert (made.number, made.upto, made.summary, made.usage) == (1, 5, "## Goal\na short one", USAGE)
    assert (made.trimmed, made.made_after, made.undone) == (5, 6, False)
    begun, ended = desk.events
    assert isinstance(begun, CompactionStarted)
    assert (begun.action, begun.trigger, begun.steps) == (Action.SUMMARISE, Trigger.ASKED, 5)
    assert ended == desk.ended
    assert isinstance(ended, CompactionEnded)
    assert (ended.number, ended.summary, ended.usage) == (1, made.summary, USAGE)
    assert ended.tokens < begun.tokens / 3
    (asked,) = desk.asked
    assert "[User]\nask 0" in asked
    assert "ask 5" not in asked
    assert asked.endswith("the file names")
    assert desk.provider.requests[0].system != "be good"
    assert desk.registry.snapshot() == ()


async def test_a_second_summary_is_made_of_the_first() -> None:
    desk = Desk(SUMMARY, say("another"))
    await compact(desk.home, desk.token)
    desk.steps = (*desk.steps, *LONG)
    made = await compact(desk.home, desk.token)
    assert (made.number, made.upto) == (2, 11)
    asked = desk.asked[1]
    assert "[Summary of what was said before]\n## Goal\na short one" in asked
    assert asked.count("[User]") == 6


async def test_calls_are_told_in_short_and_reminders_dropped() -> None:
    told = f"Stopped after 1.0 s: the user stopped this call. {REMINDER}"
    stopped = called("a", told, prompt="go", status=ResultStatus.STOPPED)
    desk = Desk(SUMMARY, steps=(stopped, called("b", "x" * 100_000), *LONG))
    await compact(desk.home, desk.token)
    assert "[Assistant calls read]\n{}" in desk.asked[0]
    assert "[Result of read: stopped]\nStopped after 1.0 s: the user stopped this call.\n" in desk.asked[0]
    assert "[Result of read: completed]\nxxx" in desk.asked[0]
    assert len(desk.asked[0]) < 40_000


async def test_its_operation_is_listed_and_tells_how_far_it_is() -> None:
    desk = Desk((PhaseChanged(Phase.STREAMING), TextDelta("x" * 600), Hold()))
    task = asyncio.create_task(compact(desk.home, desk.token))
    await desk.waiting()
    (view,) = desk.registry.snapshot("session")
    assert (view.kind, view.phase, view.detail) == (OperationKind.COMPACTION, Phase.COMPACTION, "5 steps")
    assert view.state is OperationState.RUNNING
    assert "600 characters" in desk.registry.tail("session", view.call_id, 1)
    desk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task


async def test_a_last_step_alone_is_nothing_to_summarise() -> None:
    desk = Desk(SUMMARY, steps=LONG[:1])
    with pytest.raises(NothingToCompact):
        await compact(desk.home, desk.token)
    assert desk.events == []
    assert desk.provider.requests == []


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
    desk = Desk(script)
    task = asyncio.create_task(compact(desk.home, desk.token))
    await desk.waiting()
    desk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    desk.check_unchanged()
    assert desk.ended.proof is not None
    assert desk.ended.error is None
    (record,) = desk.registry.records
    assert (record.kind, record.phase) == (OperationKind.COMPACTION, Phase.COMPACTION)
    assert record.state is OperationState.CANCELLED
    assert desk.stragglers == set()


@pytest.mark.promise("C1")
async def test_a_stop_before_the_request_makes_none() -> None:
    desk = Desk(SUMMARY)
    task = asyncio.create_task(compact(desk.home, desk.token))
    desk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    desk.check_unchanged()
    assert desk.provider.requests == []


@pytest.mark.promise("C1", "U10")
async def test_a_provider_that_ignores_the_stop_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.summary.GRACES", Graces(SHORT, ENDLESS))
    deaf = Deaf()
    desk = Desk((TextDelta("## Goal"), deaf, *SUMMARY))
    task = asyncio.create_task(compact(desk.home, desk.token))
    await desk.waiting()
    desk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    assert desk.ended.proof is not None
    assert desk.ended.proof.unconfirmed == ("compaction",)
    # It stays listed until it has really ended, and what it then says counts no more.
    assert len(desk.registry.snapshot()) == len(desk.stragglers) == 1
    (straggler,) = desk.stragglers
    (view,) = desk.registry.snapshot()
    desk.provider.emits[0](TextDelta("x" * 600))
    assert "characters" not in desk.registry.tail("session", view.call_id, 9)
    deaf.released.set()
    await asyncio.wait({straggler})
    desk.check_unchanged()


@pytest.mark.promise("C1")
async def test_the_proof_of_a_stop_tells_of_the_connection() -> None:
    desk = Desk(PHASES["streaming"])
    fitter = desk.fitter()
    desk.window = 3_000
    task = asyncio.create_task(fitter.fit((NEXT,)))
    await desk.waiting()
    desk.token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        await task
    assert fitter.proof is not None
    assert fitter.proof.closing is Closing.CLOSED
    assert fitter.proof.after_s is not None
    assert fitter.proof.after_s >= 0


@pytest.mark.promise("C1", "C2")
def test_a_stop_at_any_await_leaves_all_of_it_or_nothing() -> None:
    whole = 0

    def trial() -> Trial:
        desk = Desk((TOO_LONG,), SUMMARY)

        def check(ended: Ended) -> None:
            nonlocal whole
            assert ended.leftover == ()
            assert ended.complaints == ()
            assert desk.registry.snapshot() == ()
            if ended.error is None:
                # Stopped after it was kept, or not at all: that takes nothing back.
                whole += 1
                assert [made.summary.rpartition("\n")[2] for made in desk.compactions] == ["a short one"]
                assert desk.ended.number == 1
            else:
                assert isinstance(ended.error, Cancelled)
                desk.check_unchanged()

        return Trial(
            lambda: compact(desk.home, desk.token), lambda _: _ignore(desk.token.cancel(ESCAPE)), check
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
    "a call": ((ToolCallDelta(0, "{}", "a", "b"), Finished(FinishReason.TOOL_CALLS, USAGE, MODEL)), "tool"),
    "longer": (say("word " * 5_000), "not shorter"),
    "endless": ((TextDelta("word " * 20_000), Hold()), "longer than"),
    "an error": ((NO_KEY,), "no key"),
    "an error in the middle": ((TextDelta("## Goal"), NO_KEY), "no key"),
}


@pytest.mark.promise("C1")
@pytest.mark.parametrize(("script", "why"), FAILURES.values(), ids=list(FAILURES))
async def test_what_is_no_summary_changes_nothing(script: Script, why: str) -> None:
    desk = Desk(script)
    with pytest.raises(CompactionFailed, match=why) as failed:
        await compact(desk.home, desk.token)
    desk.check_unchanged()
    assert desk.ended.error == str(failed.value)
    assert "The conversation is as it was" in str(failed.value)
    assert desk.registry.records == ()


@pytest.mark.promise("C1")
async def test_a_failure_inside_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk((TextDelta("## Goal"), RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        await compact(desk.home, desk.token)
    desk.check_unchanged()
    assert desk.ended.error
    assert "failed unexpectedly" in caplog.text


@pytest.mark.promise("C1", "T5")
async def test_the_end_of_the_program_changes_nothing() -> None:
    desk = Desk(PHASES["streaming"])
    task = asyncio.create_task(compact(desk.home, desk.token))
    await desk.waiting()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait(desk.stragglers)
    desk.check_unchanged()


# -- too long to be summarised --


async def test_a_request_that_is_too_long_is_made_again_without_the_oldest_half() -> None:
    desk = Desk((TOO_LONG,), (TOO_LONG,), SUMMARY)
    made = await compact(desk.home, desk.token)
    assert [asked.count("[User]") for asked in desk.asked] == [5, 3, 2]
    assert "[User]\nask 3" in desk.asked[2]
    assert made.upto == 5
    assert made.summary.startswith("[The first 3 of the steps")


async def test_it_is_not_tried_for_ever() -> None:
    desk = Desk((TOO_LONG,), steps=LONG * 8, window=None)
    with pytest.raises(CompactionFailed, match="even to be summarised"):
        await compact(desk.home, desk.token)
    assert len(desk.asked) == ATTEMPTS
    assert desk.compactions == []


async def test_one_step_is_not_halved() -> None:
    desk = Desk((TOO_LONG,), steps=LONG[:2])
    with pytest.raises(CompactionFailed, match="too long"):
        await compact(desk.home, desk.token)
    assert len(desk.asked) == 1


async def test_what_cannot_fit_is_not_even_asked() -> None:
    desk = Desk(SUMMARY, window=3_000)
    await compact(desk.home, desk.token)
    assert [asked.count("[User]") for asked in desk.asked] == [2]


# -- in a turn --


async def test_what_fits_is_sent_as_it_is() -> None:
    desk = Desk(SUMMARY)
    await desk.fitter().fit((NEXT,))
    desk.window = None
    await desk.fitter().fit((NEXT,))
    assert desk.events == []
    assert desk.provider.requests == []


OUTPUTS = tuple(called(f"call-{number}", "x" * 20_000, prompt="go") for number in range(10))


async def test_outputs_are_trimmed_before_anything_is_summarised() -> None:
    desk = Desk(SUMMARY, steps=OUTPUTS, window=60_000)
    await desk.fitter().fit((NEXT,))
    assert desk.provider.requests == []
    (made,) = desk.compactions
    assert (made.upto, made.summary, made.trimmed, made.usage) == (0, "", 6, NOTHING_USED)
    assert desk.ended.action is Action.TRIM
    before, after = Context(OUTPUTS).tokens(), desk.context((NEXT,)).tokens()
    assert after == desk.ended.tokens < 0.7 * before


async def test_trimming_keeps_the_summary_there_is() -> None:
    desk = Desk(SUMMARY, steps=(*LONG, *OUTPUTS), window=60_000)
    desk.compactions.append(Compaction(1, 6, "the first", 0.0, trimmed=6, made_after=6))
    await desk.fitter().fit((NEXT,))
    made = desk.compactions[-1]
    assert (made.number, made.upto, made.summary, made.trimmed) == (2, 6, "the first", 12)


async def test_a_context_that_is_nearly_full_is_summarised_within_the_turn() -> None:
    desk = Desk(SUMMARY, window=4_000)
    await desk.fitter().fit((NEXT,))
    (made,) = desk.compactions
    begun = desk.events[0]
    assert isinstance(begun, CompactionStarted)
    assert (begun.turn_id, begun.trigger) == (1, Trigger.AUTOMATIC)
    assert made.upto == 5
    assert desk.context((NEXT,)).tokens() < 1_500
    # Once is enough.
    await desk.fitter().fit((NEXT,))
    assert len(desk.compactions) == 1


async def test_a_failure_does_not_end_a_turn_that_still_fits() -> None:
    desk = Desk(say(" "))
    desk.window = Context(LONG).tokens() + 1_100
    fitter = desk.fitter()
    await fitter.fit((NEXT,))
    await fitter.fit((NEXT,))
    # Once in a turn: it would fail again at every step.
    assert len(desk.asked) == 1
    desk.check_unchanged()


async def test_one_that_is_stopped_alone_does_not_end_a_turn_that_still_fits() -> None:
    desk = Desk(PHASES["streaming"])
    desk.window = Context(LONG).tokens() + 1_100
    task = asyncio.create_task(desk.fitter().fit((NEXT,)))
    await desk.waiting()
    (view,) = desk.registry.snapshot()
    desk.registry.cancel("session", view.call_id, ESCAPE)
    await task
    desk.check_unchanged()
    assert desk.ended.error is None
    assert desk.ended.proof is not None


async def test_a_failure_ends_a_turn_that_does_not_fit() -> None:
    desk = Desk(say(" "), window=3_000)
    with pytest.raises(CompactionFailed, match="empty"):
        await desk.fitter().fit((NEXT,))
    desk.check_unchanged()


async def test_a_prompt_that_is_too_long_by_itself_is_said_to_be() -> None:
    desk = Desk(SUMMARY, window=10_000)
    with pytest.raises(ContextFull, match=r"too long for test/model.*Choose a model"):
        await desk.fitter().fit((UserMessage("word " * 20_000),))
    assert desk.provider.requests == []
    assert desk.events == []


async def test_a_stopped_turn_makes_no_compaction() -> None:
    desk = Desk(SUMMARY, steps=OUTPUTS, window=60_000)
    desk.token.cancel(ESCAPE)
    await desk.fitter().fit((NEXT,))
    assert desk.events == []
    await desk.fitter().make_room(TOO_LONG, (NEXT,))
    assert desk.events == []


@pytest.mark.parametrize("window", [None, 200_000], ids=["unknown", "known, but wrong"])
async def test_a_refusal_leads_to_one_compaction_and_one_retry(window: int | None) -> None:
    desk = Desk(SUMMARY, window=window)
    fitter = desk.fitter()
    await fitter.make_room(TOO_LONG, (NEXT,))
    assert len(desk.compactions) == 1
    with pytest.raises(ContextFull):
        await fitter.make_room(TOO_LONG, (NEXT,))
    assert len(desk.asked) == 1
    # The next step of the turn has its own chance.
    desk.steps = (*desk.steps, *LONG)
    await fitter.make_room(TOO_LONG, ())
    assert len(desk.compactions) == 2


async def test_a_retry_that_is_refused_again_is_the_last() -> None:
    desk = Desk(SUMMARY, steps=OUTPUTS, window=None)
    fitter = desk.fitter()
    await fitter.make_room(TOO_LONG, (NEXT,))
    assert desk.ended.action is Action.TRIM
    with pytest.raises(ContextFull):
        await fitter.make_room(TOO_LONG, (NEXT,))
    assert len(desk.compactions) == 1


def test_no_retry_is_made_for_a_saving_of_nothing() -> None:
    steps = (called("a", "x" * 3_300, prompt="word " * 20_000),)
    assert decide(Context(steps), None, Trigger.REFUSED) == Plan(Action.FULL)


async def test_another_failure_is_none_of_its_business() -> None:
    desk = Desk(SUMMARY)
    for fitter in (desk.fitter(), AsItIs()):
        with pytest.raises(ModelError) as raised:
            await fitter.make_room(NO_KEY, (NEXT,))
        assert raised.value is NO_KEY
    assert desk.events == []


async def test_the_latest_outputs_are_trimmed_when_nothing_else_helps() -> None:
    big = called("a", "x" * 100_000, prompt="go")
    desk = Desk(SUMMARY, steps=(big,), window=20_000)
    await desk.fitter().fit(())
    assert (desk.compactions[0].upto, desk.compactions[0].trimmed) == (0, 1)
    assert desk.provider.requests == []
    desk = Desk(SUMMARY, steps=(*LONG, big), window=20_000)
    await desk.fitter().fit(())
    assert (desk.compactions[0].upto, desk.compactions[0].trimmed) == (6, 7)


# -- it ends --


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
