"""Run blocking work beside the event loop, each piece in a daemon thread of its own.

There is no pool: a thread that hangs, on a dead network share for instance, cannot be killed. In a pool a few
such threads would keep all other work from starting, and the program from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def with_future(work: Callable[[], T]) -> tuple[Callable[[], None], asyncio.Future[T]]:
    """Return a function that runs `work` in another thread, and the future that it completes in this loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        # If the loop is closed, nothing waits for the result.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else result())

    def run() -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(value))

    return run, future


def start_in_thread(work: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Start `work` and return its future, which is completed in this event loop.

    Cancelling the future gives up the result; the thread goes on until its work ends.
    """
    run, future = with_future(work)
    threading.Thread(target=run, name=name, daemon=True).start()
    return future


async def run_in_thread(work: Callable[[], T], *, name: str) -> T:
    """Await `start_in_thread`. A stop does not end the thread, so `work` must not change anything later."""
    return await start_in_thread(work, name=name)


def start_daemon(work: Callable[[], T], *, name: str) -> Future[T]:
    """Start `work` and return a future for a thread that waits with a limit. The work goes on after that."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
