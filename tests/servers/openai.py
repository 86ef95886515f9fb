"""OpenAI chat completions: `POST /chat/completions`, which most gateways and local servers speak too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.base import Form, Server
from tests.servers.frames import Frame, Json, sse
from tests.servers.script import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.messages import Usage
    from tests.servers.record import Request
    from tests.servers.script import Call, Refuse, Script

ERRORS: dict[Refusal, tuple[str, str, str | None, str | None]] = {
    # refusal: message, type, param, code
    Refusal.BAD_REQUEST: (
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 9 instead.",
        "invalid_request_error", "temperature", "decimal_above_max_value",
    ),
    Refusal.CONTEXT_TOO_LONG: (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130512 "
        "tokens. Please reduce the length of the messages.",
        "invalid_request_error", "messages", "context_length_exceeded",
    ),
    Refusal.WRONG_KEY: (
        "Incorrect API key provided: sk-wrong. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        "invalid_request_error", None, "invalid_api_key",
    ),
    Refusal.UNKNOWN_MODEL: (
        "The model `gpt-none` does not exist or you do not have access to it.",
        "invalid_request_error", None, "model_not_found",
    ),
    Refusal.RATE_LIMITED: (
        "Rate limit reached for gpt-4o in organization org-x on requests per min (RPM): Limit 3, Used 3, "
        "Requested 1. Please try again in 20s.",
        "requests", None, "rate_limit_exceeded",
    ),
    Refusal.SERVER_ERROR: (
        "The server had an error while processing your request. Sorry about that!",
        "server_error", None, None,
    ),
    Refusal.OVERLOADED: (
        "The engine is currently overloaded, please try again later.", "server_error", None, None,
    ),
}  # fmt: skip


class OpenAIServer(Server):
    """`api_base` is `server.url`, with or without `/v1`."""

    def form(self, request: Request) -> Form | None:
        if request.method != "POST" or request.path not in ("/chat/completions", "/v1/chat/completions"):
            return None
        return Form.STREAM if request.body.get("stream") else Form.WHOLE

    def stream(self, script: Script, request: Request) -> Iterator[Frame]:
        def delta(content: Json) -> Frame:
            return Frame(sse(_chunk(request, [_choice({"delta": content})])), is_delta=True)

        yield Frame(sse(_chunk(request, [_choice({"delta": {"role": "assistant", "content": ""}})])))
        for piece in script.reasoning:
            yield delta({"reasoning_content": piece})
        for piece in script.text_pieces():
            yield delta({"content": piece})
        for place, call in enumerate(script.calls):
            index = place if call.index is None else call.index
            if call.opened_whole:
                yield delta({"tool_calls": [{"index": index, **_call(call, call.text)}]})
                continue
            opened: Json = {"tool_calls": [{"index": index, **_call(call, "")}]}
            yield Frame(sse(_chunk(request, [_choice({"delta": opened})])))
            for piece in call.arguments:
                yield delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield Frame(sse(_chunk(request, [_choice({"delta": {}}, finish=script.reason)])))
        if (request.body.get("stream_options") or {}).get("include_usage"):
            yield Frame(sse({**_chunk(request, []), "usage": usage(script.usage)}))
        yield Frame(b"data: [DONE]\n\n")

    def whole(self, script: Script, request: Request) -> Json:
        message: Json = {"role": "assistant", "content": "".join(script.text) or None, "refusal": None}
        if script.reasoning:
            message["reasoning_content"] = "".join(script.reasoning)
        if script.calls:
            message["tool_calls"] = [_call(call, call.text) for call in script.calls]
        choice = _choice({"message": message}, finish=script.reason)
        return {
            **_chunk(request, [choice]), "object": "chat.completion", "usage": usage(script.usage),
        }  # fmt: skip

    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        return openai_error(refuse.refusal)

    def rejection(self, complaint: str) -> Json:
        return openai_rejection(complaint)

    def error_event(self, refusal: Refusal, request: Request) -> bytes:
        return sse(openai_error(refusal))


def openai_rejection(complaint: str) -> Json:
    return {"error": {"message": complaint, "type": "invalid_request_error", "param": None, "code": None}}


def openai_error(refusal: Refusal) -> Json:
    message, kind, param, code = ERRORS[refusal]
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def usage(counted: Usage) -> Json:
    return {
        "prompt_tokens": counted.input_tokens,
        "completion_tokens": counted.output_tokens,
        "total_tokens": counted.input_tokens + counted.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counted.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": counted.reasoning_tokens},
    }


def _chunk(request: Request, choices: list[Json]) -> Json:
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000,
        "model": request.model, "choices": choices,
    }  # fmt: skip


def _choice(content: Json, *, finish: str | None = None) -> Json:
    return {"index": 0, **content, "finish_reason": finish}


def _call(call: Call, arguments: str) -> Json:
    given: Json = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    return given if call.call_id is None else {"id": call.call_id, **given}
