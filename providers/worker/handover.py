"""A compiled request on its way from the compiler to a stream process.

It has a key in its headers, so it goes on a socket between the two, and never through the program.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx
import msgspec

from core.base.values import Record
from core.model.server_options import USUAL, ServerOptions
from providers.reading.protocols import Protocol
from providers.worker.return_rules import CALL_ID

if TYPE_CHECKING:
    import socket

_READ_BYTES = 1 << 18


class Subject(Record):
    """What is known of a request besides its bytes, for its reply and for errors.

    `model` and `key_name` are the request's, `provider` is litellm's name, `signer` the name that is kept
    with reasoning. `dropped` are parameters that were left out. `secrets` are not in any error. `call_ids` is
    a pattern of the ids that the provider takes also from others. `address_setting` is the request's.
    """

    model: str
    provider: str = ""
    api_base: str | None = None
    key_name: str | None = None
    streaming: bool = True
    server: ServerOptions = USUAL
    signer: str = ""
    dropped: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    call_ids: str = CALL_ID.pattern
    folds_thinking: bool = True
    address_setting: str = ""

    def __repr__(self) -> str:
        return f"Subject({self.model!r})"


class Compiled(Record):
    """A request as it is sent, and the protocol in which it is answered."""

    subject: Subject
    protocol: Protocol
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    content: bytes

    def __repr__(self) -> str:
        return f"Compiled({self.subject!r})"

    @property
    def request(self) -> httpx.Request:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
        return httpx.Request(self.method, self.url, headers=headers, content=self.content)


def compiled(request: httpx.Request, protocol: Protocol, subject: Subject) -> Compiled:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
    return Compiled(subject, protocol, request.method, str(request.url), headers, request.content)


async def send(to: socket.socket, request: Compiled) -> None:
    """Write a request and close the socket. Nobody may want it any more: then nothing happens."""
    with to, contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(to, msgspec.msgpack.encode(request))


async def receive(source: socket.socket) -> Compiled:
    """Read a request and close the socket. Raises `ValueError` for half of one."""
    loop, data = asyncio.get_running_loop(), bytearray()
    with source:
        while piece := await loop.sock_recv(source, _READ_BYTES):
            data += piece
    return msgspec.msgpack.decode(data, type=Compiled)
