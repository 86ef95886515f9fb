"""The parent's side of one child: start it, talk to it, stop one stream, kill it, start it again.

A stop needs nothing of the event loop: `CancelToken.cancel`, in any thread, writes the cancel message itself.
One thread starts the child, reads from it, and kills it, with its sockets, when it does not confirm a stop in
time (P4).
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, assert_never

from core.cancel import shielded
from core.model.provider import Closing, Emit
from providers.client.outgoing import OutgoingBuffer
from providers.client.spawn import Child, Launch, Role, start_child
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
    ToChild,
    ToParent,
    dump,
    load_to_parent,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.cancel import CancelToken

log = logging.getLogger(__name__)

CONFIRM_WITHIN_S = 0.25
"""A stop that the child has not confirmed by then is enforced by SIGKILL (P4)."""
END_WITHIN_S = 2.0
"""How long a stopped stream waits for its end, including a kill. The outermost bound (T7)."""
READY_WITHIN_S = 90.0
"""A child that is not ready by then never will be. A slow machine takes ten seconds for the import."""
SLOW_START_S = 15.0
"""A stop of a request that has waited this long for a start also ends the start. The next begins anew."""

AGAIN_AFTER_S = 0.05
"""When a stream is opened that the child could not take at first."""
_READ_BYTES = 1 << 18


class Link(ABC):
    """One child of a `role`, and the streams that it serves.

    `start` returns at once and may be called before there is an event loop. `close` ends the child and the
    thread. Serves any number of streams at once, from any number of event loops.
    """

    role: ClassVar[Role]
    restarts_itself: ClassVar[bool]
    """Whether a child that was ready is replaced as soon as it has ended, and a stream of which nothing was
    shown is opened again, once."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        # Re-entrant, because a signal handler that cancels may interrupt its holder. Nobody waits with it.
        self._lock = threading.RLock()
        self._streams: dict[int, StreamHandle] = {}
        self._outgoing = OutgoingBuffer()
        self._child: Child | None = None
        self._child_is_ready = False
        self._ready_by = 0.0
        self._wanted = True
        self.is_ended = False
        self._thread = threading.Thread(target=self._run, name=self.role, daemon=True)
        self.restarts = 0

    @abstractmethod
    def _first_lines(self) -> bytes:
        """What a new child is told before anything else. Called with the lock."""

    @abstractmethod
    def _opening(self, stream: StreamHandle) -> bytes:
        """What opens a stream. Called without the lock."""

    @abstractmethod
    def _pass_socket(self, stream: StreamHandle, child: Child) -> bool:
        """Give the child the socket of a stream that is about to be opened. Called with the lock, so it must
        not wait: false if the child cannot take it now."""

    @abstractmethod
    def _answered(self, answer: Answer) -> None:
        """The child has answered a question."""

    @abstractmethod
    def _child_is_gone(self) -> None:
        """Called in the thread when a child has ended or could not be started."""

    @property
    def pid(self) -> int | None:
        """The child's process id, None between two children."""
        child = self._child
        return None if child is None else child.pid

    def start(self) -> None:
        """Start the child, so that it is warm when the first prompt comes."""
        self._thread.start()

    def end(self) -> None:
        """End the child and everything it has open, without waiting. May be called from any thread."""
        self.is_ended = True
        self._outgoing.wake()

    def close(self) -> None:
        """`end`, and wait for it, for `END_WITHIN_S` at most."""
        self.end()
        if self._thread.ident is not None:
            self._thread.join(END_WITHIN_S)

    def kill(self) -> None:
        """Kill the child at once, from any thread, without waiting. For a program that is about to end."""
        self.is_ended = True
        if (child := self._child) is not None:
            child.kill()

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
                if not self._child_is_ready and self._ready_by - now < READY_WITHIN_S - SLOW_START_S:
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

    def send(self, message: ToChild) -> None:
        """Send a message that opens no stream, now or to the next child. May be called from any thread."""
        with self._lock:
            self._outgoing.send(dump(message))
        self._outgoing.wake()

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:
            log.exception("the thread of the %s failed", self.role)
        self.is_ended = True
        self._reap("closed")
        for stream in self._take_streams():
            self._settle(stream, Closing.NEVER_OPENED)
        self._outgoing.close()

    def _take_streams(self) -> list[StreamHandle]:
        with self._lock:
            streams = list(self._streams.values())
            self._streams.clear()
        return streams

    def _serve(self) -> None:
        partial = b""
        while not self.is_ended:
            if self._child is None and self._wanted:
                partial = b""
                self._start_child()
            readable = self._wait_ready()
            if self._child is not None and self._child.outbox in readable:
                data = os.read(self._child.outbox, _READ_BYTES)
                *lines, partial = (partial + data).split(b"\n")
                if not data or not all(map(self._handle, lines)):
                    self._reap("ended by itself" if not data else "does not make sense")
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
                if stream.end is None and self._pass_socket(stream, self._child):
                    stream.sent = True
                    self._outgoing.send(line)

    def _wait_ready(self) -> set[int]:
        """Wait for something to read, room to write, a wake-up, or the next deadline of a stop."""
        poll = select.poll()
        poll.register(self._outgoing.wake_fd, select.POLLIN)
        with self._lock:
            if self._child is not None:
                poll.register(self._child.outbox, select.POLLIN)
                if self._outgoing:
                    poll.register(self._child.inbox, select.POLLOUT)
            deadlines = [stream.stop_by for stream in self._streams.values() if stream.stop_by is not None]
            if self._child is not None and not self._child_is_ready:
                deadlines.append(self._ready_by)
            elif any(not stream.sent for stream in self._streams.values()):
                deadlines.append(time.monotonic() + AGAIN_AFTER_S)
        ready = {fd for fd, _ in poll.poll(_milliseconds_until(deadlines))}
        if self._outgoing.wake_fd in ready:
            self._outgoing.take_wakes()
        with self._lock:
            self._outgoing.write()
        return ready

    def _handle(self, line: bytes) -> bool:
        """Receive a message of the child. False for one that cannot be read: then it is not trusted."""
        try:
            message = load_to_parent(line)
        except ValueError:
            # Without the line: it may be text of the conversation.
            log.error("a message of the %s cannot be read", self.role)
            return False
        self._receive(message)
        return True

    def _receive(self, message: ToParent) -> None:
        match message:
            case StreamDelta(stream_id, delta):
                if (stream := self._streams.get(stream_id)) is not None:
                    stream.deliver(delta)
            case End() | Failed() | Stopped() | HandedOver():
                with self._lock:
                    ended = self._streams.pop(message.stream_id, None)
                if ended is not None:
                    ended.finish(message)
            case Described() | Listed() | ServerListed():
                self._answered(message)
            case Ready():
                self._child_is_ready = True
            case _:
                assert_never(message)

    def _kill_if_late(self) -> None:
        now = time.monotonic()
        with self._lock:
            stops = [stream.stop_by for stream in self._streams.values() if stream.stop_by is not None]
        if any(stop_by <= now for stop_by in stops):
            log.warning("the %s did not confirm a stop within %g s: killed", self.role, CONFIRM_WITHIN_S)
            self._reap("killed")
        elif self._child is not None and not self._child_is_ready and self._ready_by <= now:
            self._reap("did not get ready")

    def _start_child(self) -> None:
        try:
            child = start_child(self.role, self._launch)
        except OSError as error:
            log.exception("the %s could not be started", self.role)
            self._give_up(str(error.strerror))
            return
        with self._lock:
            self._ready_by = time.monotonic() + READY_WITHIN_S
            self._child = child
            # It goes before what was sent meanwhile. No line of that is written in part: there was no child.
            self._outgoing.connect(child.inbox, self._first_lines())

    def _give_up(self, why: str) -> None:
        """Fail what waits for a child that cannot be started. The next request tries again."""
        with self._lock:
            self._wanted = False
            self._outgoing.disconnect()
            streams = self._take_streams()
        for stream in streams:
            stream.finish(not_started(stream, why))
        self._child_is_gone()

    def _reap(self, how: str) -> None:
        """Kill the child if it lives, wait for it, and end or reopen its streams."""
        if (child := self._child) is None:
            return
        closing = Closing.KILLED if child.end() else Closing.UNCONFIRMED
        with self._lock:
            self._child = None
            self._outgoing.disconnect()
            # A child that never got ready is not replaced at once; the next request tries again.
            self._wanted = self._child_is_ready and not self.is_ended
            self._child_is_ready = False
            self.restarts += not self.is_ended
            self.is_ended = self.is_ended or not self.restarts_itself
            streams = self._take_streams()
        child.close()
        log.info("the %s %d %s", self.role, child.pid, how)
        self._child_is_gone()
        for stream in streams:
            self._settle(stream, closing)

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


def _milliseconds_until(deadlines: Collection[float]) -> float | None:
    """How long to wait for the first of them; None if there is none."""
    return max(0.0, (min(deadlines) - time.monotonic()) * 1000 + 1) if deadlines else None
