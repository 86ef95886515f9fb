"""What a provider wants back goes back as it was, to it and to nobody else (P8), to vendors that refuse the
request otherwise."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.model.messages import AssistantMessage, Message, Reasoning, Text, UserMessage, sendable
from core.model.provider import Finished, ModelRequest
from core.model.reply_builder import Reply
from core.model.server_options import ServerOptions
from providers.worker.reasoning import signed, signer_of
from tests.providers.client.test_tools import TOOLS, both_forms, results_of
from tests.providers.harness import Asked
from tests.servers.base import Server, ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script, Stall
from tests.servers.vendors import VENDORS, Ids, Vendor, playing
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from providers.client.model_process import ModelProcess

each_vendor = pytest.mark.parametrize("vendor", VENDORS.values(), ids=str)


def asking(
    model: str, server: Server, history: tuple[Message, ...], *, streaming: bool = True
) -> ModelRequest:
    return ModelRequest(
        model,
        sendable(history),
        api_base=server.url,
        server=ServerOptions(first_byte_timeout=GENEROUS_S, idle_timeout=GENEROUS_S),
        streaming=streaming,
        tools=TOOLS,
        key_name="OPENAI_API_KEY",
    )


async def reply_to(model: ModelProcess, request: ModelRequest, taken: set[str]) -> AssistantMessage:
    """The reply as the engine keeps it; a call without an id, or with one that is taken, gets another."""
    asked = Asked(model, request)
    finished = await asked.outcome()
    assert isinstance(finished, Finished), finished
    reply = Reply(request.model)
    for delta in asked.content:
        reply.add(delta)
    ids = {}
    for index, call in reply.calls.items():
        ids[index] = call.given_id if call.given_id not in taken else f"{call.given_id}_{len(taken)}"
        taken.add(ids[index])
    return reply.message(finish=finished.reason, call_ids=ids)


def answered(reply: AssistantMessage) -> tuple[Message, ...]:
    return reply, results_of(reply, *("text" for _ in reply.calls))


@pytest.mark.promise("P8")
@each_vendor
@both_forms
async def test_a_reply_goes_back_as_it_was(model: ModelProcess, vendor: Vendor, streaming: bool) -> None:
    history: tuple[Message, ...] = (UserMessage("hi"),)
    with ThreadedServer(playing(vendor)) as server:
        request = asking(vendor.model, server, history, streaming=streaming)
        reply = await reply_to(model, request, set())
        assert reply.calls
        history += answered(reply)
        for more in ((), (UserMessage("go on"),)):
            again = Asked(model, asking(vendor.model, server, history + more, streaming=streaming))
            outcome = await again.outcome()
            assert server.complaints == []
            assert isinstance(outcome, Finished), outcome


@pytest.mark.promise("P8")
async def test_nothing_sealed_goes_to_another_vendor(model: ModelProcess) -> None:
    """All vendors in one conversation, each in turn, and each once more at the end."""
    history: tuple[Message, ...] = ()
    taken: set[str] = set()
    with ExitStack() as stack:
        servers = {
            vendor.name: stack.enter_context(ThreadedServer(playing(vendor))) for vendor in VENDORS.values()
        }
        for turn in ("first", "second"):
            for vendor in VENDORS.values():
                server = servers[vendor.name]
                history += (UserMessage(f"{turn}: {vendor}"),)
                reply = await reply_to(model, asking(vendor.model, server, history), taken)
                assert server.complaints == []
                history += answered(reply) if reply.calls else (reply,)
        for vendor in VENDORS.values():
            first, second = (json.dumps(it.request.body) for it in servers[vendor.name].exchanges)
            assert not any(seal in first for seal in vendor.seals)
            assert all(json.dumps(seal)[1:-1] in second for seal in vendor.seals), vendor


@pytest.mark.promise("P8")
async def test_a_server_that_shows_reasoning_with_its_calls_gets_no_calls_without(
    model: ModelProcess,
) -> None:
    """Nobody knows its rules; it may be as strict as DeepSeek is about calls that another model has made."""
    strict = replace(VENDORS["vllm"], must_have="reasoning")
    history: tuple[Message, ...] = (UserMessage("hi"),)
    with ThreadedServer(playing(strict)) as server, ThreadedServer(playing(VENDORS["groq"])) as other:
        for vendor, asked in ((strict, server), (VENDORS["groq"], other)):
            history += answered(await reply_to(model, asking(vendor.model, asked, history), set()))
            history += (UserMessage("go on"),)
        await reply_to(model, asking(strict.model, server, history), set())
        assert server.complaints == []


@pytest.mark.promise("P8")
async def test_another_model_of_a_gateway_does_not_get_what_the_first_has_sealed(model: ModelProcess) -> None:
    vendor = VENDORS["openrouter"]
    history: tuple[Message, ...] = (UserMessage("hi"),)
    with ThreadedServer(playing(vendor)) as server:
        history += answered(await reply_to(model, asking(vendor.model, server, history), set()))
        server.strict = False
        await Asked(model, asking("openrouter/google/gemini-3-pro", server, history)).outcome()
        assert "reasoning_details" not in json.dumps(server.exchanges[1].request.body)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("name", ["mistral/mistral-large-latest", "openai/Devstral-Small"])
async def test_ids_have_the_shape_that_the_next_provider_takes_and_keep_it(
    model: ModelProcess, name: str
) -> None:
    """Stable over the whole history: what is sent once is sent again in the same way."""
    history: tuple[Message, ...] = (UserMessage("hi"),)
    with ExitStack() as stack:
        for vendor in (VENDORS["kimi"], VENDORS["openai"], VENDORS["mistral"]):
            server = stack.enter_context(ThreadedServer(playing(vendor)))
            history += answered(await reply_to(model, asking(vendor.model, server, history), set()))
            history += (UserMessage("go on"),)
        server = stack.enter_context(ThreadedServer(PROTOCOLS["openai"].server()))
        await Asked(model, asking(name, server, history[:4])).outcome()
        await Asked(model, asking(name, server, history)).outcome()
        assert server.complaints == []
        before, after = ([call.call_id for call in it.request.conversation.calls] for it in server.exchanges)
    assert after[: len(before)] == before
    assert all(call_id is not None and len(call_id) == 9 and call_id.isalnum() for call_id in after)
    assert after[-1] == "Ab3dE5gH9"


@pytest.mark.promise("P8")
@pytest.mark.parametrize("ids", [Ids.SAME, Ids.NONE])
async def test_a_seal_on_a_call_comes_back_whatever_id_the_call_has(model: ModelProcess, ids: Ids) -> None:
    """Some servers give each reply's calls the same ids, or none: then the call has an id of ours."""
    vendor = VENDORS["google in chat"]
    vendor = replace(vendor, usual=replace(vendor.usual, ids=ids))
    history: tuple[Message, ...] = (UserMessage("hi"),)
    with ThreadedServer(playing(vendor)) as server:
        server.strict = False
        taken = {"function-call-1"} if ids is Ids.SAME else set()
        reply = await reply_to(model, asking(vendor.model, server, history), taken)
        history += answered(reply)
        await Asked(model, asking(vendor.model, server, history)).outcome()
        first, second = server.exchanges[1].request.body["messages"][1]["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": vendor.seals[0]}}
    assert "extra_content" not in second


@pytest.mark.promise("H4", "P8")
async def test_thinking_that_led_to_nothing_does_not_go_back(model: ModelProcess) -> None:
    """Anthropic refuses a reply that ends with it, as one does that was broken off before its call."""
    with ThreadedServer(PROTOCOLS["anthropic"].server()) as server:
        signer = signer_of("anthropic", server.url, responses=False)
        seals = [signed(seal, signer) for seal in ("Zmlyc3Q=", "c2Vjb25k", "dGhpcmQ=")]
        thoughts = [Reasoning("First.", seals[0]), Reasoning("", seals[1]), Reasoning("", seals[2])]
        parts = (thoughts[0], Text("Let me look."), thoughts[1], Text("It is"), thoughts[2])
        reply = AssistantMessage(parts, "m", interrupted=True)
        history = (UserMessage("hi"), reply, UserMessage("go on"))
        await Asked(model, asking("anthropic/claude-sonnet-4-5", server, history)).outcome()
        assert server.complaints == []
        sent = server.exchanges[0].request.body["messages"][1]["content"]
    kinds = [(block["type"], block.get("signature", block.get("text"))) for block in sent]
    assert kinds == [
        ("thinking", "Zmlyc3Q="), ("text", "Let me look."), ("thinking", "c2Vjb25k"), ("text", "It is"),
    ]  # fmt: skip


async def test_a_name_that_litellm_does_not_know_is_streamed_like_any_other(model: ModelProcess) -> None:
    script = Script(("one ", "two ", "three"), fault=Stall(after=2))
    with ThreadedServer(PROTOCOLS["responses"].server(script)) as server:
        asked = Asked(model, asking("openai/responses/nobody-knows-it", server, (UserMessage("hi"),)))
        await until(lambda: asked.text == "one two ")
        assert server.exchanges[0].request.body["stream"] is True
        await asked.stop()
