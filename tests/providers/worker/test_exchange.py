"""How the end of a reply is told from what HTTP says: raw servers, read without a process in between."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING

import httpx
import pytest

from core.base.setting import NO_PROXY
from core.model.messages import FinishReason
from core.model.provider import TextDelta
from core.model.server_options import USUAL, Network
from providers.reading.decoder import TooLong
from providers.reading.parser import Summary
from providers.reading.protocols import Protocol
from providers.worker import exchange as exchanges
from providers.worker.exchange import Clients, exchange
from tests.providers.odd_replies import DONE, END, chat, choice, raw, say
from tests.servers.raw import Raw
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from core.model.provider import ContentDelta

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """A server that has `serve` answer each connection, and its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


class Reading:
    """One request, and what is read of its answer. `begun` is set with the first piece of it."""

    def __init__(self, protocol: Protocol = Protocol.CHAT) -> None:
        self.summary = Summary()
        self.parser = protocol.parser(self.summary)
        self.text = ""
        self.begun = asyncio.Event()

    async def of(self, url: str) -> None:
        client = await Clients().get(USUAL.network)
        try:
            async with asyncio.timeout(GENEROUS_S):
                await exchange(
                    client,
                    httpx.Request("POST", url, content=b"{}"),
                    self.parser,
                    self._take,
                    streaming=True,
                )
        finally:
            await client.aclose()

    def _take(self, deltas: Iterable[ContentDelta]) -> None:
        self.text += "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
        self.begun.set()


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + chunk(say("a") + END),
        CHUNKED + chunk(say("a") + END) + b"no chunk\r\n",
        HEADERS + b"Content-Length: 9999\r\n\r\n" + say("a") + END,
    ],
    ids=["without the last chunk", "no chunk behind it", "shorter than its length"],
)
async def test_a_reply_with_its_end_mark_is_whole_however_http_ends(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    reading = Reading()
    async with serving(serve) as url:
        await reading.of(url)
    assert (reading.text, reading.summary.finish) == ("a", FinishReason.STOP)
    assert reading.parser.is_done


def _gemini(finish: str | None, *parts: object) -> bytes:
    return raw({"candidates": [{"content": {"parts": list(parts)}, "finishReason": finish}]})


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    ("protocol", "pieces"),
    [
        (
            Protocol.CHAT,
            (chat(choice({"content": "a"}, "stop")), chat(choice({"content": "b"}, "stop")) + DONE),
        ),
        (Protocol.GEMINI, (_gemini("STOP", {"text": "a"}), _gemini("STOP", {"text": "b"}))),
        (Protocol.GEMINI, (_gemini("STOP"), _gemini(None, {"text": "ab"}) + _gemini("STOP"))),
        (
            Protocol.GEMINI,
            (
                _gemini("STOP") + _gemini(None, {"text": "a"}) + _gemini("STOP"),
                _gemini("STOP", {"text": "b"}),
            ),
        ),
    ],
    ids=["in every event", "in every event of Gemini", "before the first word", "in events without a word"],
)
async def test_a_reason_that_does_not_come_last_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol, pieces: tuple[bytes, bytes]
) -> None:
    """Gemini's servers, and gateways to it, have sent it with each piece. Between two a model may think."""
    monkeypatch.setattr(exchanges, "END_WITHIN_S", 0.0)
    reading, whole = Reading(protocol), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + chunk(pieces[0]))
        await reading.begun.wait()
        writer.write(chunk(pieces[1]) + LAST_CHUNK)
        await writer.drain()
        whole.set()

    async with serving(serve) as url:
        await reading.of(url)
    assert whole.is_set()
    assert (reading.text, reading.summary.finish) == ("ab", FinishReason.STOP)


@pytest.mark.promise("P7")
async def test_a_server_that_never_ends_after_its_reason_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchanges, "END_WITHIN_S", 0.0)
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + chunk(say("a") + chat(choice({}, "stop"))))
        await reader.read()
        left.set()

    reading = Reading()
    async with serving(serve) as url:
        await reading.of(url)
        async with asyncio.timeout(GENEROUS_S):
            await left.wait()
    assert (reading.text, reading.summary.finish) == ("a", FinishReason.STOP)


@pytest.mark.promise("P6")
async def test_a_compressed_reply_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "MOST_BYTES_PER_REPLY", 100_000)
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEADERS + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            while True:
                writer.write(chunk(packer.compress(say("a" * 10_000)) + packer.flush(zlib.Z_SYNC_FLUSH)))
                await writer.drain()
                await asyncio.sleep(0)
        finally:
            left.set()

    reading = Reading()
    async with serving(serve) as url:
        with pytest.raises(TooLong):
            await reading.of(url)
        async with asyncio.timeout(GENEROUS_S):
            await left.wait()
    assert 50_000 < len(reading.text) <= 100_000


@pytest.mark.promise("P9")
async def test_a_server_without_a_proxy_is_reached_directly_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as raw:
        clients = Clients()
        with pytest.raises(httpx.ConnectError):
            await (await clients.get(USUAL.network)).get(raw.url)
        direct = await clients.get(Network(proxy=NO_PROXY))
        assert (await direct.get(raw.url)).text == "ok"
    for client in clients._clients.values():
        await client.aclose()
