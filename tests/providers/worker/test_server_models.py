"""What a server is asked for its models with, and what becomes of its answer; the servers are real ones."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from msgspec.structs import replace

from core.model.directory import OwnServer
from core.model.server_options import ServerOptions
from providers.keys.finder import KeyFinder
from providers.worker import server_models
from providers.worker.server_models import ask_server
from tests.providers.setup.test_discovery import Listener, listed, listening
from tests.servers.base import ThreadedServer
from tests.servers.ollama import OllamaServer

SECRET, USUAL = "sk-team-2b7f", "sk-usual-91aa"


class Found(NamedTuple):
    names: list[str]
    problems: list[str]


async def asked(*servers: OwnServer, **environment: str) -> Found:
    answers = [await ask_server(1, server, KeyFinder(environment)) for server in servers]
    names = [info.model for answer in answers for info in answer.models]
    return Found(names, [answer.problem for answer in answers if answer.problem])


def own(
    listener: Listener, *, protocol: str = "openai", path: str = "/v1", key: str | None = None
) -> OwnServer:
    return OwnServer("team", "team/", protocol, f"http://127.0.0.1:{listener.port}{path}", key)


async def test_a_server_gets_the_key_that_the_settings_name_for_it_and_no_other() -> None:
    with listening(listed("one", "meta/two")) as named, listening(listed("three")) as without:
        found = await asked(
            own(named, key="TEAM_KEY"), own(without, key=""), TEAM_KEY=SECRET, OPENAI_API_KEY=USUAL
        )
    assert found.names == ["team/one", "team/meta/two", "team/three"]
    assert found.problems == []
    assert named.received.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert f"Bearer {SECRET}".encode() in named.received
    assert b"authorization" not in without.received.lower()
    assert USUAL.encode() not in named.received + without.received


@pytest.mark.parametrize(
    ("protocol", "path", "asked_for", "header"),
    [
        ("anthropic", "", b"GET /v1/models ", f"x-api-key: {SECRET}"),
        ("ollama_chat", "", b"GET /api/tags ", f"Bearer {SECRET}"),
        ("litellm_proxy", "/v1/", b"GET /v1/models ", f"Bearer {SECRET}"),
        ("litellm_proxy", "", b"GET /models ", f"Bearer {SECRET}"),
    ],
)
async def test_each_protocol_is_asked_in_its_way(
    protocol: str, path: str, asked_for: bytes, header: str
) -> None:
    with listening(listed("one")) as listener:
        found = await asked(own(listener, protocol=protocol, path=path, key="TEAM_KEY"), TEAM_KEY=SECRET)
    assert found.names == ["team/one"]
    assert listener.received.startswith(asked_for)
    assert header.encode() in listener.received


async def test_ollamas_tags_are_read() -> None:
    with ThreadedServer(OllamaServer()) as server:
        found = await asked(OwnServer("mine", "mine/", "ollama_chat", server.url))
    assert found.names == ["mine/llama3.1:latest"]


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",), "it wants a key, and none was found"),
        ((b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",), "it answers with the status 500"),
        ((b"HTTP/1.1 302 No\r\nLocation: /v1/x\r\nContent-Length: 0\r\n\r\n",), "the status 302"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",), "its answer cannot be read"),
        ((b"rubbish\r\n\r\n",), "it cannot be reached"),
    ],
)
async def test_a_server_without_a_list_is_named_and_the_others_are_listed(
    pieces: tuple[bytes, ...], why: str
) -> None:
    with listening(*pieces) as broken, listening(listed("one")) as whole:
        found = await asked(own(broken, key=""), own(whole, key=""))
    assert found.names == ["team/one"]
    (problem,) = found.problems
    assert problem.startswith("team lists no models: ")
    assert why in problem
    assert broken.connections == 1, "no redirect is followed"


async def test_a_silent_server_is_left_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_models, "ANSWER_WITHIN_S", 0.5)
    with Listener(holds=True) as silent:
        found = await asked(own(silent, key=""))
        assert found.problems == ["team lists no models: it has not answered within 0.5 s."]


async def test_certificates_that_cannot_be_read_are_said() -> None:
    options = ServerOptions(ca_file="/nowhere/ca.pem")
    found = await asked(OwnServer("team", "team/", "openai", "https://127.0.0.1:1", "", options))
    assert found.problems == [
        "team lists no models: the certificates for it cannot be read (No such file or directory).",
    ]


NO = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"TEAM_KEY": SECRET}, "it refuses the key; `caesura keys list` says where that comes from."),
        ({}, "it wants a key. No key called TEAM_KEY: "),
    ],
)
async def test_a_refusal_says_whether_there_was_a_key(environment: dict[str, str], why: str) -> None:
    with listening(NO) as listener:
        (problem,) = (await asked(own(listener, key="TEAM_KEY"), **environment)).problems
    assert problem.startswith(f"team lists no models: {why}")
    assert SECRET not in problem


async def test_headers_of_the_settings_go_along_and_before_ours() -> None:
    options = ServerOptions(headers={"X-Team": "blue", "Authorization": "Basic abc"})
    with listening(listed("one")) as listener:
        server = replace(own(listener, key="TEAM_KEY"), options=options)
        assert (await asked(server, TEAM_KEY=SECRET)).names == ["team/one"]
    assert b"X-Team: blue" in listener.received
    assert b"Basic abc" in listener.received
    assert SECRET.encode() not in listener.received
