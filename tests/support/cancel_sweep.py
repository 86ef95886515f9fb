"""Stop a piece of asynchronous work at its 1st, 2nd, ... n-th await, until it ends without having been so.

Races hide in the one await that nobody thought of. Instead of guessing it, a sweep visits them all: every
resumption of every task of the work is counted, and at the n-th one `stop` is called. Each visit is a new
run, so a check may assert anything about what the work left behind.

    def check(ended: Ended) -> None:
        assert ended.leftover == ()
        ...

    visits = sweep(lambda: Trial(run=turn, stop=lambda task: session.stop(reason), check=check))

`stop_at` is the single visit inside a loop that already runs: for work with fixtures of its own (a server, a
model process), call it for n = 1, 2, ... until `ended.stopped` is false. Work whose number of awaits varies
from run to run may be swept as well; the sweep is then complete up to that variation.

It must never change what it watches: no await is added, removed or put off, and what a task yields, gets and
raises passes through.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Work = Callable[[], Coroutine[Any, Any, Any]]
Stop = Callable[[asyncio.Task[Any]], None]


class Moment(StrEnum):
    """When, at the n-th await, the stop comes. The two take different ways through asyncio and anyio."""

    AWAITING = "awaiting"
    """The task waits, and the loop itself calls `stop`: the cancel interrupts the await."""

    RESUMING = "resuming"
    """The await is over and its result on the way: the work calls `stop`, in its own task, and goes on."""


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th resumption, counted from 1 over all tasks of the work."""

    n: int
    moment: Moment

    def __str__(self) -> str:
        return f"stop while {self.moment} at await {self.n}"


@dataclass(frozen=True, slots=True)
class Ended:
    """What one visit left behind."""

    point: Point
    stopped: bool
    """Whether the point was reached: false once n is past the last await of the work."""
    value: object
    error: BaseException | None
    """What the work's task raised, `CancelledError` included."""
    leftover: tuple[asyncio.Task[Any], ...]
    """Tasks of the work that were still alive right after it; they have been cancelled and awaited since."""
    complaints: tuple[str, ...]
    """What the event loop reported meanwhile: exceptions never retrieved, failed callbacks."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One fresh instance of the work: `run` is it, `stop` stops it, `check` asserts on how it ended."""

    run: Work
    stop: Stop
    check: Callable[[Ended], None]


def sweep(trial: Callable[[], Trial], *, limit: int = 1_000) -> int:
    """Visit every point of the work, each with a fresh `trial()` in a fresh event loop; return how many.

    The run that is past the last await is checked too. What `check` raises gets a note that names the point.
    Raises `AssertionError` when the work still has awaits after `limit` visits.
    """
    visits = 0
    for moment in Moment:
        for n in range(1, limit + 1):
            current, point = trial(), Point(n, moment)
            ended = asyncio.run(stop_at(point, current.run, current.stop))
            try:
                current.check(ended)
            except BaseException as error:
                error.add_note(f"sweep: {point}")
                raise
            if not ended.stopped:
                break
            visits += 1
        else:
            raise AssertionError(f"more than {limit} awaits: raise the limit or look for a loop")
    return visits


async def stop_at(point: Point, run: Work, stop: Stop) -> Ended:
    """Run the work in a task of its own, call `stop(task)` at the point, and tell how it ended.

    Awaits of tasks that the work starts are counted too; a point after the work's own end is none.
    """
    loop = asyncio.get_running_loop()
    visit = _Visit(point, loop, stop)
    before = asyncio.all_tasks()
    factory, handler = loop.get_task_factory(), loop.get_exception_handler()
    loop.set_task_factory(visit.task)
    loop.set_exception_handler(visit.complain)
    try:
        visit.main = loop.create_task(run(), name=f"work, {point}")
        await asyncio.wait([visit.main])
        # What the work's last step put into the loop's queue (a callback, a task's end) is part of it.
        await asyncio.sleep(0)
        leftover = asyncio.all_tasks() - before
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)
    finally:
        loop.set_task_factory(factory)
        loop.set_exception_handler(handler)
    error = asyncio.CancelledError() if visit.main.cancelled() else visit.main.exception()
    value = visit.main.result() if error is None else None
    return Ended(point, visit.stopped, value, error, tuple(leftover), tuple(visit.complaints))


def in_thread(stop: Callable[[], object]) -> None:
    """Call `stop` in another thread and wait for it here, so that the event loop stands still meanwhile."""
    thread = threading.Thread(target=stop, name="stopper")
    thread.start()
    thread.join()


@dataclass(slots=True)
class _Visit:
    point: Point
    loop: asyncio.AbstractEventLoop
    stop: Stop
    main: asyncio.Task[Any] = field(init=False)
    count: int = 0
    stopped: bool = False
    complaints: list[str] = field(default_factory=list)

    def task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
        **more: Any,
    ) -> asyncio.Task[Any]:
        assert isinstance(work, Coroutine)
        return asyncio.Task(_Steps(work, self), loop=loop, **more)

    def complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def suspended(self) -> None:
        """A task has just reached an await; its resumption will be number `count`."""
        self.count += 1
        if self.count == self.point.n and self.point.moment is Moment.AWAITING:
            # From the loop: here the task is still the current one, and a scope would spare it for now.
            self.loop.call_soon(self.fire)

    def resumed(self, step: int) -> None:
        if step == self.point.n and self.point.moment is Moment.RESUMING:
            self.fire()

    def fire(self) -> None:
        if not self.main.done():
            self.stopped = True
            self.stop(self.main)


class _Steps(Coroutine[Any, Any, Any]):
    """A coroutine that tells the visit of each await that its task reaches and comes back from."""

    def __init__(self, inner: Coroutine[Any, Any, Any], visit: _Visit) -> None:
        self._inner = inner
        self._visit = visit
        self._step = 0

    def send(self, value: Any) -> Any:
        return self._advance(lambda: self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._advance(lambda: self._inner.throw(*error))

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        # cr_running, cr_suspended, cr_frame: anyio and asyncio ask a coroutine for its state.
        return getattr(self._inner, name)

    def _advance(self, step: Callable[[], Any]) -> Any:
        if self._step:
            self._visit.resumed(self._step)
        awaited = step()
        self._visit.suspended()
        self._step = self._visit.count
        return awaited
