"""A proxy of somebody else between Caesura and the model: litellm's own, before a strict server.

It reads each request, makes another of it, and does the same with the answer: what Caesura sends must be good
enough for two. The proxy lives in an environment of its own, for its packages and those of Caesura do not go
together (it wants rich below 14): `CAESURA_TEST_PROXY` is its `litellm` command, and without it there is
nothing to test. `python -m venv proxy && proxy/bin/pip install 'litellm[proxy]==1.106.2'` makes one: 110
packages, 740 MB, a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import HealthCheck, given, note, settings
from msgspec.structs import replace

from core.model.provider import Closing, Effort, FailureKind, Finished, ModelRequest, Parameters
from tests.providers.client.test_conversations import CONVERSATIONS
from tests.providers.harness import SITUATIONS, Asked, Situation, calls_of, plant, request, start
from tests.providers.played_conversations import Line, play
from tests.providers.random_conversations import TOO_LONG, RandomConversation
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS, PROXY
from tests.servers.script import Call, Cut, Refusal, Refuse, Script, Silence, Stall
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess
    from tests.servers.base import Server
    from tests.servers.record import Exchange

COMMAND = os.environ.get("CAESURA_TEST_PROXY", "")
OPENAI = PROTOCOLS["openai"]
KEY_NAME = "TEAM_LLM_KEY"
WRONG_KEY_NAME = "OLD_TEAM_LLM_KEY"
both_forms = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])

pytestmark = pytest.mark.skipif(
    not COMMAND, reason="CAESURA_TEST_PROXY names no proxy: see the module for how to make one"
)


@dataclass(frozen=True)
class Proxied:
    """A model process that knows the key of the proxy at `url`, and the server behind that."""

    model: ModelProcess
    url: str
    key: str
    server: Server


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxy")
    key = f"sk-{secrets.token_hex(32)}"
    with ThreadedServer(OPENAI.server(Script())) as server, pytest.MonkeyPatch.context() as environment:
        port = free_port()
        config = folder / "config.yaml"
        config.write_text(json.dumps(configuration(server.url)))
        process = run_proxy(config, port, key)
        try:
            url = f"http://127.0.0.1:{port}"
            asyncio.run(until(lambda: is_alive(url, process)))
            names = {KEY_NAME: key, WRONG_KEY_NAME: "sk-wrong", "OPENAI_API_KEY": key}
            plant(environment, HOME=str(folder), **names)
            model = start()
            yield Proxied(model, url, key, server)
            model.close()
        finally:
            # It would wait for requests that nobody answers.
            process.kill()
            process.wait()


def configuration(url: str) -> dict[str, object]:
    """As YAML, of which JSON is a part. The proxy tries nothing twice and puts no model aside: Caesura
    hears what the server says."""
    return {
        "model_list": [
            {
                "model_name": "gpt-4o",
                "litellm_params": {"model": "openai/gpt-4o", "api_base": url, "api_key": "sk-behind"},
            }
        ],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


def run_proxy(config: Path, port: int, key: str) -> subprocess.Popen[bytes]:
    environment = {
        "HOME": str(config.parent),
        "PATH": os.environ["PATH"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": key,
    }
    with config.with_name("log").open("wb") as log:
        return subprocess.Popen(
            [COMMAND, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"],
            cwd=config.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_alive(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the proxy has ended: {process.args!r}"
    try:
        return httpx.get(f"{url}/health/liveliness", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.promise("C3", "H4")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=CONVERSATIONS)
def test_no_interrupted_conversation_is_refused_behind_a_proxy(
    proxied: Proxied, chosen: RandomConversation
) -> None:
    note(repr(chosen))
    with TemporaryDirectory() as folder:
        line = Line(proxied.model, proxied.server, proxied.url, counts_pass=False)
        asyncio.run(play(line, Path(folder), chosen))
        assert proxied.server.complaints == []


@pytest.mark.promise("P1", "P2")
@pytest.mark.parametrize(
    "script",
    [Script(text=("word ",) * 50, fault=Stall(after=20)), Script(text=("word ",), delay=0.02, endless=True)],
    ids=["stalled", "streaming"],
)
async def test_a_stop_goes_through_the_proxy(proxied: Proxied, script: Script) -> None:
    exchange, stream = await ask(proxied, script)
    await until(lambda: stream.shown)
    assert (await stream.stop()).how is Closing.CLOSED
    await until(lambda: exchange.closed_by_peer)


@pytest.mark.promise("P1", "P2")
async def test_a_stop_does_not_wait_for_a_proxy_that_waits_itself(proxied: Proxied) -> None:
    """As long as this proxy has no headers it tells the server nothing of the stop: that one works on."""
    exchange, stream = await ask(proxied, Script(fault=Silence()))
    assert (await stream.stop()).how is Closing.CLOSED
    proxied.server.release(exchange)


async def ask(proxied: Proxied, script: Script) -> tuple[Exchange, Asked]:
    """A request that has come through to the server."""
    server = proxied.server
    server.script = script
    before = len(server.exchanges)
    stream = Asked(proxied.model, request(OPENAI, proxied.url))
    await until(lambda: len(server.exchanges) > before)
    return server.exchanges[before], stream


@pytest.mark.promise("P6")
async def test_a_proxy_tells_that_a_request_is_too_long(proxied: Proxied) -> None:
    proxied.server.script = Script(fault=TOO_LONG)
    failure = await Asked(proxied.model, request(OPENAI, proxied.url)).failure()
    assert failure.kind is FailureKind.CONTEXT_TOO_LONG
    proxied.server.script = Script()
    assert isinstance(await Asked(proxied.model, request(OPENAI, proxied.url)).outcome(), Finished)


# -- as the settings have it: `[providers.team] protocol = "litellm_proxy"`, with an address and a key --


def of_a_team(proxied: Proxied, *, streaming: bool = True) -> ModelRequest:
    return replace(request(PROXY, proxied.url, streaming=streaming), key_name=KEY_NAME)


@both_forms
async def test_a_reply_arrives_with_its_calls_and_its_usage(proxied: Proxied, streaming: bool) -> None:
    script = Script(calls=(Call("call_1", "read", ('{"pa', 'th": "a"}')),))
    proxied.server.script = script
    asked = Asked(proxied.model, of_a_team(proxied, streaming=streaming))
    outcome = await asked.outcome()
    assert isinstance(outcome, Finished), outcome
    assert asked.text == "Hello, world."
    assert calls_of(asked.deltas) == [("call_1", "read", '{"path": "a"}')]
    assert outcome.usage == script.usage


@pytest.mark.promise("P1", "P2", "P3", "R3")
@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
async def test_a_stop_ends_it_in_every_phase(proxied: Proxied, situation: Situation) -> None:
    """In some the server hears nothing of it before its next word: that is the proxy's affair."""
    server = proxied.server
    server.script = situation.script
    before = len(server.exchanges)
    asked = Asked(proxied.model, of_a_team(proxied, streaming=situation.streaming))
    await until(lambda: len(server.exchanges) > before)
    exchange = server.exchanges[before]
    await until(lambda: situation.reached(exchange, asked))
    assert (await asked.stop()).how is Closing.CLOSED
    assert len(server.exchanges) == before + 1
    server.release(exchange)


@pytest.mark.promise("R3")
@pytest.mark.parametrize("refusal", [Refusal.RATE_LIMITED, Refusal.SERVER_ERROR, Refusal.OVERLOADED])
async def test_a_refusal_comes_through_as_what_it_is(proxied: Proxied, refusal: Refusal) -> None:
    proxied.server.script = Script(fault=Refuse(refusal))
    before = len(proxied.server.exchanges)
    failure = await Asked(proxied.model, of_a_team(proxied)).failure()
    assert failure.kind is FailureKind[refusal.name]
    assert len(proxied.server.exchanges) == before + 1
    if refusal is Refusal.RATE_LIMITED:
        assert failure.retry_after_s == 20  # in the server's words; the proxy leaves its header out


@pytest.mark.promise("P6", "P3")
async def test_a_reply_that_breaks_off_behind_the_proxy_is_no_end(proxied: Proxied) -> None:
    proxied.server.script = Script(fault=Cut(after=2))
    asked = Asked(proxied.model, of_a_team(proxied))
    assert (await asked.failure()).kind in (FailureKind.BROKEN_STREAM, FailureKind.SERVER_ERROR)
    assert asked.text in ("", "Hello, ")


async def test_a_wrong_key_and_an_unknown_model_are_refused_by_the_proxy(proxied: Proxied) -> None:
    before = len(proxied.server.exchanges)
    unknown = replace(of_a_team(proxied), model="litellm_proxy/nobody")
    assert (await Asked(proxied.model, unknown).failure()).kind is FailureKind.UNKNOWN_MODEL
    wrong = await Asked(proxied.model, replace(of_a_team(proxied), key_name=WRONG_KEY_NAME)).failure()
    # A proxy without a database does not say that the key is wrong.
    assert wrong.kind in (FailureKind.WRONG_KEY, FailureKind.BAD_REQUEST)
    missing = await Asked(proxied.model, replace(of_a_team(proxied), key_name="UNSET_KEY")).failure()
    assert missing.kind is FailureKind.NO_KEY
    assert len(proxied.server.exchanges) == before


@both_forms
async def test_parameters_come_through(proxied: Proxied, streaming: bool) -> None:
    proxied.server.script = Script()
    asking = of_a_team(proxied, streaming=streaming)
    sampling = Parameters(temperature=0.5, top_p=0.9, max_output=100)
    assert isinstance(await Asked(proxied.model, replace(asking, parameters=sampling)).outcome(), Finished)
    body = proxied.server.exchanges[-1].request.body
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 100)
    # Nobody but the proxy knows what is behind its names: it is asked, and says which it does not take.
    effort = await Asked(proxied.model, replace(asking, parameters=Parameters(Effort.HIGH))).failure()
    assert effort.kind is FailureKind.BAD_REQUEST
    assert "reasoning_effort" in effort.detail


async def test_the_models_of_the_proxy_are_listed_for_its_key(proxied: Proxied) -> None:
    """As those of any server of OpenAI's protocol, of whom `providers.setup.discovery` asks it."""
    url, headers = f"{proxied.url}/v1/models", {"authorization": f"Bearer {proxied.key}"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = (await client.get(url, headers=headers)).json()
    assert [it["id"] for it in answer["data"]] == ["gpt-4o"]
