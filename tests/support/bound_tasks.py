"""Tasks bound to tokens, for the tests of cancelling: started, waiting inside, and how they ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from tests.support.cancel_sweep import in_thread
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

USER = CancelReason(Cause.USER, "escape")
QUIT = CancelReason(Cause.QUIT, "ctrl+c")
FOREVER = 3_600
"""Seconds after which a wait counts as a hang; never reached when all is well."""


class Block:
    """A task that is bound to tokens, outermost first, and waits in the innermost block."""

    def __init__(self, *tokens: CancelToken) -> None:
        self.inside = asyncio.Event()
        self.left = asyncio.Event()
        self.cancelling = -1
        self.task = asyncio.create_task(self._run(tokens))

    async def _run(self, tokens: tuple[CancelToken, ...]) -> None:
        try:
            await self._bind(tokens)
        finally:
            current = asyncio.current_task()
            assert current is not None
            self.cancelling = current.cancelling()

    async def _bind(self, tokens: tuple[CancelToken, ...]) -> None:
        if tokens:
            with tokens[0].bind():
                await self._bind(tokens[1:])
        else:
            self.inside.set()
            await self.left.wait()


async def begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task of this work, which has come to its first wait."""
    task = asyncio.create_task(work)
    await rounds()
    return task


def cancel(token: CancelToken, reason: CancelReason, *, by_thread: bool) -> None:
    if by_thread:
        in_thread(lambda: token.cancel(reason))
    else:
        token.cancel(reason)


async def end_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Wait for the task and return what it raised. A time limit wakes a sleeping loop, so none may pass."""
    hung = asyncio.Event()
    limit = asyncio.get_running_loop().call_later(GENEROUS_S, hung.set)
    await asyncio.wait([task], timeout=GENEROUS_S + 1)
    limit.cancel()
    assert not hung.is_set(), "it ended only when the time limit woke the loop, or not at all"
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def block(*tokens: CancelToken) -> Block:
    started = Block(*tokens)
    await started.inside.wait()
    return started


async def cancelled_with(started: Block) -> CancelReason:
    error = await end_of(started.task)
    assert isinstance(error, Cancelled), repr(error)
    assert started.cancelling == 0
    return error.reason


async def rounds(count: int = 5) -> None:
    """Let the loop go round, so that whatever could go on without us has done so."""
    for _ in range(count):
        await asyncio.sleep(0)
