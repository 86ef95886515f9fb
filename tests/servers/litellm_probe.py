"""What litellm makes of the servers' replies: `python -m tests.servers.litellm_probe`, a process of its own.

Standard input is a JSON list of `[protocol name, server url, stream]`; standard output is the list of what
arrived, as `Arrived` in JSON. It knows nothing of Caesura: it proves that the servers speak true protocols.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import types
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.servers.registry import PROTOCOLS, WireProtocol

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


@dataclass(slots=True)
class Arrived:
    """A reply out of its deltas. `pieces` counts those of text, `argument_pieces` those of the calls."""

    text: str = ""
    pieces: int = 0
    reasoning: str = ""
    signatures: list[str] = field(default_factory=list)
    calls: dict[str, list[str]] = field(default_factory=dict)
    argument_pieces: int = 0
    usage: list[int] = field(default_factory=list)
    finish: str | None = None


def without_gateway() -> None:
    """Stand in for litellm's MCP gateway, which any Responses request imports and which needs `mcp`."""
    module = types.ModuleType("litellm.responses.mcp.litellm_proxy_mcp_handler")
    gateway = type("Gateway", (), {"should_use_litellm_mcp_gateway": staticmethod(lambda tools=None: False)})
    vars(module)["LiteLLM_Proxy_MCP_Handler"] = gateway
    sys.modules[module.__name__] = module


def add_call(arrived: Arrived, key: str, name: str | None, arguments: str | None) -> None:
    call = arrived.calls.setdefault(key, ["", ""])
    call[0] += name or ""
    call[1] += arguments or ""
    arrived.argument_pieces += bool(arguments)


def add_chat(arrived: Arrived, part: Any) -> None:
    arrived.text += part.content or ""
    arrived.pieces += bool(part.content)
    arrived.reasoning += getattr(part, "reasoning_content", None) or ""
    blocks = getattr(part, "thinking_blocks", None) or []
    arrived.signatures += [block["signature"] for block in blocks if block.get("signature")]
    extra = getattr(part, "provider_specific_fields", None) or {}
    arrived.signatures += extra.get("thought_signatures", [])
    for call in part.tool_calls or []:
        key = call.id or list(arrived.calls)[-1]
        add_call(arrived, key, call.function.name, call.function.arguments)


def set_usage(arrived: Arrived, usage: Any) -> None:
    """litellm turns the usage of a streamed Responses reply into a chat completion's."""
    counted = usage if isinstance(usage, dict) else usage.model_dump()
    first, second = ("prompt", "completion") if "prompt_tokens" in counted else ("input", "output")
    arrived.usage = [counted[f"{first}_tokens"], counted[f"{second}_tokens"]]


async def chat(protocol: WireProtocol, url: str, *, stream: bool) -> Arrived:
    import litellm

    arrived = Arrived()
    options = {"stream_options": {"include_usage": True}} if stream else {}
    messages = [{"role": "user", "content": "hi"}]
    reply = await litellm.acompletion(
        model=protocol.model,
        messages=messages,
        stream=stream,
        api_base=url,
        timeout=10,
        max_retries=0,
        **options,
    )
    if not stream:
        add_chat(arrived, reply.choices[0].message)
        arrived.finish = reply.choices[0].finish_reason
        set_usage(arrived, reply.usage)
        return arrived
    async for chunk in reply:
        for choice in chunk.choices:
            add_chat(arrived, choice.delta)
            arrived.finish = choice.finish_reason or arrived.finish
        if getattr(chunk, "usage", None):
            set_usage(arrived, chunk.usage)
    return arrived


def add_item(arrived: Arrived, item: Any) -> None:
    match item["type"]:
        case "reasoning":
            arrived.reasoning += "".join(part["text"] for part in item["summary"])
            arrived.signatures.append(item["encrypted_content"])
        case "message":
            arrived.text += "".join(part["text"] for part in item["content"])
            arrived.pieces += 1
        case "function_call":
            add_call(arrived, item["call_id"], item["name"], item["arguments"])


async def responses(protocol: WireProtocol, url: str, *, stream: bool) -> Arrived:
    import litellm

    arrived = Arrived()
    include: Any = ["reasoning.encrypted_content"]
    reply: Any = await litellm.aresponses(
        model=protocol.model,
        input="hi",
        stream=stream,
        api_base=url,
        timeout=10,
        include=include,
        store=False,
    )
    if not stream:
        for item in reply.model_dump()["output"]:
            add_item(arrived, item)
        set_usage(arrived, reply.usage)
        arrived.finish = reply.status
        return arrived
    open_call = ""
    async for event in reply:
        match str(getattr(event.type, "value", event.type)).removeprefix("response."):
            case "output_text.delta":
                arrived.text += event.delta
                arrived.pieces += 1
            case "reasoning_summary_text.delta":
                arrived.reasoning += event.delta
            case "output_item.added" if event.item.type == "function_call":
                open_call = event.item.call_id
                add_call(arrived, open_call, event.item.name, "")
            case "function_call_arguments.delta":
                add_call(arrived, open_call, "", event.delta)
            case "output_item.done" if event.item.type == "reasoning":
                arrived.signatures.append(event.item.encrypted_content)
            case "completed" | "incomplete":
                set_usage(arrived, event.response.usage)
                arrived.finish = event.response.status
    return arrived


async def main() -> None:
    without_gateway()
    results = []
    for name, url, stream in json.load(sys.stdin):
        protocol = PROTOCOLS[name]
        os.environ.update(protocol.environment)
        ask = responses if protocol.uses_responses else chat
        results.append(asdict(await ask(protocol, url, stream=stream)))
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main())
