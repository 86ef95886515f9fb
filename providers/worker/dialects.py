"""Between our messages and litellm's parameters, and between litellm's chunks and our deltas.

Two dialects cover all providers: chat completions, into which litellm translates most of them, and OpenAI's
Responses, whose encrypted reasoning the chat bridge would drop. Both directions are pure functions over
plain values and duck-typed chunks; litellm itself is never imported here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from core.messages import (
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
from core.model import ReasoningDelta, TextDelta, ToolCallDelta, ToolSpec

ContentDelta = TextDelta | ReasoningDelta | ToolCallDelta

RESPONSES_PREFIX = "responses/"

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


def responses_model(model: str) -> str | None:
    """The plain name of a model that is asked for through the Responses API, else None.

    >>> responses_model("openai/responses/gpt-5")
    'openai/gpt-5'
    """
    provider, _, rest = model.partition("/")
    if provider == "responses":
        return rest
    if rest.startswith(RESPONSES_PREFIX):
        return f"{provider}/{rest.removeprefix(RESPONSES_PREFIX)}"
    return None


@dataclass(slots=True)
class Tally:
    """What a stream has said about itself so far, besides its deltas."""

    finish: FinishReason | None = None
    usage: Usage | None = None
    model: str = ""
    call_ids: list[str | None] = field(default_factory=list)
    open_calls: dict[int, int] = field(default_factory=dict)

    def index_of(self, given: int, call_id: str | None) -> int:
        """The index of a call, apart from those of all others: some providers give each of theirs a 0."""
        index = self.open_calls.get(given)
        if index is None or (call_id is not None and self.call_ids[index] not in (None, call_id)):
            index = self.open_calls[given] = len(self.call_ids)
            self.call_ids.append(None)
        self.call_ids[index] = call_id or self.call_ids[index]
        return index


# -- what all take back --

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Anthropic's alphabet, OpenAI's length."""

STRANGE_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
NAME_LIMIT = 64

UNUSUAL = re.compile(r"\\u[dD][89a-fA-F]|NaN|Infinity")

THOUGHT = "__thought__"
"""Between a call's id and Gemini's signature of the thought behind it, which litellm keeps in the id."""


def acceptable(messages: tuple[Message, ...], *, keep_thoughts: bool = False) -> tuple[Message, ...]:
    """`messages` with calls in a form that every provider takes back, also from another provider.

    An id is unique in the whole conversation, as Anthropic demands; what has to change does so in the same
    way each time, so that a prompt's begin stays in the provider's cache. Gemini's signatures of thoughts,
    each as long as a page, go back to Gemini alone: `keep_thoughts`.
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

    That is NaN and its like, and half a surrogate pair in an escape. Where an object is sent and not its text
    a provider would refuse the request, and each later one.
    """
    if not UNUSUAL.search(arguments):
        return arguments
    read = json.loads(arguments, parse_constant=str)
    return json.dumps(read, ensure_ascii=False).encode("utf-8", "replace").decode()


# -- chat completions --


def chat_messages(
    messages: tuple[Message, ...], system: str | None, *, for_gemini: bool = False
) -> list[dict[str, Any]]:
    sent = [
        item for message in acceptable(messages, keep_thoughts=for_gemini) for item in _chat_items(message)
    ]
    if for_gemini:
        for item in sent:
            if item["role"] == "tool":
                # litellm takes apart a text that is JSON or a picture; what it finds in here stays as it is.
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
            # Not an empty text: Gemini refuses it, and for Anthropic litellm writes one of its own.
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


def chat_deltas(chunk: Any, tally: Tally) -> Iterator[ContentDelta]:
    """The deltas of one chat chunk, or of a whole answer that did not stream; the rest goes into `tally`."""
    tally.model = getattr(chunk, "model", None) or tally.model
    if (usage := getattr(chunk, "usage", None)) is not None:
        tally.usage = _chat_usage(usage) or tally.usage
    for choice in getattr(chunk, "choices", None) or ():
        said = getattr(choice, "delta", None) or getattr(choice, "message", None)
        if said is not None:
            yield from _chat_reasoning(said)
            if text := getattr(said, "content", None):
                yield TextDelta(text)
            yield from _chat_calls(said, tally)
        if (reason := getattr(choice, "finish_reason", None)) is not None:
            tally.finish = finish_reason(reason)


def _chat_reasoning(said: Any) -> Iterator[ReasoningDelta]:
    blocks = getattr(said, "thinking_blocks", None) or ()
    signature = next((block["signature"] for block in blocks if block.get("signature")), None)
    text = getattr(said, "reasoning_content", None) or ""
    if text or signature:
        yield ReasoningDelta(text, signature)


def _chat_calls(said: Any, tally: Tally) -> Iterator[ToolCallDelta]:
    for place, call in enumerate(getattr(said, "tool_calls", None) or ()):
        given = getattr(call, "index", None)
        call_id = call.id or None
        index = tally.index_of(place if given is None else given, call_id)
        yield ToolCallDelta(index, call.function.arguments or "", call_id, call.function.name or None)


def _chat_usage(usage: Any) -> Usage | None:
    prompt, completion = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if not prompt and not completion:
        return None
    return Usage(
        input_tokens=prompt or 0,
        output_tokens=completion or 0,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
    )


def _detail(usage: Any, group: str, name: str) -> int:
    details = getattr(usage, group, None)
    value = details.get(name) if isinstance(details, Mapping) else getattr(details, name, None)
    return value if isinstance(value, int) else 0


# -- responses --


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
            # Reasoning is refused without what it led to, which a stop may have cut off.
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
    """The reasoning item as it came. Without its encrypted content the server would not know it again."""
    try:
        item = json.loads(signature or "null")
    except ValueError:
        item = None
    if isinstance(item, dict) and item.get("encrypted_content"):
        yield {
            "type": "reasoning",
            "id": item.get("id"),
            "encrypted_content": item["encrypted_content"],
            "summary": [],
        }


def response_deltas(event: Any, tally: Tally) -> Iterator[ContentDelta]:
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
            yield from _encrypted(event.item)
        case "response.completed" | "response.incomplete":
            _tally_response(event.response, tally)
        case _:
            # The API announces every item several times over; what is not named above repeats.
            pass


def whole_response(response: Any, tally: Tally) -> Iterator[ContentDelta]:
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
                for summary in _get(item, "summary") or ():
                    yield ReasoningDelta(_get(summary, "text") or "")
                yield from _encrypted(item)
    _tally_response(response, tally)


def _encrypted(item: Any) -> Iterator[ReasoningDelta]:
    if content := _get(item, "encrypted_content"):
        yield ReasoningDelta("", json.dumps({"id": _get(item, "id"), "encrypted_content": content}))


def _tally_response(response: Any, tally: Tally) -> None:
    tally.model = _get(response, "model") or tally.model
    if (usage := _get(response, "usage")) is not None:
        tally.usage = Usage(
            input_tokens=_get(usage, "input_tokens") or 0,
            output_tokens=_get(usage, "output_tokens") or 0,
            cached_tokens=_get(_get(usage, "input_tokens_details"), "cached_tokens") or 0,
            reasoning_tokens=_get(_get(usage, "output_tokens_details"), "reasoning_tokens") or 0,
        )
    called = any(_get(item, "type") == "function_call" for item in _get(response, "output") or ())
    if (why := _get(_get(response, "incomplete_details"), "reason")) is not None:
        tally.finish = finish_reason(why)
    else:
        tally.finish = FinishReason.TOOL_CALLS if called else FinishReason.STOP


def _get(value: Any, name: str) -> Any:
    """A field of an item that litellm hands over as a model in one place and as a dict in another."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
