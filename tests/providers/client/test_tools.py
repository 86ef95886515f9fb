"""Calls and their results on the way out and back, in every protocol, to servers as strict as providers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from core.model.messages import (
    AssistantMessage,
    Message,
    Part,
    Reasoning,
    ResultStatus,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    UserMessage,
    read_arguments,
    sendable,
)
from core.model.provider import (
    Closing,
    FailureKind,
    Finished,
    ModelRequest,
    ReasoningDelta,
    ToolCallDelta,
    ToolSpec,
)
from providers.worker.dialects import THOUGHT
from tests.providers.conftest import linux_only
from tests.providers.harness import Asked, calls_of, modules_in_child, request
from tests.servers.base import Server, ThreadedServer
from tests.servers.conversation import Role
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import Call, Script, Stall, in_turn
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from providers.client.model_process import ModelProcess

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOLS = (
    ToolSpec("read", "Read a file.", json.dumps(SCHEMA)),
    ToolSpec("now", "Tell the time.", '{"type": "object", "properties": {}}'),
)
STRANGE = 'Grüße 東京 👋🏽 \u2028\u202e\x07 "quoted" \\n'
WORDS = ("word ",) * 8
KNOWS_NO_IDS = {"gemini", "ollama"}
both_forms = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
two_dialects = pytest.mark.parametrize("name", ["openai", "azure"])


def asking(protocol: WireProtocol, server: Server, *history: Message, streaming: bool = True) -> ModelRequest:
    asked = request(protocol, server.url, streaming=streaming)
    return msgspec.structs.replace(asked, messages=sendable((*asked.messages, *history)), tools=TOOLS)


def reply_of(asked: Asked) -> AssistantMessage:
    """The reply as the engine keeps it: a call without an id, or with one that is taken, gets another."""
    signed = [delta for delta in asked.deltas if isinstance(delta, ReasoningDelta) and delta.signature]
    parts: list[Part] = [Reasoning("", delta.signature) for delta in signed]
    if asked.text:
        parts.append(Text(asked.text))
    taken: set[str] = set()
    for call_id, name, arguments in calls_of(asked.deltas):
        own = call_id if call_id and call_id not in taken else f"own-{len(taken)}"
        taken.add(own)
        parts.append(ToolCall(own, name, arguments))
    return AssistantMessage(tuple(parts), "test")


def results_of(reply: AssistantMessage, *texts: str) -> ToolResults:
    answered = zip(reply.calls, texts, strict=True)
    return ToolResults(
        tuple(ToolResult(call.call_id, call.name, ResultStatus.COMPLETED, text) for call, text in answered)
    )


@pytest.mark.promise("H4")
@both_forms
async def test_calls_and_results_arrive_as_they_are(
    model: ModelProcess, protocol: WireProtocol, streaming: bool
) -> None:
    """Two equal calls and one without arguments; a result is never taken for JSON, a picture or nothing."""
    path = json.dumps({"path": STRANGE})
    calls = (
        Call("call_1", "read", (path[:5], path[5:20], path[20:])),
        Call("call_2", "read", (path,)),
        Call("call_3", "now", ()),
    )
    texts = ('{"a": 1,  "a": 2}', STRANGE, "data:image/png;base64,aGVsbG8=")
    with ThreadedServer(protocol.server(in_turn(Script(("Let me look.",), calls=calls), Script()))) as server:
        first = Asked(model, asking(protocol, server, streaming=streaming))
        await first.outcome()
        reply = reply_of(first)
        made = [(call.name, read_arguments(call.arguments)) for call in reply.calls]
        assert made == [("read", {"path": STRANGE}), ("read", {"path": STRANGE}), ("now", {})]
        results = results_of(reply, *texts)
        second = Asked(model, asking(protocol, server, reply, results, streaming=streaming))
        assert isinstance(await second.outcome(), Finished), await second.outcome()
        assert second.text == "Hello, world."
        assert server.complaints == []
        got = server.exchanges[1].request.conversation
        assert [tool.name for tool in server.exchanges[0].request.conversation.tools] == ["read", "now"]
    assert got.roles == (Role.USER, Role.ASSISTANT, Role.RESULTS)
    assert got.messages[1].text == "Let me look."
    assert [(call.name, call.arguments) for call in got.calls] == made
    assert [result.text for result in got.results] == list(texts)
    assert [(tool.name, tool.description) for tool in got.tools] == [
        (it.name, it.description) for it in TOOLS
    ]
    assert got.tools[0].parameters == SCHEMA
    ids = [None] * 3 if protocol.name in KNOWS_NO_IDS else ["call_1", "call_2", "call_3"]
    assert [call.call_id for call in got.calls] == ids
    assert [result.call_id for result in got.results] == ids


@pytest.mark.promise("H4")
async def test_a_reply_of_calls_alone_stays_one(model: ModelProcess, protocol: WireProtocol) -> None:
    """Blank text goes along with neither, and nobody puts words of his own in its place."""
    reply = AssistantMessage((Text(" \n"), ToolCall("a", "read", ""), ToolCall("b", "now", "{}")), "test")
    with ThreadedServer(protocol.server()) as server:
        asked = Asked(model, asking(protocol, server, reply, results_of(reply, "one", "")))
        assert isinstance(await asked.outcome(), Finished)
        (_, sent, results) = server.exchanges[0].request.conversation.messages
        assert server.complaints == []
    assert sent.text == ""
    assert [call.arguments for call in sent.calls] == [{}, {}]
    assert [result.text for result in results.results] == ["one", ""]


@pytest.mark.promise("H4")
async def test_calls_of_another_provider_are_taken_back(model: ModelProcess, protocol: WireProtocol) -> None:
    """Ids too long, of strange characters, or in use already; names that no tool has."""
    ids = ("call_1", "toolu.01:a/b+c=", "x" * 200, "call_2" + THOUGHT + "c2lnYQ", "東京")
    replies = tuple(
        AssistantMessage(
            tuple(ToolCall(call_id, f"multi tool.use {n}" * 9, "{}") for n, call_id in enumerate(ids)), "test"
        )
        for _ in range(2)
    )
    nameless = AssistantMessage((ToolCall("call_9", "", '["no", "object"]'),), "test")
    history = [
        message
        for reply in (*replies, nameless)
        for message in (reply, results_of(reply, *(f"result {n}" for n, _ in enumerate(reply.calls))))
    ]
    with ThreadedServer(protocol.server()) as server:
        for _ in range(2):
            outcome = await Asked(model, asking(protocol, server, *history, UserMessage("go on"))).outcome()
            assert isinstance(outcome, Finished), outcome
        assert server.complaints == []
        got, again = (exchange.request for exchange in server.exchanges)
    assert [result.text for result in got.conversation.results] == [
        *(f"result {n}" for n in range(5)), *(f"result {n}" for n in range(5)), "result 0"
    ]  # fmt: skip
    assert "c2ln" not in json.dumps(got.body) or protocol.name == "gemini"
    # Else the provider's cache of the prompt would never be of use.
    assert got.body == again.body


@pytest.mark.promise("H4")
async def test_what_is_no_json_to_a_provider_is_not_sent(model: ModelProcess, protocol: WireProtocol) -> None:
    """Half a surrogate pair, in a text and in an escape, and numbers that are none."""
    odd = (
        ToolCall("a", "read", '{"path": "\\ud83d", "n": NaN}'),
        ToolCall("b", "read", '{"path": "\ud83d"}'),
    )
    whole = ToolCall("c", "read", '{"path": "\\ud83d\\udc4b"}')
    reply = AssistantMessage((Text("I \ud83d"), *odd, whole), "test")
    results = results_of(reply, "a \ud83d", "b", "c")
    with ThreadedServer(protocol.server()) as server:
        asked = Asked(model, asking(protocol, server, reply, results, UserMessage("go \udc4b on")))
        assert isinstance(await asked.outcome(), Finished), await asked.outcome()
        assert server.complaints == []
        got = server.exchanges[0].request.conversation
    assert [message.text for message in got.messages] == ["hi", "I ?", "", "go ? on"]
    assert [result.text for result in got.results] == ["a ?", "b", "c"]
    sent = [{"path": "?", "n": "NaN"}, {"path": "?"}, {"path": "👋"}]
    assert [call.arguments for call in got.calls] == sent


@pytest.mark.promise("H4")
async def test_the_proof_of_reasoning_goes_back_with_its_calls(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    thought = Script((), ("Let me ", "think."), calls=(Call("call_1", "read"), Call("call_2", "now")))
    with ThreadedServer(protocol.server(in_turn(thought, Script()))) as server:
        first = Asked(model, asking(protocol, server))
        await first.outcome()
        reply = reply_of(first)
        second = Asked(model, asking(protocol, server, reply, results_of(reply, "one", "two")))
        assert isinstance(await second.outcome(), Finished), await second.outcome()
        assert server.complaints == []
        body = json.dumps(server.exchanges[1].request.body)
    signs = protocol.name in ("anthropic", "gemini", "responses")
    assert body.count(thought.signature) == signs
    assert THOUGHT not in body


@pytest.mark.promise("H4")
async def test_reasoning_that_another_provider_has_sealed_is_left_out(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    """As after a switch of the model, a rotation, a failover; the words of the conversation all arrive."""
    thought = Script(("so ",), ("Let me ", "think."), calls=(Call("call_1", "read"),))
    for other in PROTOCOLS.values():
        if other.name == protocol.name:
            continue
        with ThreadedServer(other.server(thought)) as maker:
            first = Asked(model, asking(other, maker))
            await first.outcome()
        reply = reply_of(first)
        with ThreadedServer(protocol.server()) as server:
            second = Asked(model, asking(protocol, server, reply, results_of(reply, "one")))
            assert isinstance(await second.outcome(), Finished), await second.outcome()
            assert server.complaints == []
            exchange = server.exchanges[0].request
        assert thought.signature not in json.dumps(exchange.body), other.name
        assert [result.text for result in exchange.conversation.results] == ["one"]
        assert "so" in exchange.conversation.messages[1].text


@pytest.mark.promise("H2", "H4")
async def test_reasoning_whose_sequel_was_cut_off_is_not_sent(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    signature = json.dumps({"id": "rs_1", "encrypted_content": "c2ln"})
    cut = AssistantMessage((Text("so"), Reasoning("", signature)), "test", interrupted=True)
    with ThreadedServer(protocol.server()) as server:
        asked = Asked(model, asking(protocol, server, cut, UserMessage("go on")))
        assert isinstance(await asked.outcome(), Finished), await asked.outcome()
        assert server.complaints == []


@pytest.mark.promise("P6", "H4")
@both_forms
async def test_broken_calls_are_survived(
    model: ModelProcess, protocol: WireProtocol, streaming: bool
) -> None:
    """No id, the same id twice, half a JSON text, an array: each is a call of its own."""
    calls = (
        Call("call_1", "read", ('{"pa', 'th": ')),
        Call("call_1", "read", ("[1, 2]",)),
        Call(None, "now", ("{}",)),
        Call(None, "now", ()),
    )
    with ThreadedServer(protocol.server(in_turn(Script((), calls=calls), Script()))) as server:
        first = Asked(model, asking(protocol, server, streaming=streaming))
        assert isinstance(await first.outcome(), Finished), await first.outcome()
        reply = reply_of(first)
        assert [call.name for call in reply.calls] == ["read", "read", "now", "now"]
        made = [read_arguments(call.arguments) for call in reply.calls]
        assert made == [None, None, {}, {}]
        results = results_of(reply, *WORDS[:4])
        second = Asked(model, asking(protocol, server, reply, results, streaming=streaming))
        assert isinstance(await second.outcome(), Finished), await second.outcome()
        assert server.complaints == []
        sent = server.exchanges[1].request.conversation.calls
    assert all(isinstance(call.arguments, dict) for call in sent)
    assert all("unreadable" in json.dumps(call.arguments) for call in sent[:2])


@two_dialects
@pytest.mark.parametrize("index", [None, 0], ids=["numbered", "all number 0"])
@pytest.mark.parametrize("opened_whole", [True, False], ids=["whole", "pieces"])
async def test_calls_in_other_servers_manner(
    model: ModelProcess, name: str, index: int | None, opened_whole: bool
) -> None:
    """All of a call in one delta, a character a delta, and every call with the same number."""
    pieces = tuple(json.dumps({"path": "a" * 300}))
    calls = tuple(Call(f"call_{n}", "read", pieces, opened_whole, index) for n in range(3))
    with ThreadedServer(PROTOCOLS[name].server(Script((), calls=calls))) as server:
        asked = Asked(model, asking(PROTOCOLS[name], server))
        assert isinstance(await asked.outcome(), Finished)
    assert calls_of(asked.deltas) == [(call.call_id, "read", call.text) for call in calls]


@pytest.mark.promise("P1", "H4")
async def test_a_stop_while_a_call_arrives_closes_the_socket(
    model: ModelProcess, protocol: WireProtocol
) -> None:
    pieces = tuple(json.dumps({"path": "a" * 50}))
    script = Script((), calls=(Call("call_1", "read", pieces), Call("call_2", "now")))
    stalled = replace(script, fault=Stall(after=9 if protocol.splits_calls else 1))
    with ThreadedServer(protocol.server(in_turn(stalled, Script()))) as server:
        asked = Asked(model, asking(protocol, server))
        await until(lambda: any(isinstance(delta, ToolCallDelta) for delta in asked.deltas))
        assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.exchanges[0].closed_by_peer)
        assert server.exchanges[0].completed_at is None
        # What had come of the call goes back with nothing but the truth about it.
        reply = msgspec.structs.replace(reply_of(asked), interrupted=True)
        assert len(reply.calls) == 1
        again = Asked(
            model, asking(protocol, server, reply, results_of(reply, "not started"), UserMessage("go on"))
        )
        assert isinstance(await again.outcome(), Finished), await again.outcome()
        assert server.complaints == []


@pytest.mark.promise("H4")
async def test_a_history_that_is_none_is_refused(model: ModelProcess, protocol: WireProtocol) -> None:
    """The servers are what the other tests rest on: each refuses an orphan, and the user hears why."""
    orphan = ToolResults((ToolResult("call_1", "read", ResultStatus.COMPLETED, "text"),))
    reply = AssistantMessage((ToolCall("call_1", "read", "{}"), ToolCall("call_2", "now", "{}")), "test")
    swapped = ToolResults(tuple(reversed(results_of(reply, "one", "two").results)))
    with ThreadedServer(protocol.server()) as server:
        for history in ((reply, UserMessage("go on")), (reply, orphan), (reply, swapped)):
            failure = await Asked(model, asking(protocol, server, *history)).failure()
            assert failure.kind is FailureKind.BAD_REQUEST
        assert len(server.complaints) == 3
        assert all("results" in complaint for complaint in server.complaints)


@linux_only
async def test_tools_cost_the_model_process_no_package_more(
    shared: ModelProcess, protocol: WireProtocol, log_file: Path
) -> None:
    """litellm's gateway would import `mcp` for the first request with tools, half a second on the loop."""
    with ThreadedServer(protocol.server()) as server:
        assert isinstance(await Asked(shared, asking(protocol, server)).outcome(), Finished)
    assert shared.pid is not None
    imported = modules_in_child(shared.pid, log_file.with_name("report"))
    assert "litellm" in imported
    assert not imported & {"mcp"}
    (spare,) = shared.spare_pids
    imported = modules_in_child(spare, log_file.with_name("report"))
    assert "httpx" in imported
    assert not imported & {"litellm", "openai", "aiohttp", "mcp"}
