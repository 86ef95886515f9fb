"""Replies that come in small pieces are read now and then, and otherwise like any other."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx
import pytest

from core.model.provider import TextDelta
from core.model.server_options import USUAL
from providers.reading.parser import Summary
from providers.reading.protocols import Protocol
from providers.worker import exchange as exchanges
from providers.worker import sockets
from providers.worker.exchange import Clients, exchange
from providers.worker.sockets import READ_EVERY_S, SocketTrace, TracedLoop, current_trace
from tests.providers.odd_replies import DONE, chat, choice, say
from tests.providers.worker.test_exchange import CHUNKED, LAST_CHUNK, chunk
from tests.servers.streams import stream_server
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from core.model.provider import ContentDelta

SOON = sockets._SOON_READS
NEVER_S = 100 * GENEROUS_S


def test_a_reply_rests_when_it_is_long_and_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(sockets, "time", SimpleNamespace(monotonic=lambda: now))
    trace = SocketTrace(lambda phase: None, lambda: None, streaming=True)
    for _ in range(SOON):
        now += 0.02
        trace.receive(200)
        assert trace.rest == 0
    now += 0.02
    trace.receive(200)
    assert trace.rest == pytest.approx(READ_EVERY_S)
    now += 0.01
    assert trace.rest == pytest.approx(READ_EVERY_S - 0.01)
    now += 0.02
    trace.receive(20_000)
    assert trace.rest == 0, "what comes fast is read at once"
    now += 0.02
    trace.receive(200)
    assert trace.rest == pytest.approx(READ_EVERY_S)
    trace.hurry()
    assert trace.rest == 0
    for _ in range(SOON):
        now += 0.02
        trace.receive(200)
        assert trace.rest == 0
    now += 0.02
    trace.receive(200)
    assert trace.rest == pytest.approx(READ_EVERY_S)


class Reading:
    """A reply that is being read on a loop as a stream process has it."""

    def __init__(self, clients: Clients) -> None:
        self.received = asyncio.Event()
        self.trace = SocketTrace(lambda phase: None, self.received.set, streaming=True)
        self.text = ""
        self._clients = clients
        self._read = [asyncio.Event() for _ in range(SOON + 3)]

    async def of(self, url: str) -> None:
        current_trace.set(self.trace)
        client = await self._clients.get(USUAL.network)
        request = httpx.Request("POST", url, content=b"{}")
        await exchange(client, request, Protocol.CHAT.parser(Summary()), self._emit, streaming=True)

    def _emit(self, deltas: Iterable[ContentDelta]) -> None:
        self.text += "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
        next(event for event in self._read if not event.is_set()).set()

    async def has_read(self, events: int) -> None:
        """Wait until so many events of the stream were read."""
        await self._read[events - 1].wait()

    async def sent(self, writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
        """Send each piece when the one before was read."""
        writer.write(CHUNKED + chunk(pieces[0]))
        for number, piece in enumerate(pieces[1:], 1):
            await self.has_read(number)
            writer.write(chunk(piece))
        await self.has_read(len(pieces))


def on_traced_loop(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `work` where each reply is slow after its first reads, and rests for longer than any test."""
    monkeypatch.setattr(sockets, "_SLOW_BYTES_PER_S", 1e12)
    monkeypatch.setattr(sockets, "READ_EVERY_S", NEVER_S)

    async def bounded() -> None:
        async with asyncio.timeout(GENEROUS_S):
            await work()

    with asyncio.Runner(loop_factory=TracedLoop) as runner:
        runner.run(bounded())


@pytest.mark.promise("P1", "P5")
def test_a_stop_does_not_wait_for_the_next_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        clients = Clients()
        reading, sent, left = Reading(clients), asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            await reading.sent(writer, [say("a")] * (SOON + 1))
            writer.write(chunk(say("unread")))
            sent.set()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            left.set()

        async with stream_server(serve) as port:
            task = asyncio.create_task(reading.of(f"http://127.0.0.1:{port}/"))
            await sent.wait()
            for _ in range(20):  # in which it would be read
                await asyncio.sleep(0)
            task.cancel()
            reading.trace.abort()
            await asyncio.gather(task, return_exceptions=True)
            await left.wait()
        assert reading.trace.closed
        assert reading.text == "a" * (SOON + 1)
        await clients.drop(USUAL.network)

    on_traced_loop(monkeypatch, work)


async def read_two(answer: Callable[[Reading, asyncio.StreamWriter], Coroutine[None, None, None]]) -> None:
    """Read two replies that `answer` sends, one after the other, and see that they share a connection."""
    clients = Clients()
    readings = [Reading(clients), Reading(clients)]
    connections: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"{}"):
                reading = readings[len(connections)]
                connections.append(reader)
                await answer(reading, writer)

    async with stream_server(serve) as port:
        for reading in readings:
            await reading.of(f"http://127.0.0.1:{port}/")
            assert reading.text == "a" * SOON
        await clients.drop(USUAL.network)
    assert len(connections) == 2
    assert len(set(connections)) == 1


@pytest.mark.promise("P7")
def test_the_end_of_a_slow_reply_is_read_at_once_and_keeps_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(reading: Reading, writer: asyncio.StreamWriter) -> None:
        await reading.sent(writer, [*[say("a")] * SOON, chat(choice({}, "stop")), DONE])
        writer.write(LAST_CHUNK)

    on_traced_loop(monkeypatch, lambda: read_two(answer))


@pytest.mark.promise("P7")
def test_an_end_that_http_sends_in_pieces_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reading: Reading, writer: asyncio.StreamWriter) -> None:
        await reading.sent(writer, [*[say("a")] * SOON, chat(choice({}, "stop"))])
        for piece in (chunk(DONE)[:-2], b"\r\n", LAST_CHUNK[:3], LAST_CHUNK[3:]):
            reading.received.clear()
            writer.write(piece)
            await reading.received.wait()

    monkeypatch.setattr(exchanges, "DRAIN_WITHIN_S", GENEROUS_S / 2)
    on_traced_loop(monkeypatch, lambda: read_two(answer))
