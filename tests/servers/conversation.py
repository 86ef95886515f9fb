"""What a request says, in one form for all protocols: who said what, which calls, which results, which tools.

It reads and never judges: `tests.servers.strict` does that. What a protocol leaves out, such as Gemini's ids
of calls, is None here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"
    RESULTS = "results"


@dataclass(frozen=True, slots=True)
class SentCall:
    """`arguments` is the object that they are, or their text where it is none."""

    call_id: str | None
    name: str
    arguments: object


@dataclass(frozen=True, slots=True)
class SentResult:
    """`name` is the tool's, where the protocol tells it instead of an id."""

    call_id: str | None
    name: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """One message. Results that follow each other are one, whatever the protocol makes of them."""

    role: Role
    text: str = ""
    calls: tuple[SentCall, ...] = ()
    results: tuple[SentResult, ...] = ()
    thinks: bool = False


@dataclass(frozen=True, slots=True)
class SentTool:
    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    system: str | None
    messages: tuple[Sent, ...]
    tools: tuple[SentTool, ...]

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(message.role for message in self.messages)

    @property
    def calls(self) -> tuple[SentCall, ...]:
        return tuple(call for message in self.messages for call in message.calls)

    @property
    def results(self) -> tuple[SentResult, ...]:
        return tuple(result for message in self.messages for result in message.results)


def read_conversation(path: str, body: Mapping[str, Any]) -> Conversation:
    """Raises `LookupError` for a path that no protocol has, and what Python raises for a malformed body."""
    for pattern, reader in READERS:
        if pattern.search(path):
            return reader(body)
    raise LookupError(path)


def _conversation(
    system: str | None, sent: Iterable[Sent], tools: Iterable[Mapping[str, Any]]
) -> Conversation:
    messages: list[Sent] = []
    for message in sent:
        if message.role is Role.RESULTS and messages and messages[-1].role is Role.RESULTS:
            messages[-1] = Sent(Role.RESULTS, results=messages[-1].results + message.results)
        else:
            messages.append(message)
    told = (
        SentTool(
            tool["name"],
            tool.get("description", ""),
            tool.get("parameters") or tool.get("input_schema") or tool.get("parametersJsonSchema") or {},
        )
        for tool in tools
    )
    return Conversation(system, tuple(messages), tuple(told))


def _arguments(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(content: Any) -> str:
    """The text of a message that is a string, nothing, or a list of blocks."""
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text") or "") for block in content or ())


# -- OpenAI, Azure and Ollama: messages with roles --


def _chat(body: Mapping[str, Any]) -> Conversation:
    given = list(body.get("messages") or ())
    system = [message["content"] for message in given if message["role"] in ("system", "developer")]
    sent = (_chat_message(message) for message in given if message["role"] not in ("system", "developer"))
    tools = (tool["function"] for tool in body.get("tools") or ())
    return _conversation("\n".join(map(_text, system)) if system else None, sent, tools)


def _chat_message(message: Mapping[str, Any]) -> Sent:
    match message["role"]:
        case "user":
            return Sent(Role.USER, _text(message.get("content")))
        case "assistant":
            calls = tuple(_chat_call(call) for call in message.get("tool_calls") or ())
            return Sent(Role.ASSISTANT, _text(message.get("content")), calls)
        case "tool":
            text = _text(message.get("content"))
            result = SentResult(message.get("tool_call_id"), message.get("tool_name"), text)
            return Sent(Role.RESULTS, results=(result,))
    raise ValueError(f"no role: {message['role']}")


def _chat_call(call: Mapping[str, Any]) -> SentCall:
    arguments = call["function"]["arguments"]
    if isinstance(arguments, str):
        arguments = _arguments(arguments)
    return SentCall(call.get("id"), call["function"]["name"], arguments)


# -- Anthropic: messages of blocks, results before what the user says --


def _anthropic(body: Mapping[str, Any]) -> Conversation:
    sent = (piece for message in body.get("messages") or () for piece in _anthropic_message(message))
    return _conversation(_text(body["system"]) if "system" in body else None, sent, body.get("tools") or ())


def _anthropic_message(message: Mapping[str, Any]) -> Iterator[Sent]:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    of = {kind: [block for block in blocks if block["type"] == kind] for kind in KINDS}
    if message["role"] == "assistant":
        calls = tuple(SentCall(block["id"], block["name"], block["input"]) for block in of["tool_use"])
        yield Sent(Role.ASSISTANT, _text(of["text"]), calls, thinks=bool(of["thinking"]))
        return
    if results := of["tool_result"]:
        given = (SentResult(it["tool_use_id"], None, _text(it.get("content"))) for it in results)
        yield Sent(Role.RESULTS, results=tuple(given))
    if of["text"] or not results:
        yield Sent(Role.USER, _text(of["text"]))


KINDS = ("text", "thinking", "tool_use", "tool_result")


# -- Gemini: contents of parts, calls and results without ids before Gemini 3 --


def _gemini(body: Mapping[str, Any]) -> Conversation:
    instruction = body.get("system_instruction") or body.get("systemInstruction")
    system = None if instruction is None else _text(instruction["parts"])
    sent = (piece for content in body.get("contents") or () for piece in _gemini_content(content))
    tools = (
        tool
        for group in body.get("tools") or ()
        for tool in group.get("function_declarations") or group.get("functionDeclarations") or ()
    )
    return _conversation(system, sent, tools)


def _gemini_content(content: Mapping[str, Any]) -> Iterator[Sent]:
    parts = content["parts"]
    calls = [part.get("function_call") or part.get("functionCall") for part in parts]
    results = [part.get("function_response") or part.get("functionResponse") for part in parts]
    text = _text([part for part in parts if not part.get("thought")])
    if content["role"] == "model":
        made = tuple(SentCall(call.get("id"), call["name"], call.get("args", {})) for call in calls if call)
        yield Sent(Role.ASSISTANT, text, made, thinks=any(part.get("thought") for part in parts))
        return
    if any(results):
        given = (SentResult(it.get("id"), it["name"], _output(it["response"])) for it in results if it)
        yield Sent(Role.RESULTS, results=tuple(given))
    if text or not any(results):
        yield Sent(Role.USER, text)


def _output(response: Mapping[str, Any]) -> str:
    """The result's text; of any other object than ours its JSON, which no text equals."""
    return str(response["output"]) if list(response) == ["output"] else json.dumps(response)


# -- OpenAI's Responses: a list of items, of which one reply makes several --


def _responses(body: Mapping[str, Any]) -> Conversation:
    given = body.get("input") or ()
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    sent: list[Sent] = []
    for item in items:
        message = _responses_item(item)
        last = sent[-1] if sent else None
        if last is not None and last.role is message.role is Role.ASSISTANT:
            sent[-1] = Sent(
                Role.ASSISTANT, last.text + message.text, last.calls + message.calls, thinks=last.thinks
            )
        else:
            sent.append(message)
    return _conversation(body.get("instructions"), sent, body.get("tools") or ())


def _responses_item(item: Mapping[str, Any]) -> Sent:
    match item.get("type", "message"):
        case "reasoning":
            return Sent(Role.ASSISTANT, thinks=True)
        case "function_call":
            call = SentCall(item["call_id"], item["name"], _arguments(item["arguments"]))
            return Sent(Role.ASSISTANT, calls=(call,))
        case "function_call_output":
            return Sent(Role.RESULTS, results=(SentResult(item["call_id"], None, _text(item["output"])),))
        case "message" if item["role"] in ("user", "assistant"):
            return Sent(Role(item["role"]), _text(item["content"]))
    raise ValueError(f"no item: {item}")


READERS: tuple[tuple[re.Pattern[str], Callable[[Mapping[str, Any]], Conversation]], ...] = (
    (re.compile(r"/chat/completions$"), _chat),
    (re.compile(r"/api/chat$"), _chat),
    (re.compile(r"/messages$"), _anthropic),
    (re.compile(r"enerateContent$"), _gemini),
    (re.compile(r"/responses$"), _responses),
)
