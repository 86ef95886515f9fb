"""What arrives of a reply, and how it ends when the provider does not do its part: in every protocol."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, cast

import pytest
from msgspec.structs import replace

from core.model.messages import FinishReason, Usage
from core.model.provider import (
    FailureKind,
    Finished,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
)
from core.model.server_options import Reader
from tests.providers.harness import Asked, calls_of, request
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.raw import Ending, Raw
from tests.servers.registry import PROTOCOLS, PROXY, WireProtocol
from tests.servers.script import (
    Call,
    Cut,
    ErrorEvent,
    Fault,
    Garbage,
    Refusal,
    Refuse,
    Reset,
    Rubbish,
    Script,
    Silence,
    Stall,
    Truncate,
    flood,
    in_turn,
)
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.provider import Delta
    from providers.client.model_process import ModelProcess

RICH = Script(
    reasoning=("Let me ", "think."),
    calls=(
        Call("call_1", "read", ('{"pa', 'th": "a"}')),
        Call("call_2", "write", ('{"path"', ': "b"}')),
    ),
    usage=Usage(input_tokens=20, output_tokens=9, cached_tokens=4, reasoning_tokens=3),
)
COUNTS_NO_REASONING = {"anthropic", "ollama"}
COUNTS_NO_CACHE = {"ollama"}
GIVES_NO_IDS = {"gemini", "ollama"}
UNSEALED = {"openai": "reasoning_content", "azure": "reasoning_content", "ollama": "thinking"}
both_forms = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])


@pytest.fixture
def protocol(either_reader: WireProtocol) -> WireProtocol:
    return either_reader


def proof_of_reasoning(protocol: WireProtocol, deltas: list[Delta]) -> str | None:
    """What goes back to the provider with the reasoning, if it is sealed; else the field that it came in."""
    # Behind the name of who has sealed it.
    signatures = [
        delta.signature.partition("\n")[2]
        for delta in deltas
        if isinstance(delta, ReasoningDelta) and delta.signature
    ]
    match protocol.name:
        case "gemini" if protocol.reader is Reader.LITELLM:
            # In the id of the first call.
            return calls_of(deltas)[0][0].partition("__thought__")[2]
        case "gemini":
            (note,) = map(json.loads, signatures)
            return str(note["calls"]["0"]["thoughtSignature"])
        case "responses":
            (item,) = map(json.loads, signatures)
            return str(item["encrypted_content"])
        case "anthropic":
            (signature,) = signatures
            return signature
        case _:
            (note,) = map(json.loads, signatures)
            return str(note["field"])


@pytest.mark.promise("P3")
@both_forms
async def test_all_of_a_reply_arrives(model: ModelProcess, protocol: WireProtocol, streaming: bool) -> None:
    with ThreadedServer(protocol.server(RICH)) as server:
        asked = Asked(model, request(protocol, server.url, streaming=streaming))
        outcome = await asked.outcome()
    assert isinstance(outcome, Finished)
    assert outcome.reason is FinishReason.TOOL_CALLS
    assert outcome.usage == replace(
        RICH.usage,
        reasoning_tokens=0 if protocol.name in COUNTS_NO_REASONING else 3,
        cached_tokens=0 if protocol.name in COUNTS_NO_CACHE else 4,
    )
    assert outcome.model.endswith(protocol.model.partition("/")[2])
    assert asked.text == "Hello, world."
    reasoning = [delta.text for delta in asked.deltas if isinstance(delta, ReasoningDelta)]
    assert "".join(reasoning) == "Let me think."
    field = UNSEALED.get(protocol.name)
    if field is not None and protocol.reader is Reader.LITELLM:
        field = "reasoning_content"
    assert proof_of_reasoning(protocol, asked.deltas) == (field or RICH.signature)
    calls = calls_of(asked.deltas)
    assert [(name, json.loads(arguments)) for _, name, arguments in calls] == [
        ("read", {"path": "a"}),
        ("write", {"path": "b"}),
    ]
    ids = [call_id for call_id, _, _ in calls]
    if protocol.name in GIVES_NO_IDS:
        assert len(set(ids)) == 2
        assert all(ids)
    else:
        assert ids == ["call_1", "call_2"]


@pytest.mark.promise("T9")
async def test_a_stream_says_how_far_it_is(model: ModelProcess, protocol: WireProtocol) -> None:
    with ThreadedServer(protocol.server()) as server:
        asked = Asked(model, request(protocol, server.url))
        await asked.outcome()
    phases = list(dict.fromkeys(delta.phase for delta in asked.deltas if isinstance(delta, PhaseChanged)))
    assert phases == [Phase.CONNECTING, Phase.WAITING_FOR_HEADERS, Phase.STREAMING]
    first_content = next(n for n, delta in enumerate(asked.deltas) if isinstance(delta, TextDelta))
    assert asked.deltas[first_content - 1] == PhaseChanged(Phase.STREAMING)


@pytest.mark.promise("T9")
async def test_a_request_on_a_connection_that_is_kept_waits_for_headers_too(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    with ThreadedServer(protocol.server(in_turn(Script(), Script(fault=Silence())))) as server:
        await Asked(model, request(protocol, server.url)).outcome()
        asked = Asked(model, request(protocol, server.url))
        await server.until(lambda: len(server.exchanges) == 2)
        if protocol.reader is Reader.OWN:
            assert server.exchanges[1].connection is server.exchanges[0].connection
        await until(lambda: PhaseChanged(Phase.WAITING_FOR_HEADERS) in asked.deltas)
        await asked.stop()


@pytest.mark.parametrize("finish", [FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
@both_forms
async def test_a_reply_ends_for_its_own_reason(
    model: ModelProcess, protocol: WireProtocol, finish: FinishReason, streaming: bool
) -> None:
    if protocol.name == "ollama" and finish is FinishReason.CONTENT_FILTER:
        pytest.skip("Ollama has no content filter")
    with ThreadedServer(protocol.server(Script(finish=finish))) as server:
        outcome = await Asked(model, request(protocol, server.url, streaming=streaming)).outcome()
    assert isinstance(outcome, Finished)
    assert outcome.reason is finish


@pytest.mark.promise("P7")
async def test_a_character_that_the_server_cuts_in_two_arrives_whole(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    script = Script(text=("a\ud83d", "\udc4b!"), fault=Stall(after=1))
    with ThreadedServer(protocol.server(script)) as server:
        asked = Asked(model, request(protocol, server.url))
        await until(lambda: asked.text.startswith("a"))
        server.release(server.exchanges[0])
        await asked.outcome()
    assert asked.text == "a👋!"


async def test_a_burst_arrives_whole_and_in_order(model: ModelProcess, protocol: WireProtocol) -> None:
    script = flood(1500)
    with ThreadedServer(protocol.server(script)) as server:
        asked = Asked(model, request(protocol, server.url))
        assert isinstance(await asked.outcome(), Finished)
    assert asked.text == "".join(script.text)


async def test_a_reply_that_drips_byte_by_byte_is_the_same(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    script = Script(text=("Grüße ", "aus ", "東京 ", "👋🏽"), drip=0.0)
    with ThreadedServer(protocol.server(script)) as server:
        asked = Asked(model, request(protocol, server.url))
        assert isinstance(await asked.outcome(), Finished)
    assert asked.text == "".join(script.text)


# -- P6: what is not a reply --

BROKEN = [Cut(after=2), Reset(after=2), Truncate(after=2), Garbage(after=2), Garbage(2, Rubbish.NOT_JSON)]
STRANGE = [Garbage(2, Rubbish.WRONG_SHAPE), Garbage(2, Rubbish.INVALID_UTF8)]


def name_of(fault: Fault) -> str:
    return " ".join([type(fault).__name__, *([fault.rubbish.name] if isinstance(fault, Garbage) else [])])


@pytest.mark.promise("P6", "P3")
@pytest.mark.parametrize("fault", BROKEN, ids=name_of)
@both_forms
async def test_a_broken_reply_is_never_a_normal_end(
    model: ModelProcess, protocol: WireProtocol, fault: Fault, streaming: bool
) -> None:
    with ThreadedServer(protocol.server(Script(fault=fault))) as server:
        asked = Asked(model, request(protocol, server.url, streaming=streaming))
        failure = await asked.failure()
        assert failure.kind is FailureKind.BROKEN_STREAM
        assert "Traceback" not in str(failure)
        # What came before the fault was shown, and nothing after it.
        assert asked.text in (("Hello", "Hello, ") if streaming else ("",))
        assert len(server.exchanges) == 1


@pytest.mark.promise("P6")
@pytest.mark.parametrize("fault", [Cut(), Reset(), Truncate()], ids=name_of)
async def test_a_reply_without_anything_is_broken_too(
    model: ModelProcess, protocol: WireProtocol, fault: Fault
) -> None:
    with ThreadedServer(protocol.server(Script(fault=fault))) as server:
        failure = await Asked(model, request(protocol, server.url)).failure()
    assert failure.kind is FailureKind.BROKEN_STREAM


@pytest.mark.promise("P6")
@pytest.mark.parametrize("fault", STRANGE, ids=name_of)
async def test_a_strange_event_ends_in_an_error_or_is_one_that_clients_skip(
    model: ModelProcess, protocol: WireProtocol, fault: Garbage
) -> None:
    """Clients are told to skip types they do not know, and bytes that are no text become replacement signs:
    such a reply may come to its end, but then with all of the rest."""
    with ThreadedServer(protocol.server(Script(fault=fault))) as server:
        asked = Asked(model, request(protocol, server.url))
        outcome = await asked.outcome()
    if isinstance(outcome, Finished):
        assert asked.text.replace("\ufffd\ufffd\ufffd(", "") == "Hello, world."
    else:
        assert asked.text == "Hello, "


@pytest.mark.promise("P6")
@pytest.mark.parametrize("refusal", [Refusal.OVERLOADED, Refusal.SERVER_ERROR])
@pytest.mark.parametrize("after", [0, 2])
async def test_an_error_in_the_stream_is_an_error(
    model: ModelProcess, protocol: WireProtocol, refusal: Refusal, after: int
) -> None:
    with ThreadedServer(protocol.server(Script(fault=ErrorEvent(after, refusal)))) as server:
        asked = Asked(model, request(protocol, server.url))
        failure = await asked.failure()
        assert len(server.exchanges) == 1
    # litellm does not pass on what Ollama says.
    unsaid = protocol.name == "ollama" and protocol.reader is Reader.LITELLM
    overloaded = refusal is Refusal.OVERLOADED and not unsaid
    assert failure.kind is (FailureKind.OVERLOADED if overloaded else FailureKind.SERVER_ERROR)
    assert asked.text == ("Hello, " if after else "")


@pytest.mark.promise("P6")
async def test_after_a_broken_reply_the_next_one_works(model: ModelProcess, protocol: WireProtocol) -> None:
    """And the connection of the broken one is closed, although the server would go on for ever."""
    endless = Script(text=("word ",), endless=True, delay=0.002, fault=Garbage(after=1))
    with ThreadedServer(protocol.server(endless)) as server:
        await Asked(model, request(protocol, server.url)).failure()
        await until(lambda: server.exchanges[0].closed_by_peer)
        server.script = Script()
        assert isinstance(await Asked(model, request(protocol, server.url)).outcome(), Finished)


# -- R3: no retries of the library's own --

those_and_the_proxy = pytest.mark.parametrize(
    "protocol", [*PROTOCOLS.values(), PROXY], ids=lambda it: it.name
)


@pytest.mark.promise("R3")
@those_and_the_proxy
@pytest.mark.parametrize("refusal", Refusal)
@both_forms
async def test_a_refusal_is_one_request_and_one_error(
    model: ModelProcess, protocol: WireProtocol, refusal: Refusal, streaming: bool
) -> None:
    with ThreadedServer(protocol.server(Script(fault=Refuse(refusal, retry_after=1)))) as server:
        asked = Asked(model, request(protocol, server.url, streaming=streaming))
        failure = await asked.failure()
        assert failure.kind is FailureKind[refusal.name]
        assert failure.retry_after_s == 1
        assert len(server.exchanges) == 1
        assert not asked.shown


@pytest.mark.promise("R3")
@those_and_the_proxy
@pytest.mark.parametrize("how", Ending)
@both_forms
async def test_a_cut_before_headers_is_not_tried_again(
    model: ModelProcess, protocol: WireProtocol, how: Ending, streaming: bool
) -> None:
    with Raw(b"", how) as raw:
        failure = await Asked(model, request(protocol, raw.url, streaming=streaming)).failure()
        assert failure.kind in (FailureKind.BROKEN_STREAM, FailureKind.UNREACHABLE)
        assert raw.accepted == 1


@pytest.mark.promise("R3")
@those_and_the_proxy
@pytest.mark.parametrize("after", [0, 2])
@both_forms
async def test_a_reset_in_the_reply_is_not_tried_again(
    model: ModelProcess, protocol: WireProtocol, after: int, streaming: bool
) -> None:
    with ThreadedServer(protocol.server(Script(fault=Reset(after)))) as server:
        failure = await Asked(model, request(protocol, server.url, streaming=streaming)).failure()
        assert failure.kind is FailureKind.BROKEN_STREAM
        assert len(server.exchanges) == 1


# -- nobody there --


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of ours that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.promise("P6")
async def test_a_refused_connection(model: ModelProcess, protocol: WireProtocol, closed_port: int) -> None:
    failure = await Asked(model, request(protocol, f"http://127.0.0.1:{closed_port}")).failure()
    assert failure.kind is FailureKind.UNREACHABLE


async def test_an_unknown_name(model: ModelProcess, protocol: WireProtocol) -> None:
    failure = await Asked(model, request(protocol, f"http://wait-0.unknown-{protocol.name}.test")).failure()
    assert failure.kind is FailureKind.NAME_NOT_FOUND


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/1.1 200 OK\r\ncontent-le"],
    ids=["nothing", "another protocol", "an alert", "half a head"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_does_not_speak_http(
    model: ModelProcess, protocol: WireProtocol, answer: bytes, scheme: str
) -> None:
    with Raw(answer) as raw:
        failure = await Asked(model, request(protocol, raw.url.replace("http", scheme))).failure()
    assert failure.kind in (FailureKind.UNREACHABLE, FailureKind.BROKEN_STREAM, FailureKind.SERVER_ERROR)


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    "script", [Script(fault=Silence()), Script(fault=Stall(after=2))], ids=["head", "body"]
)
@both_forms
async def test_silence_has_a_limit(
    model: ModelProcess, protocol: WireProtocol, script: Script, streaming: bool
) -> None:
    with ThreadedServer(protocol.server(script)) as server:
        failure = await Asked(
            model, request(protocol, server.url, streaming=streaming, timeout_s=0.2)
        ).failure()
        assert failure.kind is FailureKind.TIMED_OUT
        server.wait_for(lambda: server.exchanges[0].closed_by_peer)
        assert len(server.exchanges) == 1


async def test_a_long_reply_is_no_silence(model: ModelProcess, protocol: WireProtocol) -> None:
    """The limit is on the pause between two chunks, not on the whole."""
    with ThreadedServer(protocol.server(Script(text=("word ",) * 12, delay=0.05))) as server:
        outcome = await Asked(model, request(protocol, server.url, timeout_s=0.3)).outcome()
    assert isinstance(outcome, Finished)


async def test_an_unknown_provider_is_named(model: ModelProcess) -> None:
    nowhere = replace(request(PROTOCOLS["openai"], ""), model="gpt-of-nobody", api_base=None)
    failure = await Asked(model, nowhere).failure()
    assert failure.kind is FailureKind.UNKNOWN_MODEL


async def test_a_bare_name_at_an_own_address_is_openai_compatible(model: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer()) as server:
        named = replace(request(PROTOCOLS["openai"], server.url), model="my-model")
        asked = Asked(model, named)
        assert isinstance(await asked.outcome(), Finished)
        assert server.exchanges[0].request.model == "my-model"


async def test_a_field_of_a_wrong_type_ends_its_stream_alone(model: ModelProcess) -> None:
    no_text = cast("tuple[str, ...]", ({"a": 1},))
    pid = model.pid
    with ThreadedServer(OpenAIServer(Script(reasoning=no_text))) as server:
        failure = await Asked(model, request(PROTOCOLS["openai"], server.url)).failure()
    assert failure.kind is FailureKind.BROKEN_STREAM
    assert model.pid == pid
