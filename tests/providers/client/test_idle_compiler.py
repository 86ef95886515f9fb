"""A compiler that nobody needs is ended, and is there again when somebody may need it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.model.provider import Closing, Finished
from core.model.server_options import Reader
from providers.client import spawn
from providers.client.model_process import ModelProcess
from tests.providers.conftest import linux_only
from tests.providers.harness import Asked, is_running, request, start
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script, Stall, in_turn
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.mark.promise("P1")
async def test_what_streams_beside_it_does_not_keep_it_and_a_request_starts_it_with_the_keys_that_were_typed(
    process: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.use_key("SOME_TYPED_KEY", "typed-key-value")
    with ThreadedServer(OpenAIServer(in_turn(STALLED, Script()))) as server:
        asked = Asked(process, request(OPENAI, server.url))
        await until(lambda: asked.shown)
        await rest(process, monkeypatch)
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.exchanges[0].closed_by_peer)
        again = Asked(process, replace(request(OPENAI, server.url), key_name="SOME_TYPED_KEY"))
        assert isinstance(await again.outcome(), Finished)
        assert again.text == "Hello, world."
        assert server.exchanges[1].request.headers["authorization"] == "Bearer typed-key-value"


@pytest.mark.promise("P1")
async def test_what_streams_in_it_keeps_it(process: ModelProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    by_litellm = dataclasses.replace(OPENAI, reader=Reader.LITELLM)
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = Asked(process, request(by_litellm, server.url))
        await until(lambda: asked.shown)
        with monkeypatch.context() as patch:
            patch.setattr("providers.client.model_process.IDLE_S", 0.0)
            process._compiler._outgoing.wake()
            assert (await process.describe("gpt-4o")).context_window
            assert not process.is_resting
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.exchanges[0].closed_by_peer)


@pytest.mark.promise("P1")
async def test_a_stop_while_it_starts_again_sends_nothing_and_a_question_is_answered(
    process: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rest(process, monkeypatch)
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(process, request(OPENAI, server.url))
        await until(lambda: process.pid is not None)
        assert (await asked.stop()).how is Closing.NEVER_OPENED
        assert (await process.describe("gpt-4o")).context_window
        assert not server.exchanges


# -- the stream process that waits for the next turn --


async def test_typing_in_a_turn_starts_no_other_stream_process(process: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = Asked(process, request(OPENAI, server.url))
        await until(lambda: asked.shown)
        process.prepare()
        assert len(process.busy_pids) == 1
        assert process._idle == []
        assert (await asked.stop()).how is Closing.CLOSED
    assert len(process._idle) == 1


async def test_a_stream_process_that_fails_is_not_tried_again_by_each_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a request it is."""
    started = tmp_path / "started"
    failing = f"open({str(started)!r}, 'a').write('.'); raise SystemExit(1); "
    monkeypatch.setattr(spawn, "CODE", failing + spawn.CODE)
    process = ModelProcess()
    try:
        process.prepare()
        await until(lambda: process._idle[0].is_ended)
        for _ in range(3):
            process.prepare()
        assert [streamer.is_ended for streamer in process._idle] == [True]
        assert started.read_text() == "."
    finally:
        process.close()
