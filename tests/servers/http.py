"""HTTP/1.1 by hand, as far as model APIs need it: the reading side never pauses, so a close is seen at once.

No HTTP server library lets a handler cut, reset, drip or garble its answer, or tells the moment of the
peer's FIN while nothing is being sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.servers.record import Connection, Exchange, Record, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


def parse_request(buffer: bytearray) -> Request | None:
    """Take one complete request off the front of `buffer`, or leave it as it is and return None."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        found = _chunked_body(buffer, end + 4)
    else:
        found = _sized_body(buffer, end + 4, int(headers.get("content-length", 0)))
    if found is None:
        return None
    body, consumed = found
    del buffer[:consumed]
    url = urlsplit(target)
    parsed = json.loads(body) if body else {}
    return Request(method, unquote(url.path), dict(parse_qsl(url.query)), headers, parsed)


def _sized_body(buffer: bytearray, start: int, length: int) -> tuple[bytes, int] | None:
    stop = start + length
    return (bytes(buffer[start:stop]), stop) if len(buffer) >= stop else None


def _chunked_body(buffer: bytearray, position: int) -> tuple[bytes, int] | None:
    body = bytearray()
    while (line_end := buffer.find(b"\r\n", position)) >= 0:
        size = int(buffer[position:line_end].split(b";")[0], 16)
        position = line_end + 2 + size + 2
        if len(buffer) < position:
            return None
        if size == 0:
            return bytes(body), position
        body += buffer[line_end + 2 : position - 2]
    return None


class Wire(asyncio.Protocol):
    """The server's end of one connection: requests out of bytes, writing with back-pressure, the close.

    `answer` is called for one request at a time, in a task that ends when the peer leaves.
    """

    def __init__(self, record: Record, answer: Callable[[Wire, Exchange], Awaitable[None]]) -> None:
        self._record = record
        self._answer = answer
        self._buffer = bytearray()
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._exchange: Exchange | None = None

    connection: Connection
    task: asyncio.Task[None]
    _transport: asyncio.Transport

    @property
    def is_made(self) -> bool:
        """Whether it has got its connection, which comes a round of the event loop after the wire itself."""
        return hasattr(self, "task")

    @property
    def is_idle(self) -> bool:
        return self._exchange is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = self._record.accepted()
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := parse_request(self._buffer)) is not None:
            self._requests.put_nowait(request)

    def eof_received(self) -> None:
        self._left(by_peer=True)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._left(by_peer=exc is not None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _left(self, *, by_peer: bool) -> None:
        self._record.closed(self.connection, self._exchange, by_peer=by_peer)
        self.task.cancel()

    async def _serve(self) -> None:
        try:
            while True:
                request = await self._requests.get()
                self._exchange = self._record.received(self.connection, request)
                await self._answer(self, self._exchange)
                self._exchange = None
        finally:
            self.abort()

    async def write(self, data: bytes) -> None:
        self._transport.write(data)
        await asyncio.sleep(0)  # lets the loop read the peer's close in the middle of a flood
        await self._writable.wait()

    async def close(self) -> None:
        """End with a FIN once all bytes are out, and stay until it is done."""
        self._transport.close()
        await asyncio.Event().wait()

    async def reset(self) -> None:
        """End with a RST once all bytes are out."""
        self._transport.set_write_buffer_limits(high=0)
        await self._writable.wait()
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await asyncio.Event().wait()

    def abort(self) -> None:
        self._transport.abort()

    def _socket(self) -> socket.socket:
        return cast("socket.socket", self._transport.get_extra_info("socket"))


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """A response's status line and headers; the body follows in chunks."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
