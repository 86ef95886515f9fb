"""Run the work of an operation in a task of its own, and wait for it although it may ignore its token (U10).

A task that is left behind stays owned: it is kept in the session's `abandoned_tasks` until it has ended.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from core.base.values import Value
from core.cancel import END_OF_PROGRAM, CancelReason, CancelToken, Cause
from core.operations.operation import OperationState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.operations.registry import Operation

log = logging.getLogger(__name__)

T = TypeVar("T")


class Graces(Value):
    """Seconds that stopped work may take to end, after the first stop and after the second (E7, S11)."""

    first: float
    forced: float


def start_operation(
    operation: Operation, work: Callable[[], Awaitable[T]], *, name: str = ""
) -> asyncio.Task[T]:
    """Run `work` under the operation's token, in a new task; the end of the task is the operation's end."""

    async def run() -> T:
        with operation, operation.token.bind():
            return await work()

    task = asyncio.create_task(run(), name=name or f"work of {operation.call_id}")
    task.add_done_callback(lambda done: _settle(operation, done))
    return task


async def supervise_operation(
    operation: Operation,
    work: Callable[[], Awaitable[T]],
    graces: Graces,
    abandoned_tasks: set[asyncio.Task[Any]],
    *,
    name: str = "",
) -> T:
    """Start an operation and wait for its result, for no longer than `graces` after a stop.

    Raises what the work raises, and `Cancelled` after a stop, also if the work has finished all the same:
    what it did after the stop was dropped.
    """
    task = start_operation(operation, work, name=name)
    done = await supervise(task, operation.token, graces, abandoned_tasks)
    operation.token.check()
    if not done or task.cancelled():
        raise RuntimeError(f"{task.get_name()} was cancelled, but nobody had asked for a stop")
    return task.result()


async def supervise(
    work: asyncio.Task[Any], token: CancelToken, graces: Graces, abandoned_tasks: set[asyncio.Task[Any]]
) -> bool:
    """Wait for a task that may ignore cancellation; true when it is done, false when it was abandoned.

    Without limit until a stop of `token`, then for a grace period. Never raises what the work raises: look
    at the task. A cancel from outside passes through (T5); it cancels the token for the end of the program
    and abandons the work.
    """
    loop = asyncio.get_running_loop()
    given_up: asyncio.Future[None] = loop.create_future()
    timers: list[asyncio.TimerHandle] = []

    def give_up() -> None:
        if not given_up.done():
            given_up.set_result(None)

    def grant(seconds: float) -> None:
        if not given_up.done():
            timers.append(loop.call_later(seconds, give_up))

    def grant_in_loop(seconds: float) -> None:
        loop.call_soon_threadsafe(grant, seconds)

    waited_for: set[asyncio.Future[Any]] = {work, given_up}
    try:
        with (
            token.on_cancel(lambda _: grant_in_loop(graces.first)),
            token.on_force(lambda _: grant_in_loop(graces.forced)),
        ):
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    finally:
        given_up.cancel()
        for timer in timers:
            timer.cancel()
        if not work.done():
            # Only a stop that was not obeyed, or the end of the program, abandons work.
            token.cancel(CancelReason(Cause.QUIT, END_OF_PROGRAM))
            abandoned_tasks.add(work)
            work.add_done_callback(lambda done: _reap(done, abandoned_tasks))
    return work.done()


def _settle(operation: Operation, task: asyncio.Task[Any]) -> None:
    """End the operation of a task that was cancelled before its first step (S9)."""
    if operation.state.live and not operation.ends_late:
        operation.end(OperationState.CANCELLED)
    if not task.cancelled():
        task.exception()  # retrieved, because the waiting task may be gone


def _reap(task: asyncio.Task[Any], abandoned_tasks: set[asyncio.Task[Any]]) -> None:
    abandoned_tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("%s, which was abandoned, has ended: %r", task.get_name(), error)
