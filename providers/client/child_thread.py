"""One child of the program and the thread that keeps it: it starts the child, reads from it and ends it.

The thread lives as long as its children, one after the other: on Linux the kernel ends a child with the
*thread* that started it.
"""

from __future__ import annotations

import logging
import math
import select
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from core.model.provider import Closing
from providers.client.incoming import IncomingBuffer
from providers.client.outgoing import OutgoingBuffer
from providers.client.spawn import Child, Launch, Role, start_child
from providers.wire import ToChild, ToParent, dump

if TYPE_CHECKING:
    from collections.abc import Collection

log = logging.getLogger(__name__)

CLOSE_WITHIN_S = 2.0
READY_WITHIN_S = 90.0
"""A child that is not ready by then never will be. A slow machine takes ten seconds for the import."""


class ChildThread(ABC):
    """One child of a `role`.

    `start` returns at once and may be called before there is an event loop. `close` ends the child and the
    thread. What a subclass shares with the thread needs the lock.
    """

    role: ClassVar[Role]
    restarts_itself: ClassVar[bool]
    """Whether a child that was ready is replaced as soon as it has ended."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        # Re-entrant, because a signal handler that cancels may interrupt its holder. Nobody waits with it.
        self._lock = threading.RLock()
        self._outgoing = OutgoingBuffer()
        self._child: Child | None = None
        self._child_is_ready = False
        self._ready_by = 0.0
        self._wanted = True
        self.is_resting = False
        """Whether the last child was ended because nobody needed it, and there is no other yet."""
        self.is_ended = False
        self._thread = threading.Thread(target=self._run, name=self.role, daemon=True)
        self.restarts = 0

    @abstractmethod
    def _first_lines(self) -> bytes:
        """What a new child is told before anything else. Called with the lock."""

    @abstractmethod
    def _receive(self, message: ToParent) -> None:
        """Take a message of the child. Called in the thread, as are the methods below."""

    @abstractmethod
    def _attend(self) -> None:
        """Do what is due. Called each time something has happened."""

    @abstractmethod
    def _child_has_ended(self, closing: Closing) -> None:
        """The child is gone, and its sockets with it, as `closing` says."""

    @abstractmethod
    def _child_has_not_started(self, why: str) -> None:
        """No child can be started now."""

    def _unneeded_at(self) -> float:
        """When the child is ended because nobody needs it, in `time.monotonic()` seconds. Called with the
        lock."""
        return math.inf

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
        """`end`, and wait for it, for `CLOSE_WITHIN_S` at most."""
        self.end()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_WITHIN_S)
        else:
            self._outgoing.close()

    def kill(self) -> None:
        """Kill the child at once, from any thread, without waiting. For a program that is about to end."""
        self.is_ended = True
        if (child := self._child) is not None:
            child.kill()

    def send(self, message: ToChild) -> None:
        """Send a message that opens no stream, now or to the next child. May be called from any thread."""
        with self._lock:
            self._outgoing.send(dump(message))
        self._outgoing.wake()

    # -- the thread --

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:
            log.exception("the thread of the %s failed", self.role)
        self.is_ended = True
        self._reap("closed")
        self._child_has_ended(Closing.NEVER_OPENED)
        self._outgoing.close()

    def _serve(self) -> None:
        while not self.is_ended:
            if self._child is None and self._wanted:
                self._start_child()
            readable = self._wait_ready()
            if self._child is not None and self._child.outbox in readable:
                self._read()
            self._attend()
            self._end_if_late()
            self._end_if_unneeded()

    def _read(self) -> None:
        try:
            for message in self._incoming.read():
                self._receive(message)
        except EOFError:
            self._reap("ended by itself")
        except ValueError:
            # Without the message: it may be text of the conversation.
            log.error("a message of the %s cannot be read", self.role)
            self._reap("does not make sense")

    def _wait_ready(self) -> set[int]:
        """Wait for something to read, room to write, a wake-up, or the next deadline."""
        with self._lock:
            poll, deadlines = self._outgoing.poll(), self._deadlines()
            if self._child is not None:
                poll.register(self._child.outbox, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(_milliseconds_until(deadlines))}
        self._outgoing.take_wakes()
        with self._lock:
            self._outgoing.write()
        return ready

    def _deadlines(self) -> list[float]:
        """When the thread has something to do at the latest. Called with the lock."""
        if self._child is None:
            return []
        return [self._unneeded_at() if self._child_is_ready else self._ready_by]

    def _end_if_late(self) -> None:
        if self._child is not None and not self._child_is_ready and self._ready_by <= time.monotonic():
            self._reap("did not get ready")

    def _end_if_unneeded(self) -> None:
        with self._lock:
            child = self._child
            if child is None or self._unneeded_at() > time.monotonic():
                return
            child.kill()
            self._child, self._child_is_ready, self._wanted = None, False, False
            self.is_resting = True
            self._outgoing.disconnect()
        child.end()
        child.close()
        log.info("the %s %d ended: nobody needed it", self.role, child.pid)

    def _start_child(self) -> None:
        self.is_resting = False
        try:
            child = start_child(self.role, self._launch)
        except OSError as error:
            log.exception("the %s could not be started", self.role)
            with self._lock:
                # The next request tries again.
                self._wanted = False
                self._outgoing.disconnect()
            self._child_has_not_started(str(error.strerror))
            return
        with self._lock:
            self._ready_by = time.monotonic() + READY_WITHIN_S
            self._child, self._incoming = child, IncomingBuffer(child.outbox)
            # It goes before what was sent meanwhile. No line of that is written in part: there was no child.
            self._outgoing.connect(child.inbox, self._first_lines())

    def _reap(self, how: str) -> None:
        """Kill the child if it lives, and wait for it."""
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
        child.close()
        log.info("the %s %d %s", self.role, child.pid, how)
        self._child_has_ended(closing)


def _milliseconds_until(deadlines: Collection[float]) -> float | None:
    """How long to wait for the first of them; None if there is none."""
    first = min(deadlines, default=math.inf)
    return None if first == math.inf else max(0.0, (first - time.monotonic()) * 1000 + 1)
