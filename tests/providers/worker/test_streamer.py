"""A stream process without the process: its loop, its pipes and its socket are real, and are looked into."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from core.model.server_options import USUAL
from providers.client.incoming import IncomingBuffer
from providers.reading.protocols import Protocol
from providers.wire import Cancel, End, Failed, Start, Stopped, dump
from providers.worker import handover
from providers.worker.handover import Subject
from providers.worker.outbox import Outbox
from providers.worker.sockets import TracedLoop
from providers.worker.startup import Running
from providers.worker.streamer import Streamer
from tests.providers.odd_replies import END, say
from tests.providers.worker.test_exchange import CHUNKED, chunk
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.wire import ToParent


class Parent:
    """What the program has of a stream process."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        (inbox, self._inbox), (outbox, childs_outbox) = os.pipe(), os.pipe()
        peer, self._peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for fd in (inbox, self._inbox, outbox, childs_outbox):
            stack.callback(os.close, fd)
        stack.enter_context(peer)
        stack.enter_context(self._peer)
        self.loop = asyncio.get_running_loop()
        self.streamer = Streamer(Running(self.loop, inbox, Outbox(childs_outbox, self.loop), {}), peer)
        stack.callback(self.loop.remove_reader, inbox)
        stack.callback(self.loop.remove_reader, peer)
        self._messages = IncomingBuffer(outbox)
        self._arrived: asyncio.Queue[ToParent] = asyncio.Queue()
        self.loop.add_reader(outbox, self._read)
        stack.callback(self.loop.remove_reader, outbox)

    def _read(self) -> None:
        for message in self._messages.read():
            self._arrived.put_nowait(message)

    async def start(self, stream_id: int, url: str) -> None:
        ours, theirs = socket.socketpair()
        request = httpx.Request("POST", url, content=b"{}")
        ours.setblocking(False)
        await handover.send(ours, handover.compiled(request, Protocol.CHAT, Subject("openai/m")))
        with theirs:
            socket.send_fds(self._peer, [str(stream_id).encode()], [theirs.fileno()])
        self.tell(Start(stream_id))

    def tell(self, message: Start | Cancel) -> None:
        os.write(self._inbox, dump(message))

    async def end_of(self, stream_id: int) -> End | Failed | Stopped:
        async with asyncio.timeout(GENEROUS_S):
            while True:
                match await self._arrived.get():
                    case (End() | Failed() | Stopped()) as end if end.stream_id == stream_id:
                        return end
                    case _:
                        pass


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=TracedLoop) as runner:
        yield runner


@pytest.mark.promise("P5", "P1")
def test_a_stop_at_any_await_leaves_nothing_in_the_pool(runner: asyncio.Runner) -> None:
    """httpx's pool keeps what is cancelled at some of its awaits: the request, with the conversation."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"{}"):
                for piece in (CHUNKED, chunk(say("a")), chunk(END), b"0\r\n\r\n"):
                    writer.write(piece)
                    await asyncio.sleep(0)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def stop_at_every_await() -> set[type]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        ends: set[type] = set()
        with contextlib.ExitStack() as stack:
            parent = Parent(stack)
            for steps in range(120):
                await parent.start(steps, url)
                for _ in range(steps):
                    await asyncio.sleep(0)
                parent.tell(Cancel(steps))
                ends.add(type(await parent.end_of(steps)))
                for client in parent.streamer._clients._clients.values():
                    pool = client._transport._pool  # type: ignore[attr-defined]
                    assert pool._requests == []
                    assert all(connection.is_idle() for connection in pool.connections), pool
            await parent.streamer._clients.drop(USUAL.network)
            server.close()
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        return ends

    assert runner.run(stop_at_every_await()) == {End, Stopped}


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SSL_CERT_FILE", "/nonexistent/certificates.pem", "No such file or directory"),
        ("ALL_PROXY", "socks4://me:secret-word@127.0.0.1:1", "address of a proxy"),
        ("ALL_PROXY", "socks5://127.0.0.1:1", "socksio"),
        ("HTTPS_PROXY", "http://me:secret-word/@127.0.0.1:1", "address of a proxy"),
    ],
)
def test_network_settings_that_cannot_be_used_are_told_and_end_no_process(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)

    async def ask() -> End | Failed | Stopped:
        with contextlib.ExitStack() as stack:
            parent = Parent(stack)
            await parent.start(1, "http://127.0.0.1:1/")
            return await parent.end_of(1)

    end = runner.run(ask())
    assert isinstance(end, Failed)
    assert told in end.message
    assert name in end.message
    assert "secret-word" not in end.message + end.detail


@pytest.mark.promise("P6")
def test_a_stream_that_a_library_cancels_has_an_end(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancel_itself(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("providers.worker.http_stream.exchange", cancel_itself)

    async def ask() -> End | Failed | Stopped:
        with contextlib.ExitStack() as stack:
            parent = Parent(stack)
            await parent.start(1, "http://127.0.0.1:1/")
            return await parent.end_of(1)

    end = runner.run(ask())
    assert isinstance(end, Failed)
    assert "openai/m" in end.message
