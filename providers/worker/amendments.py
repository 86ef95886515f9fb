"""What is changed in a request that litellm has compiled: all that goes back to the provider and that litellm
drops, moves or does not know (P8). The rules are in `return_rules`.

A reply of the conversation and the message of the request that is it are found by their place. litellm keeps
replies apart and in order; a request in which it did not stays as it is.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, assert_never

import httpx
import msgspec

from core.model.messages import AssistantMessage, Reasoning, Text
from providers.reading.protocols import Protocol
from providers.reading.returned import CONTENT_PARTS, Kind, add_details, read_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from core.model.messages import Message, Part
    from providers.reading.returned import Note
    from providers.worker.capture import Captured
    from providers.worker.return_rules import ReturnRules

Json = dict[str, Any]
Pairs = list[tuple[Json, "_Reply"]]
"""Replies as they are sent, and as the conversation has them."""

log = logging.getLogger("caesura.worker")

NO_REASONING = " "
"""For a field that must be there: servers take an empty one for a missing one."""


def amended(
    captured: Captured, messages: Iterable[Message], rules: ReturnRules, *, must_stream: bool
) -> httpx.Request:
    """The request of `captured`, with what goes back of `messages`, which hold no reasoning of others.

    `must_stream`: litellm would have asked for a whole answer and cut it up, because it does not know the
    name of the model.
    """
    body: Json = captured.body
    replies = [_Reply(message) for message in messages if isinstance(message, AssistantMessage)]
    match captured.protocol:
        case Protocol.CHAT | Protocol.OLLAMA:
            is_changed = _amend_chat(_pairs(body["messages"], "assistant", replies), rules)
        case Protocol.ANTHROPIC:
            is_changed = _amend_anthropic(_pairs(body["messages"], "assistant", replies))
        case Protocol.GEMINI:
            _amend_gemini(_pairs(body["contents"], "model", replies))
            body, is_changed = _as_documented(body), True
        case Protocol.RESPONSES:
            is_changed = must_stream and not body.get("stream")
            if is_changed:
                body["stream"] = True
        case _:
            assert_never(captured.protocol)
    return _with_body(captured.request, body) if is_changed else captured.request


def _pairs(messages: Iterable[Json], role: str, replies: Sequence[_Reply]) -> Pairs:
    sent = [message for message in messages if message["role"] == role]
    if len(sent) != len(replies):
        log.warning("%d replies became %d: what else goes back is left out", len(replies), len(sent))
        return []
    return list(zip(sent, replies, strict=True))


def with_added(
    request: httpx.Request, headers: Mapping[str, str], fields: Mapping[str, Any]
) -> httpx.Request:
    """`request` with headers and fields of the settings in place of its own of the same names."""
    if fields:
        request = _with_body(request, msgspec.json.decode(request.content) | fields)
    request.headers.update(headers)
    return request


def _with_body(request: httpx.Request, body: Json) -> httpx.Request:
    # A conversation may have megabytes: this takes a quarter of the time that `json` does.
    content = msgspec.json.encode(body)
    headers = [
        (k, v) for k, v in request.headers.raw if k.lower() not in (b"content-length", b"transfer-encoding")
    ]
    return httpx.Request(
        request.method, request.url, headers=headers, content=content, extensions=request.extensions
    )


class _Reply:
    """A reply of the conversation: its parts, and the notes in it by their kinds, each read once."""

    def __init__(self, message: AssistantMessage) -> None:
        self.calls = message.calls
        self.parts = [
            (part, read_note(part.signature) if isinstance(part, Reasoning) else None)
            for part in message.parts
        ]

    def notes(self, kind: Kind) -> Iterator[Any]:
        return (found[1] for _, found in self.parts if found is not None and found[0] is kind)

    def fields(self) -> Json:
        """The text of the reasoning, by the field that it came in."""
        texts: Json = {}
        for part, found in self.parts:
            if isinstance(part, Reasoning) and found is not None and found[0] is Kind.FIELD:
                texts[found[1]] = texts.get(found[1], "") + part.text
        return texts


# -- OpenAI's chat completions, and Ollama's --


def _amend_chat(pairs: Pairs, rules: ReturnRules) -> bool:
    # A server that has shown reasoning with calls may refuse calls without.
    used = (name for _, reply in pairs if reply.calls for name in reply.fields())
    fill = rules.fill or next((name for name in used if name.startswith("reasoning")), "")
    is_changed = False
    for message, reply in pairs:
        more = reply.fields() if rules.takes_reasoning else {}
        for fields in reply.notes(Kind.FIELDS):
            more.update(fields)
        details: list[Json] = []
        for some in reply.notes(Kind.DETAILS):
            add_details(details, some)
        if details:
            more["reasoning_details"] = details
        if parts := more.pop(CONTENT_PARTS, None):
            more["content"] = _content_parts(parts, message)
        elif fill and rules.takes_reasoning and not details and (rules.fill or reply.calls):
            more.setdefault(fill, NO_REASONING)
        message.update(more)
        is_changed |= bool(more) | _amend_calls(message.get("tool_calls") or (), reply)
    return is_changed


def _content_parts(reasoning: str, message: Json) -> list[Json]:
    """Mistral's form of a reply with its reasoning."""
    parts: list[Json] = [{"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]}]
    if text := message.get("content"):
        parts.append({"type": "text", "text": text})
    return parts


def _amend_calls(sent: Iterable[Json], reply: _Reply) -> bool:
    more: Json = {}
    for fields in reply.notes(Kind.CALLS):
        more.update(fields)
    is_changed = False
    for number, (call, made) in enumerate(zip(sent, reply.calls, strict=False)):
        # Earlier versions went by the id, which is another one if it was taken.
        if fields := more.get(str(number)) or more.get(made.call_id):
            call.update(fields)
            is_changed = True
    return is_changed


# -- Anthropic's messages --


def _amend_anthropic(pairs: Pairs) -> bool:
    """Put thinking that came behind text there again. litellm puts all of it first."""
    is_changed = False
    for message, reply in pairs:
        parts = [part for part, found in reply.parts if isinstance(part, Text) or _is_thinking(part, found)]
        thinking = [block for block in message["content"] if block["type"] in THINKING]
        uses = [block for block in message["content"] if block["type"] == "tool_use"]
        while parts and not uses and isinstance(parts[-1], Reasoning):
            parts.pop()  # it has led to nothing, and was not sent
        kinds = [type(part) for part in parts]
        if kinds[:1] != [Reasoning] or len(thinking) != kinds.count(Reasoning):
            continue
        blocks = iter(thinking)
        ordered = [
            {"type": "text", "text": part.text} if isinstance(part, Text) else next(blocks)
            for part in parts
            if not isinstance(part, Text) or part.text.strip()
        ]
        if [block["type"] for block in (*ordered, *uses)] != [block["type"] for block in message["content"]]:
            message["content"] = [*ordered, *uses]
            is_changed = True
    return is_changed


THINKING = ("thinking", "redacted_thinking")


def _is_thinking(part: Part, found: Note | None) -> bool:
    return isinstance(part, Reasoning) and (found is None or found[0] is Kind.REDACTED)


# -- Gemini's contents --


def _amend_gemini(pairs: Pairs) -> None:
    """Signatures of thoughts go back on the part that they came with; litellm knows them only as ids."""
    for message, reply in pairs:
        parts: list[Json] = message["parts"]
        calls = [part for part in parts if "function_call" in part or "functionCall" in part]
        _amend_calls(calls, reply)
        texts = [part for part in parts if "text" in part]
        for fields in reply.notes(Kind.FIELDS) if texts else ():
            texts[-1].update(fields)
        thoughts = [
            {"text": part.text, "thought": True, "thoughtSignature": part.signature}
            for part, found in reply.parts
            if isinstance(part, Reasoning) and found is None
        ]
        if thoughts:
            message["parts"] = [*thoughts, *parts]


def _as_documented(body: Json) -> Json:
    """Google takes litellm's names, such as `function_response`; what imitates it may know only its own."""
    body = _in_camel_case(body)
    if config := body.get("generationConfig"):
        body["generationConfig"] = _in_camel_case(config)
    for content in body["contents"]:
        content["parts"] = [_part_as_documented(part) for part in content["parts"]]
    for tool in (tools := [_in_camel_case(tool) for tool in body.get("tools") or ()]):
        if declared := tool.get("functionDeclarations"):
            tool["functionDeclarations"] = [_in_camel_case(function) for function in declared]
    return {**body, "tools": tools} if tools else body


def _part_as_documented(part: Json) -> Json:
    part = _in_camel_case(part)
    if image := part.get("inlineData"):
        part["inlineData"] = _in_camel_case(image)
    if (result := part.get("functionResponse")) and result.get("parts"):
        part["functionResponse"] = {
            **result,
            "parts": [_part_as_documented(each) for each in result["parts"]],
        }
    return part


def _in_camel_case(fields: Json) -> Json:
    return {re.sub("_([a-z])", lambda found: found[1].upper(), name): value for name, value in fields.items()}
