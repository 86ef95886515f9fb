"""A compiler that nobody needs is ended, and is there again when somebody may need it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.model.provider import Closing, Finished
from core.model.server_options import Reader
from tests.providers.conftest import linux_only
from tests.providers.harness import Asked, is_running, request, start
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script, Stall
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess

OPENAI = PROTOCOLS["openai"]
STALLED = Script(fault=Stall(after=2))
pytestmark = linux_only


@pytest.fixture(scope="module")
def process() -> Iterator[ModelProcess]:
    process = start()
    yield process
    process.close()


async def rest(process: ModelProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the idle time pass."""
    process.prepare()
    await until(lambda: process._compiler._child_is_ready)
    pid = process.pid
    assert pid is not None
    with monkeypatch.context() as patch:
        patch.setattr("providers.client.model_process.IDLE_S", 0.0)
        process._compiler._outgoing.wake()
        await until(lambda: process.is_resting)
    await until(lambda: not is_running(pid))


async def test_an_idle_compiler_ends_and_a_letter_starts_it(
    process: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts = process.restarts
    await rest(process, monkeypatch)
    assert process.pid is None
    process.prepare()
    await until(lambda: process.pid is not None)
    assert not process.is_resting
    pid = process.pid
    process.prepare()
    await until(lambda: process._compiler._child_is_ready)
    assert process.pid == pid
    # It was replaced by nobody: nothing had failed.
    assert process.restarts == restarts


async def test_a_request_and_a_question_start_it_too(
    process: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rest(process, monkeypatch)
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(process, request(OPENAI, server.url))
        assert isinstance(await asked.outcome(), Finished)
        assert asked.text == "Hello, world."
    await rest(process, monkeypatch)
    assert (await process.describe("gpt-4o")).context_window


async def test_a_typed_key_outlives_the_compiler(
    process: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.use_key("SOME_TYPED_KEY", "typed-key-value")
    await rest(process, monkeypatch)
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(process, replace(request(OPENAI, server.url), key_name="SOME_TYPED_KEY"))
        assert isinstance(await asked.outcome(), Finished)
        assert server.exchanges[0].request.headers["authorization"] == "Bearer typed-key-value"


@pytest.mark.promise("P1")
@pytest.mark.parametrize("reader", list(Reader))
async def test_what_streams_in_it_keeps_it_and_what_streams_beside_it_does_not(
    process: ModelProcess, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = Asked(process, request(dataclasses.replace(OPENAI, reader=reader), server.url))
        await until(lambda: asked.shown)
        match reader:
            case Reader.LITELLM:
                monkeypatch.setattr("providers.client.model_process.IDLE_S", 0.0)
                process._compiler._outgoing.wake()
                assert (await process.describe("gpt-4o")).context_window
                assert not process.is_resting
            case Reader.OWN:
                await rest(process, monkeypatch)
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.exchanges[0].closed_by_peer)


@pytest.mark.promise("P1")
async def test_a_stop_while_it_starts_again_sends_nothing(
    process: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rest(process, monkeypatch)
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(process, request(OPENAI, server.url))
        await until(lambda: process.pid is not None)
        assert (await asked.stop()).how is Closing.NEVER_OPENED
        assert not server.exchanges
