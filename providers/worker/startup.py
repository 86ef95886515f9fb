"""How each child begins: it ends with its parent, is sealed off, and speaks on its standard streams."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from core.base.values import Value
from providers.sealing import seal
from providers.wire import Lines
from providers.worker.outbox import Outbox
from providers.worker.sockets import TracedLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_THREADS = 64
"""A name look-up that hangs keeps its thread until the resolver gives up, even after its stream has ended."""
_READ_BYTES = 65536
_PR_SET_PDEATHSIG = 1


class Running(Value):
    """What a child works with. `environment` is the person's own, which libraries do not find any more."""

    loop: asyncio.AbstractEventLoop
    inbox_fd: int
    outbox: Outbox
    environment: Mapping[str, str]


@contextlib.contextmanager
def running(parent: int, lifeline: int) -> Iterator[Running]:
    """Set this process up as a child of `parent`, its process id."""
    _end_with_parent(parent, lifeline)
    environment = seal()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.WARNING)
    # A library that prints must not write among the messages, and a keyring that asks must not read any.
    outbox_fd, inbox_fd = os.dup(sys.stdout.fileno()), os.dup(sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    loop = TracedLoop()
    loop.set_default_executor(ThreadPoolExecutor(MAX_THREADS, "worker"))
    asyncio.set_event_loop(loop)
    with contextlib.suppress(KeyboardInterrupt):
        yield Running(loop, inbox_fd, Outbox(outbox_fd, loop), environment)


class Inbox:
    """Lines of the parent, each of which `handle` gets, and sockets that it passes, each for one stream."""

    def __init__(self, child: Running, peer: socket.socket, handle: Callable[[bytes], None]) -> None:
        self._child = child
        self._peer = peer
        self._handle = handle
        self._lines = Lines()
        self._sockets: dict[int, asyncio.Future[socket.socket]] = {}
        peer.setblocking(False)
        child.loop.add_reader(child.inbox_fd, self._on_line)
        child.loop.add_reader(peer, self._read_sockets)

    async def socket_of(self, stream_id: int) -> socket.socket:
        """The socket of a stream, to be closed by the caller. It may come after the line that needs it."""
        try:
            return await self._socket(stream_id)
        finally:
            self._sockets.pop(stream_id, None)

    def drop_socket(self, stream_id: int) -> None:
        """Close the socket of a stream that does not need it any more. It was passed before the stream was
        opened, but perhaps not read yet."""
        self._read_sockets()
        passed = self._sockets.pop(stream_id, None)
        if passed is not None and passed.done() and not passed.cancelled() and passed.exception() is None:
            passed.result().close()

    def _socket(self, stream_id: int) -> asyncio.Future[socket.socket]:
        if stream_id not in self._sockets:
            self._sockets[stream_id] = self._child.loop.create_future()
        return self._sockets[stream_id]

    def _on_line(self) -> None:
        data = os.read(self._child.inbox_fd, _READ_BYTES)
        if not data:
            os._exit(0)
        for line in self._lines.feed(data):
            self._handle(line)

    def _read_sockets(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._peer, 32, 1)
                if not data:
                    self._child.loop.remove_reader(self._peer)
                    return
                for descriptor in descriptors:
                    self._take(int(data), socket.socket(fileno=descriptor))
                if not descriptors and not (waiting := self._socket(int(data))).done():
                    # The kernel drops a socket for which this process has no descriptor left.
                    waiting.set_exception(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))

    def _take(self, stream_id: int, passed: socket.socket) -> None:
        passed.setblocking(False)
        waiting = self._socket(stream_id)
        if waiting.done():
            passed.close()
        else:
            waiting.set_result(passed)


def _end_with_parent(parent: int, lifeline_fd: int) -> None:
    """Make sure that this process ends with its parent (X7), even while its loop is blocked.

    The kernel does it on Linux. On every system a thread also waits for the end of a pipe whose other end
    only the parent holds; it cannot run while a library keeps the interpreter's lock.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)

    def wait_for_end() -> None:
        os.read(lifeline_fd, 1)
        os._exit(0)

    threading.Thread(target=wait_for_end, name="lifeline", daemon=True).start()
