"""What the settings say of a server reaches it, for every protocol and both readers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from core.base.setting import NO_PROXY
from core.model.messages import UserMessage
from core.model.provider import (
    AttemptStarted,
    Closing,
    FailureKind,
    Finished,
    KeptAlive,
    ModelError,
    ModelRequest,
    ReasoningDelta,
)
from core.model.server_options import Reader
from core.model.settings import ModelSettings, NamedModel, RetryPolicy, ServerAddress
from tests.providers.client.test_tools import TOOLS
from tests.providers.harness import Asked, request
from tests.providers.routing.routed import Listened, router
from tests.providers.tls import ForwardProxy, TlsFront
from tests.servers.base import ThreadedServer
from tests.servers.frames import Frame, ndjson, sse
from tests.servers.openai import OpenAIServer
from tests.servers.raw import Raw
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import Script, Silence, Stall, in_turn
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from providers.client.model_process import ModelProcess
    from tests.servers.base import Server
    from tests.servers.record import Request

OPENAI = PROTOCOLS["openai"]


def asking(model: ModelProcess, protocol: WireProtocol, url: str, **options: Any) -> Asked:
    """A request to a model of `[providers.mine]`, which has these options."""
    provider, _, name = request(protocol, url).model.partition("/")
    options.setdefault("reader", protocol.reader)
    address = ServerAddress(provider, url, key="OPENAI_API_KEY", **options)
    if protocol.name == "azure":
        address = ServerAddress(provider, url, "2024-10-21", "AZURE_API_KEY", **options)
    routed = router(model, ModelSettings(providers={"mine": address}, retry=RetryPolicy(retries=0)))
    return Asked(routed, ModelRequest(f"mine/{name}", (UserMessage("hi"),), tools=TOOLS))


async def sent(model: ModelProcess, protocol: WireProtocol, server: Server, **options: Any) -> Any:
    """The request that the server got."""
    before = len(server.exchanges)
    outcome = await asking(model, protocol, server.url, **options).outcome()
    assert isinstance(outcome, Finished), outcome
    return server.exchanges[before].request


async def test_headers_and_fields_are_added(model: ModelProcess, either_reader: WireProtocol) -> None:
    by_litellm = either_reader.reader is Reader.LITELLM
    with ThreadedServer(either_reader.server(strict=False)) as server:
        asked = await sent(
            model,
            either_reader,
            server,
            headers={"X-Team": "blue"},
            body='{"top_k": 7, "metadata": {"a": "b"}}',
        )
    assert asked.headers["x-team"] == "blue"
    if not by_litellm:
        # litellm puts what it does not know of a protocol elsewhere, or leaves it out.
        assert asked.body["top_k"] == 7
        assert asked.body["metadata"] == {"a": "b"}


async def test_a_header_replaces_one_of_ours(model: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer()) as server:
        asked = await sent(model, OPENAI, server, headers={"authorization": "Basic abc"})
    assert asked.headers["authorization"] == "Basic abc"


async def test_what_a_server_does_not_take_is_left_out(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    with ThreadedServer(either_reader.server()) as server:
        usual = await sent(model, either_reader, server)
        bare = await sent(model, either_reader, server, stream_options=False, tools=False)
    assert usual.conversation.tools
    assert not bare.conversation.tools
    assert "stream_options" not in bare.body


async def test_a_server_that_cannot_stream_is_asked_for_the_whole(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    with ThreadedServer(either_reader.server()) as server:
        asked = asking(model, either_reader, server.url, stream=False)
        assert isinstance(await asked.outcome(), Finished)
        assert asked.text == "Hello, world."
        whole = server.exchanges[0].request
    assert whole.body.get("stream") in (None, False)
    assert "streamGenerateContent" not in whole.path


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (Silence(), {"first_byte_timeout": 0.2}),
        (Stall(after=0), {"first_byte_timeout": 0.2}),
        (Stall(after=2), {"idle_timeout": 0.2}),
    ],
    ids=["no head", "no word", "no more"],
)
async def test_each_silence_has_its_limit(
    model: ModelProcess, either_reader: WireProtocol, fault: Any, options: dict[str, float]
) -> None:
    with ThreadedServer(either_reader.server(Script(fault=fault))) as server:
        failure = await asking(model, either_reader, server.url, **options).outcome()
        assert isinstance(failure, ModelError)
        assert failure.kind is FailureKind.TIMED_OUT
        server.wait_for(lambda: server.exchanges[0].closed_by_peer)


def pinging(protocol: WireProtocol, ping: bytes, *, after: int) -> Server:
    """A server that sends pings after so many pieces of its reply, until `release` of the exchange."""
    usual: type[Server] = protocol.server

    class Pinging(usual):  # type: ignore[misc, valid-type]
        def stream(self, script: Script, request: Request) -> Iterator[Frame]:
            frames = super().stream(script, request)
            sent = 0
            while sent < after:
                yield (frame := next(frames))
                sent += frame.is_delta
            while not self.exchanges[-1].released.is_set():
                # Counted as a piece, so that the pace of the script holds for it too.
                yield Frame(ping, is_delta=True)
            yield from frames

    return Pinging(Script(delay=0.01))


def pings(protocol: WireProtocol) -> list[bytes]:
    """What servers of this protocol send while they have nothing to say."""
    comment = b": OPENROUTER PROCESSING\n\n"
    match protocol.name:
        case "ollama":
            empty = {"model": "llama3.1", "message": {"role": "assistant", "content": ""}, "done": False}
            return [ndjson(empty)]
        case "anthropic":
            empty = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}
            own = [sse(empty)] if protocol.reader is Reader.OWN else []
            return [comment, b'event: ping\ndata: {"type": "ping"}\n\n', *own]
        case "openai":
            return [comment, sse({"choices": [{"index": 0, "delta": {"content": ""}}]})]
        case "gemini" if protocol.reader is Reader.LITELLM:
            return []  # litellm takes a comment for half of a chunk
        case _:
            return [comment]


@pytest.mark.promise("P6")
async def test_pings_are_no_word_and_the_first_one_has_its_limit(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    for ping in pings(either_reader):
        with ThreadedServer(pinging(either_reader, ping, after=0)) as server:
            asked = asking(model, either_reader, server.url, first_byte_timeout=0.5, fold_thinking=False)
            failure = await asked.failure()
            assert failure.kind is FailureKind.TIMED_OUT
            assert not asked.shown
            assert asked.of(KeptAlive) == []
            server.wait_for(lambda: server.exchanges[0].closed_by_peer)


@pytest.mark.promise("P6", "P7")
async def test_pings_keep_a_reply_that_has_begun_and_are_told(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    for ping in pings(either_reader):
        with ThreadedServer(pinging(either_reader, ping, after=2)) as server:
            # A sign of life is told after a second, so by then the limit is over.
            asked = asking(model, either_reader, server.url, idle_timeout=0.5)
            await until(lambda asked=asked: asked.of(KeptAlive) or asked.ended)
            assert not asked.ended
            server.release(server.exchanges[0])
            assert isinstance(await asked.outcome(), Finished)
            assert asked.text == "Hello, world."


@pytest.mark.promise("P9")
async def test_a_file_of_certificates_is_trusted_and_no_other_server(
    model: ModelProcess, either_reader: WireProtocol, tmp_path: Path
) -> None:
    front = TlsFront(tmp_path)
    with ThreadedServer(either_reader.server()) as server, front.before(server) as url:
        strange = await asking(model, either_reader, url).outcome()
        assert isinstance(strange, ModelError)
        assert strange.kind is FailureKind.UNTRUSTED
        assert "certificate" in str(strange)
        assert server.exchanges == []
        trusted = asking(model, either_reader, url, ca_file=str(front.certificate))
        assert isinstance(await trusted.outcome(), Finished)
        again = await asking(model, either_reader, url).outcome()
        assert isinstance(again, ModelError)
        missing = await asking(model, either_reader, url, ca_file=str(tmp_path / "none.pem")).outcome()
    assert isinstance(missing, ModelError)
    assert "none.pem" in str(missing)
    assert "`ca_file`" in str(missing)


@pytest.mark.promise("P9", "P1")
async def test_a_server_is_asked_through_its_own_proxy_and_a_stop_closes_that(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    """The host has no address here, so no other way leads to it."""
    proxy = ForwardProxy()
    stalled = in_turn(Script(fault=Stall(after=2)), Script())
    with ThreadedServer(either_reader.server(stalled)) as server, proxy.before(server) as url:
        asked = asking(model, either_reader, "http://model.invalid", proxy=url)
        await until(lambda: asked.shown)
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.exchanges[0].closed_by_peer)
        assert isinstance(
            await asking(model, either_reader, "http://model.invalid", proxy=url).outcome(), Finished
        )
        assert len(proxy.asked) == 2
        assert all(address.startswith("http://model.invalid/") for address in proxy.asked)
        # Another server is not.
        assert isinstance(await asking(model, either_reader, server.url).outcome(), Finished)
        assert len(proxy.asked) == 2


@pytest.mark.promise("P9")
async def test_a_file_of_certificates_is_trusted_of_the_proxy_too(
    model: ModelProcess, either_reader: WireProtocol, tmp_path: Path
) -> None:
    front = TlsFront(tmp_path)
    proxy = ForwardProxy(front)
    with ThreadedServer(either_reader.server()) as server, proxy.before(server) as url:
        strange = await asking(model, either_reader, "http://model.invalid", proxy=url).outcome()
        assert isinstance(strange, ModelError)
        assert proxy.asked == []
        trusted = {"proxy": url, "ca_file": str(front.certificate)}
        outcome = await asking(model, either_reader, "http://model.invalid", **trusted).outcome()
        assert isinstance(outcome, Finished), outcome
    assert len(proxy.asked) == 1


@pytest.mark.promise("R3")
async def test_a_connection_that_broke_costs_no_later_request(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    with Raw(b"") as raw:
        assert isinstance(await asking(model, either_reader, raw.url, proxy=NO_PROXY).outcome(), ModelError)
        assert raw.accepted == 1
    with ThreadedServer(either_reader.server()) as server:
        again = await asking(model, either_reader, server.url, proxy=NO_PROXY).outcome()
        assert isinstance(again, Finished), again


@pytest.mark.promise("R3")
async def test_a_connection_that_broke_where_litellm_reads_costs_no_request_to_others(
    model: ModelProcess,
) -> None:
    with Raw(b"") as raw:
        address = ServerAddress("bedrock", raw.url, key="OPENAI_API_KEY")
        routed = router(model, ModelSettings({"mine": address}, retry=RetryPolicy(retries=0)))
        asked = Asked(
            routed, ModelRequest("mine/anthropic.claude-3-haiku-20240307-v1:0", (UserMessage("hi"),))
        )
        assert isinstance(await asked.outcome(), ModelError)
        assert raw.accepted == 1
    with ThreadedServer(OPENAI.server()) as server:
        assert isinstance(await asking(model, OPENAI, server.url).outcome(), Finished)


async def test_a_certificate_that_is_not_accepted_is_not_tried_again(
    model: ModelProcess, tmp_path: Path
) -> None:
    front = TlsFront(tmp_path)
    with ThreadedServer(OPENAI.server()) as server, front.before(server) as url:
        address = ServerAddress(api_base=url, key="OPENAI_API_KEY")
        settings = ModelSettings({"mine": address}, retry=RetryPolicy(retries=3))
        asked = Listened(router(model, settings), "mine/m")
        assert (await asked.failure()).kind is FailureKind.UNTRUSTED
    assert len(asked.of(AttemptStarted)) == 1


async def test_a_page_for_people_is_not_asked_for_again(model: ModelProcess) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>Hi</html>"
    with Raw(page) as raw:
        address = ServerAddress(api_base=raw.url, key="OPENAI_API_KEY")
        settings = ModelSettings({"mine": address}, retry=RetryPolicy(retries=3))
        asked = Listened(router(model, settings), "mine/m")
        assert (await asked.failure()).kind is FailureKind.WEB_PAGE
        assert raw.accepted == 1


async def test_a_server_that_is_not_there_is_told_by_its_setting_and_without_its_password(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    with ThreadedServer(either_reader.server()) as gone:
        pass
    failure = await asking(model, either_reader, gone.url).failure()
    assert f" at {gone.url} cannot be reached: " in str(failure)
    assert "`[providers.mine] api_base`" in str(failure)
    # The library's transport refuses to send a key to such an address.
    failure = await asking(model, either_reader, gone.url.replace("://", "://me:hunter2@")).failure()
    assert f" at {gone.url} " in str(failure)
    assert "hunter2" not in str(failure) + failure.detail


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Not found: POST /chat/completions", "has nothing there (404): check `[providers.mine] api_base`"),
        ("The model m is not loaded", "does not know openai/gpt"),
    ],
)
async def test_a_404_quotes_the_server_and_asks_for_the_path_where_it_is_not_of_the_model(
    model: ModelProcess, said: str, told: str
) -> None:
    body = json.dumps({"error": {"message": f"{said} sk-test"}}).encode()
    head = f"HTTP/1.1 404 No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with Raw(head.encode() + body) as raw:
        failure = await asking(model, OPENAI, raw.url).outcome()
        deeper = await asking(model, OPENAI, f"{raw.url}/v1").outcome()
    assert told in str(failure)
    assert f"It says: “{said} [key]”" in str(failure)
    assert ("does it lack /v1?" in str(failure)) is ("nothing there" in told)
    assert "does it lack /v1?" not in str(deeper)


@pytest.mark.promise("P1")
async def test_a_stop_closes_a_connection_that_a_file_of_certificates_allows(
    model: ModelProcess, either_reader: WireProtocol, tmp_path: Path
) -> None:
    front = TlsFront(tmp_path)
    stalled = either_reader.server(Script(fault=Stall(after=2)))
    with ThreadedServer(stalled) as server, front.before(server) as url:
        asked = asking(model, either_reader, url, ca_file=str(front.certificate))
        await until(lambda: asked.shown)
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.exchanges[0].closed_by_peer)


@pytest.mark.promise("P7", "P8")
async def test_reasoning_in_the_text_is_folded_unless_the_settings_say_no(
    model: ModelProcess, either_reader: WireProtocol
) -> None:
    script = Script(text=("<thi", "nk>hm</th", "ink>\n\nyes", "."))
    with ThreadedServer(either_reader.server(script)) as server:
        folded = asking(model, either_reader, server.url)
        assert isinstance(await folded.outcome(), Finished)
        plain = asking(model, either_reader, server.url, fold_thinking=False)
        assert isinstance(await plain.outcome(), Finished)
    assert folded.text == "yes."
    assert "".join(delta.text for delta in folded.of(ReasoningDelta)) == "hm"
    if either_reader.reader is Reader.OWN:
        assert plain.text == "".join(script.text)


async def test_what_the_settings_know_of_a_server_is_known_of_its_models(model: ModelProcess) -> None:
    mine = ServerAddress(
        api_base="http://127.0.0.1:9", context_window=32_768, input_price=0.5, output_price=2
    )
    known = {"small": NamedModel("mine/qwen", context_window=8_192)}
    routed = router(model, ModelSettings(providers={"mine": mine}, models=known))
    info = await routed.describe("mine/qwen")
    assert (info.context_window, info.input_price, info.output_price) == (32_768, 0.5e-6, 2e-6)
    assert (await routed.describe("small")).context_window == 8_192
