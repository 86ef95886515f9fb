"""One stream, shared by the thread that delivers its deltas and the task that emits them.

Nothing here knows of processes or pipes. The thread sets its fields in an order that the task relies on, so
that neither waits for the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, assert_never

from core.model.provider import (
    Closed,
    Closing,
    Delta,
    Emit,
    FailureKind,
    Finished,
    KeptAlive,
    ModelError,
    ModelRequest,
    ParametersDropped,
    PhaseChanged,
    TextDelta,
)
from providers.wire import End, Failed, HandedOver, Stopped

if TYPE_CHECKING:
    from core.cancel import CancelToken

Ending = End | Failed | Stopped | HandedOver


class StreamHandle:
    """State of one stream.

    The thread appends to `arrived` and sets `end` last; the task takes from `arrived` and reads `end` once
    there is nothing left. `stop_by` is the deadline of a requested stop, in `time.monotonic()` seconds.
    """

    def __init__(self, stream_id: int, request: ModelRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.stream_id = stream_id
        self.request = request
        self.arrived: deque[Delta] = deque()
        self.end: Ending | None = None
        self.stop_by: float | None = None
        # Whether the child knows of it. Until then a stop needs no confirmation.
        self.sent = False
        self.shown = False
        self.restarted = False
        self._loop = loop
        self._changed = asyncio.Event()
        self._notified = False

    def deliver(self, delta: Delta) -> None:
        self.shown = self.shown or not isinstance(delta, PhaseChanged | KeptAlive | ParametersDropped)
        self.arrived.append(delta)
        self._notify()

    def finish(self, end: Ending) -> None:
        if self.end is None:
            self.end = end
            self._notified = False
            self._notify()

    async def wait_changed(self) -> None:
        await self._changed.wait()
        self._changed.clear()
        self._notified = False

    def _notify(self) -> None:
        """Wake the task: once for everything that arrives until it runs."""
        if not self._notified:
            self._notified = True
            # On a closed loop no task waits any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._changed.set)


async def receive(stream: StreamHandle, token: CancelToken, emit: Emit) -> Ending:
    """Emit what arrives until the end, text in a row as one delta, and nothing after a stop (P3)."""
    while True:
        texts: list[str] = []
        # The thread sets the end after the last delta, so it has to be read before them.
        end = stream.end
        while stream.arrived and not token.cancelled:
            delta = stream.arrived.popleft()
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
        await stream.wait_changed()


def emit_closed(stream: StreamHandle, emit: Emit) -> None:
    """Report how the connection of a stopped stream ended."""
    match stream.end:
        case Stopped(_, how, at):
            emit(Closed(how, at))
        case End() | Failed():
            emit(Closed(Closing.FINISHED, time.monotonic()))
        case HandedOver():
            # Compiled, and not sent.
            emit(Closed(Closing.NEVER_OPENED, time.monotonic()))
        case None:
            emit(Closed(Closing.UNCONFIRMED, time.monotonic()))
        case _:
            assert_never(stream.end)


def normal_end(stream: StreamHandle, end: Ending) -> End | HandedOver:
    """The end of a stream that was not stopped. Raises `ModelError` if it failed."""
    match end:
        case End() | HandedOver():
            return end
        case Failed():
            raise end.error()
        case Stopped():
            raise process_died(stream).error()
        case _:
            assert_never(end)


def result_of(end: End) -> Finished:
    return Finished(end.reason, end.usage, end.model, words=end.words, is_whole=end.is_whole)


def process_died(stream: StreamHandle) -> Failed:
    """The end of a stream whose model process ended."""
    subject = f"The process that talks to {stream.request.model} ended"
    if stream.shown:
        message = f"{subject} in the middle of the reply: send the prompt again."
    else:
        message = (
            f"{subject} before it could answer, twice: look into worker.log in the state folder, then send "
            "the prompt again."
        )
    return Failed.of(stream.stream_id, ModelError(FailureKind.PROCESS_DIED, message))


def not_started(stream: StreamHandle, why: str) -> Failed:
    """The end of a stream for which no model process can be started."""
    message = (
        f"The model process cannot be started ({why}): close other programs, then send the prompt again."
    )
    return Failed.of(stream.stream_id, ModelError(FailureKind.PROCESS_DIED, message))
