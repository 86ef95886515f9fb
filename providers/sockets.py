"""The way to the socket: an event loop that knows which connections carry which stream.

Libraries pool, wrap and sometimes leak their connections. This loop sees every connection they open and every
request they write, notes under which stream it happened, and can therefore close the sockets of exactly one
stream and *look* whether they are closed. Only public calls of asyncio are overridden.

A library that reads its socket in a thread goes past the loop. Its streams then show deltas without a known
connection, or still have a thread at work. No stop of such a stream can be proven here; only the end of the
process ends it.
"""

from __future__ import annotations

import asyncio
import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from core.model import Phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# A reply may be long, but not endless: beyond this many bytes on one connection the stream is cut (P6).
MOST_BYTES_PER_REPLY = 64 * 1024 * 1024


class SocketTrace:
    """The connections of one stream, and how far the newest of them has got.

    `on_phase` is called with each phase before the first byte of a reply. `opened` tells whether the stream
    ever had a connection, `too_large` that it was cut for its size.
    """

    def __init__(self, on_phase: Callable[[Phase], None]) -> None:
        self._on_phase = on_phase
        self._connecting: set[socket.socket] = set()
        self._transports: set[asyncio.BaseTransport] = set()
        self._jobs: set[object] = set()
        self._stopped = False
        self.opened = False
        self.too_large = False

    @property
    def closed(self) -> bool:
        """Whether nothing of the stream is open: every socket closed in the kernel, not merely about to be,
        and no thread at work for it."""
        connecting = any(sock.fileno() != -1 for sock in self._connecting)
        return not (connecting or self._jobs) and all(map(_socket_closed, self._transports))

    def in_thread(self, func: Callable[[*_Ts], _T]) -> Callable[[*_Ts], _T]:
        """`func`, which is about to run in a thread for this stream, so that it is known to be at work."""

        def run(*args: *_Ts) -> _T:
            job = object()
            self._jobs.add(job)
            try:
                return func(*args)
            finally:
                self._jobs.discard(job)

        return run

    def enter(self, phase: Phase) -> None:
        self._on_phase(phase)

    def connect(self, sock: socket.socket) -> None:
        """A connection of this stream begins; until a transport has it, `sock` is all that can be seen of it.

        It is only looked at: whoever waits for it closes it when the stream's task is cancelled.
        """
        self._connecting.add(sock)

    def carry(self, transport: asyncio.BaseTransport) -> None:
        """A request of this stream goes out on `transport`."""
        self.opened = True
        number = transport.get_extra_info("socket").fileno()
        self._connecting = {sock for sock in self._connecting if sock.fileno() not in (-1, number)}
        self._transports.add(transport)
        if self._stopped:
            _abort(transport)

    def lose(self, transport: asyncio.BaseTransport) -> None:
        """`transport` came out of the library's pool for another stream: a stop must spare it from now on."""
        self._transports.discard(transport)

    def abort(self) -> None:
        """Close every connection of the stream now, without a farewell that could wait for the other side.

        A connection that is made later all the same is closed as soon as it is known.
        """
        self._stopped = True
        for transport in list(self._transports):
            _abort(transport)


_current: ContextVar[SocketTrace | None] = ContextVar("_current", default=None)


def trace_this_task(trace: SocketTrace) -> None:
    """Count the connections that the current task, and tasks it starts, open or write to as `trace`'s."""
    _current.set(trace)


class TracedLoop(asyncio.SelectorEventLoop):
    """The model process's event loop."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        _enter(Phase.CONNECTING)
        return await super().getaddrinfo(*args, **kwargs)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        _enter(Phase.CONNECTING)
        trace = _current.get()
        if trace is not None:
            trace.connect(sock)
        await super().sock_connect(sock, address)
        if trace is not None:
            trace.opened = True

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        _enter(Phase.CONNECTING)
        transport, protocol = await super().create_connection(*args, **kwargs)
        _watch(transport, protocol)
        _enter(Phase.WAITING_FOR_HEADERS)
        return transport, protocol

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        trace = _current.get()
        # A name look-up leaves no connection behind and may outlive its stream.
        lookup: object = socket.getaddrinfo
        if trace is None or func is lookup:
            return super().run_in_executor(executor, func, *args)
        return super().run_in_executor(executor, trace.in_thread(func), *args)


def _enter(phase: Phase) -> None:
    if (trace := _current.get()) is not None:
        trace.enter(phase)


def _watch(transport: Any, protocol: Any) -> None:
    """Note on whose behalf each request is written, for a pooled connection serves many streams in turn."""
    write, writelines, received = transport.write, transport.writelines, protocol.data_received
    owner = _current.get()
    bytes_of_reply = 0
    if owner is not None:
        owner.carry(transport)

    def claim() -> None:
        nonlocal owner, bytes_of_reply
        trace = _current.get()
        if trace is not None and trace is not owner:
            if owner is not None:
                owner.lose(transport)
            owner, bytes_of_reply = trace, 0
            trace.carry(transport)

    def traced_write(data: Any) -> None:
        claim()
        write(data)

    def traced_writelines(data: Any) -> None:
        claim()
        writelines(data)

    def counted_data_received(data: bytes) -> None:
        nonlocal bytes_of_reply
        bytes_of_reply += len(data)
        if bytes_of_reply > MOST_BYTES_PER_REPLY and owner is not None:
            owner.too_large = True
            transport.abort()
        else:
            received(data)

    transport.write = traced_write
    transport.writelines = traced_writelines
    protocol.data_received = counted_data_received


def _abort(transport: asyncio.BaseTransport) -> None:
    if isinstance(transport, asyncio.WriteTransport) and not _socket_closed(transport):
        transport.abort()


def _socket_closed(transport: asyncio.BaseTransport) -> bool:
    sock = transport.get_extra_info("socket")
    return sock is None or sock.fileno() == -1
