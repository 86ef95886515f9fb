"""Limits of concurrent requests, for servers that accept only a certain number.

A slot is granted in the thread that releases another one. A waiter can be stopped at the moment when it gets
its slot; then the slot goes to the next waiter and is never lost (R5).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from providers.routing.attempts import monitor_attempts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.cancel import CancelToken
    from core.model.provider import Emit, Finished, ModelInfo, ModelProvider, ModelRequest


class _Waiter:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.woken: asyncio.Future[None] = loop.create_future()
        self.granted = False

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class ConcurrencyLimit:
    """`most` slots, granted in the order of the requests. Any number of event loops may share them."""

    def __init__(self, most: int) -> None:
        self.free = most
        self._waiting: deque[_Waiter] = deque()
        # Re-entrant: a collected generator may release its slot while the lock is held.
        self._lock = threading.RLock()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def acquired(self, token: CancelToken) -> AsyncIterator[None]:
        """Hold a slot. Waits for one without polling; raises `Cancelled` when `token` ends the wait."""
        await self._acquire(token)
        try:
            # After a stop at the moment of the grant no work follows, and the slot is released.
            token.check()
            yield
        finally:
            self._release()

    async def _acquire(self, token: CancelToken) -> None:
        waiter = _Waiter(asyncio.get_running_loop())
        with self._lock:
            if self.free:
                self.free -= 1
                return
            self._waiting.append(waiter)
        entered = False
        try:
            with token.bind():
                await waiter.woken
            entered = True
        finally:
            if not entered:
                self._leave(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.granted:
                self._release()

    def _release(self) -> None:
        with self._lock:
            while self._waiting:
                waiter = self._waiting.popleft()
                waiter.granted = True
                try:
                    waiter.loop.call_soon_threadsafe(waiter.wake)
                except RuntimeError:
                    # On a closed loop no task waits any more.
                    waiter.granted = False
                    continue
                return
            self.free += 1


class Limit:
    """A `ModelProvider` that sends requests to `inner` only while it holds one of `slots`."""

    def __init__(self, inner: ModelProvider, slots: ConcurrencyLimit) -> None:
        self._inner = inner
        self._slots = slots

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Send a request while a slot is held. It is released when this returns or raises."""
        with monitor_attempts(emit, token) as monitor:
            async with self._slots.acquired(token):
                return await self._inner.stream(request, token, monitor)

    async def describe(self, model: str) -> ModelInfo:
        return await self._inner.describe(model)
