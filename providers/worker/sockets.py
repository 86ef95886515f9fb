"""An event loop that knows which connections carry which stream.

Libraries pool, wrap and sometimes leak their connections. This loop sees every connection they open and every
request they write, records the stream it belongs to, and can therefore close the sockets of exactly one
stream and *check* whether they are closed. Only public methods of asyncio are overridden.

A library that reads its socket in a thread bypasses the loop. Its streams then show deltas without a known
connection, or still have a thread at work. A stop of such a stream cannot be proven here; only the end of the
process ends it.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from core.model.provider import Phase

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# A reply may be long, but not endless: beyond this many bytes the stream is cut (P6).
MOST_BYTES_PER_REPLY = 64 * 1024 * 1024
# This many bytes without a single chunk are a line without an end. Some libraries join such a line in
# quadratic time, so the bound is lower than that of a whole reply.
MOST_BYTES_PER_CHUNK = 8 * 1024 * 1024

READ_EVERY_S = 1 / 15
"""How often a slow reply is read. A read costs the same for one word as for twenty, in two processes, and the
screen shows slow text no more often."""
_SOON_READS = 16
"""So many reads of a reply are made at once, also towards its end: what is short is not to take longer."""
_SLOW_BYTES_PER_S = 50_000


class SocketTrace:
    """The connections of one stream, and the phase of the newest of them.

    `on_phase` is called with each phase before the first byte of a reply, `on_bytes` whenever some of it have
    come. `streaming` is false for a reply
    that arrives as a whole. `opened` is true if the stream ever had a connection, `too_large` if it was cut
    for its size.
    """

    def __init__(
        self, on_phase: Callable[[Phase], None], on_bytes: Callable[[], None], *, streaming: bool
    ) -> None:
        self.on_phase = on_phase
        self._on_bytes = on_bytes
        self._most_per_chunk = 0
        self.expect(streaming=streaming)
        self._bytes_of_reply = 0
        self._bytes_of_chunk = 0
        self._reads = 0
        self._read_at = 0.0
        self._is_slow = False
        self._connecting: set[socket.socket] = set()
        self._carriers: set[_Carrier] = set()
        self._jobs: set[object] = set()
        self._made_in_threads: list[Coroutine[Any, Any, Any]] = []
        self._closes: list[Callable[[], object]] = []
        self._stopped = False
        self.opened = False
        self.too_large = False

    def expect(self, *, streaming: bool) -> None:
        """Expect a reply in pieces, or as a whole."""
        self._most_per_chunk = MOST_BYTES_PER_CHUNK if streaming else MOST_BYTES_PER_REPLY

    @property
    def closed(self) -> bool:
        """Whether nothing of the stream is open: every socket closed in the kernel, not only in the
        transport, and no thread at work for it."""
        connecting = any(sock.fileno() != -1 for sock in self._connecting)
        return not (connecting or self._jobs) and all(carrier.closed for carrier in self._carriers)

    def in_thread(self, func: Callable[[*_Ts], _T]) -> Callable[[*_Ts], _T]:
        """Wrap `func`, which is about to run in a thread for this stream, so that its work is tracked."""

        def run(*args: *_Ts) -> _T:
            job = object()
            self._jobs.add(job)
            try:
                made = func(*args)
                if inspect.iscoroutine(made):
                    self._made_in_threads.append(made)
                return made
            finally:
                self._jobs.discard(job)

        return run

    def receive(self, size: int) -> None:
        """Count `size` received bytes of the reply."""
        self._bytes_of_reply += size
        self._bytes_of_chunk += size
        if self._bytes_of_reply > MOST_BYTES_PER_REPLY or self._bytes_of_chunk > self._most_per_chunk:
            self.too_large = True
        now = time.monotonic()
        self._reads += 1
        self._is_slow = self._reads > _SOON_READS and size < _SLOW_BYTES_PER_S * (now - self._read_at)
        self._read_at = now
        self._on_bytes()

    def hurry(self) -> None:
        """Read on without a rest for a while: the reply is about to end. HTTP may send its end in pieces."""
        self._is_slow = False
        self._reads = 0

    @property
    def rest(self) -> float:
        """How long to wait before more of the reply is read, in seconds: more of it comes meanwhile."""
        return self._read_at + READ_EVERY_S - time.monotonic() if self._is_slow else 0.0

    def progress(self) -> None:
        """The library has produced a chunk from the received bytes."""
        self._bytes_of_chunk = 0

    def connect(self, sock: socket.socket) -> None:
        """A connection begins; until a transport has it, only `sock` shows its state. Who waits for it closes
        it when the stream's task is cancelled."""
        self._connecting.add(sock)

    def carry(self, carrier: _Carrier) -> None:
        """A request of this stream goes out on `carrier`."""
        self.opened = True
        number = carrier.sock.fileno()
        self._connecting = {sock for sock in self._connecting if sock.fileno() not in (-1, number)}
        self._carriers.add(carrier)
        if self._stopped:
            carrier.abort()

    def lose(self, carrier: _Carrier) -> None:
        """The library gave `carrier` to another stream of its pool: from now on a stop must not close it."""
        self._carriers.discard(carrier)

    def close_when_stopped(self, close: Callable[[], object]) -> None:
        """Call `close` after a stop. It must do nothing to a response that has been read or closed."""
        self._closes.append(close)

    def settle(self) -> None:
        """After the stream's task has ended, drop coroutines that a thread has made for it and that never
        started, as litellm does: a stop meanwhile would leave them unawaited (P5)."""
        for made in self._made_in_threads:
            if inspect.getcoroutinestate(made) == inspect.CORO_CREATED:
                made.close()
        self._made_in_threads.clear()
        for close in self._closes:
            close()
        self._closes.clear()

    def abort(self) -> None:
        """Close every connection of the stream now, without a closing handshake that could wait for the peer.

        A connection that is made later is closed as soon as it is known.
        """
        self._stopped = True
        for carrier in self._carriers:
            carrier.abort()


@dataclass(frozen=True, slots=True, eq=False)
class _Carrier:
    """An established connection. The socket is stored too, since an encrypted transport drops its
    reference."""

    transport: asyncio.WriteTransport
    sock: TransportSocket

    @property
    def closed(self) -> bool:
        """Whether it is closed in the kernel: a transport reports closing much earlier."""
        return self.sock.fileno() == -1

    def abort(self) -> None:
        if not self.closed:
            self.transport.abort()


current_trace: ContextVar[SocketTrace | None] = ContextVar("current_trace", default=None)
"""The trace to which connections count that the current task, and tasks it starts, open or write to."""


class TracedLoop(asyncio.SelectorEventLoop):
    """The model process's event loop."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        _enter(Phase.CONNECTING)
        return await super().getaddrinfo(*args, **kwargs)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        _enter(Phase.CONNECTING)
        trace = current_trace.get()
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
        trace = current_trace.get()
        # A name look-up leaves no open connection and may outlive its stream.
        lookup: object = socket.getaddrinfo
        if trace is None or func is lookup:
            return super().run_in_executor(executor, func, *args)
        return super().run_in_executor(executor, trace.in_thread(func), *args)


def _enter(phase: Phase) -> None:
    if (trace := current_trace.get()) is not None:
        trace.on_phase(phase)


def _watch(transport: Any, protocol: Any) -> None:
    """Record the stream of each request that is written, since a pooled connection serves many streams in
    turn."""
    write, writelines, resume = transport.write, transport.writelines, transport.resume_reading
    received = protocol.data_received
    carrier = _Carrier(transport, transport.get_extra_info("socket"))
    owner = current_trace.get()
    if owner is not None:
        owner.carry(carrier)

    def claim() -> None:
        nonlocal owner
        trace = current_trace.get()
        if trace is not None and trace is not owner:
            if owner is not None:
                owner.lose(carrier)
            owner = trace
            trace.carry(carrier)
            _enter(Phase.WAITING_FOR_HEADERS)

    def traced_write(data: Any) -> None:
        claim()
        write(data)

    def traced_writelines(data: Any) -> None:
        claim()
        writelines(data)

    def counted_data_received(data: bytes) -> None:
        if owner is not None:
            owner.receive(len(data))
        if owner is not None and owner.too_large:
            transport.abort()
        else:
            received(data)

    def resume_calmly() -> None:
        rest = 0.0 if owner is None else owner.rest
        if rest > 0:
            # On a connection that has been closed by then it does nothing.
            asyncio.get_running_loop().call_later(rest, resume)
        else:
            resume()

    transport.write = traced_write
    transport.writelines = traced_writelines
    transport.resume_reading = resume_calmly
    protocol.data_received = counted_data_received
