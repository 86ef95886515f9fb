"""The demo model at work with tools: what it calls, and that it says what it was told, over real sockets."""

from __future__ import annotations

import json
import subprocess
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.model.messages import (
    AssistantMessage,
    FinishReason,
    ResultStatus,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    UserMessage,
)
from core.model.provider import Finished, ModelRequest, ToolCallDelta, ToolSpec
from providers.demo.conversation import Call, Role, Said, ToolWord
from providers.demo.script import SEEN, Moment, Progress, Reply, answer, describe_hang_up, pieces_of
from providers.demo.server import DemoServer
from providers.demo.texts import NOTHING_TO_CONTINUE
from providers.demo.tools import FILE, KNOW_NO_MORE, SCRIPTS, TYPE_IT_AGAIN, report, unanswered
from tests.providers.demo.test_demo import connect, post, read_until, text_of
from tests.providers.harness import Asked
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess

TOOLS = frozenset({"shell", "write_file", "agent"})
CONTINUE = (
    "[The reply above was stopped before its end.]\n\nContinue exactly where your last reply was stopped."
)
STOPPED = (
    "Stopped after 4.0 s: the user stopped this call. The user says: too *slow*.\n\n"
    "Output so far:\nstep 1\nstep 2\nstep 3\nstep 4"
)
THREE = tuple(replace(call, call_id=f"call_{n}") for n, call in enumerate(SCRIPTS[ToolWord.THREE].calls))

Message = dict[str, Any]


@pytest.fixture
def hang_ups() -> SimpleQueue[Progress]:
    return SimpleQueue()


@pytest.fixture
def demo(hang_ups: SimpleQueue[Progress]) -> Iterator[DemoServer]:
    with DemoServer(words_per_s=5_000, on_hang_up=hang_ups.put) as server:
        yield server


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def called(*calls: Call, text: str = "") -> Message:
    made = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    return {"role": "assistant", "content": text, "tool_calls": made}


def result(call_id: str, text: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def request(*messages: Message, stream: bool = True, tools: frozenset[str] = TOOLS) -> dict[str, Any]:
    offered = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in sorted(tools)]
    return {"model": "demo", "messages": list(messages), "stream": stream, "tools": offered}


def ask(demo: DemoServer, *messages: Message, tools: frozenset[str] = TOOLS) -> list[dict[str, Any]]:
    reply = post(demo, request(*messages, tools=tools))
    assert reply.status_code == 200
    events = reply.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def calls_of(chunks: list[dict[str, Any]]) -> tuple[Call, ...]:
    """The calls of a stream, put together as clients do: by index, the id and name from the first piece."""
    calls: list[Call] = []
    for piece in pieces_in(chunks):
        if piece["index"] == len(calls):
            calls.append(Call(piece["function"]["name"], "", piece["id"]))
        last = calls[piece["index"]]
        calls[piece["index"]] = replace(last, arguments=last.arguments + piece["function"]["arguments"])
    return tuple(calls)


def pieces_in(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return [piece for delta in deltas for piece in delta.get("tool_calls", ())]


def finish_of(chunks: list[dict[str, Any]]) -> str:
    return str(chunks[-1]["choices"][0]["finish_reason"])


def arguments_of(call: Call) -> dict[str, Any]:
    arguments = json.loads(call.arguments)
    assert isinstance(arguments, dict)
    return arguments


# -- what it calls --


@pytest.mark.parametrize(
    ("word", "names"),
    [
        (ToolWord.TOOL, ["shell"]),
        (ToolWord.THREE, ["shell"] * 3),
        (ToolWord.RUNAWAY, ["shell"]),
        (ToolWord.STUBBORN, ["shell"]),
        (ToolWord.BACKGROUND, ["shell"]),
        (ToolWord.EDIT, ["write_file"]),
        (ToolWord.AGENT, ["agent"]),
        (ToolWord.NESTED, ["agent"]),
    ],
)
def test_each_word_speaks_and_calls(demo: DemoServer, word: ToolWord, names: list[str]) -> None:
    chunks = ask(demo, user(word))
    calls = calls_of(chunks)
    assert [call.name for call in calls] == names
    assert finish_of(chunks) == "tool_calls"
    assert text_of(chunks).startswith("I will ")
    assert len(pieces_in(chunks)) > 2 * len(calls)
    for call in calls:
        if call.name == "shell":
            command = arguments_of(call)["command"]
            subprocess.run(["/bin/sh", "-n", "-c", command], check=True, timeout=GENEROUS_S)

    message = post(demo, request(user(word), stream=False)).json()["choices"][0]["message"]
    whole = [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]
    assert whole == [(call.name, call.arguments) for call in calls]
    assert message["content"] == text_of(chunks)
    ids = [call.call_id for call in calls] + [call["id"] for call in message["tool_calls"]]
    assert all(call_id.startswith("call_") for call_id in ids)
    assert len(set(ids)) == 2 * len(calls)


def test_only_what_is_offered_is_called(demo: DemoServer) -> None:
    chunks = ask(demo, user("three"), tools=frozenset({"agent"}))
    assert calls_of(chunks) == ()
    assert finish_of(chunks) == "stop"
    assert "a tool named `shell`" in text_of(chunks)
    refused = request(user("agent")) | {"tool_choice": "none", "stream": False}
    message = post(demo, refused).json()["choices"][0]["message"]
    assert "tool_calls" not in message
    assert "a tool named `agent`" in message["content"]


def test_nested_is_three_agents_deep_and_then_a_command(demo: DemoServer) -> None:
    prompt, depth = "nested", 0
    while (call := calls_of(ask(demo, user(prompt)))[0]).name == "agent":
        prompt, depth = arguments_of(call)["task"], depth + 1
    assert (call.name, depth) == ("shell", 3)


def test_an_agent_gets_the_task_that_is_named_if_it_can_be_done(demo: DemoServer) -> None:
    for prompt, task in (("agent", "tool"), ("Agent: three!", "three"), ("agent please", "tool")):
        assert arguments_of(calls_of(ask(demo, user(prompt)))[0]) == {"task": task}


def test_the_second_edit_changes_one_line(demo: DemoServer) -> None:
    first = calls_of(ask(demo, user("edit")))
    before = (user("edit"), called(*first), result(first[0].call_id, "Written."), user("edit"))
    second = calls_of(ask(demo, *before))
    one, other = (arguments_of(calls[0]) for calls in (first, second))
    assert one["path"] == other["path"] == FILE
    lines = zip(one["content"].splitlines(), other["content"].splitlines(), strict=True)
    assert sum(was != now for was, now in lines) == 1


def test_calls_that_cannot_be_read_are_refused(demo: DemoServer) -> None:
    for calls in ("x", [{"id": 1}], [{"id": "a", "function": {"name": "shell"}}], [None]):
        reply = post(demo, request(user("tool"), {"role": "assistant", "tool_calls": calls}))
        assert reply.status_code == 400


# -- what it says of the results --


def test_it_says_what_it_was_told_of_each_call(demo: DemoServer) -> None:
    told = ("(no output)", STOPPED, "Denied, it did not run: no `rm` here. The user says: never")
    results = [result(call.call_id, text) for call, text in zip(THREE, told, strict=True)]
    chunks = ask(demo, user("three"), called(*THREE), *results)
    assert calls_of(chunks) == ()
    assert text_of(chunks) == (
        "I made 3 calls. This is what I was told:\n\n"
        "1. shell: `sleep 30`\n\n"
        "   > `(no output)`\n\n"
        "2. shell: `sleep 40`\n\n"
        "   > `Stopped after 4.0 s: the user stopped this call. The user says: too *slow*.`\\\n"
        "   > `Output so far:`\\\n"
        "   > `step 1`\\\n"
        "   > and 3 more lines, the last of them: `step 4`\n\n"
        "3. shell: `sleep 20`\n\n"
        "   > `` Denied, it did not run: no `rm` here. The user says: never ``\n\n"
        f"{KNOW_NO_MORE}\n"
    )


def test_a_missing_and_a_stray_result_are_named(demo: DemoServer) -> None:
    said = text_of(ask(demo, user("three"), called(*THREE[:2]), result("call_0", "ok"), result("x", "odd")))
    assert "2. shell: `sleep 40`\n\n   Nothing. There was no result for it." in said
    assert "a result of a call that I have not made:\n\n   > `odd`" in said
    assert "`odd`" in text_of(ask(demo, result("x", "odd")))


@given(st.text(), st.text())
def test_any_result_of_any_call_can_be_reported(arguments: str, text: str) -> None:
    asked = Said(Role.ASSISTANT, "", (Call("shell", arguments, "a"),))
    assert KNOW_NO_MORE in report((asked, Said(Role.TOOL, text, call_id="a")))


# -- going on --


def reply_to(*conversation: Said) -> Reply:
    reply = answer(conversation, None, TOOLS)
    assert isinstance(reply, Reply)
    return reply


def test_a_text_that_was_stopped_before_its_calls_goes_on_with_them() -> None:
    script = SCRIPTS[ToolWord.THREE]
    pieces = pieces_of(script.text)
    for cut in (4, len(pieces) // 2, len(pieces)):
        part = Said(Role.ASSISTANT, f"{SEEN} something.\n\n" + "".join(pieces[:cut]))
        rest = reply_to(Said(Role.USER, "three"), part, Said(Role.USER, CONTINUE))
        assert rest.pieces == pieces[cut:]
        assert rest.calls == script.calls


def test_calls_that_were_stopped_are_told_of_and_not_made_again() -> None:
    made = (
        Said(Role.USER, "three"),
        Said(Role.ASSISTANT, SCRIPTS[ToolWord.THREE].text, THREE[:1]),
        Said(Role.TOOL, STOPPED, call_id="call_0"),
    )
    first = reply_to(*made, Said(Role.USER, "continue"))
    assert first.calls == ()
    told = "".join(first.pieces)
    assert told == unanswered(made)
    assert "too *slow*" in told
    assert told.endswith(f"{TYPE_IT_AGAIN}\n")

    for text, prompts in ((told, ("continue", CONTINUE)), (report(made), (CONTINUE,))):
        asked = [Said(Role.USER, prompt) for prompt in prompts]
        part = Said(Role.ASSISTANT, "".join(pieces_of(text)[:20]))
        rest = reply_to(*made, *asked[:-1], part, asked[-1])
        assert part.text + "".join(rest.pieces) == text
        over = reply_to(*made, *asked[:-1], Said(Role.ASSISTANT, text), asked[-1])
        assert "".join(over.pieces) == NOTHING_TO_CONTINUE


# -- what it sees --


def test_a_stop_while_calls_stream_is_seen_and_told(hang_ups: SimpleQueue[Progress]) -> None:
    text = {"role": "assistant", "content": SCRIPTS[ToolWord.THREE].text}
    with DemoServer(words_per_s=5, on_hang_up=hang_ups.put) as slow:
        with connect(slow, request(user("three"), text, user("continue"))) as connection:
            read_until(connection, b'"tool_calls"')
        seen = hang_ups.get(timeout=GENEROUS_S)
    assert (seen.moment, seen.calls_in_all) == (Moment.CALLING, 3)
    assert f"call {seen.call} of 3" in describe_hang_up(seen)


def test_a_hang_up_is_told_with_the_next_results(demo: DemoServer, hang_ups: SimpleQueue[Progress]) -> None:
    with connect(demo, request(user("silent"))):
        pass
    seen = hang_ups.get(timeout=GENEROUS_S)
    conversation = (user("three"), called(*THREE[:1]), result("call_0", "ok"))
    assert text_of(ask(demo, *conversation)).startswith(describe_hang_up(seen))
    assert not text_of(ask(demo, *conversation)).startswith(SEEN)
    assert hang_ups.empty()


# -- through litellm --


async def asked_of(model: ModelProcess, demo: DemoServer, *messages: Any) -> tuple[Asked, Finished]:
    spec = ToolSpec("shell", "Runs a command.", '{"type": "object", "properties": {}}')
    asked = Asked(model, ModelRequest(demo.model, messages, api_base=demo.url, tools=(spec,)))
    finished = await asked.outcome()
    assert isinstance(finished, Finished), finished
    return asked, finished


async def test_calls_and_their_results_pass_through_the_model_process(
    model: ModelProcess, demo: DemoServer
) -> None:
    asked, finished = await asked_of(model, demo, UserMessage("three"))
    assert finished.reason is FinishReason.TOOL_CALLS
    deltas = [delta for delta in asked.deltas if isinstance(delta, ToolCallDelta)]
    calls = []
    for index, scripted in enumerate(SCRIPTS[ToolWord.THREE].calls):
        mine = [delta for delta in deltas if delta.index == index]
        call_id = mine[0].call_id
        assert (mine[0].name, call_id is not None) == ("shell", True)
        assert "".join(delta.arguments for delta in mine) == scripted.arguments
        calls.append(ToolCall(call_id or "", "shell", scripted.arguments))
    assert len({call.call_id for call in calls}) == 3

    texts = ("(no output)", STOPPED, "Not started: the turn ended, before it began.")
    statuses = (ResultStatus.COMPLETED, ResultStatus.STOPPED, ResultStatus.NOT_STARTED)
    results = tuple(
        ToolResult(call.call_id, call.name, status, text)
        for call, status, text in zip(calls, statuses, texts, strict=True)
    )
    reply = AssistantMessage((Text(asked.text), *calls), "demo", FinishReason.TOOL_CALLS)
    asked, finished = await asked_of(model, demo, UserMessage("three"), reply, ToolResults(results))
    assert finished.reason is FinishReason.STOP
    made = Said(Role.ASSISTANT, "", tuple(Call(call.name, call.arguments, call.call_id) for call in calls))
    told = [Said(Role.TOOL, text, call_id=call.call_id) for call, text in zip(calls, texts, strict=True)]
    assert asked.text == report((made, *told))
