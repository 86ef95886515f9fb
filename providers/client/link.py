"""The streams of one child: open them, emit their deltas, stop one of them.

A stop needs nothing of the event loop: `CancelToken.cancel`, in any thread, writes the cancel message itself.
The thread of the child kills it, with its sockets, when it does not confirm a stop in time (P4).
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, assert_never

from core.cancel import shielded
from core.model.provider import Closing, Emit
from providers.client.child_thread import READY_WITHIN_S, ChildThread
from providers.client.stream import (
    StreamHandle,
    emit_closed,
    normal_end,
    not_started,
    process_died,
    receive,
)
from providers.wire import (
    Answer,
    Cancel,
    Described,
    End,
    Failed,
    HandedOver,
    Listed,
    Ready,
    ServerListed,
    Stopped,
    StreamDelta,
    WindowTold,
    dump,
)

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from providers.client.spawn import Child, Launch
    from providers.wire import ToParent

log = logging.getLogger(__name__)

CONFIRM_WITHIN_S = 0.25
"""A stop that the child has not confirmed by then is enforced by SIGKILL (P4)."""
END_WITHIN_S = 2.0
"""How long a stopped stream waits for its end, including a kill. The outermost bound (T7)."""
SLOW_START_S = 15.0
"""A stop of the one request that has waited this long for a start also ends the start. The next begins
anew."""

AGAIN_AFTER_S = 0.05
"""When a stream is opened that the child could not take at first."""


class Link(ChildThread):
    """The streams that a child serves, any number at once, from any number of event loops.

    Where the child restarts itself, a stream of which nothing was shown is opened again, once.
    """

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._streams: dict[int, StreamHandle] = {}
        self._used_at = time.monotonic()

    @abstractmethod
    def _opening(self, stream: StreamHandle) -> bytes:
        """What opens a stream. Called without the lock."""

    @abstractmethod
    def _pass_socket(self, stream: StreamHandle, child: Child) -> bool:
        """Give the child the socket of a stream that is about to be opened. Called with the lock, so it must
        not wait: false if the child cannot take it now. Raises `OSError` if there can be no socket."""

    @abstractmethod
    def _answered(self, answer: Answer) -> None:
        """The child has answered a question."""

    @abstractmethod
    def _child_is_gone(self) -> None:
        """Called in the thread when a child has ended or could not be started."""

    # -- the event loop's side --

    async def serve(self, stream: StreamHandle, token: CancelToken, emit: Emit) -> End | HandedOver:
        """Open a stream and emit its deltas until its end here.

        Raises `ModelError` when it fails and `core.cancel.Cancelled` when `token` ends it; then the last
        delta emitted is `Closed`.
        """
        with token.on_cancel(lambda _: self._stop(stream)), token.on_force(lambda _: self._force(stream)):
            self._open(stream)
            try:
                end = await receive(stream, token, emit)
            finally:
                if stream.end is None:
                    self._stop(stream)
                    with shielded(END_WITHIN_S):
                        while stream.end is None:
                            await stream.wait_changed()
                with self._lock:
                    self._streams.pop(stream.stream_id, None)
                    self._used_at = time.monotonic()
                if token.cancelled:
                    emit_closed(stream, emit)
        # Deltas that came after the stop were not emitted, so even a normal end is none here (P3).
        token.check()
        return normal_end(stream, end)

    def _open(self, stream: StreamHandle) -> None:
        """Pass a request to the thread, which can write a long conversation without blocking the loop."""
        with self._lock:
            if stream.end is not None:
                return
            if self.is_ended:
                stream.finish(process_died(stream))
                return
            self._streams[stream.stream_id] = stream
            self._wanted = True
        self._outgoing.wake()

    def _stop(self, stream: StreamHandle) -> None:
        """Ask for the end of a stream, without waiting. May be called from any thread."""
        now = time.monotonic()
        with self._lock:
            if stream.end is not None or stream.stop_by is not None:
                return
            if not stream.sent:
                self._streams.pop(stream.stream_id, None)
                stream.finish(Stopped(stream.stream_id, Closing.NEVER_OPENED, now))
                is_slow = not self._child_is_ready and self._ready_by - now < READY_WITHIN_S - SLOW_START_S
                if is_slow and not self._streams:
                    self._ready_by = now
            else:
                stream.stop_by = now + CONFIRM_WITHIN_S
                self._outgoing.send(dump(Cancel(stream.stream_id)))
        self._outgoing.wake()

    def _force(self, stream: StreamHandle) -> None:
        """End the time to confirm now, after a second stop. May be called from any thread."""
        with self._lock:
            if stream.stop_by is not None:
                stream.stop_by = time.monotonic()
        self._outgoing.wake()

    def _take_streams(self) -> list[StreamHandle]:
        with self._lock:
            streams = list(self._streams.values())
            self._streams.clear()
        return streams

    # -- the thread --

    def _attend(self) -> None:
        if self._child_is_ready:
            self._open_waiting()
        self._kill_if_late()

    def _open_waiting(self) -> None:
        """Send the requests that have waited for the child to get ready."""
        with self._lock:
            waiting = [stream for stream in self._streams.values() if not stream.sent]
        assert self._child is not None
        for stream in waiting:
            line = self._opening(stream)
            with self._lock:
                try:
                    if stream.end is None and self._pass_socket(stream, self._child):
                        stream.sent = True
                        self._outgoing.send(line)
                except OSError as error:
                    self._streams.pop(stream.stream_id, None)
                    stream.finish(not_started(stream, str(error.strerror)))

    def _receive(self, message: ToParent) -> None:
        match message:
            case StreamDelta(stream_id, delta):
                if (stream := self._streams.get(stream_id)) is not None:
                    stream.deliver(delta)
            case End() | Failed() | Stopped() | HandedOver():
                with self._lock:
                    ended = self._streams.pop(message.stream_id, None)
                    self._used_at = time.monotonic()
                if ended is not None:
                    ended.finish(message)
            case Described() | Listed() | ServerListed() | WindowTold():
                self._answered(message)
            case Ready():
                self._child_is_ready = True
            case _:
                assert_never(message)

    def _kill_if_late(self) -> None:
        now = time.monotonic()
        with self._lock:
            is_late = any(stop_by <= now for stop_by in self._stops())
        if is_late:
            log.warning("the %s did not confirm a stop within %g s: killed", self.role, CONFIRM_WITHIN_S)
            self._reap("killed")

    def _stops(self) -> list[float]:
        return [stream.stop_by for stream in self._streams.values() if stream.stop_by is not None]

    def _deadlines(self) -> list[float]:
        deadlines = [*super()._deadlines(), *self._stops()]
        if self._child_is_ready and any(not stream.sent for stream in self._streams.values()):
            deadlines.append(time.monotonic() + AGAIN_AFTER_S)
        return deadlines

    def _child_has_ended(self, closing: Closing) -> None:
        """End or reopen its streams."""
        self._child_is_gone()
        for stream in self._take_streams():
            self._settle(stream, closing)

    def _child_has_not_started(self, why: str) -> None:
        """Fail what waits for it."""
        for stream in self._take_streams():
            stream.finish(not_started(stream, why))
        self._child_is_gone()

    def _settle(self, stream: StreamHandle, closing: Closing) -> None:
        """End a stream whose process has ended, with `closing` if a stop was asked for; or open it again."""
        # A stop may come until the lock is held. The time is read after that: no end is before its stop.
        with self._lock:
            if stream.stop_by is not None:
                stream.finish(Stopped(stream.stream_id, closing, time.monotonic()))
            elif stream.shown or stream.restarted or self.is_ended:
                stream.finish(process_died(stream))
            else:
                stream.restarted = True
                stream.sent = False
                self._open(stream)
