"""The demo model's server side of OpenAI's chat completions over HTTP/1.1: reads requests, writes answers.

Pure apart from the reader that is passed in. It must never trust a request: sizes are bounded before anything
is read, and anything invalid is a `BadRequest`.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Annotated

import msgspec

from core.base.values import Record
from providers.demo.conversation import Call, Role, Said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.demo.script import Reply

MOST_HEADER_BYTES = 64 * 1024
MOST_BODY_BYTES = 32 * 1024 * 1024


class BadRequest(Exception):
    """A request that gets an error status. Its text goes to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _CalledFunction(Record):
    name: str
    arguments: str


class _Call(Record):
    id: str
    function: _CalledFunction


class _TextPart(Record):
    text: str = ""


class _Message(Record):
    role: Role
    content: str | tuple[_TextPart, ...] | None = None
    tool_calls: tuple[_Call, ...] | None = None
    tool_call_id: str = ""

    def said(self) -> Said:
        parts = self.content if isinstance(self.content, tuple) else (_TextPart(self.content or ""),)
        calls = (Call(call.function.name, call.function.arguments, call.id) for call in self.tool_calls or ())
        return Said(self.role, "".join(part.text for part in parts), tuple(calls), self.tool_call_id)


class _OfferedFunction(Record):
    name: str


class _Tool(Record):
    function: _OfferedFunction


class _StreamOptions(Record):
    include_usage: bool = False


class ChatRequest(Record):
    """The relevant parts of a request."""

    messages: Annotated[tuple[_Message, ...], msgspec.Meta(min_length=1)]
    tools: tuple[_Tool, ...] | None = None
    tool_choice: object = None
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @property
    def conversation(self) -> tuple[Said, ...]:
        return tuple(message.said() for message in self.messages)

    @property
    def callable_tools(self) -> frozenset[str]:
        """The names of the tools that may be called."""
        offered = () if self.tool_choice == "none" else self.tools or ()
        return frozenset(tool.function.name for tool in offered)

    @property
    def with_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


async def read_request(reader: asyncio.StreamReader) -> ChatRequest | None:
    """Read one request, for a chat completion; None for one that asks which models there are.

    Raises `BadRequest` for a request that cannot be served and `EOFError` for one that breaks off.
    """
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
    if method == "GET" and path.endswith("/models"):
        return None
    if not path.endswith("/chat/completions"):
        raise BadRequest(404, "The demo model only knows /v1/chat/completions.")
    if method != "POST":
        raise BadRequest(405, "Chat completions are asked for with POST.")
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(411, "The request does not say how long it is.")
    if int(length) > MOST_BODY_BYTES:
        raise BadRequest(413, "The request is too large for the demo model.")
    body = await reader.readexactly(int(length))
    try:
        return msgspec.json.decode(body, type=ChatRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(400, f"This is no request for a chat completion: {error}.") from None


def call_deltas(index: int, call: Call) -> Iterator[dict[str, object]]:
    """The deltas of one call: its id and name first, then its arguments piece by piece."""
    yield {"tool_calls": [{"index": index, **_new_call(call.name, "")}]}
    for piece in re.findall(r"\s*\S{1,12}", call.arguments):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _new_call(name: str, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


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
        message["tool_calls"] = [_new_call(call.name, call.arguments) for call in reply.calls]
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    return {**_envelope("chat.completion"), "choices": [choice], "usage": _usage(reply, request)}


def _envelope(kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-demo", "object": kind, "created": int(time.time()), "model": "demo"}


def model_list() -> dict[str, object]:
    return {"object": "list", "data": [{"id": "demo", "object": "model"}]}


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
"""The end marks of the protocol and of HTTP."""
