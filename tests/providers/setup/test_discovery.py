"""What is found before anything was chosen: only what is there, in time, and no key goes anywhere.

The servers are real ones on this machine, most of them hostile; each keeps every byte that it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from core.model.setup import EnvironmentKey, KeyedProvider, KeyHome, LocalServer, StoredKey
from providers.keys.default_models import DEFAULT_MODELS
from providers.keys.finder import KeySource
from providers.keys.names import all_key_variables
from providers.keys.store import KeyEntry
from providers.reading.model_list import BODY_LIMIT, MODELS_LIMIT
from providers.setup.discovery import USUAL_PLACES, Discovery, Place, places
from tests.providers.tls import TlsFront
from tests.servers.base import ThreadedServer
from tests.servers.ollama import OllamaServer
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from core.model.setup import Found

OPENAI = KeyedProvider("openai", "OpenAI", "OPENAI_API_KEY", "openai/gpt-5.1")
GEMINI = KeyedProvider("gemini", "Gemini", "GEMINI_API_KEY", "gemini/gemini-2.5-pro")
SECRET = "sk-must-stay-here-5d0e"
EVERY_KEY = dict.fromkeys(sorted(all_key_variables()), SECRET)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def answer(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def listed(*names: object) -> bytes:
    return answer(json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


class Listener:
    """A server on this machine that answers each connection with `pieces`, and keeps what it was sent.

    With `holds` it answers nothing and keeps the connection open until the other side closes it.
    """

    def __init__(self, pieces: Iterable[bytes] = (), *, holds: bool = False) -> None:
        self._pieces = pieces
        self._holds = holds
        self.received = bytearray()
        self.connections = 0
        self.sent = 0
        self.closed = threading.Event()

    def __enter__(self) -> Listener:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="listener", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(GENEROUS_S)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def place(self) -> Place:
        return Place("vllm", "vLLM", "hosted_vllm", f"http://127.0.0.1:{self.port}")

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(GENEROUS_S)
            with connection, contextlib.suppress(OSError):
                self._answer(connection)
            self.closed.set()

    def _answer(self, connection: socket.socket) -> None:
        while b"\r\n\r\n" not in self.received:
            data = connection.recv(65536)
            if not data:
                return
            self.received += data
        for piece in self._pieces:
            connection.sendall(piece)
            self.sent += len(piece)
        while self._holds and (data := connection.recv(65536)):
            self.received += data


async def look(
    *usual: Place,
    environment: Mapping[str, str] | None = None,
    kept: Callable[[], Iterable[KeyEntry]] = tuple,
    providers: tuple[KeyedProvider, ...] = (OPENAI, GEMINI),
    within_s: float = GENEROUS_S,
) -> list[Found]:
    found: list[Found] = []
    discovery = Discovery(providers, kept, environment or {}, usual=usual, within_s=within_s)
    await discovery.look(found.append)
    return found


@contextmanager
def listening(*pieces: bytes) -> Iterator[Listener]:
    with Listener(pieces) as listener:
        yield listener


# -- keys --


async def test_keys_of_the_environment_are_there_at_once_and_only_by_name() -> None:
    environment = {"OPENAI_API_KEY": "  ", "GOOGLE_API_KEY": SECRET, "OLLAMA_HOST": "nowhere.example:1"}
    discovery = Discovery((OPENAI, GEMINI), tuple, environment, usual=())
    assert discovery.present() == (EnvironmentKey(GEMINI, "GOOGLE_API_KEY"),)
    assert SECRET not in repr(discovery.present())


async def test_keys_that_are_kept_are_found_unless_the_environment_has_one() -> None:
    kept = (
        KeyEntry("GEMINI_API_KEY", "gemini", KeySource.ENVIRONMENT),
        KeyEntry("gemini", "gemini", KeySource.FILE),
        KeyEntry("OPENAI_API_KEY", "openai", KeySource.KEYRING),
        KeyEntry("OPENAI_API_KEY", "openai", KeySource.FILE),
    )
    assert await look(kept=lambda: kept) == [
        StoredKey(OPENAI, KeyHome.KEYRING),
        StoredKey(GEMINI, KeyHome.FILE),
    ]
    found = await look(kept=lambda: kept, environment={"GEMINI_API_KEY": SECRET})
    assert found == [StoredKey(OPENAI, KeyHome.KEYRING)]


async def test_a_keyring_that_hangs_or_fails_keeps_nobody_from_a_server() -> None:
    hanging = threading.Event()

    def hang() -> tuple[KeyEntry, ...]:
        hanging.wait(GENEROUS_S)
        return (KeyEntry("OPENAI_API_KEY", "openai", KeySource.KEYRING),)

    def fail() -> tuple[KeyEntry, ...]:
        raise RuntimeError(SECRET)

    with listening(listed("m")) as listener:
        try:
            found = await look(listener.place, kept=hang, within_s=1.0)
        finally:
            hanging.set()
        assert [type(one) for one in found] == [LocalServer]
    with listening(listed("m")) as listener:
        assert len(await look(listener.place, kept=fail)) == 1


async def test_a_keyring_that_answers_too_late_is_told_of_to_nobody() -> None:
    late = threading.Event()
    found: list[Found] = []

    def hang() -> tuple[KeyEntry, ...]:
        late.wait(GENEROUS_S)
        return (KeyEntry("OPENAI_API_KEY", "openai", KeySource.KEYRING),)

    await Discovery((OPENAI,), hang, {}, usual=(), within_s=0.05).look(found.append)
    late.set()
    for thread in threading.enumerate():
        if thread.name == "kept keys":
            await asyncio.to_thread(thread.join, GENEROUS_S)
    await asyncio.sleep(0)
    assert found == []


# -- servers --


async def test_an_ollama_and_a_server_like_openais_are_found_all_at_once() -> None:
    barrier = threading.Barrier(2)

    def together(body: bytes) -> Iterator[bytes]:
        # Neither answers before both were asked.
        barrier.wait(GENEROUS_S)
        yield body

    tags = answer(
        json.dumps({"models": [{"name": "llama3.2:latest"}, {"name": "nomic-embed-text"}]}).encode()
    )
    with Listener(together(tags)) as ollama, Listener(together(listed("qwen", "phi"))) as other:
        place = next(one for one in USUAL_PLACES if one.name == "ollama")
        origin = f"http://127.0.0.1:{ollama.port}"
        found = await look(other.place, environment=EVERY_KEY | {"OLLAMA_HOST": f"127.0.0.1:{ollama.port}"})
        assert sorted(one.name for one in found if isinstance(one, LocalServer)) == ["ollama", "vllm"]
        assert LocalServer("ollama", "Ollama", place.protocol, origin, ("llama3.2:latest",)) in found
        assert ollama.received.startswith(b"GET /api/tags HTTP/1.1\r\n")
        assert other.received.startswith(b"GET /v1/models HTTP/1.1\r\n")


async def test_the_servers_of_the_suite_are_found() -> None:
    with ThreadedServer(OllamaServer()) as server:
        found = await look(environment={"OLLAMA_API_BASE": f"http://localhost:{server.port}/"})
        assert [one.models for one in found if isinstance(one, LocalServer)] == [("llama3.1:latest",)]
        assert [exchange.request.path for exchange in server.exchanges] == ["/api/tags"]
        assert "authorization" not in server.exchanges[0].request.headers


async def test_whatever_answers_gets_no_key_and_no_other_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All keys and a proxy are set, a `.netrc` has a password for this machine; nobody sees any of it."""
    (tmp_path / ".netrc").write_text(f"default login me password {SECRET}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with ExitStack() as stack:
        elsewhere = stack.enter_context(Listener([listed("elsewhere")]))
        proxy = stack.enter_context(Listener([listed("proxied")]))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name, value in EVERY_KEY.items():
            monkeypatch.setenv(name, value)
        goal = b"http://127.0.0.1:%d/v1/models" % elsewhere.port
        moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: " + goal + b"\r\nContent-Length: 0\r\n\r\n"
        wants_key = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
        cookie = answer(b"{}", HEAD + b"Set-Cookie: a=b\r\n")
        listeners = [
            stack.enter_context(Listener([reply])) for reply in (moved, wants_key, cookie, listed("fine"))
        ]
        found = await look(*(one.place for one in listeners), environment=EVERY_KEY)
        assert [one.models for one in found if isinstance(one, LocalServer)] == [("fine",)]
        assert (elsewhere.connections, proxy.connections) == (0, 0)
        for listener in listeners:
            assert listener.connections == 1
            assert SECRET.encode() not in listener.received
            lines = bytes(listener.received).lower().split(b"\r\n")
            assert not [
                line for line in lines if line.startswith((b"authorization", b"cookie", b"x-api-key"))
            ]
            assert lines[0] == b"get /v1/models http/1.1"


GARBAGE = {
    "empty": b"",
    "no http": b"\x16\x03\x01\x00\xff" * 40,
    "no json": answer(b"<html>It works!</html>"),
    "a list": answer(b"[1, 2]"),
    "no models": answer(b'{"data": {"id": "x"}}'),
    "deep": answer(b'{"data": ' + b"[" * 200_000),
    "deep and closed": answer(b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "bad text": answer(b'{"data": [{"id": "\xff\xfe"}]}'),
    "number": answer(b"1" * 10_000),
    "length": HEAD + b"Content-Length: -5\r\n\r\n{}",
    "cut": HEAD + b'Content-Length: 5000\r\n\r\n{"data": []',
    "packed": answer(b"\x1f\x8b\x08\x00\x00", HEAD + b"Content-Encoding: gzip\r\n"),
    "head": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "error": answer(b'{"data": []}', b"HTTP/1.1 500 Oops\r\nConnection: close\r\n"),
    "teapot": answer(b'{"data": []}', b"HTTP/1.1 203 Oops\r\nConnection: close\r\n"),
}


async def test_garbage_is_nobody() -> None:
    with ExitStack() as stack:
        listeners = {name: stack.enter_context(Listener([reply])) for name, reply in GARBAGE.items()}
        assert await look(*(one.place for one in listeners.values()), environment=EVERY_KEY) == []
        assert {name: one.connections for name, one in listeners.items()} == dict.fromkeys(GARBAGE, 1)


async def test_names_that_cannot_be_told_apart_by_sight_are_left_out_and_many_are_cut() -> None:
    bad = ("", "a b", "x\x1b[31m", "\u202eevil", "a" * 300, 7, None, "line\n", "text-embedding-3", "good")
    with listening(listed(*bad, "good", *(f"m{number}" for number in range(500)))) as listener:
        (found,) = await look(listener.place)
    assert isinstance(found, LocalServer)
    assert found.models[:2] == ("good", "m0")
    assert len(found.models) == MODELS_LIMIT


async def test_a_server_that_says_nothing_or_never_ends_is_left_within_its_time() -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    def endless() -> Iterator[bytes]:
        yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        while True:
            yield chunk

    def dripping() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: 100000\r\n\r\n"
        while True:
            yield b" "
            time.sleep(0.05)

    with (
        Listener(holds=True) as silent,
        Listener(endless()) as flood,
        Listener(dripping()) as drip,
        Listener([listed("fine")]) as fine,
    ):
        async with asyncio.timeout(GENEROUS_S):
            found = await look(silent.place, flood.place, drip.place, fine.place, environment=EVERY_KEY)
        assert [one.models for one in found if isinstance(one, LocalServer)] == [("fine",)]
        # The connections are closed, and little more was read than may be.
        for listener in (silent, flood, drip):
            assert listener.closed.wait(GENEROUS_S)
        assert flood.sent < BODY_LIMIT + (8 << 20)
        assert SECRET.encode() not in bytes(silent.received + flood.received + drip.received)


async def test_an_encrypted_server_is_left_alone(tmp_path: Path) -> None:
    with ThreadedServer(OllamaServer()) as server, TlsFront(tmp_path).before(server) as url:
        address = url.replace("https://", "")
        assert await look(environment={"OLLAMA_HOST": address}) == []
        assert await look(environment={"OLLAMA_HOST": url}) == []
        assert server.exchanges == []


async def test_a_stop_of_looking_closes_what_is_open() -> None:
    with Listener(holds=True) as silent:
        task = asyncio.create_task(look(silent.place))
        while not silent.received:  # noqa: ASYNC110 (another thread receives it)
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(silent.closed.wait, GENEROUS_S)


# -- where --


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("127.0.0.1:1", "http://127.0.0.1:1"),
        ("localhost", None),
        ("0.0.0.0:5", "http://127.0.0.1:5"),
        ("http://[::1]:5/", "http://[::1]:5"),
        (":6", "http://127.0.0.1:6"),
        (" 127.9.9.9:7 ", "http://127.9.9.9:7"),
    ],
)
def test_ollama_is_looked_for_where_its_variables_say(value: str, origin: str | None) -> None:
    found = places({"OLLAMA_HOST": value})
    assert [one.origin for one in found if one not in USUAL_PLACES] == ([origin] if origin else [])
    assert found[-len(USUAL_PLACES) :] == USUAL_PLACES


@pytest.mark.parametrize(
    "value",
    [
        "10.0.0.5:11434",
        "ollama.example.com",
        "https://127.0.0.1:5",
        "http://127.0.0.1.evil.example:5",
        "http://localhost@evil.example",
        "http://evil.example#@127.0.0.1",
        "127.0.0.1:99999",
        "file:///etc/passwd",
        "http://[::1",
        "\x00",
        "169.254.169.254",
    ],
)
def test_nothing_but_this_machine_is_asked(value: str) -> None:
    assert places({"OLLAMA_HOST": value, "OLLAMA_API_BASE": value}) == USUAL_PLACES


def test_the_usual_places_are_on_this_machine_and_none_is_asked_with_the_key_of_a_provider() -> None:
    for place in USUAL_PLACES:
        assert place.origin.startswith("http://127.0.0.1:")
        assert place.protocol not in DEFAULT_MODELS
