"""Vendors that each want something of theirs back, and refuse what others have sealed.

Every vendor makes one reply of its own, with calls, and takes the next request only if that reply is in it
exactly as it was, byte for byte. Forms and rules are those of the vendors' documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.anthropic import AnthropicServer
from tests.servers.frames import Frame, Json, ndjson, sse
from tests.servers.gemini import GeminiServer
from tests.servers.ollama import OllamaServer
from tests.servers.openai import OpenAIServer
from tests.servers.responses import ResponsesServer
from tests.servers.strict import CALL_ID, Rules, complaint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers.base import Server
    from tests.servers.record import Request
    from tests.servers.script import Script

NINE = re.compile(r"[A-Za-z0-9]{9}")
ANY_ID = re.compile(r".+")
ARGUMENTS = '{"path": "a"}'


@dataclass(frozen=True, slots=True)
class Vendor:
    """`frames` is its reply as a stream, `whole` as a document; as the items `returned` it has to come back.
    `seals` are the texts in it that nobody else may get."""

    name: str
    server: type[Server]
    model: str
    frames: tuple[bytes, ...]
    whole: Json
    returned: tuple[Json, ...]
    seals: tuple[str, ...]
    call_id: re.Pattern[str] = CALL_ID
    must_have: str = ""
    refuses: tuple[str, ...] = field(default=("reasoning_details", "extra_content", "thinking_blocks"))

    def __str__(self) -> str:
        return self.name


def playing(vendor: Vendor) -> Server:
    """A server that makes the vendor's own reply first, and usual ones as long as that comes back."""
    usual: type[Server] = vendor.server
    foreign = tuple(seal for other in VENDORS.values() if other is not vendor for seal in other.seals)
    rules = Rules(vendor.call_id, vendor.must_have, vendor.refuses, foreign)

    class Playing(usual):  # type: ignore[misc, valid-type]
        has_replied = False

        def complaint(self, request: Request) -> str | None:
            return complaint(request, rules, vendor.returned if self.has_replied else ())

        def stream(self, script: Script, request: Request) -> Iterator[Frame]:
            if self.has_replied:
                return super().stream(script, request)  # type: ignore[no-any-return]
            self.has_replied = True
            return (Frame(data, is_delta=True) for data in vendor.frames)

        def whole(self, script: Script, request: Request) -> Json:
            if self.has_replied:
                return super().whole(script, request)  # type: ignore[no-any-return]
            self.has_replied = True
            return vendor.whole

    return Playing()


def _call(call_id: str, **more: object) -> Json:
    function = {"name": "read", "arguments": ARGUMENTS}
    return {"id": call_id, "type": "function", "function": function, **more}


def _chat(
    name: str,
    model: str,
    message: Mapping[str, Any],
    *deltas: Mapping[str, Any],
    seals: tuple[str, ...],
    **rules: Any,
) -> Vendor:
    """A vendor that speaks OpenAI's protocol: `message` in `deltas`, to which the calls are added."""
    calls = [{"index": place, **call} for place, call in enumerate(message["tool_calls"])]
    choices: list[Mapping[str, Any]] = [*({"delta": it} for it in deltas), {"delta": {"tool_calls": calls}}]
    choices.append({"delta": {}, "finish_reason": "tool_calls"})
    frames = [sse({"choices": [{"index": 0, "finish_reason": None, **choice}]}) for choice in choices]
    said = {"role": "assistant", **message}
    whole: Json = {"choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}]}
    returned = {key: value for key, value in said.items() if value is not None}
    return Vendor(
        name, OpenAIServer, model, (*frames, b"data: [DONE]\n\n"), whole, (returned,), seals, **rules
    )


def _plain(name: str, model: str, made_id: str, field: str = "reasoning_content", **rules: Any) -> Vendor:
    """One that wants its reasoning as text, in the field that it has used."""
    pieces = (f"The {name} must ", "be read.\n")
    reasoning = "".join(pieces)
    message = {"content": "Let me look.", field: reasoning, "tool_calls": [_call(made_id)]}
    thought = ({field: piece, "content": None} for piece in pieces)
    return _chat(
        name, model, message, {"role": "assistant", "content": ""}, *thought, {"content": "Let me look."},
        seals=(reasoning,), **rules,
    )  # fmt: skip


def _empty(name: str, model: str) -> Vendor:
    """One that has reasoned without a word, and wants just that back."""
    message = {"content": None, "reasoning_content": "", "tool_calls": [_call("call_empty")]}
    return _chat(name, model, message, {"role": "assistant", "reasoning_content": ""}, seals=())


def _openrouter() -> Vendor:
    def detail(kind: str, index: int, **more: object) -> Json:
        return {"type": f"reasoning.{kind}", "format": "anthropic-claude-v1", "index": index, **more}

    sealed = detail("encrypted", 1, data="c2VhbGVkLWJ5LW9wZW5yb3V0ZXI=", id="rs_9")
    signature = "c2lnbmVkLWJ5LW9wZW5yb3V0ZXI="
    late = detail("encrypted", 2, data="bGF0ZS1zZWFs", id="call_or")
    deltas = (
        {"content": "", "reasoning": "Open ", "reasoning_details": [detail("text", 0, text="Open ")]},
        {"content": "", "reasoning": "it.", "reasoning_details": [detail("text", 0, text="it.")]},
        {"content": "Let me look."},
        {"content": "", "reasoning_details": [detail("text", 0, text="", signature=signature), sealed]},
        {"content": "", "reasoning_details": [late]},
    )
    details = [detail("text", 0, text="Open it.", signature=signature), sealed, late]
    message = {"content": "Let me look.", "reasoning_details": details, "tool_calls": [_call("call_or")]}
    seals = (signature, str(sealed["data"]), str(late["data"]))
    return _chat(
        "openrouter", "openrouter/anthropic/claude-sonnet-4.5", message, *deltas, seals=seals,
        refuses=("extra_content", "thinking_blocks"),
    )  # fmt: skip


def _gemini_by_chat() -> Vendor:
    signature = "c2lnbmVkLWJ5LWdvb2dsZS1pbi1jaGF0"
    extra = {"google": {"thought_signature": signature}}
    calls = [_call("function-call-1", extra_content=extra), _call("function-call-2")]
    return _chat(
        "google in chat", "openai/gemini-3-pro", {"content": None, "tool_calls": calls},
        {"role": "assistant", "content": None}, seals=(signature,),
    )  # fmt: skip


def _proxy() -> Vendor:
    """litellm's own proxy puts Gemini's signature into the id."""
    signature = "c2lnbmVkLWJlaGluZC1hLXByb3h5"
    message = {"content": "Let me look.", "tool_calls": [_call(f"call_7__thought__{signature}")]}
    return _chat(
        "proxy", "litellm_proxy/gemini-3-pro", message, {"content": "Let me look."}, seals=(signature,),
        call_id=ANY_ID,
    )  # fmt: skip


def _copilot() -> Vendor:
    fields = {"reasoning_text": "I fly.", "reasoning_opaque": "b3BhcXVlLXRvLW90aGVycw=="}
    message = {"content": "Let me look.", **fields, "tool_calls": [_call("call_co")]}
    return _chat(
        "opaque", "openai/flying", message, {"reasoning_text": "I fly."},
        {"reasoning_opaque": fields["reasoning_opaque"]}, {"content": "Let me look."},
        seals=(fields["reasoning_opaque"],),
    )  # fmt: skip


def _mistral() -> Vendor:
    def thinking(text: str) -> Json:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    text = {"type": "text", "text": "Let me look."}
    message = {"content": [thinking("The wind blows."), text], "tool_calls": [_call("Ab3dE5gH9")]}
    return _chat(
        "mistral", "mistral/magistral-medium-latest", message, {"content": [thinking("The wind ")]},
        {"content": [thinking("blows.")]}, {"content": "Let me look."},
        seals=("The wind blows.",), call_id=NINE,
        refuses=("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"),
    )  # fmt: skip


def _groq() -> Vendor:
    """It shows reasoning and does not want it back."""
    message = {"content": "Let me look.", "tool_calls": [_call("fc_1")]}
    return _chat(
        "groq", "groq/openai/gpt-oss-120b", message, {"reasoning": "Fast."}, {"content": "Let me look."},
        seals=(), refuses=("reasoning", "reasoning_content", "reasoning_details", "thinking_blocks"),
    )  # fmt: skip


def _anthropic() -> Vendor:
    blocks: list[Json] = [
        {"type": "thinking", "thinking": "First.", "signature": "Zmlyc3Qtc2VhbA=="},
        {"type": "redacted_thinking", "data": "cmVkYWN0ZWQtc2VhbA=="},
        {"type": "text", "text": "Let me look."},
        {"type": "thinking", "thinking": "", "signature": "c2Vjb25kLXNlYWw="},
        {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}},
    ]
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"type": "message", "role": "assistant", "model": "m", "usage": usage}

    def event(kind: str, **more: object) -> bytes:
        return sse({"type": kind, **more}, event=kind)

    frames = [event("message_start", message=message)]
    for index, block in enumerate(blocks):
        frames.append(event("content_block_start", index=index, content_block=block))
        frames.append(event("content_block_stop", index=index))
    frames.append(event("message_delta", delta={"stop_reason": "tool_use"}, usage=usage))
    whole: Json = {**message, "content": blocks, "stop_reason": "tool_use"}
    seals = ("Zmlyc3Qtc2VhbA==", "cmVkYWN0ZWQtc2VhbA==", "c2Vjb25kLXNlYWw=")
    return Vendor(
        "anthropic", AnthropicServer, "anthropic/claude-sonnet-4-5", (*frames, event("message_stop")), whole,
        ({"role": "assistant", "content": blocks},), seals,
    )  # fmt: skip


def _gemini() -> Vendor:
    def part(name: str) -> Json:
        call = {"name": "read", "args": {"path": "a"}}
        return {name: call, "thoughtSignature": "Z2VtaW5pLWNhbGw="}

    text = {"text": "Let me look.", "thoughtSignature": "Z2VtaW5pLXRleHQ="}
    plain = {"name": "now", "args": {}}

    def response(*parts: Mapping[str, Any], **more: object) -> Json:
        return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}

    frames = (
        sse(response({"text": "Let me look."})),
        sse(response({"text": "", "thoughtSignature": "Z2VtaW5pLXRleHQ="})),
        sse(response(part("functionCall"), {"functionCall": plain})),
        sse(response(finishReason="STOP")),
    )
    whole = response(text, part("functionCall"), {"functionCall": plain}, finishReason="STOP")
    returned: Json = {"role": "model", "parts": [text, part("function_call"), {"function_call": plain}]}
    seals = ("Z2VtaW5pLWNhbGw=", "Z2VtaW5pLXRleHQ=")
    return Vendor("gemini", GeminiServer, "gemini/gemini-2.5-flash", frames, whole, (returned,), seals)


def _ollama() -> Vendor:
    def line(message: Json, **more: object) -> Json:
        return {"model": "m", "message": {"role": "assistant", **message}, "done": False, **more}

    call = {"function": {"name": "read", "arguments": {"path": "a"}}}
    parts: tuple[Json, ...] = (
        {"content": "", "thinking": "At "}, {"content": "", "thinking": "home."},
        {"content": "Let me look."}, {"content": "", "tool_calls": [call]},
    )  # fmt: skip
    frames = (*(ndjson(line(message)) for message in parts), ndjson(line({"content": ""}, done=True)))
    said: Json = {"content": "Let me look.", "thinking": "At home.", "tool_calls": [call]}
    returned: Json = {"role": "assistant", **said}
    return Vendor(
        "ollama",
        OllamaServer,
        "ollama_chat/gpt-oss",
        frames,
        line(said, done=True),
        (returned,),
        ("At home.",),
    )


def _responses(name: str, model: str) -> Vendor:
    seal = f"c2VhbGVk-{name}".replace(" ", "-")
    summary = [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]
    item: Json = {"type": "reasoning", "id": f"rs_{name[:2]}", "summary": summary, "encrypted_content": seal}
    call: Json = {"type": "function_call", "call_id": "call_r", "name": "read", "arguments": ARGUMENTS}
    output = [{**item, "status": None}, {**call, "id": "fc_1"}]
    response: Json = {"object": "response", "status": "completed", "output": output}

    def event(kind: str, **more: object) -> bytes:
        return sse({"type": f"response.{kind}", **more}, event=f"response.{kind}")

    frames = [event("output_item.done", output_index=place, item=made) for place, made in enumerate(output)]
    frames.append(event("completed", response=response))
    return Vendor(name, ResponsesServer, model, tuple(frames), response, (item, call), (seal,))


VENDORS: dict[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        _plain("deepseek", "deepseek/deepseek-v4-pro", "call_00_x", must_have="reasoning_content"),
        _plain(
            "kimi", "moonshot/kimi-k2.6", "functions.read:0", must_have="reasoning_content", call_id=ANY_ID
        ),
        _plain("glm", "zai/glm-4.7", "call_glm", must_have="reasoning_content"),
        _plain("minimax", "minimax/MiniMax-M2.1", "call_mm", must_have="reasoning_content"),
        _plain("kimi at home", "openai/Kimi-K2-Thinking", "call_home", must_have="reasoning_content"),
        _plain("vllm", "openai/my-model", "chatcmpl-tool-1", "reasoning"),
        _empty("wordless", "openai/quiet"),
        _openrouter(),
        _gemini_by_chat(),
        _proxy(),
        _copilot(),
        _mistral(),
        _groq(),
        _anthropic(),
        _gemini(),
        _ollama(),
        _responses("openai", "openai/responses/gpt-5"),
        _responses("another host", "openai/responses/my-reasoner"),
    )
}
