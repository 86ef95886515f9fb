"""A whole turn, stopped at every single await: in each way, and each time it must be as if planned for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

import pytest

from core.model.messages import AssistantMessage, Step, Usage, UserMessage
from core.model.provider import FailureKind, ModelError
from core.operations.events import Outcome, ReasoningArrived, Status, TextArrived, TurnEnded
from tests.support.cancel_sweep import Ended, Trial, in_thread, sweep
from tests.support.scripted_models import (
    ESCAPE,
    QUIT,
    REPLY,
    REPLY_TEXT,
    USAGE,
    Conversation,
    assert_accepted,
    assert_in_order,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken

FAILED = ModelError(FailureKind.BROKEN_STREAM, "The stream broke: send the prompt again.")


class By(StrEnum):
    LOOP = "session.stop in the loop"
    THREAD = "session.stop in a thread"
    CALL = "the stream alone, by its id"
    TWICE = "a stop and a second one at once"
    OUTER = "the cancel of the turn's task"
    CLOSE = "the session's token"


@dataclass
class Visit:
    """One turn that is stopped at the point, and, once all is checked, one after it that must complete."""

    by: By
    fails: bool = False
    talk: Conversation = field(init=False)
    entry: tuple[tuple[Step, ...], Usage] = field(init=False)
    after: tuple[tuple[Step, ...], Usage] = field(init=False)
    asked: bool = False
    """Whether the stop found a turn to stop."""

    async def run(self) -> None:
        script = (*REPLY[:-1], FAILED) if self.fails else REPLY
        self.talk = Conversation(script)
        self.entry = self.talk.session.record.plain_steps, self.talk.session.record.usage
        self.talk.session.submit("ask")
        await self.talk.session.wait_idle()
        self.after = self.talk.session.record.plain_steps, self.talk.session.record.usage

    def stop(self, _: asyncio.Task[Any]) -> None:
        session = self.talk.session
        match self.by:
            case By.LOOP:
                self.asked = session.stop(ESCAPE)
            case By.THREAD:
                in_thread(lambda: self.note(session.stop(ESCAPE)))
            case By.CALL:
                operations = session.operations
                calls = [view.call_id for view in operations.snapshot()]
                self.asked = any(operations.cancel(call, ESCAPE).answer == "cancelled" for call in calls)
            case By.TWICE:
                self.asked = session.stop(ESCAPE)
                assert session.force() is self.asked
            case By.OUTER:
                self.asked = self.cancel_task()
            case By.CLOSE:
                token: CancelToken = session.token
                self.asked = session.status is Status.RUNNING
                token.cancel(QUIT)
            case _:
                assert_never(self.by)

    def note(self, asked: bool) -> None:
        self.asked = asked

    def cancel_task(self) -> bool:
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("turn ")]
        return any(task.cancel() for task in tasks)

    # ---- what must hold at every point

    def check(self, ended: Ended) -> None:
        assert ended.error is None
        assert ended.complaints == ()
        assert ended.leftover == ()
        assert_in_order(self.talk.events)
        (end,) = self.talk.ended
        self.check_end(end)
        self.check_history(end)
        self.check_records(end)
        assert self.talk.session.status is Status.IDLE
        assert self.talk.registry.snapshot() == ()
        assert self.talk.provider.streaming == 0
        if self.by is not By.CLOSE:
            asyncio.run(self.go_on())

    def check_end(self, end: TurnEnded) -> None:
        normal = Outcome.ERROR if self.fails else Outcome.COMPLETED
        assert end.outcome in (normal, Outcome.CANCELLED)
        if end.outcome is Outcome.CANCELLED:
            assert self.asked
            assert end.proof is not None
            source = {By.OUTER: "end of the program", By.CLOSE: "ctrl+c"}.get(self.by, "escape")
            assert end.proof.source == source
        else:
            assert end.proof is None
        if self.asked and self.by in (By.LOOP, By.THREAD, By.TWICE):
            assert end.outcome is Outcome.CANCELLED, "stop() had said that it stops this turn"

    def check_history(self, end: TurnEnded) -> None:
        texts = [event.text for event in self.talk.events if isinstance(event, TextArrived)]
        shown = "".join(texts)
        anything = any(isinstance(event, TextArrived | ReasoningArrived) for event in self.talk.events)
        steps, usage = self.after
        assert end.text == shown
        assert self.entry == ((), Usage(0, 0))
        if end.outcome is Outcome.COMPLETED:
            assert shown == REPLY_TEXT
            assert usage == USAGE
        else:
            assert usage == Usage(0, 0)
        if not steps:
            assert (anything, end.returned_prompt) == (False, "ask")
            return
        assert anything
        assert end.returned_prompt is None
        ((prompt, reply),) = [step.messages for step in steps]
        assert prompt == UserMessage("ask")
        assert isinstance(reply, AssistantMessage)
        assert reply.text == shown
        assert reply.interrupted is (end.outcome is not Outcome.COMPLETED)
        assert (reply.finish is None) is reply.interrupted

    def check_records(self, end: TurnEnded) -> None:
        records = self.talk.registry.records
        assert len(records) <= 1
        if end.outcome is Outcome.CANCELLED and self.by is not By.OUTER:
            (record,) = records
            assert record.reason is (QUIT if self.by is By.CLOSE else ESCAPE)
            assert "ask" not in str(record)
            assert REPLY_TEXT.split()[0] not in str(record)

    async def go_on(self) -> None:
        """The next turn completes, and what it sends is well formed and says what has been."""
        self.talk.provider.scripts[:] = [say("fine")]
        assert (await self.talk.turn("again")).outcome is Outcome.COMPLETED
        (step, *_) = self.after[0] or (None,)
        messages = self.talk.provider.requests[-1].messages
        assert_accepted(messages)
        said = " ".join(message.text for message in messages)
        assert said.endswith("again")
        if step is not None:
            assert said.startswith("ask")
            assert all(message.text in said for message in step.messages)
        else:
            assert messages == (UserMessage("again"),)
        assert len(self.talk.ended) == 2


@pytest.mark.promise("U1", "U2", "U4", "U6", "U8", "H1", "H2", "H6", "S9", "T9", "P3")
@pytest.mark.parametrize("by", [By.LOOP, By.THREAD, By.CALL, By.TWICE, By.CLOSE])
def test_a_turn_is_stopped_at_every_await(by: By) -> None:
    assert visits(lambda: Visit(by)) >= 20


@pytest.mark.promise("U4", "U7", "U8", "H1", "H2", "S9", "T9")
@pytest.mark.parametrize("by", [By.LOOP, By.CALL])
def test_a_turn_that_is_about_to_fail_is_stopped_at_every_await(by: By) -> None:
    assert visits(lambda: Visit(by, fails=True)) >= 20


@pytest.mark.promise("T5", "U4", "U8", "H1", "H2", "S9")
@pytest.mark.parametrize("fails", [False, True])
def test_a_turn_is_cancelled_from_outside_at_every_await(fails: bool) -> None:
    assert visits(lambda: Visit(By.OUTER, fails=fails)) >= 20


def visits(visit: Callable[[], Visit]) -> int:
    def trial() -> Trial:
        current = visit()
        return Trial(current.run, current.stop, current.check)

    return sweep(trial)
