"""Blocking work beside the event loop, each piece in a daemon thread of its own.

Not in a pool: a thread that hangs, on a dead network share for instance, can neither be killed nor waited
for. In a pool a few of them keep everybody's work from ever starting, and the program from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def start_in_thread(work: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Start `work` and return its future, which ends in this event loop.

    Whoever cancels the future is rid of the result and not of the thread, which goes on to its end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        # A closed loop has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else result())

    def run() -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(value))

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


async def run_in_thread(work: Callable[[], T], *, name: str) -> T:
    """`start_in_thread`, awaited. A stop leaves the thread to itself: `work` must change nothing then."""
    return await start_in_thread(work, name=name)
