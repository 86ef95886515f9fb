"""What a provider refuses: histories that are no conversation, and calls that it would not take back.

Every server applies it, so that a request which a real provider answers with 400 cannot pass a test. It is as
strict as the strictest provider, also where the one at hand lets things pass: the contract (H4) is the same
for all. Its complaints are in the words of none of them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from tests.servers.conversation import Conversation, Role, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers.record import Request

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What one vendor refuses besides. `call_id`: other ids. `must_have`: a reply with calls without this
    field, or with an empty one. `refuses`: replies with these. `foreign`: any text that others have sealed.
    """

    call_id: re.Pattern[str] = CALL_ID
    must_have: str = ""
    refuses: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def complaint(request: Request, rules: Rules = Rules(), made: Sequence[Any] = ()) -> str | None:
    """Why a provider refuses `request`; None when it does not. `made` is what it has said before in this
    conversation, each item as it has to come back."""
    try:
        conversation = request.conversation
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        return f"the request cannot be read: {error!r}"
    all_of_them = chain(
        _of_order(conversation),
        _of_calls(conversation, rules.call_id),
        _of_shape(request),
        _of_vendor(request, rules, made),
    )
    return next(all_of_them, None)


def _of_vendor(request: Request, rules: Rules, made: Sequence[Any]) -> Iterator[str]:
    body = request.body
    given = body.get("messages") or body.get("contents") or body.get("input") or ()
    said = [message for message in given if isinstance(message, dict)]
    # What is null or an empty list may as well be missing.
    come = [{name: value for name, value in it.items() if value not in (None, [])} for it in said]
    yield from (f"a reply did not come back as it was: {item} in {come}" for item in made if item not in come)
    for number, message in enumerate(said):
        if message.get("role") != "assistant":
            continue
        if rules.must_have and message.get("tool_calls") and not message.get(rules.must_have):
            yield f"{rules.must_have} is missing in the assistant's message with calls at {number}"
        yield from (
            f"messages.{number}: property {name!r} is unsupported"
            for name in rules.refuses
            if name in message
        )
    text = json.dumps(body, ensure_ascii=False)
    for seal in rules.foreign:
        if json.dumps(seal, ensure_ascii=False)[1:-1] in text:
            yield f"this is sealed by somebody else: {seal}"


def _of_order(conversation: Conversation) -> Iterator[str]:
    """Roles take turns, results stand directly after their calls, and nothing is blank."""
    messages = conversation.messages
    if not messages:
        yield "messages: there is none"
        return
    if messages[0].role is not Role.USER:
        yield f"messages.0: the first message is the user's, not {messages[0].role}"
    for number, (before, after) in enumerate(pairwise(messages), 1):
        if before.role is after.role:
            yield f"messages.{number}: two messages of one role, {after.role}, in a row"
        if before.calls and after.role is not Role.RESULTS:
            yield f"messages.{number}: calls without results: {[call.call_id for call in before.calls]}"
        if after.role is Role.RESULTS:
            yield from _of_results(before, after, number)
    if messages[-1].role is Role.ASSISTANT:
        yield "messages: the last message is the assistant's"
    for number, message in enumerate(messages):
        if message.role is Role.USER and not message.text.strip():
            yield f"messages.{number}: an empty prompt"
        if message.role is Role.ASSISTANT and not message.text.strip() and not message.calls:
            yield f"messages.{number}: an empty reply"


def _of_results(before: Sent, after: Sent, number: int) -> Iterator[str]:
    if before.role is not Role.ASSISTANT:
        yield f"messages.{number}: results without calls"
        return
    called, given = before.calls, after.results
    asked: list[str | None] = [call.call_id for call in called]
    told = [result.call_id for result in given]
    if not any(asked) and not any(told):
        # The protocol knows no ids of calls; it goes by name, and then by place.
        asked, told = [call.name for call in called], [result.name for result in given]
    if asked != told:
        yield f"messages.{number}: results of {told} to calls of {asked}"


def _of_calls(conversation: Conversation, form: re.Pattern[str]) -> Iterator[str]:
    ids = [call.call_id for call in conversation.calls if call.call_id is not None]
    if len(set(ids)) < len(ids):
        yield f"the ids of calls are not unique: {ids}"
    yield from (f"no id of a call: {call_id!r}" for call_id in ids if not form.fullmatch(call_id))
    names = [call.name for call in conversation.calls] + [tool.name for tool in conversation.tools]
    yield from (f"no name of a tool: {name!r}" for name in names if not NAME.fullmatch(name))
    for call in conversation.calls:
        if not isinstance(call.arguments, dict):
            yield f"the arguments of {call.name} are no object: {call.arguments!r}"
    if conversation.calls and not conversation.tools:
        yield "there are calls, but no tools are defined"
    told = [tool.name for tool in conversation.tools]
    if len(set(told)) < len(told):
        yield f"the names of tools are not unique: {told}"
    for tool in conversation.tools:
        if tool.parameters.get("type") != "object":
            yield f"the parameters of {tool.name} are no object's schema"


def _of_shape(request: Request) -> Iterator[str]:
    """What only the protocol itself shows."""
    body = request.body
    try:
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        yield f"the request is no JSON: {error}"
    if body.get("tools") == []:
        yield "tools: an empty list"
    for message in body.get("messages") or ():
        if isinstance(content := message.get("content"), list):
            yield from _of_blocks(content, has_calls="tool_calls" in message)
    for content in body.get("contents") or ():
        if any(part.get("text") == "" for part in content["parts"]):
            yield "contents: a part without anything in it"
    items: list[dict[str, Any]] = [item for item in body.get("input") or () if isinstance(item, dict)]
    for item, following in pairwise([*items, {}]):
        of_reply = following.get("role") == "assistant" or following.get("type") in (
            "function_call",
            "reasoning",
        )
        if item.get("type") == "reasoning" and not of_reply:
            yield "input: reasoning without the item that follows it"


def _of_blocks(blocks: list[dict[str, Any]], *, has_calls: bool) -> Iterator[str]:
    """`has_calls`: calls follow, which the protocol does not count among the blocks."""
    kinds = [block["type"] for block in blocks]
    if "tool_result" in kinds and "text" in kinds[: len(kinds) - kinds[::-1].index("tool_result")]:
        yield "messages: results come before text"
    ends_thinking = kinds[-1] == "thinking" and not has_calls
    if "thinking" in kinds and (ends_thinking or kinds[0] != "thinking"):
        yield "messages: thinking comes first, and something after it"
    if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
        yield "messages: text blocks must hold text"
