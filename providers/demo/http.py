"""The demo model's side of OpenAI's chat completions over HTTP/1.1: requests read, answers written.

Pure apart from the reader that it is given. It must never trust a request: sizes are bounded before
anything is read, and whatever is not understood is a `BadRequest`.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from core.values import dataclass
from providers.demo_conversation import Call, Role, Said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.demo_script import Reply

MOST_HEADER_BYTES = 64 * 1024
MOST_BODY_BYTES = 32 * 1024 * 1024


class BadRequest(Exception):
    """A request that gets an error status. Its text goes to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What matters of a request. `tools` are the names of those that may be called."""

    conversation: tuple[Said, ...]
    tools: frozenset[str]
    streaming: bool
    with_usage: bool


async def read_chat_request(reader: asyncio.StreamReader) -> ChatRequest:
    """Read one request for a chat completion.

    Raises `BadRequest` for what cannot be served and `EOFError` for a request that breaks off.
    """
    return parse_chat(await _read_body(reader))


async def _read_body(reader: asyncio.StreamReader) -> bytes:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise BadRequest(431, "The request's headers are too long.") from None
    request_line, *lines = head.split("\r\n")
    method, _, rest = request_line.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if not path.endswith("/chat/completions"):
        raise BadRequest(404, "The demo model only knows /v1/chat/completions.")
    if method != "POST":
        raise BadRequest(405, "Chat completions are asked for with POST.")
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(411, "The request does not say how long it is.")
    if int(length) > MOST_BODY_BYTES:
        raise BadRequest(413, "The request is too large for the demo model.")
    return await reader.readexactly(int(length))


def parse_chat(body: bytes) -> ChatRequest:
    """Read a request for a chat completion. Raises `BadRequest`."""
    try:
        fields: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest(400, "The request is not JSON.") from None
    messages = fields.get("messages") if isinstance(fields, dict) else None
    if not isinstance(messages, list) or not messages:
        raise BadRequest(400, "The request holds no messages.")
    options = fields.get("stream_options")
    return ChatRequest(
        conversation=tuple(_said(message) for message in messages),
        tools=frozenset() if fields.get("tool_choice") == "none" else _tools(fields.get("tools")),
        streaming=fields.get("stream") is True,
        with_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _said(message: object) -> Said:
    match message:
        case {"role": "assistant", **fields}:
            return Said(Role.ASSISTANT, _text(fields.get("content")), _calls(fields.get("tool_calls")))
        case {"role": "tool", **fields}:
            return Said(Role.TOOL, _text(fields.get("content")), call_id=_name(fields.get("tool_call_id")))
        case {"role": "user", **fields}:
            return Said(Role.USER, _text(fields.get("content")))
        case {"role": str(), **fields}:
            return Said(Role.SYSTEM, _text(fields.get("content")))
    raise BadRequest(400, "A message has no role.")


def _text(content: object) -> str:
    match content:
        case str():
            return content
        case list():
            texts = (part.get("text") for part in content if isinstance(part, dict))
            return "".join(text for text in texts if isinstance(text, str))
    return ""


def _tools(tools: object) -> frozenset[str]:
    """The names of the functions that are offered."""
    offered = tools if isinstance(tools, list) else []
    functions = (tool.get("function") for tool in offered if isinstance(tool, dict))
    return frozenset(_name(function.get("name")) for function in functions if isinstance(function, dict))


def _calls(calls: object) -> tuple[Call, ...]:
    """The calls that an earlier reply has made. Raises `BadRequest`."""
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise BadRequest(400, "The tool_calls of a message are no list.")
    return tuple(_made(call) for call in calls)


def _made(call: object) -> Call:
    match call:
        case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return Call(name, arguments, call_id)
    raise BadRequest(400, "A tool call has no id, no name or no arguments.")


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""


def call_deltas(index: int, call: Call) -> Iterator[dict[str, object]]:
    """The deltas of one call: its id and name first, then its arguments piece by piece."""
    function = {"name": call.name, "arguments": ""}
    yield {"tool_calls": [{"index": index, "id": new_call_id(), "type": "function", "function": function}]}
    for piece in re.findall(r"\s*\S{1,12}", call.arguments):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def closing_chunks(reply: Reply, request: ChatRequest) -> Iterator[dict[str, object]]:
    yield chunk({}, finish=_finish(reply))
    if request.with_usage:
        yield {**chunk({}), "choices": [], "usage": _usage(reply, request)}


def _finish(reply: Reply) -> str:
    return "tool_calls" if reply.calls else "stop"


def _usage(reply: Reply, request: ChatRequest) -> dict[str, object]:
    """The demo's own count, in which a word is a token."""
    asked = sum(len(said.text.split()) + _words_of(said.calls) for said in request.conversation)
    told = len(reply.pieces) + len(reply.thinking) + _words_of(reply.calls)
    return {
        "prompt_tokens": asked,
        "completion_tokens": told,
        "total_tokens": asked + told,
        "completion_tokens_details": {"reasoning_tokens": len(reply.thinking)},
    }


def _words_of(calls: tuple[Call, ...]) -> int:
    return sum(1 + len(call.arguments.split()) for call in calls)


def chunk(delta: Mapping[str, object], finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_envelope("chat.completion.chunk"), "choices": [choice]}


def completion(reply: Reply, request: ChatRequest) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": "".join(reply.pieces)}
    if reply.thinking:
        message["reasoning_content"] = "".join(reply.thinking)
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": new_call_id(),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in reply.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    return {**_envelope("chat.completion"), "choices": [choice], "usage": _usage(reply, request)}


def _envelope(kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-demo", "object": kind, "created": int(time.time()), "model": "demo"}


def error_body(status: int, message: str) -> dict[str, object]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def event(value: dict[str, object]) -> bytes:
    return _http_chunk(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n")


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(status: int, value: dict[str, object]) -> bytes:
    body = json.dumps(value).encode()
    return _head(status, "application/json", f"Content-Length: {len(body)}") + body


def event_stream_head() -> bytes:
    return _head(200, "text/event-stream", "Transfer-Encoding: chunked")


def _head(status: int, content_type: str, framing: str) -> bytes:
    lines = (f"HTTP/1.1 {status} ", f"Content-Type: {content_type}", framing, "Connection: close", "", "")
    return "\r\n".join(lines).encode("ascii")


LAST_EVENT = _http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
"""The protocol's end mark and HTTP's."""
