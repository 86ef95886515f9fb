"""A web server with scripted pages that sees when its peer is gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.servers.streams import stream_server

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Answer:
    """What is sent for one address; with `hangs`, no end follows."""

    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    status: str = "200 OK"
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False

    def head(self) -> bytes:
        fields = {"content-type": self.kind, "connection": "close", **self.headers}
        if not self.hangs:
            fields["content-length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode()


SILENCE = None
"""No answer at all."""


class Pages:
    """`async with Pages({"/": Answer(b"...")}) as pages:`, then `pages.url("/")`."""

    def __init__(self, answers: Mapping[str, Answer | None]) -> None:
        self.answers = dict(answers)
        self.requests: list[str] = []
        self.heads: list[str] = []
        self.sent = 0
        self.closed = 0
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def __aenter__(self) -> Self:
        self._server = stream_server(self._serve)
        self.port = await self._server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.__aexit__(None, None, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            self.requests.append(head.split(" ")[1])
            answer = self.answers[self.requests[-1]]
            if answer is not None:
                writer.write(answer.head() + answer.body)
                await writer.drain()
                self.sent += 1
            if answer is None or answer.hangs:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.closed += 1
