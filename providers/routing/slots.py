"""How many requests may be under way at once, for servers that take only so many.

A slot is granted in the thread that frees another one, so a waiter can be stopped in the very moment in which
it is given its slot: then the slot goes on to the next, and is never lost (R5).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from providers.attempts import watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.cancel import CancelToken
    from core.model import Emit, Finished, ModelInfo, ModelProvider, ModelRequest


class _Waiter:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.woken: asyncio.Future[None] = loop.create_future()
        self.granted = False

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class Slots:
    """`most` slots, taken in the order of asking; any number of event loops may share them."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[_Waiter] = deque()
        # Re-entrant: what is collected as garbage may give its slot back in the middle of anything.
        self._lock = threading.RLock()

    @property
    def free(self) -> int:
        return self._free

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def taken(self, token: CancelToken) -> AsyncIterator[None]:
        """Hold a slot. Waits for one without polling; raises `Cancelled` when `token` ends the wait."""
        await self._take(token)
        try:
            # A stop in the tick of the grant finds the slot taken: no work follows, and it is given back.
            token.check()
            yield
        finally:
            self._give_back()

    async def _take(self, token: CancelToken) -> None:
        waiter = _Waiter(asyncio.get_running_loop())
        with self._lock:
            if self._free:
                self._free -= 1
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
                self._give_back()

    def _give_back(self) -> None:
        with self._lock:
            while self._waiting:
                waiter = self._waiting.popleft()
                waiter.granted = True
                try:
                    waiter.loop.call_soon_threadsafe(waiter.wake)
                except RuntimeError:
                    # Its loop is closed: nobody waits there any more.
                    waiter.granted = False
                    continue
                return
            self._free += 1


class Limit:
    """A `core.model.ModelProvider` that asks `inner` only while it holds one of `slots`."""

    def __init__(self, inner: ModelProvider, slots: Slots) -> None:
        self._inner = inner
        self._slots = slots

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """See `core.model.ModelProvider`. The slot is free again when this returns or raises."""
        with watch(emit, token) as watched:
            async with self._slots.taken(token):
                return await self._inner.stream(request, token, watched)

    async def describe(self, model: str) -> ModelInfo:
        return await self._inner.describe(model)
