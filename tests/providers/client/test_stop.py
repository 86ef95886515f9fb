"""A stop reaches the socket: in every protocol, streaming or not, in every phase of a request."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.model.messages import FinishReason
from core.model.provider import Closing, Finished, Phase, PhaseChanged
from tests.providers.conftest import linux_only
from tests.providers.harness import (
    SITUATIONS,
    WORDS,
    Asked,
    Situation,
    plant,
    request,
    start,
)
from tests.providers.tls import TlsFront
from tests.servers.base import ThreadedServer
from tests.servers.blackhole import BlackHole
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import Script, Silence, Stall, flood
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess

OPENAI = PROTOCOLS["openai"]


@pytest.fixture
def protocol(either_reader: WireProtocol) -> WireProtocol:
    return either_reader


@pytest.mark.promise("P1", "P2", "P3", "R3")
@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
async def test_a_stop_closes_the_socket(
    model: ModelProcess, protocol: WireProtocol, situation: Situation
) -> None:
    with ThreadedServer(protocol.server(situation.script)) as server:
        asked = Asked(model, request(protocol, server.url, streaming=situation.streaming))
        await until(lambda: situation.reached(next(iter(server.exchanges), None), asked))
        closed = await asked.stop()
        assert closed.how is Closing.CLOSED
        await until(lambda: server.open_connections == 0)
        assert len(server.exchanges) == 1
        assert server.exchanges[0].closed_by_peer
        assert server.exchanges[0].completed_at is None


@linux_only
@pytest.mark.promise("P1", "P2")
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_stop_ends_an_attempt_to_connect(
    model: ModelProcess, protocol: WireProtocol, streaming: bool
) -> None:
    with BlackHole() as hole:
        asked = Asked(model, request(protocol, hole.url, streaming=streaming))
        await until(lambda: hole.connecting == 1)
        closed = await asked.stop()
        assert closed.how is Closing.NEVER_OPENED
        # Not only soon: the confirmation says that it has happened.
        assert hole.connecting == 0


@pytest.mark.promise("P1", "P2")
async def test_a_stop_does_not_wait_for_a_name(model: ModelProcess, protocol: WireProtocol) -> None:
    # A name of its own: the library asks for one name only once at a time.
    asked = Asked(model, request(protocol, f"http://wait-1000.{protocol.name}.test"))
    await until(lambda: PhaseChanged(Phase.CONNECTING) in asked.deltas)
    closed = await asked.stop()
    assert closed.how is Closing.NEVER_OPENED


@pytest.mark.usefixtures("patient")
@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    "script", [Script(fault=Silence()), Script(fault=Stall(after=2))], ids=["head", "body"]
)
async def test_a_stop_closes_an_encrypted_connection(
    tls: TlsFront, protocol: WireProtocol, script: Script, encrypted_model: ModelProcess
) -> None:
    with ThreadedServer(protocol.server(script)) as server, tls.before(server) as url:
        asked = Asked(encrypted_model, request(protocol, url))
        await until(lambda: bool(server.exchanges) and (asked.shown or script.fault == Silence()))
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.exchanges[0].closed_by_peer)


@pytest.mark.promise("P1", "P2")
async def test_a_stop_closes_a_connection_in_its_handshake(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    """The server takes the connection and says nothing, so encryption never begins."""
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(model, request(protocol, server.url.replace("http", "https")))
        await until(lambda: len(server.connections) == 1)
        closed = await asked.stop()
        # The server may know that the connection is there before the client does.
        assert closed.how in (Closing.CLOSED, Closing.NEVER_OPENED)
        await until(lambda: server.open_connections == 0)
        assert server.connections[0].closed_by_peer


@pytest.mark.promise("T3")
async def test_a_token_that_is_cancelled_already_makes_no_request(model: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer()) as server:
        token = CancelToken("test")
        token.cancel(CancelReason(Cause.USER, "escape"))
        with pytest.raises(Cancelled):
            await model.stream(request(OPENAI, server.url), token, lambda delta: None)
        # Whatever went before it on the same pipe would have arrived by the end of this one.
        assert isinstance(await Asked(model, request(OPENAI, server.url)).outcome(), Finished)
        assert len(server.exchanges) == 1


@pytest.mark.promise("T1", "P1")
async def test_a_stop_needs_nothing_of_a_blocked_event_loop(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    """The loop waits, blocked, for a thread that stops the stream and waits for the server to see it."""
    with ThreadedServer(protocol.server(Script(text=WORDS, fault=Stall(after=3)))) as server:
        asked = Asked(model, request(protocol, server.url))
        await until(lambda: asked.shown)
        seen: list[float] = []

        def stop() -> None:
            asked.token.cancel(CancelReason(Cause.USER, "escape"))
            seen.append(server.wait_closed(server.exchanges[0], GENEROUS_S))

        thread = threading.Thread(target=stop)
        thread.start()
        thread.join(2 * GENEROUS_S)  # a blocked loop is the very thing
        assert seen
        assert isinstance(await asked.outcome(), Cancelled)
        assert asked.closed.how is Closing.CLOSED


@pytest.mark.promise("P3", "U3")
async def test_a_stop_leaves_other_streams_alone(model: ModelProcess, protocol: WireProtocol) -> None:
    text = tuple(f"{n} " for n in range(60))
    with ThreadedServer(protocol.server(Script(text=text, fault=Stall(after=20)))) as server:
        stopped = Asked(model, request(protocol, server.url))
        await until(lambda: stopped.shown)
        other = Asked(model, request(protocol, server.url))
        await until(lambda: other.shown)
        await stopped.stop()
        server.release(server.exchanges[1])
        assert isinstance(await other.outcome(), Finished)
        assert other.text == "".join(text)
        assert stopped.text != other.text


@pytest.mark.promise("P1")
async def test_a_stop_spares_a_connection_that_another_stream_has_taken_over(model: ModelProcess) -> None:
    """The library puts a connection back as soon as its reply is read, while we still work through it."""
    with ThreadedServer(OpenAIServer(flood(400))) as server:
        first = Asked(model, request(OPENAI, server.url))
        await until(lambda: first.shown)
        server.script = Script(fault=Stall(after=2))
        second = Asked(model, request(OPENAI, server.url))
        await until(lambda: len(server.exchanges) == 2)
        first.token.cancel(CancelReason(Cause.USER, "escape"))
        await first.outcome()
        server.release(server.exchanges[1])
        assert isinstance(await second.outcome(), Finished)
        assert second.text == "Hello, world."


@pytest.mark.promise("P3")
async def test_a_stop_after_the_end_changes_nothing(model: ModelProcess, protocol: WireProtocol) -> None:
    with ThreadedServer(protocol.server()) as server:
        asked = Asked(model, request(protocol, server.url))
        outcome = await asked.outcome()
        asked.token.cancel(CancelReason(Cause.USER, "escape"))
        assert isinstance(outcome, Finished)
        assert outcome.reason is FinishReason.STOP
        assert asked.text == "Hello, world."


@pytest.mark.promise("P3")
async def test_a_reply_whose_end_a_stop_overtakes_is_no_normal_end(model: ModelProcess) -> None:
    """Stopped by the first thing it shows, with all the rest and the end on their way already."""
    with ThreadedServer(OpenAIServer()) as server:
        for n in range(20):
            token = CancelToken("test")
            with pytest.raises(Cancelled):
                await model.stream(
                    request(OPENAI, server.url, text=str(n)),
                    token,
                    lambda _, token=token: token.cancel(CancelReason(Cause.USER, "escape")),  # type: ignore[misc]
                )


@pytest.mark.promise("T5", "P1")
async def test_an_outer_cancel_closes_the_socket_and_passes_through(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    with ThreadedServer(protocol.server(Script(fault=Stall(after=2)))) as server:
        asked = Asked(model, request(protocol, server.url))
        await until(lambda: asked.shown)
        asked.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked.outcome()
        await until(lambda: server.exchanges[0].closed_by_peer)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFront:
    return TlsFront(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def encrypted_model(tls: TlsFront) -> Iterator[ModelProcess]:
    with pytest.MonkeyPatch.context() as environment:
        plant(environment, HOME=str(tls.certificate.parent), SSL_CERT_FILE=str(tls.certificate))
        process = start()
    yield process
    process.close()
