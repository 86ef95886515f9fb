"""Translation of our messages into litellm's parameters, and of litellm's chunks into our deltas.

Two dialects cover all providers: chat completions, into which litellm translates most of them, and OpenAI's
Responses, whose encrypted reasoning the chat bridge would drop. Both directions are pure functions over
plain values and duck-typed chunks. This module never imports litellm.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from msgspec.structs import replace

from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResults,
    Usage,
    UserMessage,
)
from core.model.provider import ContentDelta, ReasoningDelta, TextDelta, ToolCallDelta, ToolSpec
from providers.worker.reasoning import signed

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "max_output_tokens": FinishReason.LENGTH,
}


def finish_reason(value: object) -> FinishReason:
    return _FINISH.get(str(value), FinishReason.OTHER)


@dataclass(slots=True)
class StreamSummary:
    """What is known of a reply so far, besides its deltas. `signer` is the name kept with its reasoning."""

    signer: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None
    model: str = ""
    words: str = ""
    call_ids: list[str | None] = field(default_factory=list)
    open_calls: dict[int, int] = field(default_factory=dict)

    def index_of(self, given: int, call_id: str | None) -> int:
        """A number that no other call of the reply has: some providers give each of theirs a 0."""
        index = self.open_calls.get(given)
        if index is None or (call_id is not None and self.call_ids[index] not in (None, call_id)):
            index = self.open_calls[given] = len(self.call_ids)
            self.call_ids.append(None)
        self.call_ids[index] = call_id or self.call_ids[index]
        return index

    def reasoning(self, text: str, signature: str | None = None) -> ReasoningDelta:
        """Reasoning with its signature, which is kept with its signer's name."""
        return ReasoningDelta(text, signed(signature, self.signer) if signature else None)


CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Anthropic's alphabet, OpenAI's length."""

STRANGE_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
NAME_LIMIT = 64

UNUSUAL = re.compile(r"\\u[dD][89a-fA-F]|NaN|Infinity")

THOUGHT = "__thought__"
"""Separates a call's id from Gemini's signature of the thought behind it. litellm keeps both in the id."""


def acceptable(messages: tuple[Message, ...], *, keep_thoughts: bool = False) -> tuple[Message, ...]:
    """`messages` with calls in a form that every provider takes back, also from another provider.

    An id is unique in the whole conversation, as Anthropic demands. What has to change always changes in the
    same way, so that the beginning of a prompt stays in the provider's cache. `keep_thoughts` keeps Gemini's
    signatures of thoughts, each as long as a page; they go back to Gemini alone.
    """
    used: set[str] = set()
    renamed: dict[str, str] = {}
    sent: list[Message] = []
    for message in messages:
        match message:
            case AssistantMessage(parts=parts):
                renamed = {call.call_id: _fitting(call.call_id, used) for call in message.calls}
                if keep_thoughts:
                    renamed = {given: fit + _thought(given) for given, fit in renamed.items()}
                sent.append(replace(message, parts=tuple(_renamed(part, renamed) for part in parts)))
            case ToolResults(results):
                fit = (replace(it, call_id=renamed.get(it.call_id, it.call_id)) for it in results)
                sent.append(ToolResults(tuple(fit)))
            case UserMessage():
                sent.append(message)
            case _:
                assert_never(message)
    return tuple(sent)


def _fitting(call_id: str, used: set[str]) -> str:
    fit = call_id.partition(THOUGHT)[0]
    if not CALL_ID.fullmatch(fit) or fit in used:
        fit = "call_" + hashlib.sha256(f"{len(used)}:{call_id}".encode("utf-8", "replace")).hexdigest()[:24]
    used.add(fit)
    return fit


def _thought(call_id: str) -> str:
    _, mark, signature = call_id.partition(THOUGHT)
    return mark + signature


def _renamed(part: Part, ids: Mapping[str, str]) -> Part:
    if not isinstance(part, ToolCall):
        return part
    name = STRANGE_IN_A_NAME.sub("_", part.name)[:NAME_LIMIT] or "nameless"
    return replace(part, call_id=ids[part.call_id], name=name, arguments=_in_plain_json(part.arguments))


def _in_plain_json(arguments: str) -> str:
    """`arguments`, an object in JSON, without what Python reads as JSON and providers do not.

    That is NaN, Infinity, and half a surrogate pair in an escape. A provider that is sent the object and not
    its text would refuse the request, and each later one.
    """
    if not UNUSUAL.search(arguments):
        return arguments
    read = json.loads(arguments, parse_constant=str)
    return json.dumps(read, ensure_ascii=False).encode("utf-8", "replace").decode()


def chat_messages(
    messages: tuple[Message, ...], system: str | None, *, for_gemini: bool = False
) -> list[dict[str, Any]]:
    sent = [
        item for message in acceptable(messages, keep_thoughts=for_gemini) for item in _chat_items(message)
    ]
    if for_gemini:
        for item in sent:
            if item["role"] == "tool":
                # litellm takes a text apart that is JSON or a picture. It leaves what is inside this object.
                item["content"] = json.dumps({"output": item["content"]})
    return sent if system is None else [{"role": "system", "content": system}, *sent]


def chat_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def _function(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name, "description": tool.description, "parameters": json.loads(tool.parameters)
    }  # fmt: skip


def _chat_items(message: Message) -> Iterator[dict[str, Any]]:
    match message:
        case UserMessage(prompt):
            yield {"role": "user", "content": prompt}
        case AssistantMessage(parts=parts):
            # Gemini refuses an empty text, and for Anthropic litellm writes one of its own.
            text = message.text if message.text.strip() else None
            sent: dict[str, Any] = {"role": "assistant", "content": text}
            if calls := [_chat_call(part) for part in parts if isinstance(part, ToolCall)]:
                sent["tool_calls"] = calls
            signed = [part for part in parts if isinstance(part, Reasoning) and part.signature]
            if signed:
                sent["thinking_blocks"] = [
                    {"type": "thinking", "thinking": part.text, "signature": part.signature}
                    for part in signed
                ]
            yield sent
        case ToolResults(results):
            for result in results:
                yield {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
        case _:
            assert_never(message)


def _chat_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def chat_deltas(chunk: Any, summary: StreamSummary) -> Iterator[ContentDelta]:
    """The deltas of one chunk, or of a whole answer that did not stream. The rest goes into `summary`."""
    summary.model = getattr(chunk, "model", None) or summary.model
    usage = _usage(getattr(chunk, "usage", None), "prompt", "completion")
    if usage.input_tokens or usage.output_tokens:
        summary.usage = usage
    for choice in getattr(chunk, "choices", None) or ():
        message = getattr(choice, "delta", None) or getattr(choice, "message", None)
        if message is not None:
            yield from _chat_reasoning(message, summary)
            if text := getattr(message, "content", None):
                yield TextDelta(text)
            yield from _chat_calls(message, summary)
        if (reason := getattr(choice, "finish_reason", None)) is not None:
            summary.finish = finish_reason(reason)


def _chat_reasoning(message: Any, summary: StreamSummary) -> Iterator[ReasoningDelta]:
    blocks = getattr(message, "thinking_blocks", None) or ()
    signature = next((block["signature"] for block in blocks if block.get("signature")), None)
    text = getattr(message, "reasoning_content", None) or ""
    if text or signature:
        yield summary.reasoning(text, signature)


def _chat_calls(message: Any, summary: StreamSummary) -> Iterator[ToolCallDelta]:
    for place, call in enumerate(getattr(message, "tool_calls", None) or ()):
        given = getattr(call, "index", None)
        call_id = call.id or None
        index = summary.index_of(place if given is None else given, call_id)
        yield ToolCallDelta(index, call.function.arguments or "", call_id, call.function.name or None)


def _usage(usage: Any, read: str, written: str) -> Usage:
    """The provider's own count. `read` and `written` begin the names of its fields."""
    cached = _get(_get(usage, f"{read}_tokens_details"), "cached_tokens")
    reasoning = _get(_get(usage, f"{written}_tokens_details"), "reasoning_tokens")
    return Usage(
        input_tokens=_get(usage, f"{read}_tokens") or 0,
        output_tokens=_get(usage, f"{written}_tokens") or 0,
        cached_tokens=cached if isinstance(cached, int) else 0,
        reasoning_tokens=reasoning if isinstance(reasoning, int) else 0,
    )


def responses_input(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    return [item for message in acceptable(messages) for item in _responses_items(message)]


def responses_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    # Strict schemas must name every property as required, which ours do not.
    return [{"type": "function", **_function(tool), "strict": False} for tool in tools]


def _responses_items(message: Message) -> Iterator[dict[str, Any]]:
    match message:
        case UserMessage(text):
            yield {"role": "user", "content": text}
        case AssistantMessage(parts=parts):
            # The API refuses reasoning without what it led to, which a stop may have cut off.
            last = max((n for n, part in enumerate(parts) if not isinstance(part, Reasoning)), default=-1)
            for part in parts[: last + 1]:
                match part:
                    case Text(text):
                        if text.strip():
                            yield {"role": "assistant", "content": text}
                    case Reasoning(_, signature):
                        yield from _reasoning_item(signature)
                    case ToolCall(call_id, name, arguments):
                        yield {
                            "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments
                        }  # fmt: skip
                    case _:
                        assert_never(part)
        case ToolResults(results):
            for result in results:
                yield {"type": "function_call_output", "call_id": result.call_id, "output": result.text}
        case _:
            assert_never(message)


def _reasoning_item(signature: str | None) -> Iterator[dict[str, Any]]:
    """The reasoning item as it came. The server recognizes it by its encrypted content."""
    try:
        item = json.loads(signature or "null")
    except ValueError:
        item = None
    if isinstance(item, dict) and item.get("encrypted_content"):
        content = item["encrypted_content"]
        yield {"type": "reasoning", "id": item.get("id"), "encrypted_content": content, "summary": []}


def response_deltas(event: Any, summary: StreamSummary) -> Iterator[ContentDelta]:
    """The deltas of one typed event; calls are told apart by their place in the output."""
    match str(getattr(event.type, "value", event.type)):
        case "response.output_text.delta" | "response.refusal.delta":
            yield TextDelta(event.delta)
        case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
            yield ReasoningDelta(event.delta)
        case "response.output_item.added" if _get(event.item, "type") == "function_call":
            item = event.item
            yield ToolCallDelta(event.output_index, "", _get(item, "call_id"), _get(item, "name"))
        case "response.function_call_arguments.delta":
            yield ToolCallDelta(event.output_index, event.delta)
        case "response.output_item.done" if _get(event.item, "type") == "reasoning":
            yield from _encrypted(event.item, summary)
        case "response.completed" | "response.incomplete":
            _summarize_response(event.response, summary)
        case _:
            # The API announces every item several times. The other events repeat what the ones above say.
            pass


def whole_response(response: Any, summary: StreamSummary) -> Iterator[ContentDelta]:
    """The deltas of an answer that did not stream."""
    for index, item in enumerate(_get(response, "output") or ()):
        match _get(item, "type"):
            case "message":
                for content in _get(item, "content") or ():
                    if text := _get(content, "text") or _get(content, "refusal"):
                        yield TextDelta(text)
            case "function_call":
                yield ToolCallDelta(
                    index, _get(item, "arguments") or "", _get(item, "call_id"), _get(item, "name")
                )
            case "reasoning":
                for paragraph in _get(item, "summary") or ():
                    yield ReasoningDelta(_get(paragraph, "text") or "")
                yield from _encrypted(item, summary)
    _summarize_response(response, summary)


def _encrypted(item: Any, summary: StreamSummary) -> Iterator[ReasoningDelta]:
    if content := _get(item, "encrypted_content"):
        yield summary.reasoning("", json.dumps({"id": _get(item, "id"), "encrypted_content": content}))


def _summarize_response(response: Any, summary: StreamSummary) -> None:
    summary.model = _get(response, "model") or summary.model
    if (usage := _get(response, "usage")) is not None:
        summary.usage = _usage(usage, "input", "output")
    called = any(_get(item, "type") == "function_call" for item in _get(response, "output") or ())
    if (why := _get(_get(response, "incomplete_details"), "reason")) is not None:
        summary.finish = finish_reason(why)
    else:
        summary.finish = FinishReason.TOOL_CALLS if called else FinishReason.STOP


def _get(value: Any, name: str) -> Any:
    """A field of an item, which litellm passes as an object in some places and as a dict in others."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
