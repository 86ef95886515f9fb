"""A team's LiteLLM proxy is asked in a way of its own: what holds for the six protocols holds there too.

Before a server on a loopback socket; `test_proxy` has the real proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.model.provider import Closing, FailureKind, Finished
from tests.providers.harness import SITUATIONS, Asked, Situation, calls_of, request
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROXY
from tests.servers.script import Call, Cut, Script, Stall
from tests.support.waiting import until

if TYPE_CHECKING:
    from providers.client.model_process import ModelProcess


@pytest.mark.promise("P1", "P2", "P3", "R3")
@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
async def test_a_stop_closes_the_socket(model: ModelProcess, situation: Situation) -> None:
    with ThreadedServer(PROXY.server(situation.script)) as server:
        asked = Asked(model, request(PROXY, server.url, streaming=situation.streaming))
        await until(lambda: situation.reached(next(iter(server.exchanges), None), asked))
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.open_connections == 0)
        assert len(server.exchanges) == 1
        assert server.exchanges[0].closed_by_peer


@pytest.mark.promise("P3")
async def test_all_of_a_reply_arrives_from_the_model_asked_for_with_the_key_of_the_proxy(
    model: ModelProcess,
) -> None:
    script = Script(calls=(Call("call_1", "read", ('{"pa', 'th": "a"}')),))
    with ThreadedServer(PROXY.server(script)) as server:
        asking = replace(request(PROXY, server.url), model="litellm_proxy/our/best-model")
        asked = Asked(model, asking)
        outcome = await asked.outcome()
        sent = server.exchanges[0].request
    assert isinstance(outcome, Finished)
    assert outcome.usage == script.usage
    assert asked.text == "Hello, world."
    assert calls_of(asked.deltas) == [("call_1", "read", '{"path": "a"}')]
    assert sent.model == "our/best-model"
    assert sent.headers["authorization"] == f"Bearer {PROXY.environment['LITELLM_PROXY_API_KEY']}"


@pytest.mark.promise("P6")
async def test_a_reply_that_is_cut_is_no_end_and_silence_has_a_limit(model: ModelProcess) -> None:
    with ThreadedServer(PROXY.server(Script(fault=Cut(after=2)))) as server:
        failure = await Asked(model, request(PROXY, server.url)).failure()
        assert failure.kind is FailureKind.BROKEN_STREAM
        server.script = Script(fault=Stall(after=2))
        failure = await Asked(model, request(PROXY, server.url, timeout_s=0.2)).failure()
        assert failure.kind is FailureKind.TIMED_OUT
