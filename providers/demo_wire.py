"""The demo model's side of OpenAI's chat completions over HTTP/1.1: requests read, answers written.

Pure apart from the reader that it is given. It must never trust a request: sizes are bounded before
anything is read, and whatever is not understood is a `BadRequest`.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from providers.demo_script import Reply, Role, Said

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_HEADER_BYTES = 64 * 1024
MOST_BODY_BYTES = 32 * 1024 * 1024


class BadRequest(Exception):
    """A request that gets an error status. Its text goes to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What matters of a request."""

    conversation: tuple[Said, ...]
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
        streaming=fields.get("stream") is True,
        with_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _said(message: object) -> Said:
    match message:
        case {"role": "user" | "assistant" as role, **fields}:
            return Said(Role(role), _text(fields.get("content")))
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


def closing_chunks(reply: Reply, request: ChatRequest) -> Iterator[dict[str, object]]:
    yield chunk({}, finish="stop")
    if request.with_usage:
        yield {**chunk({}), "choices": [], "usage": _usage(reply, request)}


def _usage(reply: Reply, request: ChatRequest) -> dict[str, object]:
    """The demo's own count, in which a word is a token."""
    asked = sum(len(said.text.split()) for said in request.conversation)
    told = len(reply.pieces) + len(reply.thinking)
    return {
        "prompt_tokens": asked,
        "completion_tokens": told,
        "total_tokens": asked + told,
        "completion_tokens_details": {"reasoning_tokens": len(reply.thinking)},
    }


def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_envelope("chat.completion.chunk"), "choices": [choice]}


def completion(reply: Reply, request: ChatRequest) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": "".join(reply.pieces)}
    if reply.thinking:
        message["reasoning_content"] = "".join(reply.thinking)
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
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
