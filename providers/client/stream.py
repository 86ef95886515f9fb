"""One stream as both sides of a thread boundary know it: a thread delivers, a task emits.

Nothing here knows of processes or pipes. What the thread sets it sets in an order that the task can rely on,
so that neither waits for the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, assert_never

from core.model import (
    Closed,
    Closing,
    Delta,
    Emit,
    FailureKind,
    ModelError,
    ModelRequest,
    ParametersDropped,
    PhaseChanged,
    TextDelta,
)
from providers.wire import End, Failed, Stopped

if TYPE_CHECKING:
    from core.cancel import CancelToken

Ending = End | Failed | Stopped


class Call:
    """One stream, as both sides of the thread boundary know it.

    The thread appends to `arrived` and sets `end` last; the task takes from `arrived` and reads `end` once
    there is nothing left. `stop_by` is the deadline of a requested stop, in `time.monotonic()` seconds.
    """

    def __init__(self, stream_id: int, request: ModelRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.stream_id = stream_id
        self.request = request
        self.arrived: deque[Delta] = deque()
        self.end: Ending | None = None
        self.stop_by: float | None = None
        # Whether the child has been told of it: until then a stop need not ask anyone.
        self.sent = False
        self.shown = False
        self.restarted = False
        self._loop = loop
        self._news = asyncio.Event()
        self._told = False

    def deliver(self, delta: Delta) -> None:
        self.shown = self.shown or not isinstance(delta, PhaseChanged | ParametersDropped)
        self.arrived.append(delta)
        self._tell()

    def finish(self, end: Ending) -> None:
        if self.end is None:
            self.end = end
            self._told = False
            self._tell()

    async def wait_news(self) -> None:
        await self._news.wait()
        self._news.clear()
        self._told = False

    def _tell(self) -> None:
        """Wake the task, once for everything that arrives until it runs."""
        if not self._told:
            self._told = True
            # A closed loop has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._news.set)


async def receive(call: Call, token: CancelToken, emit: Emit) -> Ending:
    """Emit what arrives, text in a row as one delta, until the end; nothing more after a stop (P3)."""
    while True:
        texts: list[str] = []
        # The end is read before the deltas: it was set after the last of them.
        end = call.end
        while call.arrived and not token.cancelled:
            delta = call.arrived.popleft()
            if isinstance(delta, TextDelta):
                texts.append(delta.text)
                continue
            if texts:
                emit(TextDelta("".join(texts)))
                texts.clear()
            emit(delta)
        if texts and not token.cancelled:
            emit(TextDelta("".join(texts)))
        if end is not None:
            return end
        await call.wait_news()


def prove(call: Call, emit: Emit) -> None:
    match call.end:
        case Stopped(_, how, at):
            emit(Closed(how, at))
        case End() | Failed():
            emit(Closed(Closing.FINISHED, time.monotonic()))
        case None:
            emit(Closed(Closing.UNCONFIRMED, time.monotonic()))
        case _:
            assert_never(call.end)


def died(request: ModelRequest, *, shown: bool) -> ModelError:
    if shown:
        message = (
            f"The process that talks to {request.model} ended in the middle of the reply: /continue resumes."
        )
    else:
        message = (
            f"The process that talks to {request.model} ended before it could answer, twice: "
            "look into worker.log in the state folder, then send the prompt again."
        )
    return ModelError(FailureKind.PROCESS_DIED, message)


def failed(call: Call) -> Failed:
    error = died(call.request, shown=call.shown)
    return Failed(call.stream_id, error.kind, str(error), "", None, None)
