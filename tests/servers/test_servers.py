"""The servers themselves: what they promise to the tests that rest on them."""

from __future__ import annotations

import json
import socket
import sys
from typing import Self

import httpx
import pytest

from tests.servers.base import Server, ThreadedServer
from tests.servers.blackhole import BlackHole
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import (
    Cut,
    Fault,
    Refusal,
    Refuse,
    Reset,
    Script,
    Silence,
    Stall,
    Truncate,
)

ENDPOINTS = {
    "openai": "/v1/chat/completions",
    "azure": "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini:streamGenerateContent?alt=sse",
    "ollama": "/api/chat",
    "responses": "/responses",
}
HTTP_END = b"\r\n0\r\n\r\n"
BODY = {
    "model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}],
    "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "input": "hi",
}  # fmt: skip
"""A prompt in every protocol at once."""


@pytest.fixture(params=list(PROTOCOLS.values()), ids=list(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> WireProtocol:
    assert isinstance(request.param, WireProtocol)
    return request.param


class Peer:
    """A client of bare bytes, so that nothing retries, pools or closes behind the test's back."""

    def __init__(self, server: Server, endpoint: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.settimeout(10)
        self._endpoint = endpoint
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self) -> None:
        body = json.dumps(BODY).encode()
        head = f"POST {self._endpoint} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def read_until(self, end: bytes) -> bytes:
        """Everything up to the read that completes `end`; a FIN before it fails the test."""
        while end not in self._received:
            data = self.socket.recv(65536)
            assert data, self._received
            self._received += data
        return self._received

    def read_all(self) -> bytes:
        """Everything until the server's FIN; raises `ConnectionResetError` on its RST."""
        return b"".join(iter(lambda: self.socket.recv(65536), b""))


@pytest.mark.parametrize(
    "script",
    [
        Script(fault=Silence()),
        Script(fault=Stall()),
        Script(fault=Stall(after=2)),
        Script(text=("word",), endless=True, delay=0.001),
        Script(text=("word" * 100,), endless=True),
        Script(fault=Refuse(Refusal.SERVER_ERROR, endless=True)),
        Script(text=("word",), endless=True, drip=0.001),
    ],
    ids=["silence", "headers", "stall", "slow", "endless", "error body", "drip"],
)
def test_a_peers_close_is_seen_in_every_phase(protocol: WireProtocol, script: Script) -> None:
    with ThreadedServer(protocol.server(script)) as server:
        peer = Peer(server, ENDPOINTS[protocol.name])
        peer.ask()
        exchange = server.wait_request()
        if not isinstance(script.fault, Silence):
            server.wait_for(lambda: exchange.headers_at is not None)
        assert (server.open_connections, server.busy_connections) == (1, 1)
        peer.socket.close()
        server.wait_closed(exchange)
        assert exchange.closed_by_peer
        assert exchange.completed_at is None
        assert (server.open_connections, server.busy_connections) == (0, 0)


def test_an_answered_connection_is_open_but_not_busy() -> None:
    with ThreadedServer(OpenAIServer()) as server, httpx.Client(base_url=server.url, verify=False) as client:
        for _ in range(2):
            assert client.post("/chat/completions", json=BODY).text.endswith("data: [DONE]\n\n")
        server.wait_for(lambda: server.exchanges[1].completed_at is not None)
        assert len(server.connections) == 1
        assert (server.open_connections, server.busy_connections) == (1, 0)


@pytest.mark.parametrize(
    "fault", [Cut(after=2), Truncate(after=2), Reset(after=2)], ids=["cut", "end", "rst"]
)
def test_a_server_that_ends_early_has_sent_what_it_says(protocol: WireProtocol, fault: Fault) -> None:
    with (
        ThreadedServer(protocol.server(Script(fault=fault))) as server,
        Peer(server, ENDPOINTS[protocol.name]) as peer,
    ):
        peer.ask()
        received = peer.read_until(b'", "')
        match fault:
            case Truncate():
                received = peer.read_until(HTTP_END)
            case Cut():
                received += peer.read_all()
                assert HTTP_END not in received
            case _:
                with pytest.raises(ConnectionResetError):
                    peer.read_all()
        assert b"Hello" in received
        assert b"world" not in received
        server.wait_for(lambda: server.exchanges[0].is_over)
        assert server.exchanges[0].deltas_sent == 2
        assert not server.exchanges[0].closed_by_peer


def test_an_error_in_a_chooser_is_not_lost() -> None:
    def choose(_: object) -> Script:
        raise LookupError("no script")

    def ask() -> bytes:
        with ThreadedServer(OpenAIServer(choose)) as server, Peer(server, ENDPOINTS["openai"]) as peer:
            peer.ask()
            return peer.read_all()

    with pytest.raises(ExceptionGroup, match="the server failed"):
        ask()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")
def test_nobody_gets_through_a_black_hole() -> None:
    with BlackHole() as hole, socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", hole.port))
        assert hole.connecting == 1
        client.close()
        assert hole.connecting == 0
