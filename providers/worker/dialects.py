"""Translation of our messages into litellm's parameters. Pure functions; litellm is never imported.

Two dialects cover all providers: chat completions, into which litellm translates most of them, and OpenAI's
Responses, whose encrypted reasoning the chat bridge would drop.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, assert_never

from msgspec.structs import replace

from core.model.messages import (
    AssistantMessage,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResults,
    UserMessage,
)
from providers.reading.returned import Kind, read_note
from providers.worker.return_rules import CALL_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.model.images import Image
    from core.model.messages import ToolResult
    from core.model.provider import ToolSpec

THOUGHT = "__thought__"
"""Separates the id of a call from the signature of Gemini's thought behind it, where litellm makes the ids,
as in its proxy. Nobody else gets the signature."""

STRANGE_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
NAME_LIMIT = 64

IN_NEXT_MESSAGE = "[image, {}: in the next message]"

UNUSUAL = re.compile(r"\\u[dD][89a-fA-F]|NaN|Infinity")


def acceptable(messages: tuple[Message, ...], call_ids: re.Pattern[str] = CALL_ID) -> tuple[Message, ...]:
    """`messages` with calls in a form that the provider takes back, also from another provider.

    An id is unique in the whole conversation, as Anthropic demands, and fits `call_ids` unless this provider
    has made it itself. What has to change always changes in the same way, so that the beginning of a prompt
    stays in the provider's cache.
    """
    used: set[str] = set()
    renamed: dict[str, str] = {}
    sent: list[Message] = []
    for message in messages:
        match message:
            case AssistantMessage(parts=parts):
                own = _own_ids(message)
                renamed = {
                    call.call_id: _fitting(call.call_id, used, None if call.call_id in own else call_ids)
                    for call in message.calls
                }
                sent.append(replace(message, parts=tuple(_renamed(part, renamed) for part in parts)))
            case ToolResults(results):
                fit = (replace(it, call_id=renamed.get(it.call_id, it.call_id)) for it in results)
                sent.append(ToolResults(tuple(fit)))
            case UserMessage():
                sent.append(message)
            case _:
                assert_never(message)
    return tuple(sent)


def _own_ids(reply: AssistantMessage) -> set[str]:
    """The ids in `reply` that this provider has made, and that look like no other's."""
    notes = (read_note(part.signature) for part in reply.parts if isinstance(part, Reasoning))
    return {call_id for found in notes if found and found[0] is Kind.CALLS for call_id in found[1]}


def _fitting(call_id: str, used: set[str], call_ids: re.Pattern[str] | None) -> str:
    fit = call_id if call_ids is None else call_id.partition(THOUGHT)[0]
    if fit in used or (call_ids is not None and not call_ids.fullmatch(fit)):
        digest = hashlib.sha256(f"{len(used)}:{call_id}".encode("utf-8", "replace")).hexdigest()
        others = (f"call_{digest[:24]}", *(digest[start : start + 9] for start in range(len(digest) - 8)))
        fit = next(it for it in others if it not in used and (call_ids or CALL_ID).fullmatch(it))
    used.add(fit)
    return fit


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
    messages: tuple[Message, ...],
    system: str | None,
    *,
    call_ids: re.Pattern[str] = CALL_ID,
    for_gemini: bool = False,
    images_in_results: bool = False,
) -> list[dict[str, Any]]:
    """`images_in_results`: else they go in a message after the results, whose own may only be text."""
    sent: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    for message in acceptable(messages, call_ids):
        match message:
            case ToolResults(results):
                sent += (_chat_result(it, for_gemini, images_in_results) for it in results)
                if not images_in_results and (parts := [part for it in results for part in _told_images(it)]):
                    sent.append({"role": "user", "content": parts})
            case UserMessage(prompt) if sent and _holds_images(sent[-1]):
                sent[-1]["content"].append({"type": "text", "text": prompt})
            case _:
                sent.append(_chat_message(message))
    return sent


def _chat_result(result: ToolResult, for_gemini: bool, with_images: bool) -> dict[str, Any]:
    text = result.text if with_images else result.in_words(IN_NEXT_MESSAGE).text
    if for_gemini:
        # litellm takes a text apart that is JSON or a picture. It leaves what is inside this object.
        text = json.dumps({"output": text})
    content: str | list[dict[str, Any]] = text
    if with_images and result.images:
        content = [{"type": "text", "text": text}] if text.strip() else []
        content += map(_chat_image, result.images)
    return {"role": "tool", "tool_call_id": result.call_id, "content": content}


def _told_images(result: ToolResult) -> Iterator[dict[str, Any]]:
    """The images of a result for a message of the user's, each with where it comes from."""
    for image in result.images:
        yield {"type": "text", "text": f"[From the result of {result.name}, not from the user: {image}]"}
        yield _chat_image(image)


def _holds_images(item: dict[str, Any]) -> bool:
    return item["role"] == "user" and isinstance(item["content"], list)


def _chat_image(image: Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": image.url}}


def chat_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def _function(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name, "description": tool.description, "parameters": json.loads(tool.parameters)
    }  # fmt: skip


def _chat_message(message: UserMessage | AssistantMessage) -> dict[str, Any]:
    match message:
        case UserMessage(prompt):
            return {"role": "user", "content": prompt}
        case AssistantMessage(parts=parts):
            # Gemini refuses an empty text, and for Anthropic litellm writes one of its own.
            text = message.text if message.text.strip() else None
            sent: dict[str, Any] = {"role": "assistant", "content": text}
            if calls := [_chat_call(part) for part in parts if isinstance(part, ToolCall)]:
                sent["tool_calls"] = calls
            if blocks := [block for part in _led_on(parts) for block in _thinking_block(part)]:
                sent["thinking_blocks"] = blocks
            return sent
        case _:
            assert_never(message)


def _led_on(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """`parts` without reasoning at their end. What it led to was cut off, and providers refuse it alone."""
    last = max((n for n, part in enumerate(parts) if not isinstance(part, Reasoning)), default=-1)
    return parts[: last + 1]


def _thinking_block(part: Part) -> Iterator[dict[str, Any]]:
    """Anthropic's block for signed reasoning. Other notes are for `amendments`."""
    if not isinstance(part, Reasoning) or not part.signature:
        return
    match read_note(part.signature):
        case None:
            yield {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case (Kind.REDACTED, data):
            yield {"type": "redacted_thinking", "data": data}


def _chat_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def responses_input(
    messages: tuple[Message, ...], call_ids: re.Pattern[str] = CALL_ID
) -> list[dict[str, Any]]:
    return [item for message in acceptable(messages, call_ids) for item in _responses_items(message)]


def responses_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    # Strict schemas must name every property as required, which ours do not.
    return [{"type": "function", **_function(tool), "strict": False} for tool in tools]


def _responses_items(message: Message) -> Iterator[dict[str, Any]]:
    match message:
        case UserMessage(text):
            yield {"role": "user", "content": text}
        case AssistantMessage(parts=parts):
            for part in _led_on(parts):
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
                yield {
                    "type": "function_call_output", "call_id": result.call_id, "output": _output(result)
                }  # fmt: skip
        case _:
            assert_never(message)


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if not result.images:
        return result.text
    text = [{"type": "input_text", "text": result.text}] if result.text.strip() else []
    return [*text, *({"type": "input_image", "image_url": image.url} for image in result.images)]


def _reasoning_item(signature: str | None) -> Iterator[dict[str, Any]]:
    """The reasoning item as it came."""
    try:
        item = json.loads(signature or "null")
    except ValueError:
        item = None
    if not isinstance(item, dict):
        return
    if item.get("type") == "reasoning":
        yield item
    elif content := item.get("encrypted_content"):
        # From before whole items were kept. The server recognizes it by its encrypted content.
        yield {"type": "reasoning", "id": item.get("id"), "encrypted_content": content, "summary": []}
