"""OpenAI Responses: `POST /responses`, numbered typed events, output in items that are added and done."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from core.model.messages import FinishReason
from tests.servers.base import Form, Server
from tests.servers.frames import Frame, Json, sse
from tests.servers.openai import openai_error, openai_rejection
from tests.servers.script import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.servers.record import Request
    from tests.servers.script import Call, Refuse, Script

INCOMPLETE = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.OTHER: "interrupted",
}


class ResponsesServer(Server):
    """`api_base` is `server.url`, with or without `/v1`."""

    def form(self, request: Request) -> Form | None:
        if request.method != "POST" or request.path not in ("/responses", "/v1/responses"):
            return None
        return Form.STREAM if request.body.get("stream") else Form.WHOLE

    def stream(self, script: Script, request: Request) -> Iterator[Frame]:
        return _Events(script, request).frames()

    def whole(self, script: Script, request: Request) -> Json:
        items: list[Json] = []
        if script.reasoning:
            items.append(_reasoning_item(script))
        if script.text:
            items.append(_message_item(script))
        items += [_call_item(call) for call in script.calls]
        return _ended(script, request, items)

    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        if refuse.refusal is Refusal.CONTEXT_TOO_LONG:
            return {
                "error": {
                    "message": "Your input exceeds the context window of this model. Please adjust your "
                    "input and try again.",
                    "type": "invalid_request_error", "param": "input", "code": "context_length_exceeded",
                }
            }  # fmt: skip
        return openai_error(refuse.refusal)

    def rejection(self, complaint: str) -> Json:
        return openai_rejection(complaint)

    def error_event(self, refusal: Refusal, request: Request) -> bytes:
        """The API sends both: an `error` event and the failed response."""
        message = openai_error(refusal)["error"]
        assert isinstance(message, dict)
        code = message["code"] or "server_error"
        error: Json = {"code": code, "message": message["message"]}
        failed: Json = {**_response(request), "status": "failed", "error": error, "output": []}
        return sse(
            {"type": "error", "sequence_number": 90, "error": {**message, "code": code}}, event="error"
        ) + sse(
            {"type": "response.failed", "sequence_number": 91, "response": failed}, event="response.failed"
        )

    def garbage(self, rubbish: bytes) -> bytes:
        return b"event: response.output_text.delta\n" + super().garbage(rubbish)


class _Events:
    """The event sequence of one reply; it numbers the events and collects the finished items."""

    def __init__(self, script: Script, request: Request) -> None:
        self._script = script
        self._request = request
        self._numbers = count()
        self._items: list[Json] = []

    def frames(self) -> Iterator[Frame]:
        script = self._script
        begun: Json = {"response": {**_response(self._request), "status": "in_progress", "output": []}}
        yield self._event("response.created", begun)
        yield self._event("response.in_progress", begun)
        if script.reasoning:
            yield from self._reasoning()
        if script.text:
            yield from self._message()
        for call in script.calls:
            yield from self._call(call)
        ended = _ended(script, self._request, self._items)
        yield self._event(f"response.{ended['status']}", {"response": ended})

    def _event(self, kind: str, payload: Json, *, is_delta: bool = False) -> Frame:
        numbered = {"type": kind, "sequence_number": next(self._numbers), **payload}
        return Frame(sse(numbered, event=kind), is_delta)

    def _item(self, opened: Json, body: Iterable[Frame], finished: Json) -> Iterator[Frame]:
        index = len(self._items)
        yield self._event("response.output_item.added", {"output_index": index, "item": opened})
        yield from body
        self._items.append(finished)
        yield self._event("response.output_item.done", {"output_index": index, "item": finished})

    def _part(self, kind: str, where: Json, pieces: Iterable[str]) -> Iterator[Frame]:
        for piece in pieces:
            yield self._event(f"response.{kind}.delta", {**where, "delta": piece}, is_delta=True)

    def _reasoning(self) -> Iterator[Frame]:
        finished = _reasoning_item(self._script)
        where: Json = {"item_id": finished["id"], "output_index": len(self._items), "summary_index": 0}
        text = "".join(self._script.reasoning)

        def body() -> Iterator[Frame]:
            empty: Json = {"part": {"type": "summary_text", "text": ""}}
            yield self._event("response.reasoning_summary_part.added", {**where, **empty})
            yield from self._part("reasoning_summary_text", where, self._script.reasoning)
            yield self._event("response.reasoning_summary_text.done", {**where, "text": text})
            full: Json = {"part": {"type": "summary_text", "text": text}}
            yield self._event("response.reasoning_summary_part.done", {**where, **full})

        yield from self._item({**finished, "summary": [], "encrypted_content": ""}, body(), finished)

    def _message(self) -> Iterator[Frame]:
        finished = _message_item(self._script)
        where: Json = {"item_id": finished["id"], "output_index": len(self._items), "content_index": 0}
        text = "".join(self._script.text)

        def body() -> Iterator[Frame]:
            yield self._event("response.content_part.added", {**where, "part": _text("")})
            yield from self._part("output_text", {**where, "logprobs": []}, self._script.text_pieces())
            yield self._event("response.output_text.done", {**where, "text": text, "logprobs": []})
            yield self._event("response.content_part.done", {**where, "part": _text(text)})

        yield from self._item({**finished, "status": "in_progress", "content": []}, body(), finished)

    def _call(self, call: Call) -> Iterator[Frame]:
        finished = _call_item(call)
        where: Json = {"item_id": finished["id"], "output_index": len(self._items)}

        def body() -> Iterator[Frame]:
            yield from self._part("function_call_arguments", where, call.arguments)
            done: Json = {"arguments": finished["arguments"]}
            yield self._event("response.function_call_arguments.done", {**where, **done})

        yield from self._item({**finished, "status": "in_progress", "arguments": ""}, body(), finished)


def _text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _reasoning_item(script: Script) -> Json:
    summary = [{"type": "summary_text", "text": "".join(script.reasoning)}]
    return {"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": script.signature}


def _message_item(script: Script) -> Json:
    content = [_text("".join(script.text))]
    return {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": content}


def _call_item(call: Call) -> Json:
    return {
        "id": f"fc_{call.call_id}", "type": "function_call", "status": "completed",
        "call_id": call.call_id or "", "name": call.name, "arguments": call.text,
    }  # fmt: skip


def _response(request: Request) -> Json:
    return {
        "id": "resp_1", "object": "response", "created_at": 1_790_000_000, "model": request.model,
        "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "reasoning": {"effort": None, "summary": None}, "store": False, "usage": None,
    }  # fmt: skip


def _ended(script: Script, request: Request, items: list[Json]) -> Json:
    reason = INCOMPLETE.get(script.reason)
    usage: Json = {
        "input_tokens": script.usage.input_tokens,
        "input_tokens_details": {"cached_tokens": script.usage.cached_tokens},
        "output_tokens": script.usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": script.usage.reasoning_tokens},
        "total_tokens": script.usage.input_tokens + script.usage.output_tokens,
    }
    return {
        **_response(request),
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items,
        "usage": usage,
    }
