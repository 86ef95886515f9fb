"""Anthropic messages: `POST /v1/messages`, named events, content in blocks that open and close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.messages import FinishReason
from tests.servers.base import Form, Server
from tests.servers.frames import Frame, Json, sse
from tests.servers.script import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.servers.record import Request
    from tests.servers.script import Refuse, Script

STOP_REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.OTHER: "pause_turn",
}

ERRORS = {
    Refusal.BAD_REQUEST: ("invalid_request_error", "max_tokens: must be greater than or equal to 1"),
    Refusal.CONTEXT_TOO_LONG: ("invalid_request_error", "prompt is too long: 205112 tokens > 200000 maximum"),
    Refusal.WRONG_KEY: ("authentication_error", "invalid x-api-key"),
    Refusal.UNKNOWN_MODEL: ("not_found_error", "model: claude-none"),
    Refusal.RATE_LIMITED: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
    ),
    Refusal.SERVER_ERROR: ("api_error", "Internal server error"),
    Refusal.OVERLOADED: ("overloaded_error", "Overloaded"),
}


class AnthropicServer(Server):
    overloaded_status = 529

    def form(self, request: Request) -> Form | None:
        if (request.method, request.path) != ("POST", "/v1/messages"):
            return None
        return Form.STREAM if request.body.get("stream") else Form.WHOLE

    def stream(self, script: Script, request: Request) -> Iterator[Frame]:
        start = {**_message(request, script), "content": [], "stop_reason": None}
        start["usage"] = {**_usage(script), "output_tokens": 1}
        yield _event("message_start", {"message": start})
        index = 0
        if script.reasoning:
            block: Json = {"type": "thinking", "thinking": "", "signature": ""}
            thoughts = ({"type": "thinking_delta", "thinking": piece} for piece in script.reasoning)
            seal: Json = {"type": "signature_delta", "signature": script.signature}
            yield from _block(index, block, thoughts, seal)
            index += 1
        if script.text:
            pieces = ({"type": "text_delta", "text": piece} for piece in script.text_pieces())
            yield from _block(index, {"type": "text", "text": ""}, pieces)
            index += 1
        yield _event("ping", {})
        for number, call in enumerate(script.calls, index):
            tool: Json = {"type": "tool_use", "id": call.call_id or "", "name": call.name, "input": {}}
            arguments = ({"type": "input_json_delta", "partial_json": piece} for piece in call.arguments)
            yield from _block(number, tool, arguments)
        ending = {"stop_reason": STOP_REASONS[script.reason], "stop_sequence": None}
        yield _event(
            "message_delta", {"delta": ending, "usage": {"output_tokens": script.usage.output_tokens}}
        )
        yield _event("message_stop", {})

    def whole(self, script: Script, request: Request) -> Json:
        blocks: list[Json] = []
        if script.reasoning:
            thinking = "".join(script.reasoning)
            blocks.append({"type": "thinking", "thinking": thinking, "signature": script.signature})
        if script.text:
            blocks.append({"type": "text", "text": "".join(script.text)})
        for call in script.calls:
            use: Json = {"type": "tool_use", "id": call.call_id or "", "name": call.name}
            blocks.append({**use, "input": call.value})
        return {**_message(request, script), "content": blocks}

    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        kind, message = ERRORS[refuse.refusal]
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def rejection(self, complaint: str) -> Json:
        return {"type": "error", "error": {"type": "invalid_request_error", "message": complaint}}

    def error_event(self, refusal: Refusal, request: Request) -> bytes:
        kind, message = ERRORS[refusal]
        return _event("error", {"error": {"type": kind, "message": message}}).data

    def garbage(self, rubbish: bytes) -> bytes:
        return b"event: content_block_delta\n" + super().garbage(rubbish)


def _event(kind: str, payload: Json, *, is_delta: bool = False) -> Frame:
    return Frame(sse({"type": kind, **payload}, event=kind), is_delta)


def _block(
    index: int, opening: Json, deltas: Iterable[Mapping[str, object]], seal: Json | None = None
) -> Iterator[Frame]:
    yield _event("content_block_start", {"index": index, "content_block": opening})
    for delta in deltas:
        yield _event("content_block_delta", {"index": index, "delta": delta}, is_delta=True)
    if seal is not None:
        yield _event("content_block_delta", {"index": index, "delta": seal})
    yield _event("content_block_stop", {"index": index})


def _message(request: Request, script: Script) -> Json:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": request.model,
        "stop_reason": STOP_REASONS[script.reason], "stop_sequence": None, "usage": _usage(script),
    }  # fmt: skip


def _usage(script: Script) -> Json:
    """Anthropic counts cached input apart from the rest."""
    return {
        "input_tokens": script.usage.input_tokens - script.usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": script.usage.cached_tokens,
        "output_tokens": script.usage.output_tokens,
    }
