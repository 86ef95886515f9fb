"""Turns that end in other ways: failures, cancels from outside, bad listeners; and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import core.engine.step
from core.cancel import CancelToken, Cause
from core.context.compaction import NoCompaction
from core.engine.approval import CallPolicy
from core.engine.engine import run_turn
from core.engine.questions import Questions
from core.engine.turn import Turn, TurnServices
from core.model.provider import Finished, ModelChoice, ModelError
from core.operations.backoffs import BackoffRegistry
from core.operations.events import (
    Event,
    Outcome,
    TextArrived,
    TurnEnded,
    TurnStarted,
)
from core.operations.registry import Registry
from core.operations.supervise import Graces
from core.permissions.access import Workspace
from core.permissions.policy import Permissions
from core.session.history import History
from core.storage.journal import NullJournal
from tests.support.bound_tasks import rounds
from tests.support.no_tools import NoTools
from tests.support.scripted_models import (
    DONE,
    ESCAPE,
    MODEL,
    NO_KEY,
    NOTHING,
    REPLY,
    REPLY_TEXT,
    SHORT,
    SOME,
    CancelItself,
    Conversation,
    Deaf,
    Hold,
    Script,
    ScriptedProvider,
    assert_in_order,
    say,
)

if TYPE_CHECKING:
    from core.model.messages import Step

WORKSPACE = Workspace(Path.cwd())

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
    assert talk.replies == (["part"] if begin is SOME else [])
    assert talk.registry.snapshot() == ()
    assert (await talk.turn("again")).outcome is Outcome.COMPLETED
    assert_in_order(talk.events)


@pytest.mark.promise("U4")
@pytest.mark.parametrize("partial", [False, True])
async def test_a_commit_that_fails_is_no_completed_turn(partial: bool) -> None:
    """A store may fail. The turn then says so, and that before anything is taken for saved."""
    events: list[Event] = []
    turn = Turn(1, "ask", CancelToken("turn"))

    class Full(History):
        def commit(self, turn_id: int, step: Step) -> None:
            raise OSError(f"cannot save {turn_id}")

    record = Full(ModelChoice(MODEL), NullJournal(), lambda _: None)
    record.begin(turn)
    around = TurnServices(
        "s",
        ScriptedProvider((*SOME, NO_KEY if partial else DONE)),
        Registry(),
        MODEL,
        record,
        lambda _, __: NoCompaction(),
        events.append,
        set(),
        BackoffRegistry(),
        NoTools(),
        CallPolicy(WORKSPACE, Permissions(WORKSPACE), Questions()),
        lambda _: None,
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
    await talk.begin("ask")
    task = talk.task()
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


@pytest.mark.promise("T5")
async def test_a_failure_that_nobody_waits_for_any_more_is_not_complained_about() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    talk = Conversation((*SOME, LookupError("bug")))
    talk.session.submit("ask")
    await talk.until(lambda: bool(talk.provider.requests) and not talk.registry.snapshot())
    talk.task().cancel()
    await talk.idle()
    await rounds()
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize(
    "end", [DONE, NO_KEY, Hold(), Deaf()], ids=["completed", "error", "cancelled", "left"]
)
async def test_nothing_of_a_turn_outlives_it(
    end: Finished | ModelError | Hold | Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of thousands of turns keeps none of their tokens and tasks."""
    monkeypatch.setattr(core.engine.step, "GRACES", Graces(SHORT, 0.5))
    talk, before = Conversation((*SOME, end, DONE)), asyncio.all_tasks()
    talk.session.submit("ask")
    turn = talk.session.turn
    assert turn is not None
    alive = weakref.WeakSet[object]((turn.token, talk.task()))
    del turn
    if isinstance(end, Hold | Deaf):
        await talk.waiting()
        talk.session.stop(ESCAPE)
    await talk.idle()
    if isinstance(end, Deaf):
        end.released.set()
        await talk.until(lambda: not talk.registry.snapshot())
    talk.provider.emits.clear()
    if isinstance(end, ModelError):
        end.__traceback__ = None  # the script's own hold on the turn
    await rounds()
    gc.collect()
    assert list(alive) == []
    assert asyncio.all_tasks() == before


@pytest.mark.promise("T5", "U4", "H1")
async def test_a_turn_cancelled_before_its_first_step_ends_too() -> None:
    talk = Conversation(REPLY)
    talk.session.submit("ask")
    talk.task().cancel()
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
    assert talk.replies == [REPLY_TEXT]


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
                talk.session.queue.unpause()
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
