"""The strictness of the servers: what is refused, in each protocol's own form."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.servers.record import Request
from tests.servers.strict import Rules, complaint

PROMPT = {"role": "user", "content": "hi"}
TOOL = {"name": "read", "parameters": {"type": "object"}}


def chat_call(call_id: str = "call_1", name: str = "read", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def chat(*messages: Any) -> Request:
    return post("/chat/completions", messages=list(messages), tools=[{"type": "function", "function": TOOL}])


def reply(*calls: Any, text: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}


def result(call_id: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "text"}


def anthropic(*messages: Any) -> Request:
    return post(
        "/v1/messages", messages=list(messages), tools=[{"name": "read", "input_schema": {"type": "object"}}]
    )


def use(call_id: str = "call_1") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "read", "input": {}}


def said(role: str, *blocks: Any) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def text(words: str = "words") -> dict[str, Any]:
    return {"type": "text", "text": words}


def used(call_id: str = "call_1") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "text"}


def gemini(*contents: Any) -> Request:
    tools = [{"function_declarations": [TOOL]}]
    return post("/models/gemini:generateContent", contents=list(contents), tools=tools)


def parts(role: str, *given: Any) -> dict[str, Any]:
    return {"role": role, "parts": list(given)}


def responses(*items: Any) -> Request:
    return post("/responses", input=list(items), tools=[{"type": "function", **TOOL}])


def post(path: str, **body: Any) -> Request:
    return Request("POST", path, {}, {}, json.loads(json.dumps(body)))


GEMINI_CALL = {"function_call": {"name": "read", "args": {}}}
GEMINI_RESULT = {"function_response": {"name": "read", "response": {"output": "text"}}}
ITEM = {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "text"}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "signature"}


@pytest.mark.parametrize(
    "request_",
    [
        chat(PROMPT),
        chat(PROMPT, reply(text="words"), PROMPT),
        chat({"role": "system", "content": "be"}, PROMPT, reply(chat_call()), result()),
        chat(PROMPT, reply(chat_call("a"), chat_call("b")), result("a"), result("b"), PROMPT),
        anthropic(said("user", text()), said("assistant", THINKING, use()), said("user", used(), text())),
        gemini(parts("user", text()), parts("model", GEMINI_CALL), parts("user", GEMINI_RESULT)),
        responses(PROMPT, {"type": "reasoning"}, ITEM, OUTPUT),
        post("/responses", input="hi"),
    ],
)
def test_a_sound_request_is_accepted(request_: Request) -> None:
    assert complaint(request_) is None


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (chat(), "there is none"),
        (chat(reply(text="words"), PROMPT), "first message"),
        (chat(PROMPT, PROMPT), "in a row"),
        (chat(PROMPT, reply(text="words"), reply(text="words"), PROMPT), "in a row"),
        (chat(PROMPT, reply(text="words")), "last message"),
        (chat(PROMPT, reply(text=" \n"), PROMPT), "empty reply"),
        (chat(PROMPT, reply(), PROMPT), "empty reply"),
        (chat({"role": "user", "content": " "}), "empty prompt"),
        (chat(PROMPT, result()), "without calls"),
        (chat(PROMPT, reply(text="words"), result()), "results of"),
        (chat(PROMPT, reply(chat_call()), PROMPT), "calls without results"),
        (chat(PROMPT, reply(chat_call()), result(), result()), "results of"),
        (chat(PROMPT, reply(chat_call("a"), chat_call("b")), result("a")), "results of"),
        (chat(PROMPT, reply(chat_call("a"), chat_call("b")), result("b"), result("a")), "results of"),
        (chat(PROMPT, reply(chat_call("a")), result("b")), "results of"),
        (chat(PROMPT, reply(chat_call()), result(), reply(chat_call()), result()), "not unique"),
        (chat(PROMPT, reply(chat_call("a:1")), result("a:1")), "no id"),
        (chat(PROMPT, reply(chat_call("a" * 41)), result("a" * 41)), "no id"),
        (chat(PROMPT, reply(chat_call(name="a b")), result()), "no name"),
        (chat(PROMPT, reply(chat_call(arguments="{")), result()), "no object"),
        (chat(PROMPT, reply(chat_call(arguments="[]")), result()), "no object"),
        (post("/chat/completions", messages=[PROMPT], tools=[]), "an empty list"),
        (post("/api/chat", messages=[PROMPT, reply(chat_call()), result()]), "no tools are defined"),
        (chat({"role": "user", "content": "half a \ud83d"}), "no JSON"),
        (gemini(parts("user", text(), {"number": float("nan")})), "no JSON"),
        (post("/v1/messages", messages=[7]), "cannot be read"),
        (anthropic(said("user", text()), said("assistant", use()), said("user", text())), "without results"),
        (
            anthropic(said("user", text()), said("assistant", use()), said("user", text(), used())),
            "before text",
        ),
        (anthropic(said("user", text()), said("assistant", THINKING), said("user", text())), "empty reply"),
        (
            anthropic(said("user", text()), said("assistant", text(), THINKING), said("user", text())),
            "thinking",
        ),
        (anthropic(said("user", text("")), said("assistant", text())), "last message"),
        (anthropic(said("user", text(), text(" "))), "must hold text"),
        (gemini(parts("user", text()), parts("model", GEMINI_CALL)), "last message"),
        (
            gemini(
                parts("user", text()), parts("model", GEMINI_CALL, GEMINI_CALL), parts("user", GEMINI_RESULT)
            ),
            "results of",
        ),
        (gemini(parts("user", text(), text(""))), "without anything"),
        (responses(PROMPT, OUTPUT), "without calls"),
        (responses(PROMPT, ITEM, PROMPT), "without results"),
        (
            responses(PROMPT, {"role": "assistant", "content": "x"}, {"type": "reasoning"}, PROMPT),
            "reasoning",
        ),
    ],
)
def test_what_a_provider_refuses_is_refused(request_: Request, words: str) -> None:
    said_of_it = complaint(request_)
    assert said_of_it is not None
    assert words in said_of_it


MADE = {**reply(chat_call(), text="words"), "reasoning_content": "hm"}


@pytest.mark.parametrize(
    ("rules", "message", "words"),
    [
        (Rules(), {**MADE, "reasoning_content": "hm "}, "did not come back"),
        (Rules(), reply(chat_call(), text="words"), "did not come back"),
        (Rules(must_have="reasoning"), MADE, "is missing"),
        (Rules(refuses=("reasoning_content",)), MADE, "is unsupported"),
        (Rules(foreign=("hm",)), MADE, "somebody else"),
        (Rules(call_id=re.compile("[a-z]{9}")), MADE, "no id"),
    ],
)
def test_a_vendor_refuses_what_it_would(rules: Rules, message: Any, words: str) -> None:
    assert complaint(chat(PROMPT, MADE, result()), made=[MADE]) is None
    why = complaint(chat(PROMPT, message, result()), rules, [MADE])
    assert why is not None
    assert words in why
