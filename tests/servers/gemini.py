"""Gemini: `POST .../models/<model>:streamGenerateContent?alt=sse` and `:generateContent`.

A function call always comes whole, in one part; the stream has no end mark but the connection's.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.model.messages import FinishReason
from tests.servers.base import Form, Server
from tests.servers.frames import Frame, Json, sse
from tests.servers.script import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.messages import Usage
    from tests.servers.record import Request
    from tests.servers.script import Call, Refuse, Script

PATH = re.compile(
    r"(?:/v1beta|/v1)?/models/(?P<model>[^/:]+):(?P<method>streamGenerateContent|generateContent)"
)

FINISH_REASONS = {
    FinishReason.STOP: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.CONTENT_FILTER: "SAFETY",
    FinishReason.OTHER: "OTHER",
}

ERRORS = {
    Refusal.BAD_REQUEST: (
        "INVALID_ARGUMENT",
        "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\"",
    ),
    Refusal.CONTEXT_TOO_LONG: (
        "INVALID_ARGUMENT",
        "The input token count (1200345) exceeds the maximum number of tokens allowed (1048576).",
    ),
    Refusal.WRONG_KEY: ("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    Refusal.UNKNOWN_MODEL: (
        "NOT_FOUND",
        "models/gemini-none is not found for API version v1beta, or is not supported for generateContent. "
        "Call ListModels to see the list of available models and their supported methods.",
    ),
    Refusal.RATE_LIMITED: (
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    Refusal.SERVER_ERROR: ("INTERNAL", "An internal error has occurred. Please retry."),
    Refusal.OVERLOADED: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
}


class GeminiServer(Server):
    stream_type = "text/event-stream"

    def form(self, request: Request) -> Form | None:
        found = PATH.fullmatch(request.path)
        if request.method != "POST" or found is None:
            return None
        return Form.STREAM if found["method"] == "streamGenerateContent" else Form.WHOLE

    def stream(self, script: Script, request: Request) -> Iterator[Frame]:
        """Every chunk counts the tokens so far; only the last one has a finish reason."""
        parts = chain(_text_parts(script), (_call_part(call, script) for call in script.calls))
        for sent, part in enumerate(parts, 1):
            so_far = replace(script.usage, output_tokens=sent, reasoning_tokens=0)
            yield Frame(sse(_response(request, [part], so_far)), is_delta=True)
        yield Frame(sse(_response(request, [{"text": ""}], script.usage, finish=script.reason)))

    def whole(self, script: Script, request: Request) -> Json:
        parts: list[Json] = []
        if script.reasoning:
            parts.append({"text": "".join(script.reasoning), "thought": True})
        if script.text:
            parts.append({"text": "".join(script.text)})
        parts += [_call_part(call, script) for call in script.calls]
        return _response(request, parts, script.usage, finish=script.reason)

    def status(self, refusal: Refusal) -> int:
        """A wrong key is a bad request to Gemini: status 400 with the reason `API_KEY_INVALID`."""
        return 400 if refusal is Refusal.WRONG_KEY else super().status(refusal)

    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        details: list[Json] = []
        if refuse.refusal is Refusal.WRONG_KEY:
            details.append(_detail("ErrorInfo", {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}))
        if refuse.retry_after is not None:
            details.append(_detail("RetryInfo", {"retryDelay": f"{refuse.retry_after}s"}))
        return _error(refuse.refusal, status, details)

    def rejection(self, complaint: str) -> Json:
        return {"error": {"code": 400, "message": complaint, "status": "INVALID_ARGUMENT"}}

    def error_event(self, refusal: Refusal, request: Request) -> bytes:
        return sse(_error(refusal, self.status(refusal), []))


def _error(refusal: Refusal, code: int, details: list[Json]) -> Json:
    status, message = ERRORS[refusal]
    error: Json = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": details} if details else error}


def _detail(kind: str, fields: Json) -> Json:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def _text_parts(script: Script) -> Iterator[Json]:
    for piece in script.reasoning:
        yield {"text": piece, "thought": True}
    for piece in script.text_pieces():
        yield {"text": piece}


def _call_part(call: Call, script: Script) -> Json:
    """Only the first call of a reply carries the signature of the thoughts that led to it."""
    function: Json = {"name": call.name, "args": call.value}
    if script.reasoning and call is script.calls[0]:
        return {"functionCall": function, "thoughtSignature": script.signature}
    return {"functionCall": function}


def _response(
    request: Request, parts: list[Json], usage: Usage, *, finish: FinishReason | None = None
) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = FINISH_REASONS[finish]
    found = PATH.fullmatch(request.path)
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
            "totalTokenCount": usage.input_tokens + usage.output_tokens,
            "thoughtsTokenCount": usage.reasoning_tokens,
            "cachedContentTokenCount": usage.cached_tokens,
        },
        "modelVersion": found["model"] if found else "",
        "responseId": "response-1",
    }
