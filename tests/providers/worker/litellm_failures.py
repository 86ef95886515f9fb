"""Let requests fail in every way, with either reader, and print, as JSON, what `classify` makes of it.

A process of its own, because litellm must not be imported into the tests' process, and one for all cases,
because its import takes seconds.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import asdict, dataclass

from core.model.messages import UserMessage
from core.model.provider import ModelError, ModelRequest
from core.model.server_options import USUAL, Reader, ServerOptions
from providers.catalog import provider_of
from providers.demo.server import DemoServer
from providers.keys.finder import Endpoint
from providers.reading.parser import Summary
from providers.worker import litellm_adapter as library
from providers.worker.capture import Captured
from providers.worker.errors.classification import classify
from providers.worker.errors.failures import cut_short
from providers.worker.exchange import Clients, exchange
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import Cut, ErrorEvent, Fault, Refusal, Refuse, Reset, Script, Silence
from tests.support.waiting import GENEROUS_S

SECRET = "a-key.without/any+shape"

FAULTS: dict[str, Fault] = {
    **{refusal.name: Refuse(refusal) for refusal in Refusal},
    "RATE_LIMITED_FOR_7_S": Refuse(Refusal.RATE_LIMITED, retry_after=7),
    "403": Refuse(Refusal.BAD_REQUEST, status=403),
    "402": Refuse(Refusal.BAD_REQUEST, status=402),
    "413": Refuse(Refusal.BAD_REQUEST, status=413),
    "503": Refuse(Refusal.SERVER_ERROR, status=503),
    "529": Refuse(Refusal.SERVER_ERROR, status=529),
    "ERROR_EVENT": ErrorEvent(after=2),
    "CUT": Cut(after=2),
    "RESET": Reset(after=2),
    "SILENCE": Silence(),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A classified failure, or `kind` None if nothing failed."""

    protocol: str
    case: str
    kind: str | None = None
    message: str = ""
    detail: str = ""
    status: int | None = None
    retry_after_s: float | None = None


class Asking:
    """Requests with one reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._clients = Clients()

    async def outcome(
        self,
        protocol: str,
        case: str,
        model: str,
        *,
        where: Endpoint = Endpoint(None, None),  # noqa: B008 - frozen
        key: str | None = SECRET,
        prompt: str = "hi",
        limit_s: float = GENEROUS_S,
    ) -> Outcome:
        options = ServerOptions(reader=self._reader, first_byte_timeout=limit_s, idle_timeout=limit_s)
        asked = ModelRequest(model, (UserMessage(prompt),), api_base=where.api_base, server=options)
        try:
            async with asyncio.timeout(limit_s):
                await self._consume(asked, key, where)
        except Exception as error:  # noqa: BLE001 - whatever is raised is the subject of the test
            failure = (
                error
                if isinstance(error, ModelError)
                else classify(
                    error,
                    model=model,
                    provider=provider_of(model),
                    api_base=where.api_base,
                    secrets=(SECRET,),
                )
            )
            return _outcome(protocol, case, failure)
        return Outcome(protocol, case)

    async def _consume(self, asked: ModelRequest, key: str | None, where: Endpoint) -> None:
        provider, model = library.provider_and_model(asked)
        call = library.prepare(asked, provider, model, key, where)
        answer = await call.ask()
        if not isinstance(answer, Captured):
            async for _ in answer:
                pass
            return
        parser = answer.protocol.parser(Summary())
        client = await self._clients.get(USUAL.network)
        await exchange(client, answer.request, parser, lambda deltas: [*deltas] and None, streaming=True)
        if not parser.is_complete:
            raise cut_short(asked.model)


def _outcome(protocol: str, case: str, failure: ModelError) -> Outcome:
    return Outcome(
        protocol, case, failure.kind, str(failure), failure.detail, failure.status, failure.retry_after_s
    )


async def of_protocol(asking: Asking, wire: WireProtocol) -> list[Outcome]:
    outcomes = []
    version = "2024-10-21" if wire.name == "azure" else None
    model = wire.model.replace("/", "/responses/") if wire.uses_responses else wire.model
    async with wire.server() as server:
        for case, fault in FAULTS.items():
            server.script = Script(fault=fault)
            limit = 0.3 if isinstance(fault, Silence) else GENEROUS_S
            where = Endpoint(server.url, version)
            outcomes.append(await asking.outcome(wire.name, case, model, where=where, limit_s=limit))
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as greeter:
        places = {
            "REFUSED": f"http://127.0.0.1:{unused_port()}",
            "NO_NAME": "http://nobody.invalid",
            # litellm finds statuses in texts, and errors contain the address.
            "NO_HTTP": f"http://127.0.0.1:{greeter.sockets[0].getsockname()[1]}/403",
        }
        for case, url in places.items():
            outcomes.append(await asking.outcome(wire.name, case, model, where=Endpoint(url, version)))
    return outcomes


async def of_demo(asking: Asking) -> list[Outcome]:
    with DemoServer(words_per_s=10_000) as demo:
        where = Endpoint(demo.url, None)
        return [
            await asking.outcome("demo", word, demo.model, where=where, prompt=word)
            for word in ("hello", "think", "error", "cut")
        ]


async def run(reader: Reader) -> list[Outcome]:
    asking = Asking(reader)
    outcomes = await of_demo(asking)
    for wire in PROTOCOLS.values():
        outcomes += await of_protocol(asking, wire)
    outcomes.append(await asking.outcome("openai", "NO_PROVIDER", "no-such-model"))
    for model in ("openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"):
        outcomes.append(await asking.outcome(provider_of(model), "NO_KEY", model, key=None))
    return outcomes


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server of another protocol."""
    await reader.read(65_536)
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    writer.close()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    # As the model process has it, with all that is changed in it.
    library.load()
    json.dump([asdict(one) for one in asyncio.run(run(Reader(sys.argv[1])))], sys.stdout)


if __name__ == "__main__":
    main()
