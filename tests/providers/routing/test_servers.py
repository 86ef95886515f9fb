"""Which server a name means, which host that is, and which servers are asked for their models."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from core.model.provider import ModelChoice
from core.model.settings import ModelSettings, Route
from providers.keys.finder import KeyFinder
from providers.routing.servers import USUAL_HOSTS, addresses, choose, hosts, own_servers
from tests.providers.routing.test_names import SETTINGS

HERE = "http://127.0.0.1:8000/v1"
LOCAL = ModelChoice("openai/one", HERE)
BARE = ModelChoice("one", HERE)


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


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        (ModelChoice("openai/one", "https://me:s@cret@example.com/v1"), ("https://example.com/v1",)),
        (ModelChoice("openai/one"), ("api.openai.com",)),
        (ModelChoice("careful"), ("https://llm.example.com ([providers.team] api_base)",)),
        (ModelChoice("own"), ("http://127.0.0.1:1 ([models.own] api_base)",)),
    ],
)
def test_an_address_is_told_without_a_password(choice: ModelChoice, places: tuple[str, ...]) -> None:
    assert addresses(choice, SETTINGS, KeyFinder({}).endpoint) == places


def test_a_circle_of_routes_has_an_end() -> None:
    circle = ModelSettings(routes={"a": Route(fallback=("b",)), "b": Route(model="a")})
    assert hosts(ModelChoice("a"), circle, KeyFinder({}).endpoint) == ()
    assert choose("two", ModelChoice("b"), circle) == ModelChoice("two")


def test_the_usual_hosts_are_those_of_the_library() -> None:
    import litellm

    for provider, host in USUAL_HOSTS.items():
        told = litellm.get_llm_provider(f"{provider}/m")[3]
        assert told is None or urlsplit(told).netloc == host, provider


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
