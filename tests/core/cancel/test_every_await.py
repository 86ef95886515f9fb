"""T1 to T7 at every single await: a small turn is stopped at the 1st, 2nd, ... n-th of them, in every way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, shielded
from tests.support.bound_tasks import FOREVER, QUIT, USER, rounds
from tests.support.cancel_sweep import Ended, Moment, Point, Trial, in_thread, stop_at, sweep
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


@dataclass
class Turn:
    """A turn with one call, made of all that is hard to stop, which notes what it does."""

    token: CancelToken = field(default_factory=lambda: CancelToken("turn"))
    done: list[str] = field(default_factory=list)
    """Every await of the work that came to its end."""
    entered: list[str] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)
    told: list[CancelReason] = field(default_factory=list)
    call_stopped: CancelReason | None = None
    swallowed: int = 0
    members: int = 0
    cut: list[str] = field(default_factory=list)
    """Clean-ups that an outer cancel ended, which no shield holds off."""
    cancelling: int = -1

    def __post_init__(self) -> None:
        self.call = self.token.child("call")

    async def run(self) -> str:
        try:
            with self.token.on_cancel(self.told.append), self.token.bind():
                async with self.cleaned_up("turn"):
                    await self.note("request", asyncio.sleep(0))
                    await self.run_call()
                    await self.run_group()
                    await self.note("commit", asyncio.sleep(0))
        finally:
            current = asyncio.current_task()
            assert current is not None
            self.cancelling = current.cancelling()
        return "completed"

    async def run_call(self) -> None:
        try:
            with self.call.bind():
                async with self.cleaned_up("call"):
                    await self.note("call: library", self.library())
                    await self.note("call: task", asyncio.create_task(rounds(2)))
                    async with asyncio.timeout(GENEROUS_S):
                        await self.note("call: with a time-out", self.woken())
        except Cancelled as stopped:
            self.call_stopped = stopped.reason

    async def run_group(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.member, "a")
            group.start_soon(self.member, "b")
            await self.note("group: host", asyncio.sleep(0))

    async def member(self, name: str) -> None:
        self.members += 1
        try:
            async with self.cleaned_up(name):
                await self.note(f"group: {name}", self.woken())
        finally:
            self.members -= 1

    async def library(self) -> None:
        """Takes the first CancelledError for a hiccup and tries again."""
        try:
            await self.woken()
        except asyncio.CancelledError:
            self.swallowed += 1
        await asyncio.sleep(0)
        await self.woken()

    async def woken(self) -> None:
        """Wait as one waits for a socket: for a future that the loop sets."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        loop.call_soon(loop.call_soon, wake)
        await future

    @asynccontextmanager
    async def cleaned_up(self, name: str) -> AsyncIterator[None]:
        self.entered.append(name)
        try:
            yield
        finally:
            with shielded(GENEROUS_S):
                try:
                    await rounds(2)
                except asyncio.CancelledError:
                    self.cut.append(name)
                    raise
                self.cleaned.append(name)

    async def note(self, name: str, work: Coroutine[Any, Any, None] | asyncio.Task[None]) -> None:
        await work
        self.done.append(name)


WORK = {"request", "call: library", "call: task", "call: with a time-out", "commit"}
WORK |= {"group: host", "group: a", "group: b"}


@dataclass
class AttemptMonitor:
    """One visit of the sweep: the turn, how it is stopped, and how it stood at that moment."""

    how: Callable[[CancelToken, asyncio.Task[Any]], None]
    turn: Turn = field(default_factory=Turn)
    done: int = 0
    running: int = 0

    def stop(self, task: asyncio.Task[Any]) -> None:
        self.done = len(self.turn.done)
        self.running = 1 + self.turn.members
        self.how(self.turn.token, task)

    def nothing_is_left(self, ended: Ended) -> None:
        assert ended.leftover == ()
        assert ended.complaints == ()
        before = list(self.turn.done), list(self.turn.told)
        self.turn.token.cancel(QUIT)
        assert (self.turn.done, self.turn.told) == before

    def all_is_cleaned_up(self, *, cut: int = 0) -> None:
        assert sorted(self.turn.cleaned + self.turn.cut) == sorted(self.turn.entered)
        assert len(self.turn.cut) <= cut

    def all_is_done(self) -> None:
        assert sorted(self.turn.done) == sorted(WORK)

    def nothing_went_on(self) -> None:
        """At most the await that was over already, in each task, was noted after the stop."""
        assert len(self.turn.done) - self.done <= self.running

    def check_token(self, ended: Ended) -> None:
        """The turn's token: Cancelled with its reason, out of the turn, unless that had ended by itself."""
        self.all_is_cleaned_up()
        if not ended.stopped:
            self.all_is_done()
        else:
            self.nothing_went_on()
            assert self.turn.token.reason is USER
            assert self.turn.call_stopped in (None, USER)
        if ended.error is None:
            assert ended.value == "completed"
            self.all_is_done()
        else:
            assert isinstance(ended.error, Cancelled)
            assert ended.error.reason is USER
            assert self.turn.told == [USER]
        assert self.turn.cancelling == 0
        self.nothing_is_left(ended)

    def check_call(self, ended: Ended) -> None:
        """The call's token: the call ends with the reason, the turn goes on and completes."""
        self.all_is_cleaned_up()
        assert (ended.value, ended.error) == ("completed", None)
        missing = WORK - set(self.turn.done)
        assert missing <= {work for work in WORK if work.startswith("call: ")}
        assert bool(missing) == (self.turn.call_stopped is USER)
        if missing and self.done:
            assert sum(work.startswith("call: ") for work in self.turn.done[self.done :]) <= 1
        assert self.turn.told == []
        assert self.turn.cancelling == 0
        self.nothing_is_left(ended)

    def check_outer(self, ended: Ended) -> None:
        """The task's own cancel: as if there were no token. It is delivered once, so it can be swallowed."""
        if not ended.stopped or self.turn.swallowed:
            assert ended.value == "completed"
            self.all_is_done()
        else:
            assert isinstance(ended.error, asyncio.CancelledError)
            self.nothing_went_on()
        self.all_is_cleaned_up(cut=1)
        assert self.turn.call_stopped is None
        assert self.turn.cancelling == int(ended.stopped)
        self.nothing_is_left(ended)

    def check_both(self, ended: Ended) -> None:
        """Both at once: the outer one is not relabelled, nor can it be swallowed, for the token insists."""
        if ended.stopped:
            assert isinstance(ended.error, asyncio.CancelledError)
            self.nothing_went_on()
        else:
            self.all_is_done()
        self.all_is_cleaned_up(cut=1)
        assert self.turn.call_stopped in (None, USER)
        assert self.turn.cancelling == int(ended.stopped)
        self.nothing_is_left(ended)


def visits(watch: Callable[[], AttemptMonitor], check: Callable[[AttemptMonitor, Ended], None]) -> int:
    def trial() -> Trial:
        current = watch()
        return Trial(current.turn.run, current.stop, lambda ended: check(current, ended))

    return sweep(trial)


def by_loop(token: CancelToken) -> None:
    token.cancel(USER)


def by_thread(token: CancelToken) -> None:
    in_thread(lambda: token.cancel(USER))


@pytest.mark.promise("T1", "T3", "T4", "T7")
@pytest.mark.parametrize("by", [by_loop, by_thread])
def test_the_turn_is_stopped_at_every_await(by: Callable[[CancelToken], None]) -> None:
    assert visits(lambda: AttemptMonitor(lambda token, _: by(token)), AttemptMonitor.check_token) >= 40


@pytest.mark.promise("T1", "T3", "T4", "T7")
@pytest.mark.parametrize("by", [by_loop, by_thread])
def test_the_call_is_stopped_at_every_await(by: Callable[[CancelToken], None]) -> None:
    def watch() -> AttemptMonitor:
        turn = Turn()
        return AttemptMonitor(lambda *_: by(turn.call), turn)

    assert visits(watch, AttemptMonitor.check_call) >= 40


@pytest.mark.promise("T5")
def test_the_task_is_cancelled_from_outside_at_every_await() -> None:
    def cancel(_: CancelToken, task: asyncio.Task[Any]) -> None:
        task.cancel()

    assert visits(lambda: AttemptMonitor(cancel), AttemptMonitor.check_outer) >= 40


@pytest.mark.promise("T4", "T5")
@pytest.mark.parametrize("by", [by_loop, by_thread])
@pytest.mark.parametrize("token_first", [True, False])
def test_both_at_once_at_every_await(by: Callable[[CancelToken], None], token_first: bool) -> None:
    def cancel(token: CancelToken, task: asyncio.Task[Any]) -> None:
        if token_first:
            by(token)
        task.cancel()
        if not token_first:
            by(token)

    assert visits(lambda: AttemptMonitor(cancel), AttemptMonitor.check_both) >= 40


# ---- the sweep itself


async def test_a_visit_tells_of_tasks_left_over_and_of_lost_errors() -> None:
    async def fail() -> None:
        raise LookupError("lost")

    async def work() -> None:
        failed = asyncio.create_task(fail())
        left = asyncio.create_task(asyncio.sleep(FOREVER), name="left over")
        await rounds()
        del failed, left

    ended = await stop_at(Point(1, Moment.AWAITING), work, lambda task: None)
    assert [task.get_name() for task in ended.leftover] == ["left over"]
    assert ended.complaints == ("Task exception was never retrieved: LookupError('lost')",)
    assert all(task.cancelled() for task in ended.leftover)
