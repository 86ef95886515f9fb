"""Ollama: `POST /api/chat` with one JSON document per line, and the model's description that clients ask for.

A tool call always comes whole and has no id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.messages import FinishReason
from tests.servers.base import Aside, Form, Server
from tests.servers.frames import Frame, Json, ndjson
from tests.servers.script import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.record import Request
    from tests.servers.script import Call, Refuse, Script

ERRORS = {
    Refusal.BAD_REQUEST: "invalid options: temperature must be a number",
    Refusal.CONTEXT_TOO_LONG: "the input length exceeds the context length",
    Refusal.WRONG_KEY: "unauthorized",
    Refusal.UNKNOWN_MODEL: "model 'none' not found",
    Refusal.RATE_LIMITED: "too many requests, please try again later",
    Refusal.SERVER_ERROR: "model runner has unexpectedly stopped, this may be due to resource limitations or "
    "an internal error, check ollama server logs for details",
    Refusal.OVERLOADED: "server busy, please try again.  maximum pending requests exceeded",
}

DONE_REASONS = {FinishReason.LENGTH: "length", FinishReason.OTHER: "unload"}

DESCRIPTION: Json = {
    "details": {
        "format": "gguf",
        "family": "llama",
        "parameter_size": "8.0B",
        "quantization_level": "Q4_K_M",
    },
    "model_info": {"general.architecture": "llama", "llama.context_length": 131072},
    "template": "{{ .System }} {{ .Tools }} {{ .Prompt }}",
    "capabilities": ["completion", "tools", "thinking"],
}


class OllamaServer(Server):
    stream_type = "application/x-ndjson"

    def form(self, request: Request) -> Form | Aside | None:
        match request.method, request.path:
            case "POST", "/api/chat":
                return Form.STREAM if request.body.get("stream", True) else Form.WHOLE
            case "POST", "/api/show":
                return Aside(DESCRIPTION)
            case "GET", "/api/tags":
                return Aside({"models": [{"name": "llama3.1:latest", "model": "llama3.1:latest"}]})
            case "GET", "/api/version":
                return Aside({"version": "0.13.0"})
            case _:
                return None

    def stream(self, script: Script, request: Request) -> Iterator[Frame]:
        for piece in script.reasoning:
            yield Frame(ndjson(_reply(request, {"content": "", "thinking": piece})), is_delta=True)
        for piece in script.text_pieces():
            yield Frame(ndjson(_reply(request, {"content": piece})), is_delta=True)
        for index, call in enumerate(script.calls):
            message: Json = {"content": "", "tool_calls": [_call(index, call)]}
            yield Frame(ndjson(_reply(request, message)), is_delta=True)
        yield Frame(ndjson(_reply(request, {"content": ""}, ending=script)))

    def whole(self, script: Script, request: Request) -> Json:
        message: Json = {"content": "".join(script.text)}
        if script.reasoning:
            message["thinking"] = "".join(script.reasoning)
        if script.calls:
            message["tool_calls"] = [_call(index, call) for index, call in enumerate(script.calls)]
        return _reply(request, message, ending=script)

    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        return {"error": ERRORS[refuse.refusal]}

    def rejection(self, complaint: str) -> Json:
        return {"error": complaint}

    def error_event(self, refusal: Refusal, request: Request) -> bytes:
        return ndjson({"error": ERRORS[refusal]})

    def garbage(self, rubbish: bytes) -> bytes:
        return rubbish + b"\n"


def _reply(request: Request, message: Json, *, ending: Script | None = None) -> Json:
    reply: Json = {
        "model": request.model, "created_at": "2026-11-21T00:00:00.000000Z",
        "message": {"role": "assistant", **message}, "done": ending is not None,
    }  # fmt: skip
    if ending is None:
        return reply
    return {
        **reply,
        "done_reason": DONE_REASONS.get(ending.reason, "stop"),
        "total_duration": 4_000_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": ending.usage.input_tokens,
        "prompt_eval_duration": 1_000_000,
        "eval_count": ending.usage.output_tokens,
        "eval_duration": 3_000_000_000,
    }


def _call(index: int, call: Call) -> Json:
    return {"function": {"index": index, "name": call.name, "arguments": call.value}}
