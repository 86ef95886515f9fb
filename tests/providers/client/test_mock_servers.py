"""Model servers that others have written to test clients with, in the protocols of all providers.

They read the providers' documentation in their own way. `CAESURA_TEST_MOCKS` is the folder that they are
installed in, and without it there is nothing to test: `npm install --prefix mocks @copilotkit/aimock@1.43.0
@dwmkerr/mock-llm@0.1.29 llmock@3.3.6` makes one, with Node 20 or newer: 182 packages, 114 MB, 15 s.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from msgspec.structs import replace

from core.model.messages import FinishReason, Message, Usage, UserMessage, sendable
from core.model.provider import (
    Closing,
    FailureKind,
    Finished,
    ModelRequest,
    Phase,
    PhaseChanged,
    ReasoningDelta,
)
from tests.providers.client.test_tools import TOOLS, both_forms, reply_of, results_of
from tests.providers.harness import Asked, request
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.support.waiting import until, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.client.model_process import ModelProcess

FOLDER = os.environ.get("CAESURA_TEST_MOCKS", "")
OPENAI = PROTOCOLS["openai"]

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="CAESURA_TEST_MOCKS names no folder: see the module for how to make one"
)


@dataclass(frozen=True)
class Mock:
    """A server under way. `path` is that of OpenAI's protocol."""

    url: str
    process: subprocess.Popen[bytes]
    path: str = "/v1"

    def asking(
        self, protocol: WireProtocol, *history: Message, text: str = "hi", streaming: bool = True
    ) -> ModelRequest:
        path = {"openai": self.path, "responses": "/v1", "gemini": "/v1beta"}.get(protocol.name, "")
        asked = request(protocol, self.url + path, text=text, streaming=streaming)
        return replace(asked, messages=sendable((*asked.messages, *history)), tools=TOOLS)

    @property
    def is_alive(self) -> bool:
        assert self.process.poll() is None, f"the server has ended: {self.process.args!r}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def clients(self) -> int:
        """Connections that its clients have not closed."""
        return sum(
            found.laddr.port == self.port and found.status == psutil.CONN_ESTABLISHED
            for found in psutil.net_connections("tcp4")
            if found.laddr
        )


@contextmanager
def running(
    command: list[str], port: int, folder: Path, path: str = "/v1", **environment: str
) -> Iterator[Mock]:
    """The server of this command, until the end. It has children. Two packages have a program of one name."""
    program = Path(FOLDER, "node_modules", command[0])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["node", program, *command[1:]],
            cwd=folder,
            env={"HOME": str(folder), "PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    mock = Mock(f"http://127.0.0.1:{port}", process, path)
    try:
        wait_until(lambda: mock.is_alive)
        yield mock
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_waiting(asked: Asked) -> bool:
    return PhaseChanged(Phase.WAITING_FOR_HEADERS) in asked.deltas


# -- aimock: all six protocols --

LONG = "word " * 200
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "input_tokens": 12, "output_tokens": 7}


def answer(text: str, response: Mapping[str, object], **more: object) -> Mapping[str, object]:
    return {"match": {"userMessage": text}, "response": {"usage": USAGE, **response}, **more}


def error(status: int, kind: str) -> Mapping[str, object]:
    return {"error": {"message": "No, thank you.", "type": kind}, "status": status}


FIXTURES = (
    {
        "match": {"userMessage": "look", "hasToolResult": False},
        "response": {
            "content": "Let me look.",
            "toolCalls": [
                {"id": "call_1", "name": "read", "arguments": '{"path": "a b"}'},
                {"id": "call_2", "name": "now", "arguments": "{}"},
            ],
        },
    },
    answer("look", {"content": "It is there."}),
    answer("think", {"content": "So.", "reasoning": "Hm, hm, hm, hm, hm, hm, hm."}),
    answer("slow", {"content": LONG}, latency=50),
    answer("silent", {"content": LONG}, streamingProfile={"ttft": 3_600_000}),
    answer("busy", error(429, "rate_limit_error")),
    answer("broken", error(500, "server_error")),
    answer("wrong", error(400, "invalid_request_error")),
    answer("cut", {"content": LONG}, truncateAfterChunks=4),
    answer("long", {"content": LONG, "finishReason": "length"}),
    answer("hi", {"content": "Hello, world. " * 10}),
)


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    folder, port = tmp_path_factory.mktemp("aimock"), free_port()
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}))
    command = ["@copilotkit/aimock/dist/cli.js", "--port", str(port), "--fixtures", str(fixtures), "--strict"]
    with running(command, port, folder) as mock:
        yield mock


@both_forms
async def test_a_reply_arrives(
    model: ModelProcess, aimock: Mock, protocol: WireProtocol, streaming: bool
) -> None:
    asked = Asked(model, aimock.asking(protocol, streaming=streaming))
    finished = await asked.outcome()
    assert isinstance(finished, Finished), finished
    assert asked.text == "Hello, world. " * 10
    assert finished.reason is FinishReason.STOP
    if protocol.name != "ollama":  # there the server counts nothing
        assert finished.usage == Usage(12, 7)


@pytest.mark.promise("P7")
@both_forms
async def test_a_reply_that_was_cut_by_length_is_called_that(
    model: ModelProcess, aimock: Mock, protocol: WireProtocol, streaming: bool
) -> None:
    """By Ollama's protocol the server says that it was whole, and by Responses not why it is incomplete."""
    asked = Asked(model, aimock.asking(protocol, text="long", streaming=streaming))
    finished = await asked.outcome()
    assert isinstance(finished, Finished), finished
    reasons = {"ollama": FinishReason.STOP, "responses": FinishReason.OTHER}
    assert (finished.reason, asked.text) == (reasons.get(protocol.name, FinishReason.LENGTH), LONG)


@both_forms
async def test_reasoning_arrives_as_that(
    model: ModelProcess, aimock: Mock, protocol: WireProtocol, streaming: bool
) -> None:
    """By Ollama's protocol the server sends it in a field that Ollama does not have."""
    asking = aimock.asking(protocol, text="think", streaming=streaming)
    if protocol.name in ("openai", "azure"):
        asking = replace(asking, model=f"{protocol.name}/deepseek-reasoner")
    asked = Asked(model, asking)
    await asked.outcome()
    assert asked.text == "So."
    expected = "" if protocol.name == "ollama" else "Hm, hm, hm, hm, hm, hm, hm."
    assert "".join(delta.text for delta in asked.of(ReasoningDelta)) == expected


@pytest.mark.promise("H4")
@both_forms
async def test_calls_arrive_and_their_results_are_taken(
    model: ModelProcess, aimock: Mock, protocol: WireProtocol, streaming: bool
) -> None:
    first = Asked(model, aimock.asking(protocol, text="look", streaming=streaming))
    assert isinstance(await first.outcome(), Finished)
    reply = reply_of(first)
    assert reply.text == "Let me look."
    made = [(call.name, json.loads(call.arguments)) for call in reply.calls]
    assert made == [("read", {"path": "a b"}), ("now", {})]
    history = (reply, results_of(reply, "text", "noon"))
    second = Asked(model, aimock.asking(protocol, *history, text="look", streaming=streaming))
    assert isinstance(await second.outcome(), Finished), await second.outcome()
    assert second.text == "It is there."


@pytest.mark.promise("P1", "P2")
@pytest.mark.parametrize("text", ["slow", "silent"])
async def test_a_stop_closes_the_connection_and_the_next_turn_works(
    model: ModelProcess, aimock: Mock, protocol: WireProtocol, text: str
) -> None:
    asked = Asked(model, aimock.asking(protocol, text=text))
    await until(lambda: asked.shown if text == "slow" else is_waiting(asked))
    assert (await asked.stop()).how is Closing.CLOSED
    # Node leaves idle connections open for five seconds, and one that it answers on for ever.
    await until(lambda: aimock.clients == 0)
    history = (UserMessage("slow"), reply_of(asked)) if asked.text else ()
    again = replace(aimock.asking(protocol), messages=(*history, UserMessage("hi")))
    assert isinstance(await Asked(model, again).outcome(), Finished)


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("busy", FailureKind.RATE_LIMITED),
        ("broken", FailureKind.SERVER_ERROR),
        ("wrong", FailureKind.BAD_REQUEST),
    ],
)
async def test_an_error_says_what_it_is(
    model: ModelProcess, aimock: Mock, protocol: WireProtocol, text: str, kind: FailureKind
) -> None:
    failure = await Asked(model, aimock.asking(protocol, text=text)).failure()
    assert failure.kind is kind, failure
    assert "No, thank you." in str(failure)


@pytest.mark.promise("P6", "P7")
async def test_a_stream_that_was_cut_is_never_a_whole_reply(
    model: ModelProcess, aimock: Mock, protocol: WireProtocol
) -> None:
    asked = Asked(model, aimock.asking(protocol, text="cut"))
    failure = await asked.failure()
    assert failure.kind is FailureKind.BROKEN_STREAM, failure
    assert LONG.startswith(asked.text)


# -- mock-llm: OpenAI's protocol. In a stream it reports failures as an event, and writes on after a close --


def rule(message: Mapping[str, object], status: int = 200, match: str = "@") -> Mapping[str, object]:
    if status == 200:
        message = {"id": "x", "choices": [{"message": message, "finish_reason": "stop"}]}
    response = {"status": status, "content": json.dumps(message)}
    return {"path": "/chat/completions", "match": match, "response": response}


def said(text: str) -> str:
    return f"contains(body.messages[-1].content, '{text}')"


RULES = {
    "streaming": {"chunkSize": 5, "chunkIntervalMs": 20},
    "rules": [
        rule({"role": "assistant", "content": "{{jmes request body.messages[-1].content}}"}),
        rule({"error": {"message": "No, thank you.", "type": "rate_limit_error"}}, 429, said("busy")),
        rule({"content": None, "tool_calls": [{"function": {"name": "now"}}]}, match=said("time")),
    ],
}


@pytest.fixture(scope="module")
def mock_llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    folder, port = tmp_path_factory.mktemp("mock-llm"), free_port()
    rules = folder / "rules.yaml"
    rules.write_text(json.dumps(RULES))
    command = ["@dwmkerr/mock-llm/dist/main.js", "--config", str(rules)]
    with running(command, port, folder, HOST="127.0.0.1", PORT=str(port)) as mock:
        yield mock


@both_forms
async def test_an_echo_arrives(model: ModelProcess, mock_llm: Mock, streaming: bool) -> None:
    """The server cuts the emoji in two."""
    asked = Asked(model, mock_llm.asking(OPENAI, text="Grüße 東京 👋🏽", streaming=streaming))
    assert isinstance(await asked.outcome(), Finished)
    assert asked.text == "Grüße 東京 👋🏽"


@pytest.mark.promise("P6")
@both_forms
async def test_a_failure_by_status_and_one_by_event_are_the_same(
    model: ModelProcess, mock_llm: Mock, streaming: bool
) -> None:
    failure = await Asked(model, mock_llm.asking(OPENAI, text="busy", streaming=streaming)).failure()
    assert failure.kind is FailureKind.RATE_LIMITED
    assert "No, thank you." in str(failure)


async def test_a_call_with_nothing_but_a_name_is_one(model: ModelProcess, mock_llm: Mock) -> None:
    """The server cannot stream it."""
    asked = Asked(model, mock_llm.asking(OPENAI, text="time", streaming=False))
    assert isinstance(await asked.outcome(), Finished)
    (call,) = reply_of(asked).calls
    assert (call.name, call.arguments) == ("now", "")


@pytest.mark.promise("P1")
async def test_a_stop_closes_the_connection_of_an_echo(model: ModelProcess, mock_llm: Mock) -> None:
    asked = Asked(model, mock_llm.asking(OPENAI, text="word " * 10_000))
    await until(lambda: asked.shown)
    assert (await asked.stop()).how is Closing.CLOSED
    await until(lambda: mock_llm.clients == 0)
    history = (reply_of(asked), UserMessage("hi"))
    again = Asked(model, mock_llm.asking(OPENAI, *history))
    assert isinstance(await again.outcome(), Finished)
    assert again.text == "hi"


# -- llmock: words at random, after a wait --


@contextmanager
def llmock(folder: Path, *, seconds: int = 0, validate: str = "OFF") -> Iterator[Mock]:
    port = free_port()
    environment = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(port),
        "LLM_URL_ENDPOINT": "v1/chat/completions",
        "LLM_NAME": "openai",
        "MOCK_LLM_RESPONSE_TYPE": "lorem",
        "MAX_LOREM_PARAS": "4",
        "STREAM": "true",
        "VALIDATE_REQUESTS": validate,
        "RESPONSE_DELAY_MIN": str(seconds * 1_000),
        "RESPONSE_DELAY_MAX": str(seconds * 1_000),
    }
    server = Path(FOLDER, "node_modules", "llmock", "src", "server.ts")
    with running(["tsx/dist/cli.mjs", str(server)], port, folder, **environment) as mock:
        yield mock


async def test_words_at_random_arrive(model: ModelProcess, tmp_path: Path) -> None:
    with llmock(tmp_path) as mock:
        asked = Asked(model, mock.asking(OPENAI))
        assert isinstance(await asked.outcome(), Finished), await asked.outcome()
        assert len(asked.text.split()) > 3


@pytest.mark.promise("P6")
async def test_an_error_that_is_no_json_is_quoted(model: ModelProcess, tmp_path: Path) -> None:
    """This server takes no request that has more or less in it than an example of its own."""
    with llmock(tmp_path, validate="ON") as mock:
        failure = await Asked(model, mock.asking(OPENAI)).failure()
        assert failure.kind is FailureKind.BAD_REQUEST
        assert "Invalid or Missing Request" in str(failure)


@pytest.mark.promise("P1", "P2")
async def test_a_stop_does_not_wait_for_words_at_random(model: ModelProcess, tmp_path: Path) -> None:
    with llmock(tmp_path, seconds=1_000_000) as mock:
        asked = Asked(model, mock.asking(OPENAI))
        await until(lambda: mock.clients == 1)
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: mock.clients == 0)
