"""Waiting for work that may be deaf: as long as nobody asks for its end, and then for a grace at most (U10).

Work runs in a task of its own, so that one which ignores its token can be left behind. What is left behind
stays owned: it is kept among the stragglers until it has really ended.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from core.cancel import CancelReason, CancelToken, Cause
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

END_OF_PROGRAM = "end of the program"


@dataclass(frozen=True, slots=True)
class Graces:
    """Seconds that stopped work may take to end, after the first stop and after the second (E7, S11)."""

    first: float
    forced: float


async def supervise(
    work: asyncio.Task[Any], token: CancelToken, graces: Graces, stragglers: set[asyncio.Task[Any]]
) -> bool:
    """Wait for `work`, which runs under `token`; true when it is done, false when it was given up.

    Never raises what the work raises: look at the task. A cancel from outside passes through (T5); it
    cancels the token for the end of the program, and the work is left to the stragglers.
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

    waited_for: set[asyncio.Future[Any]] = {work, given_up}
    try:
        with (
            token.on_cancel(_in_loop(loop, grant, graces.first)),
            token.on_force(_in_loop(loop, grant, graces.forced)),
        ):
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    finally:
        given_up.cancel()
        for timer in timers:
            timer.cancel()
        if not work.done():
            # Only a stop that was not obeyed, or the end of the program, leaves one behind.
            token.cancel(CancelReason(Cause.QUIT, END_OF_PROGRAM))
            stragglers.add(work)
            work.add_done_callback(lambda done: _bury(done, stragglers))
    return work.done()


def _in_loop(
    loop: asyncio.AbstractEventLoop, action: Callable[[float], None], seconds: float
) -> Callable[[CancelReason], None]:
    return lambda _: _ignore(loop.call_soon_threadsafe(action, seconds))


def _ignore(_: object) -> None:
    return None


def _bury(work: asyncio.Task[Any], stragglers: set[asyncio.Task[Any]]) -> None:
    stragglers.discard(work)
    if not work.cancelled() and (error := work.exception()) is not None:
        log.info("%s, which was left behind, has ended: %r", work.get_name(), error)
