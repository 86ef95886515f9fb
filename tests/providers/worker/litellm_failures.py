"""Let litellm fail in every way and print, as JSON, what `classify` makes of it.

A process of its own, because litellm must not be imported into the tests' process, and one for all cases,
because its import takes seconds.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from providers.catalog import provider_of
from providers.demo.server import DemoServer
from providers.worker import litellm_adapter as library
from providers.worker.failures import classify
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import Cut, ErrorEvent, Fault, Refusal, Refuse, Reset, Script, Silence

if TYPE_CHECKING:
    from core.model.provider import ModelError

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


async def consume(litellm: Any, model: str, *, responses: bool = False, **options: Any) -> None:
    common = {"stream": True, "timeout": 5.0, "max_retries": 0, "num_retries": 0, **options}
    if responses:
        stream = await litellm.aresponses(model=model, input="hi", **common)
    else:
        stream = await litellm.acompletion(
            model=model, messages=[{"role": "user", "content": options.pop("prompt", "hi")}], **common
        )
    async for _ in stream:
        pass


async def outcome(
    litellm: Any, protocol: str, case: str, model: str, *, responses: bool = False, **options: Any
) -> Outcome:
    try:
        await consume(litellm, model, responses=responses, **options)
    except Exception as error:  # noqa: BLE001 - whatever litellm raises is the subject of the test
        failure = classify(
            error,
            model=model,
            provider=provider_of(model),
            api_base=options.get("api_base"),
            secrets=(SECRET,),
        )
        return _outcome(protocol, case, failure)
    return Outcome(protocol, case)


def _outcome(protocol: str, case: str, failure: ModelError) -> Outcome:
    return Outcome(
        protocol, case, failure.kind, str(failure), failure.detail, failure.status, failure.retry_after_s
    )


async def of_protocol(litellm: Any, wire: WireProtocol) -> list[Outcome]:
    outcomes = []
    options: dict[str, Any] = {"api_key": SECRET, "responses": wire.uses_responses}
    if wire.name == "azure":
        options["api_version"] = "2024-10-21"
    async with wire.server() as server:
        for case, fault in FAULTS.items():
            server.script = Script(fault=fault)
            timeout = 0.3 if isinstance(fault, Silence) else 5.0
            if isinstance(fault, Silence) and wire.name == "gemini":
                continue  # litellm does not hand the time limit on to Gemini
            outcomes.append(
                await outcome(
                    litellm, wire.name, case, wire.model, api_base=server.url, timeout=timeout, **options
                )
            )
    nobody, nameless = f"http://127.0.0.1:{unused_port()}", "http://nobody.invalid"
    outcomes.append(await outcome(litellm, wire.name, "REFUSED", wire.model, api_base=nobody, **options))
    outcomes.append(await outcome(litellm, wire.name, "NO_NAME", wire.model, api_base=nameless, **options))
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as greeter:
        # litellm finds statuses in texts, and errors contain the address.
        url = f"http://127.0.0.1:{greeter.sockets[0].getsockname()[1]}/403"
        outcomes.append(await outcome(litellm, wire.name, "NO_HTTP", wire.model, api_base=url, **options))
    return outcomes


async def of_demo(litellm: Any) -> list[Outcome]:
    with DemoServer(words_per_s=10_000) as demo:
        return [
            await outcome(litellm, "demo", word, demo.model, api_base=demo.url, api_key=SECRET, prompt=word)
            for word in ("hello", "think", "error", "cut")
        ]


async def run(litellm: Any) -> list[Outcome]:
    outcomes = await of_demo(litellm)
    for wire in PROTOCOLS.values():
        outcomes += await of_protocol(litellm, wire)
    outcomes.append(await outcome(litellm, "openai", "NO_PROVIDER", "no-such-model", api_key=SECRET))
    for model in ("openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"):
        outcomes.append(await outcome(litellm, provider_of(model), "NO_KEY", model))
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
    json.dump([asdict(one) for one in asyncio.run(run(sys.modules["litellm"]))], sys.stdout)


if __name__ == "__main__":
    main()
