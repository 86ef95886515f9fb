"""Which server a name means, which host that is, and what servers list; the servers are real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from core.model.provider import ModelChoice
from core.model.server_options import ServerOptions
from core.model.settings import ModelSettings, Route, ServerAddress
from providers.keys.finder import KeyFinder
from providers.routing import server_models
from providers.routing.server_models import ask_servers
from providers.routing.servers import USUAL_HOSTS, OwnServer, choose, hosts, own_servers
from tests.providers.routing.routed import Stage, router
from tests.providers.routing.test_names import SETTINGS, answer
from tests.providers.setup.test_discovery import Listener, listed, listening
from tests.servers.base import ThreadedServer
from tests.servers.ollama import OllamaServer

if TYPE_CHECKING:
    from core.model.directory import ServerModels

HERE = "http://127.0.0.1:8000/v1"
LOCAL = ModelChoice("openai/one", HERE)
BARE = ModelChoice("one", HERE)
SECRET, USUAL = "sk-team-2b7f", "sk-usual-91aa"


@pytest.mark.parametrize(
    ("now", "name", "chosen"),
    [
        # At an address that was given for this run.
        (LOCAL, "two", ModelChoice("openai/two", HERE)),
        (LOCAL, "openai/two", ModelChoice("openai/two", HERE)),
        (LOCAL, "openai/meta/two", ModelChoice("openai/meta/two", HERE)),
        (LOCAL, "openai/one", LOCAL),
        (LOCAL, "anthropic/two", ModelChoice("anthropic/two")),
        (LOCAL, "team/two", ModelChoice("team/two")),
        (LOCAL, "careful", ModelChoice("careful")),
        (LOCAL, "fast", ModelChoice("fast")),
        (BARE, "two", ModelChoice("two", HERE)),
        (BARE, "openai/two", ModelChoice("openai/two", HERE)),
        (BARE, "anthropic/two", ModelChoice("anthropic/two")),
        (ModelChoice("ollama_chat/one", HERE), "ollama/two", ModelChoice("ollama_chat/two", HERE)),
        # At a server of the settings, whose own address and key hold for all of its models.
        (ModelChoice("team/one"), "two", ModelChoice("team/two")),
        (ModelChoice("team/one"), "litellm_proxy/two", ModelChoice("team/two")),
        (ModelChoice("team/one"), "openai/two", ModelChoice("openai/two")),
        (ModelChoice("local/one"), "openai/two", ModelChoice("local/two")),
        (ModelChoice("careful"), "two", ModelChoice("team/two")),
        (ModelChoice("quick"), "two", ModelChoice("team/two")),
        # At the address that a model of the settings has for itself.
        (ModelChoice("own"), "two", ModelChoice("openai/two", "http://127.0.0.1:1", key_name="OWN_KEY")),
        (ModelChoice("keyless"), "two", ModelChoice("litellm_proxy/two", "http://other", key_name="")),
        (
            ModelChoice("openai/two", "http://127.0.0.1:1", key_name="OWN_KEY"),
            "three",
            ModelChoice("openai/three", "http://127.0.0.1:1", key_name="OWN_KEY"),
        ),
        # At a provider, and behind a route there is no one server.
        (ModelChoice("anthropic/one"), "two", ModelChoice("anthropic/two")),
        (ModelChoice("fast"), "two", ModelChoice("two")),
        (ModelChoice(""), "anthropic/two", ModelChoice("anthropic/two")),
    ],
)
def test_a_name_stays_at_the_server_in_use_unless_it_names_another(
    now: ModelChoice, name: str, chosen: ModelChoice
) -> None:
    assert choose(name, now, SETTINGS) == chosen


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        (LOCAL, ("127.0.0.1:8000",)),
        (BARE, ("127.0.0.1:8000",)),
        (ModelChoice("openai/one", "https://me:secret@example.com/v1"), ("example.com",)),
        (ModelChoice("openai/one"), ("api.openai.com",)),
        (ModelChoice("bare/one"), ("api.openai.com",)),
        (ModelChoice("groq/one"), ("groq.example:1",)),
        (ModelChoice("careful"), ("llm.example.com",)),
        # An address that was given does not count for the members of a route.
        (ModelChoice("both", HERE), ("127.0.0.1:1", "llm.example.com", "groq.example:1")),
        (ModelChoice("cohere_chat/one"), ("the usual address of Cohere",)),
        (ModelChoice("one"), ("the provider of one",)),
    ],
)
def test_the_host_of_a_choice_is_that_of_its_requests(choice: ModelChoice, places: tuple[str, ...]) -> None:
    keys = KeyFinder({"GROQ_API_BASE": "http://groq.example:1/v1"})
    assert hosts(choice, SETTINGS, keys.endpoint) == places


def test_a_circle_of_routes_has_an_end() -> None:
    circle = ModelSettings(routes={"a": Route(fallback=("b",)), "b": Route(model="a")})
    assert hosts(ModelChoice("a"), circle, KeyFinder({}).endpoint) == ()
    assert choose("two", ModelChoice("b"), circle) == ModelChoice("two")


def test_the_usual_hosts_are_those_of_the_library() -> None:
    import litellm

    for provider, host in USUAL_HOSTS.items():
        told = litellm.get_llm_provider(f"{provider}/m")[3]
        assert told is None or urlsplit(told).netloc == host, provider


# -- what servers list --


async def asked(*servers: OwnServer, **environment: str) -> ServerModels:
    return await ask_servers(servers, KeyFinder(environment))


def own(
    listener: Listener, *, protocol: str = "openai", path: str = "/v1", key: str | None = None
) -> OwnServer:
    return OwnServer("team", "team/", protocol, f"http://127.0.0.1:{listener.port}{path}", key)


def names(found: ServerModels) -> list[str]:
    return [offer.info.model for offer in found.offers]


async def test_a_server_gets_the_key_that_the_settings_name_for_it_and_no_other() -> None:
    with listening(listed("one", "meta/two")) as named, listening(listed("three")) as without:
        found = await asked(
            own(named, key="TEAM_KEY"), own(without, key=""), TEAM_KEY=SECRET, OPENAI_API_KEY=USUAL
        )
    assert names(found) == ["team/one", "team/meta/two", "team/three"]
    assert found.problems == ()
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
    assert names(found) == ["team/one"]
    assert listener.received.startswith(asked_for)
    assert header.encode() in listener.received


async def test_ollamas_tags_are_read() -> None:
    with ThreadedServer(OllamaServer()) as server:
        address = ServerAddress("ollama", server.url)
        asking = router(Stage(answer), ModelSettings({"mine": address}))
        found = await asking.server_models(ModelChoice("mine/llama3.1:latest"))
    assert names(found) == ["mine/llama3.1:latest"]


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
    assert names(found) == ["team/one"]
    (problem,) = found.problems
    assert problem.startswith("team lists no models: ")
    assert why in problem
    assert broken.connections == 1, "no redirect is followed"


async def test_a_silent_server_is_left_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_models, "ANSWER_WITHIN_S", 0.5)
    with Listener(holds=True) as silent:
        found = await asked(own(silent, key=""))
        assert found.problems == ("team lists no models: it has not answered within 0.5 s.",)


async def test_certificates_that_cannot_be_read_are_said() -> None:
    options = ServerOptions(ca_file="/nowhere/ca.pem")
    found = await asked(OwnServer("team", "team/", "openai", "https://127.0.0.1:1", "", options))
    assert found.problems == (
        "team lists no models: the certificates for it cannot be read (No such file or directory).",
    )


def test_the_server_in_use_is_asked_first_and_providers_are_not() -> None:
    def told(now: ModelChoice, **environment: str) -> list[str]:
        endpoint = KeyFinder(environment).endpoint
        return [server.title for server in own_servers(now, SETTINGS, endpoint)]

    assert told(LOCAL) == ["127.0.0.1:8000", "team", "local"]
    assert told(ModelChoice("local/one")) == ["local", "team"]
    assert told(ModelChoice("openai/one")) == ["team", "local"]
    assert told(ModelChoice("azure/one", HERE)) == ["team", "local"]
    assert told(ModelChoice("ollama_chat/one")) == ["localhost:11434", "team", "local"]
    assert told(ModelChoice("own")) == ["127.0.0.1:1", "team", "local"]
    assert told(ModelChoice("fast")) == ["team", "local"]
    assert told(ModelChoice("openai/one"), OPENAI_BASE_URL=HERE)[0] == "127.0.0.1:8000"


async def test_a_list_asks_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> str:
        raise AssertionError("the keyring was asked")

    monkeypatch.setattr("providers.keys.system_keyring.Keyring.read", read)
    with listening(listed("one")) as listener:
        assert names(await asked(own(listener, key="TEAM_KEY"))) == ["team/one"]
