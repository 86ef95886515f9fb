"""A server that the settings name gets the key that they name for it, or none: never the person's usual one.

The real model process and the real library, which would look into the environment by itself, over every
protocol; all variables that are known to hold a key hold one that no server may see.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.cancel import CancelToken
from core.model.provider import ModelError
from core.model.settings import ModelSettings, NamedModel, ServerAddress
from providers.keys.finder import PLACEHOLDER
from providers.keys.names import OWN_TOOLS, all_key_variables
from providers.routing.router import Router
from tests.providers.harness import plant, request, start
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS, PROXY, WireProtocol
from tests.servers.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess
    from tests.servers.record import Exchange

USUAL = "sk-usual-9f31c7d2"
TEAM = "sk-team-50e2ab86"
CLOUD = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "OPENAI_ORGANIZATION")
ALL = {protocol.name: protocol for protocol in (*PROTOCOLS.values(), PROXY)}


@pytest.fixture(scope="module")
def process() -> Iterator[ModelProcess]:
    with pytest.MonkeyPatch.context() as environment:
        keys = dict.fromkeys((*all_key_variables(), *OWN_TOOLS, *CLOUD), USUAL)
        plant(environment, **keys, TEAM_LLM_KEY=TEAM)
        process = start()
        yield process
        process.close()


def sent(exchange: Exchange) -> str:
    """All of a request that a server sees."""
    asked = exchange.request
    return f"{asked.method} {asked.path} {dict(asked.headers)} {asked.body}"


def ask(process: ModelProcess, protocol: WireProtocol, key_name: str | None) -> str:
    with ThreadedServer(protocol.server(Script())) as server:
        asked = replace(request(protocol, server.url), key_name=key_name)
        with suppress(ModelError):
            asyncio.run(process.stream(asked, CancelToken("test"), lambda _: None))
        return " ".join(sent(exchange) for exchange in server.exchanges)


@pytest.mark.parametrize("name", ALL)
def test_the_usual_key_goes_only_where_the_person_sends_it(process: ModelProcess, name: str) -> None:
    protocol = ALL[name]
    assert USUAL in ask(process, protocol, None) or not protocol.environment
    for key_name in ("", "TEAM_LLM_KEY", "NO_SUCH_KEY"):
        asked = ask(process, protocol, key_name)
        assert USUAL not in asked
        match key_name:
            case "":
                assert asked
                assert TEAM not in asked
                assert not protocol.environment or PLACEHOLDER in asked
            case "TEAM_LLM_KEY":
                assert TEAM in asked
            case _:
                assert asked == "", "nothing is sent without the key that was named"


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("team/gpt-4o", TEAM),
        ("free/gpt-4o", None),
        ("own", None),
        ("elsewhere", None),
        ("openai/gpt-4o", USUAL),
    ],
)
def test_an_address_of_the_settings_gets_the_key_that_stands_beside_it(
    process: ModelProcess, model: str, key: str | None
) -> None:
    with ThreadedServer(PROTOCOLS["openai"].server(Script())) as server:
        settings = ModelSettings(
            providers={
                "team": ServerAddress("openai", server.url, key="TEAM_LLM_KEY"),
                "free": ServerAddress("openai", server.url),
            },
            models={
                "own": NamedModel("openai/gpt-4o", api_base=server.url),
                # The key of the team's server is for the team's server.
                "elsewhere": NamedModel("team/gpt-4o", api_base=server.url),
            },
        )
        asked = request(PROTOCOLS["openai"], server.url)
        # The address of the command line is the person's own word.
        asked = replace(asked, model=model, api_base=server.url if model == "openai/gpt-4o" else None)

        async def given() -> ModelSettings:
            return settings

        router = Router(process, given)
        asyncio.run(router.stream(asked, CancelToken("test"), lambda _: None))
        (exchange,) = server.exchanges
    assert exchange.request.headers["authorization"] == f"Bearer {key or PLACEHOLDER}"
