"""Messages on their way to the model process, and the wake-up of the thread that writes the rest of them."""

from __future__ import annotations

import contextlib
import os
import select
import socket

_WRITE_BYTES = 1 << 18
_READ_BYTES = 4096


class OutgoingBuffer:
    """Bytes that the child has not been sent yet.

    `wake` may be called from any thread and without a lock. Everything else needs the owner's lock.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._inbox: int | None = None
        # Sockets and not pipes: a thread that wakes too late finds a closed socket, where a pipe's number
        # may belong to another file by then.
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)

    def poll(self) -> select.poll:
        """What is ready after a `wake`, and when there is room in the pipe for what waits."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._waiting and self._inbox is not None:
            poll.register(self._inbox, select.POLLOUT)
        return poll

    def connect(self, inbox: int, first: bytes) -> None:
        """Write to this pipe from now on: `first`, then what was sent before there was one."""
        self._inbox = inbox
        self._waiting[:0] = first

    def disconnect(self) -> None:
        """Drop everything: the child is gone."""
        self._inbox = None
        self._waiting.clear()

    def send(self, line: bytes) -> None:
        """Write now what fits into the pipe. The thread is woken to write the rest."""
        was_empty = not self._waiting
        self._waiting += line
        if was_empty:
            self.write()
        if self._waiting:
            self.wake()

    def write(self) -> None:
        if self._inbox is None or not self._waiting:
            return
        # A full pipe is written later. A broken one is noticed by the thread that reads from the child.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            written = os.write(self._inbox, self._waiting[:_WRITE_BYTES])
            del self._waiting[:written]

    def wake(self) -> None:
        # A full socket wakes the thread too. If it is closed, the thread has ended.
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    def take_wakes(self) -> None:
        """Forget all `wake`s so far."""
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(_READ_BYTES)

    def close(self) -> None:
        self._wake_read.close()
        self._wake_write.close()
