"""The servers themselves: what they promise to the tests that rest on them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx
import pytest

from core.messages import FinishReason, Usage
from tests.servers.base import Server, ThreadedServer
from tests.servers.blackhole import BlackHole
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import (
    Call,
    Cut,
    Fault,
    Garbage,
    Oversized,
    Refusal,
    Refuse,
    Reset,
    Script,
    Silence,
    Stall,
    Truncate,
    flood,
    in_turn,
)

ROOT = Path(__file__).parents[2]
ENDPOINTS = {
    "openai": "/v1/chat/completions",
    "azure": "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini:streamGenerateContent?alt=sse",
    "ollama": "/api/chat",
    "responses": "/responses",
}
HTTP_END = b"\r\n0\r\n\r\n"
SIGNS = {"anthropic", "gemini", "responses"}
BODY = {
    "model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}],
    "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "input": "hi",
}  # fmt: skip
"""A prompt in every protocol at once."""
RICH = Script(
    reasoning=("Let me ", "think."),
    calls=(
        Call("call_1", "read", ('{"pa', 'th": "a"}')),
        Call("call_2", "read", ('{"path"', ': "b"}')),
    ),
    usage=Usage(input_tokens=20, output_tokens=9, cached_tokens=4, reasoning_tokens=3),
)


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


def fetch(server: Server, protocol: WireProtocol) -> httpx.Response:
    with httpx.Client(base_url=server.url, verify=False) as client:
        return client.post(ENDPOINTS[protocol.name], json=BODY)


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


def test_a_connection_without_a_request_is_watched_too() -> None:
    with ThreadedServer(OpenAIServer()) as server:
        with Peer(server, ENDPOINTS["openai"]):
            server.wait_for(lambda: len(server.connections) == 1)
        server.wait_for(lambda: server.open_connections == 0)
        assert server.connections[0].closed_by_peer
        assert server.exchanges == []


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


def test_a_dripped_reply_is_the_same_reply(protocol: WireProtocol) -> None:
    with ThreadedServer(protocol.server(in_turn(RICH, replace(RICH, drip=0.0)))) as server:
        whole, dripped = (fetch(server, protocol).text for _ in range(2))
        assert dripped == whole
        assert server.exchanges[0].deltas_sent == server.exchanges[1].deltas_sent > 0


def test_a_released_stall_goes_on() -> None:
    with (
        ThreadedServer(OpenAIServer(Script(fault=Stall(after=1)))) as server,
        httpx.Client(verify=False) as client,
    ):
        with client.stream("POST", server.url + "/chat/completions", json=BODY) as response:
            exchange = server.wait_request()
            server.wait_deltas(exchange, 1)
            server.release(exchange)
            assert "world" in response.read().decode()
        assert exchange.deltas_sent == 4


def test_garbage_and_endless_lines_come_where_they_should(protocol: WireProtocol) -> None:
    faults = (Garbage(after=2), Oversized(after=2, size=200_000))
    scripts = in_turn(*(Script(fault=fault) for fault in faults))
    with ThreadedServer(protocol.server(scripts)) as server:
        garbled, oversized = (fetch(server, protocol).content for _ in range(2))
    assert garbled.index(b'", "') < garbled.index(b'"half') < garbled.index(b"world")
    assert max(map(len, oversized.splitlines())) > 190_000


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_is_a_status_a_body_and_its_header(protocol: WireProtocol, refusal: Refusal) -> None:
    script = Script(fault=Refuse(refusal, retry_after=14))
    with ThreadedServer(protocol.server(script)) as server:
        response = fetch(server, protocol)
    expected = {
        Refusal.CONTEXT_TOO_LONG: 400,
        Refusal.OVERLOADED: 529 if protocol.name == "anthropic" else 503,
    }
    if protocol.name == "gemini":
        expected[Refusal.WRONG_KEY] = 400
    assert response.status_code == expected.get(refusal, refusal.value)
    assert response.headers["retry-after"] == "14"
    assert response.json()["error"]


def test_each_flooded_chunk_arrives_once() -> None:
    with ThreadedServer(OpenAIServer(flood(3000))) as server:
        text = fetch(server, PROTOCOLS["openai"]).text
    lines = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    content = "".join(line["choices"][0]["delta"].get("content", "") for line in lines)
    assert content == "".join(flood(3000).text)


async def test_a_server_runs_in_the_tests_own_loop_too() -> None:
    async with OpenAIServer(Script(fault=Stall(after=1))) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = json.dumps(BODY).encode()
        writer.write(b"POST /chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        await server.until(lambda: bool(server.exchanges) and server.exchanges[0].deltas_sent == 1)
        assert server.exchanges[0].request.body == BODY
        writer.close()
        await writer.wait_closed()
        await server.until(lambda: server.open_connections == 0)


def test_an_error_in_a_chooser_is_not_lost() -> None:
    def choose(_: object) -> Script:
        raise LookupError("no script")

    def ask() -> bytes:
        with ThreadedServer(OpenAIServer(choose)) as server, Peer(server, ENDPOINTS["openai"]) as peer:
            peer.ask()
            return peer.read_all()

    with pytest.raises(ExceptionGroup, match="the server failed"):
        ask()


def test_a_server_process_reports_and_ends_with_its_parent() -> None:
    command = [sys.executable, "-m", "tests.servers", "openai", "--script", "stall"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with socket.create_connection(("127.0.0.1", port)) as client:
            body = json.dumps(BODY).encode()
            client.sendall(
                b"POST /chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            client.recv(65536)
        events = [json.loads(process.stdout.readline()) for _ in range(4)]
        assert [event["event"] for event in events] == ["accepted", "request", "headers", "closed"]
        assert events[3]["by_peer"]
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")
def test_nobody_gets_through_a_black_hole() -> None:
    with BlackHole() as hole, socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", hole.port))
        assert hole.connecting == 1
        client.close()
        assert hole.connecting == 0


def test_litellm_understands_all_of_it() -> None:
    """Text, reasoning with its proof, two calls, usage and the end arrive in both forms."""
    with ExitStack() as stack:
        asked = []
        for name, protocol in PROTOCOLS.items():
            server = stack.enter_context(ThreadedServer(protocol.server(RICH)))
            asked += [(name, server.url, stream) for stream in (True, False)]
        probe = subprocess.run(
            [sys.executable, "-m", "tests.servers.litellm_probe"],
            cwd=ROOT, input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert probe.returncode == 0, probe.stderr
    for (name, _, stream), arrived in zip(asked, json.loads(probe.stdout.splitlines()[-1]), strict=True):
        expected_pieces = len(RICH.text) if stream else 1
        splits = stream and PROTOCOLS[name].splits_calls
        calls = [[call[0], json.loads(call[1])] for call in arrived["calls"].values()]
        assert (arrived["text"], arrived["pieces"]) == ("Hello, world.", expected_pieces), name
        assert arrived["reasoning"] == "Let me think.", name
        assert arrived["signatures"] == ([RICH.signature] if name in SIGNS else []), name
        assert calls == [["read", {"path": "a"}], ["read", {"path": "b"}]], name
        assert arrived["argument_pieces"] == (4 if splits else 2), name
        assert arrived["usage"] == [20, 9], name
        ended = "completed" if PROTOCOLS[name].uses_responses else FinishReason.TOOL_CALLS
        assert arrived["finish"] == ended, name
