"""Vendors that each want something of theirs back, and refuse what others have sealed.

Every vendor makes replies of its own, with calls, and takes the next request only if they are in it exactly
as they were, byte for byte. Forms and rules are those of the vendors' documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from tests.servers.anthropic import AnthropicServer
from tests.servers.frames import Frame, Json, ndjson, sse
from tests.servers.gemini import GeminiServer
from tests.servers.ollama import OllamaServer
from tests.servers.openai import OpenAIServer
from tests.servers.responses import ResponsesServer
from tests.servers.script import Call
from tests.servers.strict import CALL_ID, Rules, complaint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.servers.base import Server
    from tests.servers.record import Request
    from tests.servers.script import Script

NINE = re.compile(r"[A-Za-z0-9]{9}")
ANY_ID = re.compile(r".+")
READ = Call(None, "read", ('{"path": ', '"a"}'))


class Ids(Enum):
    """The ids that a vendor gives its calls."""

    OWN = auto()
    SAME = auto()
    """The same in each reply. They cannot all come back, nobody would know which call is meant."""
    NONE = auto()


@dataclass(frozen=True, slots=True)
class Said:
    """What a vendor is to say. `number` stands at the beginning of all its texts and seals; 0 stands nowhere.
    Of `calls` name and arguments count."""

    number: int = 0
    thinks: bool = True
    speaks: bool = True
    calls: tuple[Call, ...] = (READ,)
    ids: Ids = Ids.OWN

    @property
    def pieces(self) -> tuple[str, ...]:
        return (self.own("Let me "), "look.") if self.speaks else ()

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def own(self, text: str) -> str:
        return f"{self.number or ''}{text}"

    def call_id(self, made: str, place: int) -> str | None:
        """Of the call at this place; `made` is that of the first one."""
        match self.ids:
            case Ids.NONE:
                return None
            case Ids.SAME:
                return made[:-1] + str(place) if place else made
        if self.number == place == 0:
            return made
        return f"{self.number:05}{place:04}" if NINE.fullmatch(made) else f"{made}{self.number}x{place}"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A reply: `frames` and then `end` or, where it was cut by length, `cut_end` as a stream, `whole` as a
    document. As the items `returned` it has to come back. `seals` are the texts in it that nobody else may
    get."""

    frames: tuple[bytes, ...]
    end: tuple[bytes, ...]
    cut_end: tuple[bytes, ...]
    whole: Json
    returned: tuple[Json, ...]
    seals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vendor:
    """`say` makes its replies; `usual` is what it says in a test of one reply."""

    name: str
    server: type[Server]
    model: str
    say: Callable[[Said], Spoken]
    usual: Said = field(default=Said())
    call_id: re.Pattern[str] = CALL_ID
    must_have: str = ""
    refuses: tuple[str, ...] = ("reasoning_details", "extra_content", "thinking_blocks")

    def __str__(self) -> str:
        return self.name

    @property
    def seals(self) -> tuple[str, ...]:
        return self.say(self.usual).seals

    def rules(self, foreign: Iterable[str]) -> Rules:
        return Rules(self.call_id, self.must_have, self.refuses, tuple(foreign))


def playing(vendor: Vendor) -> Server:
    """A server that makes the vendor's own reply first, and usual ones as long as that comes back."""
    usual: type[Server] = vendor.server
    spoken = vendor.say(vendor.usual)
    foreign = (seal for other in VENDORS.values() if other.name != vendor.name for seal in other.seals)
    rules = vendor.rules(foreign)

    class Playing(usual):  # type: ignore[misc, valid-type]
        has_replied = False

        def complaint(self, request: Request) -> str | None:
            return complaint(request, rules, spoken.returned if self.has_replied else ())

        def stream(self, script: Script, request: Request) -> Iterator[Frame]:
            if self.has_replied:
                return super().stream(script, request)  # type: ignore[no-any-return]
            self.has_replied = True
            return (Frame(data, is_delta=True) for data in (*spoken.frames, *spoken.end))

        def whole(self, script: Script, request: Request) -> Json:
            if self.has_replied:
                return super().whole(script, request)  # type: ignore[no-any-return]
            self.has_replied = True
            return spoken.whole

    return Playing()


# -- vendors that speak OpenAI's protocol --


def _chat(
    said: Said,
    made_id: str,
    *deltas: Mapping[str, Any],
    seals: tuple[str, ...] = (),
    extra: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Spoken:
    """A reply with its `fields` in `deltas`, to which the calls are added, the first of them with `extra`."""
    calls, opened = [], []
    for place, call in enumerate(said.calls):
        more: Json = {"type": "function", **((extra or {}) if place == 0 else {})}
        if (call_id := said.call_id(made_id, place)) is not None:
            more["id"] = call_id
        first, *rest = call.arguments
        calls.append({**more, "function": {"name": call.name, "arguments": call.text}})
        function = {"name": call.name, "arguments": first}
        opened.append({"tool_calls": [{"index": place, **more, "function": function}]})
        opened += ({"tool_calls": [{"index": place, "function": {"arguments": piece}}]} for piece in rest)
    message = {"role": "assistant", "content": said.text or None, **fields}
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls else "stop"
    returned = {key: value for key, value in message.items() if value is not None}
    return Spoken(
        tuple(_chunk(delta) for delta in (*deltas, *opened)),
        (_chunk({}, reason), b"data: [DONE]\n\n"),
        (_chunk({}, "length"), b"data: [DONE]\n\n"),
        {"choices": [{"index": 0, "message": message, "finish_reason": reason}]},
        (returned,),
        seals,
    )


def _chunk(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def _speaking(said: Said) -> Iterator[Json]:
    return ({"content": piece} for piece in said.pieces)


def _plain(name: str, model: str, made_id: str, field: str = "reasoning_content", **rules: Any) -> Vendor:
    """One that wants its reasoning as text, in the field that it has used."""

    def say(said: Said) -> Spoken:
        pieces = (said.own(f"The {name} must "), "be read.\n") if said.thinks else ()
        thought = ({field: piece, "content": None} for piece in pieces)
        fields, seals = ({field: "".join(pieces)}, ("".join(pieces),)) if pieces else ({}, ())
        opening = {"role": "assistant", "content": ""}
        return _chat(said, made_id, opening, *thought, *_speaking(said), seals=seals, **fields)

    return Vendor(name, OpenAIServer, model, say, **rules)


def _empty(name: str, model: str) -> Vendor:
    """One that has reasoned without a word, and wants just that back."""

    def say(said: Said) -> Spoken:
        fields = {"reasoning_content": ""} if said.calls and not said.speaks else {}
        return _chat(said, "call_empty", {"role": "assistant", **fields}, *_speaking(said), **fields)

    return Vendor(name, OpenAIServer, model, say, Said(speaks=False))


def _openrouter() -> Vendor:
    def detail(kind: str, index: int, **more: object) -> Json:
        return {"type": f"reasoning.{kind}", "format": "anthropic-claude-v1", "index": index, **more}

    def say(said: Said) -> Spoken:
        if not said.thinks:
            return _chat(said, "call_or", *_speaking(said))
        text, signature = said.own("Open "), said.own("c2lnbmVkLWJ5LW9wZW5yb3V0ZXI=")
        sealed = detail("encrypted", 1, data=said.own("c2VhbGVkLWJ5LW9wZW5yb3V0ZXI="), id="rs_9")
        late = detail("encrypted", 2, data=said.own("bGF0ZS1zZWFs"), id="call_or")
        signed = [detail("text", 0, text="", signature=signature), sealed]
        deltas = (
            {"content": "", "reasoning": text, "reasoning_details": [detail("text", 0, text=text)]},
            {"content": "", "reasoning": "it.", "reasoning_details": [detail("text", 0, text="it.")]},
            *_speaking(said),
            {"content": "", "reasoning_details": signed},
            {"content": "", "reasoning_details": [late]},
        )
        details = [detail("text", 0, text=f"{text}it.", signature=signature), sealed, late]
        seals = (signature, str(sealed["data"]), str(late["data"]))
        return _chat(said, "call_or", *deltas, seals=seals, reasoning_details=details)

    model, refuses = "openrouter/anthropic/claude-sonnet-4.5", ("extra_content", "thinking_blocks")
    return Vendor("openrouter", OpenAIServer, model, say, refuses=refuses)


def _gemini_by_chat() -> Vendor:
    def say(said: Said) -> Spoken:
        signature = said.own("c2lnbmVkLWJ5LWdvb2dsZS1pbi1jaGF0")
        extra = {"extra_content": {"google": {"thought_signature": signature}}}
        opening = {"role": "assistant", "content": None}
        return _chat(
            said, "function-call-1", opening, *_speaking(said), seals=(signature,), extra=extra
        )  # fmt: skip

    usual = Said(speaks=False, calls=(READ, READ))
    return Vendor("google in chat", OpenAIServer, "openai/gemini-3-pro", say, usual)


def _proxy() -> Vendor:
    """litellm's own proxy puts Gemini's signature into the id."""

    def say(said: Said) -> Spoken:
        signature = "c2lnbmVkLWJlaGluZC1hLXByb3h5"
        return _chat(said, f"call_7__thought__{signature}", *_speaking(said), seals=(signature,))

    return Vendor("proxy", OpenAIServer, "litellm_proxy/gemini-3-pro", say, call_id=ANY_ID)


def _copilot() -> Vendor:
    def say(said: Said) -> Spoken:
        text, opaque = said.own("I fly."), said.own("b3BhcXVlLXRvLW90aGVycw==")
        if not said.thinks:
            return _chat(said, "call_co", *_speaking(said))
        deltas = ({"reasoning_text": text}, {"reasoning_opaque": opaque}, *_speaking(said))
        return _chat(said, "call_co", *deltas, seals=(opaque,), reasoning_text=text, reasoning_opaque=opaque)

    return Vendor("opaque", OpenAIServer, "openai/flying", say)


def _mistral() -> Vendor:
    def thinking(text: str) -> Json:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    def say(said: Said) -> Spoken:
        if not said.thinks:
            return _chat(said, "Ab3dE5gH9", *_speaking(said))
        thought = (said.own("The wind "), "blows.")
        content = [
            thinking("".join(thought)),
            *({"type": "text", "text": said.text} for _ in said.pieces[:1]),
        ]
        deltas = (*({"content": [thinking(piece)]} for piece in thought), *_speaking(said))
        return _chat(said, "Ab3dE5gH9", *deltas, seals=("".join(thought),), content=content)

    refuses = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
    model = "mistral/magistral-medium-latest"
    return Vendor("mistral", OpenAIServer, model, say, call_id=NINE, refuses=refuses)


def _groq() -> Vendor:
    """It shows reasoning and does not want it back."""

    def say(said: Said) -> Spoken:
        thought = ({"reasoning": said.own("Fast.")},) if said.thinks else ()
        return _chat(said, "fc_1", *thought, *_speaking(said))

    refuses = ("reasoning", "reasoning_content", "reasoning_details", "thinking_blocks")
    return Vendor("groq", OpenAIServer, "groq/openai/gpt-oss-120b", say, refuses=refuses)


# -- vendors with protocols of their own --


def _anthropic_blocks(said: Said) -> list[tuple[Json, Json, tuple[Json, ...]]]:
    """The blocks as they are in the end and as they open, and the deltas between."""
    blocks: list[tuple[Json, Json, tuple[Json, ...]]] = []
    if said.thinks:
        first, seal = said.own("First."), said.own("Zmlyc3Qtc2VhbA==")
        pieces = (
            {"type": "thinking_delta", "thinking": first[:-3]}, {"type": "thinking_delta", "thinking": "st."},
            {"type": "signature_delta", "signature": seal},
        )  # fmt: skip
        thinking: Json = {"type": "thinking", "thinking": first, "signature": seal}
        blocks.append((thinking, {**thinking, "thinking": "", "signature": ""}, pieces))
        hidden: Json = {"type": "redacted_thinking", "data": said.own("cmVkYWN0ZWQtc2VhbA==")}
        blocks.append((hidden, hidden, ()))
    if said.speaks:
        spoken = tuple({"type": "text_delta", "text": piece} for piece in said.pieces)
        text: Json = {"type": "text", "text": said.text}
        blocks.append((text, {**text, "text": ""}, spoken))
    if said.thinks and said.speaks and said.calls:
        again: Json = {"type": "thinking", "thinking": "", "signature": said.own("c2Vjb25kLXNlYWw=")}
        blocks.append((again, again, ()))
    for place, call in enumerate(said.calls):
        use: Json = {"type": "tool_use", "id": said.call_id("toolu_1", place) or "", "name": call.name}
        given = tuple({"type": "input_json_delta", "partial_json": piece} for piece in call.arguments)
        blocks.append(({**use, "input": call.value}, {**use, "input": {}}, given))
    return blocks


def _anthropic() -> Vendor:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"type": "message", "role": "assistant", "model": "m", "usage": usage}

    def event(kind: str, **more: object) -> bytes:
        return sse({"type": kind, **more}, event=kind)

    def end(reason: str) -> tuple[bytes, ...]:
        return event("message_delta", delta={"stop_reason": reason}, usage=usage), event("message_stop")

    def say(said: Said) -> Spoken:
        blocks = _anthropic_blocks(said)
        frames = [event("message_start", message=message)]
        for index, (_, opened, deltas) in enumerate(blocks):
            frames.append(event("content_block_start", index=index, content_block=opened))
            frames += (event("content_block_delta", index=index, delta=delta) for delta in deltas)
            frames.append(event("content_block_stop", index=index))
        reason = "tool_use" if said.calls else "end_turn"
        content = [block for block, _, _ in blocks]
        names = ("Zmlyc3Qtc2VhbA==", "cmVkYWN0ZWQtc2VhbA==", "c2Vjb25kLXNlYWw=")
        return Spoken(
            tuple(frames), end(reason), end("max_tokens"),
            {**message, "content": content, "stop_reason": reason},
            ({"role": "assistant", "content": content},), tuple(map(said.own, names)),
        )  # fmt: skip

    return Vendor("anthropic", AnthropicServer, "anthropic/claude-sonnet-4-5", say)


def _gemini() -> Vendor:
    def response(*parts: Mapping[str, Any], **more: object) -> Json:
        return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}

    def say(said: Said) -> Spoken:
        seals = (said.own("Z2VtaW5pLXRleHQ="), said.own("Z2VtaW5pLWNhbGw="))
        sealed = {"text": said.text, "thoughtSignature": seals[0]}
        texts = [sealed] if said.speaks else []
        thoughts = [{"text": said.own("Hm."), "thought": True}] if said.thinks else []

        made: list[Json] = [{"functionCall": {"name": call.name, "args": call.value}} for call in said.calls]
        calls = [{**call, "thoughtSignature": seals[1]} if call is made[0] else call for call in made]
        pieces = [*thoughts, *({"text": piece} for piece in said.pieces)]
        frames = [response(part) for part in (*pieces, *({**it, "text": ""} for it in texts))]
        whole = response(*texts, *calls, finishReason="STOP")
        return Spoken(
            tuple(sse(it) for it in (*frames, *(response(call) for call in calls))),
            (sse(response(finishReason="STOP")),), (sse(response(finishReason="MAX_TOKENS")),), whole,
            ({"role": "model", "parts": [*texts, *calls]},), seals,
        )  # fmt: skip

    usual = Said(calls=(READ, Call(None, "now")))
    return Vendor("gemini", GeminiServer, "gemini/gemini-2.5-flash", say, usual)


def _ollama() -> Vendor:
    def line(message: Json, **more: object) -> Json:
        return {"model": "m", "message": {"role": "assistant", **message}, "done": False, **more}

    def say(said: Said) -> Spoken:
        thought = (said.own("At "), "home.") if said.thinks else ()
        calls = [{"function": {"name": call.name, "arguments": call.value}} for call in said.calls]
        parts: list[Json] = [{"content": "", "thinking": piece} for piece in thought]
        parts += ({"content": piece} for piece in said.pieces)
        parts += ({"content": "", "tool_calls": [call]} for call in calls)
        spoken: Json = {"content": said.text} if said.speaks else {}
        spoken |= {"thinking": "".join(thought)} if thought else {}
        spoken |= {"tool_calls": calls} if calls else {}
        ends = (ndjson(line({"content": ""}, done=True, done_reason=reason)) for reason in ("stop", "length"))
        whole, cut = ((end,) for end in ends)
        return Spoken(
            tuple(ndjson(line(part)) for part in parts), whole, cut,
            line({"content": "", **spoken}, done=True), ({"role": "assistant", **spoken},),
            ("".join(thought),) if thought else (),
        )  # fmt: skip

    return Vendor("ollama", OllamaServer, "ollama_chat/gpt-oss", say)


def _responses_items(said: Said, name: str) -> list[tuple[Json, Json, list[Json]]]:
    """The items as they come back and as they are done, and what they grow by."""
    items: list[tuple[Json, Json, list[Json]]] = []
    if said.thinks:
        texts = (said.own("One."), "Two.")
        summary = [{"type": "summary_text", "text": text} for text in texts]
        seal = said.own(f"c2VhbGVkLWJ5-{name}".replace(" ", "-"))
        item: Json = {"type": "reasoning", "id": said.own(f"rs_{name[:2]}"), "summary": summary}
        item["encrypted_content"] = seal
        grown = [
            {"type": "reasoning_summary_text.delta", "summary_index": index, "delta": text}
            for index, text in enumerate(texts)
        ]
        items.append((item, {**item, "status": None}, grown))
    if said.speaks:
        content = [{"type": "output_text", "text": said.text}]
        grown = [{"type": "output_text.delta", "content_index": 0, "delta": it} for it in said.pieces]
        message: Json = {"role": "assistant", "content": said.text}
        items.append((message, {"type": "message", "role": "assistant", "content": content}, grown))
    for place, call in enumerate(said.calls):
        made: Json = {"type": "function_call", "call_id": said.call_id("call_r", place), "name": call.name}
        grown = [{"type": "function_call_arguments.delta", "delta": piece} for piece in call.arguments]
        made = {key: value for key, value in made.items() if value is not None}
        whole: Json = {**made, "arguments": call.text}
        items.append((whole, {**whole, "id": f"fc_{said.number}_{place}"}, grown))
    return items


def _responses(name: str, model: str) -> Vendor:
    def event(kind: object, **more: object) -> bytes:
        return sse({"type": f"response.{kind}", **more}, event=f"response.{kind}")

    def say(said: Said) -> Spoken:
        items = _responses_items(said, name)
        frames = []
        for place, (_, done, grown) in enumerate(items):
            if done["type"] == "function_call":
                opened = {**done, "arguments": ""}
                frames.append(event("output_item.added", output_index=place, item=opened))
            frames += (event(it.pop("type"), output_index=place, **it) for it in grown)
            frames.append(event("output_item.done", output_index=place, item=done))
        response: Json = {"object": "response", "status": "completed", "output": [it for _, it, _ in items]}
        why = {"incomplete_details": {"reason": "max_output_tokens"}}
        cut = {**response, "status": "incomplete", "output": [], **why}
        return Spoken(
            tuple(frames), (event("completed", response=response),), (event("incomplete", response=cut),),
            response, tuple(it for it, _, _ in items),
            tuple(str(it["encrypted_content"]) for it, _, _ in items if "encrypted_content" in it),
        )  # fmt: skip

    return Vendor(name, ResponsesServer, model, say, Said(speaks=False))


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
