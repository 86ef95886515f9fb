"""Replies as real servers send them, each odd in one way: the bytes of the body, and what they say.

Built from the providers' documentation and from descriptions of what their servers do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.model.messages import FinishReason, Usage
from tests.servers.frames import ndjson, sse

if TYPE_CHECKING:
    from collections.abc import Iterable

STOP, CALLS = FinishReason.STOP, FinishReason.TOOL_CALLS
SEPARATORS = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei"
FIELDS = "[DONE]\n\ndata: [DONE]\n\nevent: error\nid: 1\nretry: 2\n: comment"
CALL = ("read", {"path": "a"})


@dataclass(frozen=True, slots=True)
class Odd:
    """`calls` are names with arguments. `failed` says part of what the error says, for a reply that fails."""

    name: str
    protocol: str
    body: bytes
    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    finish: FinishReason = STOP
    words: str = ""
    usage: Usage | None = None
    failed: str | None = None

    def __str__(self) -> str:
        return f"{self.protocol}: {self.name}"


def raw(payload: object, *, event: str | None = None) -> bytes:
    """One event whose text is not escaped."""
    line = f"event: {event}\n" if event else ""
    return f"{line}data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()


def choice(delta: object = None, finish: object = None, **more: object) -> dict[str, object]:
    return {"index": 0, "delta": delta, "finish_reason": finish, **more}


def chat(*choices: object, **more: object) -> bytes:
    return raw({"id": "c", "object": "chat.completion.chunk", "choices": list(choices), **more})


def say(text: object, **more: object) -> bytes:
    return chat(choice({"content": text}), **more)


def call(function: object, **more: object) -> bytes:
    return chat(choice({"tool_calls": [{**more, "function": function}]}))


DONE = b"data: [DONE]\n\n"
END = chat(choice({}, "stop")) + DONE
CALLS_END = chat(choice({}, "tool_calls")) + DONE
WHOLE_CHAT = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


def _chat() -> Iterable[Odd]:
    def odd(name: str, body: bytes, **said: Any) -> Odd:
        return Odd(name, "openai", body, **said)

    yield odd("a piece contains the end mark", say("[DONE]") + say("!") + END, text="[DONE]!")
    yield Odd("a piece contains the end mark", "azure", say("[DONE]") + say("!") + END, text="[DONE]!")
    yield odd("line separators in the text", say(SEPARATORS) + END, text=SEPARATORS)
    yield odd("fields of the format in the text", say(FIELDS) + END, text=FIELDS)
    halves = (sse({"choices": [choice({"content": half})]}) for half in ("\ud83d", "\udc4b!"))
    yield odd("a character in two pieces", b"".join(halves) + END, text="👋!")
    yield odd(
        "half a surrogate pair", sse({"choices": [choice({"content": "\ud83d!"})]}) + END, text="\ud83d!"
    )
    yield odd("CR LF", (say("a") + say("b") + END).replace(b"\n", b"\r\n"), text="ab")
    yield odd("CR alone", (say("a") + say("b") + END).replace(b"\n", b"\r"), text="ab")
    yield odd("a byte order mark", b"\xef\xbb\xbf" + say("a") + END, text="a")
    yield odd(
        "no space after the colon", say("a").replace(b"data: ", b"data:") + b"data:[DONE]\n\n", text="a"
    )
    yield odd(
        "comments and other fields", b": OPENROUTER\n\nid: 7\nretry: 10\nx: y\n" + say("a") + END, text="a"
    )
    yield odd(
        "data over several lines",
        b'data: {"choices":\ndata: [{"delta": {"content": "a"}}]}\n\n' + END,
        text="a",
    )
    yield odd(
        "objects without a field name",
        b'{"choices":[{"delta":{"content":"a"}}]}\n' * 2 + b"[DONE]\n",
        text="aa",
    )
    yield odd("no blank line at the end", say("a") + b"data: [DONE]", text="a")
    yield odd("no end mark", say("a") + chat(choice({}, "stop")), text="a")
    yield odd("no reason, but the mark", say("a") + DONE, text="a")
    yield odd("more after the end", say("a") + END + say("b"), text="a")
    yield odd(
        "null for choices, delta and content",
        chat(choice()) + say(None) + raw({"choices": None}) + say("a") + END,
        text="a",
    )
    yield odd(
        "no choices in the first and the last",
        chat(prompt_filter_results=[])
        + say("a")
        + END[:-14]
        + chat(usage={"prompt_tokens": 5, "completion_tokens": 2})
        + DONE,
        text="a",
        usage=Usage(5, 2),
    )
    yield odd("message in place of delta", raw({"choices": [{"message": {"content": "a"}}]}) + END, text="a")
    yield odd("text in place of delta", raw({"choices": [{"text": "a"}]}) + END, text="a")
    yield odd(
        "content in parts",
        say(
            [
                {"type": "text", "text": "a"},
                "b",
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            ]
        )
        + END,
        text="ab",
        reasoning="hm",
    )
    yield odd(
        "reasoning under its other name",
        chat(choice({"reasoning": "hm", "content": None})) + say("a") + END,
        text="a",
        reasoning="hm",
    )
    yield odd(
        "a refusal",
        chat(choice({"refusal": "I can"})) + chat(choice({"refusal": "not."})) + END,
        text="I cannot.",
        finish=FinishReason.CONTENT_FILTER,
        words="I cannot.",
    )
    yield odd(
        "a reason that nobody knows",
        say("a") + chat(choice({}, "tired")) + DONE,
        text="a",
        finish=FinishReason.OTHER,
        words="tired",
    )
    yield odd("one document", json.dumps(WHOLE_CHAT).encode(), text="hi", usage=Usage(3, 1))
    yield odd(
        "one document over lines", json.dumps(WHOLE_CHAT, indent=2).encode(), text="hi", usage=Usage(3, 1)
    )
    yield odd(
        "one document without a reason",
        json.dumps({"choices": [{"message": {"content": "hi"}}]}, indent=2).encode(),
        text="hi",
        failed="broke off",
    )
    yield odd(
        "numbers of usage as fractions",
        say("a")
        + chat(usage={"prompt_tokens": 3.0, "completion_tokens": 1, "prompt_cache_hit_tokens": 2})
        + END,
        text="a",
        usage=Usage(3, 1, 2),
    )
    yield odd(
        "a call at once",
        call({"name": "read", "arguments": '{"path": "a"}'}, index=0, id="c1") + CALLS_END,
        calls=(CALL,),
        finish=CALLS,
    )
    yield odd(
        "a call that ends with stop",
        call({"name": "read", "arguments": '{"path": "a"}'}, index=0, id="c1") + END,
        calls=(CALL,),
        finish=CALLS,
    )
    yield odd(
        "arguments as an object",
        call({"name": "read", "arguments": {"path": "a"}}, index=0, id="c1") + CALLS_END,
        calls=(CALL,),
        finish=CALLS,
    )
    yield odd(
        "no arguments at all",
        call({"name": "now"}, index=0, id="c1") + CALLS_END,
        calls=(("now", {}),),
        finish=CALLS,
    )
    yield odd(
        "arguments with the end mark in them",
        call({"name": "write", "arguments": '{"text": "[DONE]'}, index=0, id="c1")
        + call({"arguments": ' data: [DONE]"}'}, index=0)
        + CALLS_END,
        calls=(("write", {"text": "[DONE] data: [DONE]"}),),
        finish=CALLS,
    )
    yield odd("calls that are announced and do not come", say("a") + CALLS_END, text="a", finish=CALLS)
    two = (CALL, ("read", {"path": "b"}))
    yield odd(
        "no numbers",
        call({"name": "read", "arguments": '{"path"'}, id="c1")
        + call({"arguments": ': "a"}'})
        + call({"name": "read", "arguments": '{"path": "b"}'}, id="c2")
        + CALLS_END,
        calls=two,
        finish=CALLS,
    )
    yield odd(
        "neither numbers nor ids",
        call({"name": "read", "arguments": '{"path": "a"}'})
        + call({"name": "read", "arguments": '{"path": "b"}'})
        + CALLS_END,
        calls=two,
        finish=CALLS,
    )
    yield odd(
        "all calls have one number",
        call({"name": "read", "arguments": '{"path": "a"}'}, index=0, id="c1")
        + call({"name": "read", "arguments": '{"path": "b"}'}, index=0, id="c2")
        + CALLS_END,
        calls=two,
        finish=CALLS,
    )
    yield odd(
        "a new id for each piece",
        call({"name": "read", "arguments": ""}, index=0, id="c1")
        + call({"arguments": '{"path": '}, index=0, id="c2")
        + call({"arguments": '"a"}'}, index=0, id="c3")
        + CALLS_END,
        calls=(CALL,),
        finish=CALLS,
    )
    yield odd(
        "id and name in every piece",
        call({"name": "read", "arguments": '{"path": '}, index=0, id="c1")
        + call({"name": "read", "arguments": '"a"}'}, index=0, id="c1")
        + CALLS_END,
        calls=(CALL,),
        finish=CALLS,
    )
    yield odd(
        "the old form of a call",
        chat(choice({"function_call": {"name": "read", "arguments": '{"pa'}}))
        + chat(choice({"function_call": {"arguments": 'th": "a"}'}}, "function_call"))
        + DONE,
        calls=(CALL,),
        finish=CALLS,
    )
    yield odd(
        "a call that the provider runs itself",
        call({"name": "web_search", "arguments": "{}"}, index=0, id="srvtoolu_1")
        + call({"arguments": "x"}, index=0)
        + say("a")
        + END,
        text="a",
    )
    yield odd(
        "calls of tools that the provider runs itself",
        call({"name": "search", "arguments": "{}"}, index=0, id="mcptoolu_1")
        + chat(choice({"tool_calls": [{"index": 1, "id": "s1", "type": "web_search", "web_search": {}}]}))
        + chat(choice({"tool_calls": [{"index": 1, "web_search": {"output": "x"}}]}))
        + call({"name": "read", "arguments": '{"path": "a"}'}, index=2, id="c1", type="function")
        + CALLS_END,
        calls=(CALL,),
        finish=CALLS,
    )
    cited = {"title": "A", "url": "https://a.example/", "start_index": 0, "end_index": 1}
    untitled = {"url": "https://b.example/", "content": "excerpt"}
    yield odd(
        "annotations",
        say("a")
        + chat(choice({"content": "", "annotations": [{"type": "url_citation", "url_citation": cited}] * 2}))
        + chat(choice({"annotations": [{"type": "url_citation", "url_citation": untitled}]}))
        + END,
        text="a\n\nSources:\n1. A, https://a.example/\n2. https://b.example/",
    )
    listed = ["https://a.example/", "https://b.example/", "https://a.example/"]
    found = [{"title": "A", "url": listed[0], "date": None}, {"title": "B", "url": listed[1]}]
    yield odd(
        "sources in every chunk, with their titles in the last",
        say("a [1]", citations=listed)
        + say(" [2]", citations=listed)
        + chat(choice({}, "stop"), citations=listed, search_results=[*found, found[0]])
        + DONE,
        text="a [1] [2]\n\nSources:\n"
        "1. A, https://a.example/\n2. B, https://b.example/\n3. A, https://a.example/",
    )
    yield odd(
        "sources after the reason, and no end mark",
        say("a") + chat(choice({}, "stop")) + raw({"choices": [], "citations": ["https://a.example/"]}),
        text="a\n\nSources:\n1. https://a.example/",
    )
    yield odd(
        "one name, then another",
        call({"name": "read"}, index=0, id="c1") + call({"name": "write"}, index=0) + CALLS_END,
        failed="cannot be read",
    )
    yield odd(
        "a named error event",
        say("a") + raw({"error": {"message": "the pump is dry"}}, event="error") + DONE,
        text="a",
        failed="the pump is dry",
    )
    yield odd(
        "an error event that is no JSON",
        say("a") + b"event: error\ndata: the pump is dry\n\n" + DONE,
        text="a",
        failed="failed on its side",
    )
    yield odd(
        "an error in place of a chunk",
        say("a") + raw({"object": "error", "message": "the pump is dry", "code": 500}) + DONE,
        text="a",
        failed="the pump is dry",
    )
    yield odd(
        "an error without a field name",
        say("a") + b'{"error": {"message": "the pump is dry", "code": 503}}\n\n' + DONE,
        text="a",
        failed="overloaded",
    )
    yield odd(
        "an error in a choice",
        say("a") + chat(choice({}, "error", error={"message": "the pump is dry"})) + DONE,
        text="a",
        failed="the pump is dry",
    )
    yield odd("a gateway's sentence", b'{"detail": "the pump is dry"}', failed="the pump is dry")
    yield odd("a page", b"<!doctype html>\n<html><body>Sign in</body></html>", failed="web page")
    yield odd("a text that is a number", say(7) + END, failed="cannot be read")
    yield odd("nothing", b"", failed="empty answer")
    yield odd("a text without an end", say("a"), text="a", failed="broke off")


def _anthropic() -> Iterable[Odd]:
    def event(kind: str, **fields: object) -> bytes:
        return raw({"type": kind, **fields}, event=kind)

    def delta(index: int, kind: str, **fields: object) -> bytes:
        return event("content_block_delta", index=index, delta={"type": kind, **fields})

    def block(index: int, opening: object, *deltas: bytes) -> bytes:
        begun = event("content_block_start", index=index, content_block=opening)
        return begun + b"".join(deltas) + event("content_block_stop", index=index)

    def odd(name: str, body: bytes, **said: Any) -> Odd:
        return Odd(name, "anthropic", body, **said)

    begin = event("message_start", message={"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}})

    def end(reason: str, **more: object) -> bytes:
        ending = {"stop_reason": reason, **more}
        return event("message_delta", delta=ending, usage={"output_tokens": 2}) + event("message_stop")

    used = Usage(3, 2)
    words = block(0, {"type": "text", "text": ""}, delta(0, "text_delta", text=f"[DONE]{SEPARATORS}"))
    yield odd(
        "marks and separators in the text",
        begin + words + end("end_turn"),
        text=f"[DONE]{SEPARATORS}",
        usage=used,
    )
    yield odd(
        "text in the opening of a block",
        begin + block(0, {"type": "text", "text": "a"}) + end("end_turn"),
        text="a",
        usage=used,
    )
    tool = {"type": "tool_use", "id": "t1", "name": "read", "input": {}}
    yield odd(
        "a call without pieces",
        begin + block(0, tool) + end("tool_use"),
        calls=(("read", {}),),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "a call with its input at once",
        begin + block(0, {**tool, "input": {"path": "a"}}) + end("tool_use"),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "a call with its input at once, and no end of its block",
        begin
        + event("content_block_start", index=0, content_block={**tool, "input": {"path": "a"}})
        + end("tool_use"),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    foreign = block(
        0,
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search"},
        delta(0, "input_json_delta", partial_json='{"q": 1}'),
    )
    result = block(1, {"type": "web_search_tool_result", "content": []})
    yield odd(
        "a tool that the provider runs itself",
        begin + foreign + result + block(2, {"type": "text", "text": "a"}) + end("end_turn"),
        text="a",
        usage=used,
    )
    page = {
        "type": "web_search_result_location",
        "url": "https://a.example/",
        "title": "A",
        "cited_text": "a",
    }
    document = {"type": "page_location", "document_title": "The report", "document_index": 0}
    yield odd(
        "citations",
        begin
        + block(
            0,
            {"type": "text", "text": ""},
            delta(0, "text_delta", text="a"),
            delta(0, "citations_delta", citation=page),
            delta(0, "citations_delta", citation=document),
            delta(0, "citations_delta", citation=page),
        )
        + end("end_turn"),
        text="a\n\nSources:\n1. A, https://a.example/\n2. The report",
        usage=used,
    )
    yield odd(
        "unknown events and pings",
        event("ping") + begin + event("news", a=1) + words + end("end_turn"),
        text=f"[DONE]{SEPARATORS}",
        usage=used,
    )
    yield odd(
        "a refusal",
        begin + words + end("refusal", stop_details={"explanation": "no"}),
        text=f"[DONE]{SEPARATORS}",
        finish=FinishReason.CONTENT_FILTER,
        words="no",
        usage=used,
    )
    yield odd(
        "no end mark",
        begin + words + event("message_delta", delta={"stop_reason": "end_turn"}),
        text=f"[DONE]{SEPARATORS}",
        failed="broke off",
    )
    yield odd(
        "an error after the text",
        begin + words + event("error", error={"type": "api_error", "message": "the pump is dry"}),
        text=f"[DONE]{SEPARATORS}",
        failed="the pump is dry",
    )
    whole = {
        "type": "message",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "text", "text": "a"},
            {**tool, "input": {"path": "a"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    yield odd(
        "one document",
        json.dumps(whole).encode(),
        text="a",
        reasoning="hm",
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )


def _gemini() -> Iterable[Odd]:
    def chunk(*parts: object, finish: str | None = None, **more: object) -> dict[str, object]:
        ending = {} if finish is None else {"finishReason": finish}
        return {"candidates": [{"content": {"parts": list(parts)}, **ending, **more}]}

    def odd(name: str, body: bytes, **said: Any) -> Odd:
        return Odd(name, "gemini", body, **said)

    stop = raw(chunk(finish="STOP"))
    yield odd(
        "marks and separators in the text",
        raw(chunk({"text": f"[DONE]{SEPARATORS}"})) + stop,
        text=f"[DONE]{SEPARATORS}",
    )
    yield odd(
        "a call without arguments",
        raw(chunk({"functionCall": {"name": "now"}})) + stop,
        calls=(("now", {}),),
        finish=CALLS,
    )
    yield odd(
        "null for arguments",
        raw(chunk({"functionCall": {"name": "now", "args": None}}, finish="STOP")),
        calls=(("now", {}),),
        finish=CALLS,
    )
    yield odd(
        "no content beside the reason",
        raw(chunk({"text": "a"})) + raw({"candidates": [{"finishReason": "STOP"}]}),
        text="a",
    )
    yield odd(
        "one array",
        json.dumps([chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP")], indent=1).encode(),
        text="ab",
    )
    yield odd(
        "a prompt that is blocked",
        raw({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
        finish=FinishReason.CONTENT_FILTER,
        words="PROHIBITED_CONTENT",
    )
    yield odd(
        "a reply that is filtered",
        raw(chunk({"text": "a"}, finish="SAFETY", finishMessage="not that")),
        text="a",
        finish=FinishReason.CONTENT_FILTER,
        words="not that",
    )
    yield odd(
        "a call that it could not write",
        raw(chunk({"text": "a"}, finish="MALFORMED_FUNCTION_CALL")),
        text="a",
        finish=FinishReason.OTHER,
        words="MALFORMED_FUNCTION_CALL",
    )
    yield odd(
        "an error in the stream",
        raw(chunk({"text": "a"}))
        + raw({"error": {"code": 500, "message": "the pump is dry", "status": "INTERNAL"}}),
        text="a",
        failed="the pump is dry",
    )
    web = {"groundingChunks": [{"web": {"uri": "https://a.example/", "title": "A"}}]}
    recited = {"citationSources": [{"startIndex": 0, "uri": "https://b.example/"}]}
    yield odd(
        "grounding and citations",
        raw(chunk({"text": "a"}, groundingMetadata=web))
        + raw(chunk(finish="STOP", groundingMetadata=web, citationMetadata=recited)),
        text="a\n\nSources:\n1. A, https://a.example/\n2. https://b.example/",
    )
    yield odd("a text without an end", raw(chunk({"text": "a"})), text="a", failed="broke off")


def _ollama() -> Iterable[Odd]:
    def line(message: object, **more: object) -> bytes:
        return (
            json.dumps({"model": "m", "message": message, "done": False, **more}, ensure_ascii=False).encode()
            + b"\n"
        )

    def odd(name: str, body: bytes, **said: Any) -> Odd:
        return Odd(name, "ollama", body, **said)

    end = line({"content": ""}, done=True, done_reason="stop")
    text = f"[DONE]{SEPARATORS}"
    yield odd("marks and separators in the text", line({"content": text}) + end, text=text)
    yield odd(
        "CR LF and blank lines", (line({"content": "a"}) + b"\n" + end).replace(b"\n", b"\r\n"), text="a"
    )
    function = {"function": {"name": "read", "arguments": {"path": "a"}}}
    yield odd("a call", line({"tool_calls": [function]}) + end, calls=(CALL,), finish=CALLS)
    yield odd(
        "arguments as text",
        line({"tool_calls": [{"function": {"name": "read", "arguments": '{"path": "a"}'}}]}) + end,
        calls=(CALL,),
        finish=CALLS,
    )
    yield odd(
        "no arguments",
        line({"tool_calls": [{"function": {"name": "now"}}]}) + end,
        calls=(("now", {}),),
        finish=CALLS,
    )
    yield odd(
        "the end without a message", line({"content": "a"}) + ndjson({"model": "m", "done": True}), text="a"
    )
    yield odd(
        "an error in the stream",
        line({"content": "a"}) + ndjson({"error": "the pump is dry"}),
        text="a",
        failed="the pump is dry",
    )
    yield odd(
        "a line that is no JSON",
        line({"content": "a"}) + b"the pump is dry\n",
        text="a",
        failed="cannot be read",
    )
    yield odd("a text without an end", line({"content": "a"}), text="a", failed="broke off")


def _responses() -> Iterable[Odd]:
    def event(kind: str, **fields: object) -> bytes:
        return raw({"type": f"response.{kind}", **fields}, event=f"response.{kind}")

    def odd(name: str, body: bytes, **said: Any) -> Odd:
        return Odd(name, "responses", body, **said)

    def completed(*output: object, kind: str = "completed", **more: object) -> bytes:
        usage = {"input_tokens": 3, "output_tokens": 2}
        response = {"object": "response", "status": kind, "output": list(output), "usage": usage, **more}
        return event(kind, response=response)

    used = Usage(3, 2)
    function = {"type": "function_call", "id": "fc1", "call_id": "c1", "name": "read", "arguments": ""}
    full = {**function, "arguments": '{"path": "a"}'}
    message = {"type": "message", "content": [{"type": "output_text", "text": f"[DONE]{SEPARATORS}"}]}
    text = event("output_text.delta", output_index=0, content_index=0, delta=f"[DONE]{SEPARATORS}")
    added = event("output_item.added", output_index=0, item=function)
    yield odd(
        "marks and separators in the text", text + completed(message), text=f"[DONE]{SEPARATORS}", usage=used
    )
    notes = [
        {"type": "url_citation", "url": "https://a.example/", "title": "A"},
        {"type": "file_citation", "file_id": "file_1", "filename": "b.pdf"},
    ]
    cited = {"type": "message", "content": [{"type": "output_text", "text": "a", "annotations": notes}]}
    yield odd(
        "annotations",
        event("output_text.delta", output_index=0, content_index=0, delta="a")
        + event("output_text.annotation.added", output_index=0, annotation=notes[0])
        + completed(cited),
        text="a\n\nSources:\n1. A, https://a.example/\n2. b.pdf, file_1",
        usage=used,
    )
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    foreign = {"type": "mcp_call", "id": "mcp_1", "name": "search", "arguments": "{}", "output": "x"}
    yield odd(
        "tools that the provider runs itself",
        event("output_item.added", output_index=0, item=foreign)
        + event("mcp_call_arguments.delta", output_index=0, delta="{}")
        + event("output_item.done", output_index=0, item=foreign)
        + completed(foreign, search, message),
        text=f"[DONE]{SEPARATORS}",
        usage=used,
    )
    yield odd(
        "no pieces, but a whole item",
        event("output_item.done", output_index=0, item=message) + completed(message),
        text=f"[DONE]{SEPARATORS}",
        usage=used,
    )
    yield odd(
        "nothing but the response at the end", completed(message), text=f"[DONE]{SEPARATORS}", usage=used
    )
    yield odd(
        "arguments only when they are done",
        added
        + event("function_call_arguments.done", output_index=0, arguments=full["arguments"])
        + completed(),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "arguments only in the finished item",
        added + event("output_item.done", output_index=0, item=full) + completed(full),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "a call only in the response at the end", completed(full), calls=(CALL,), finish=CALLS, usage=used
    )
    yield odd(
        "half of the arguments in pieces",
        added + event("function_call_arguments.delta", output_index=0, delta='{"pa') + completed(full),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "items told apart by their ids",
        event("output_item.added", item_id="x", item=function)
        + event("function_call_arguments.delta", item_id="x", delta=full["arguments"])
        + completed(),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    named = {**message, "id": "m1"}
    yield odd(
        "no places, and the same items again when they are done and at the end",
        event("output_item.added", item={**named, "content": []})
        + event("output_text.delta", item_id="m1", content_index=0, delta=f"[DONE]{SEPARATORS}")
        + event("output_item.done", item=named)
        + event("output_item.added", item=function)
        + event("function_call_arguments.delta", item_id="fc1", delta=full["arguments"])
        + event("output_item.done", item=full)
        + completed(named, full),
        text=f"[DONE]{SEPARATORS}",
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "a place that is another one in the response at the end",
        added
        + event("function_call_arguments.delta", output_index=0, item_id="fc1", delta=full["arguments"])
        + event("output_item.done", output_index=0, item=full)
        + completed({"type": "reasoning", "summary": []}, full),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "one id for all items",
        event("output_text.delta", output_index=0, item_id="x", delta="a")
        + event("output_text.delta", output_index=1, item_id="x", delta="bc")
        + completed(
            *(
                {"type": "message", "id": "x", "content": [{"type": "output_text", "text": t}]}
                for t in ("a", "bc")
            )
        ),
        text="abc",
        usage=used,
    )
    yield odd(
        "arguments before the call is announced",
        event("function_call_arguments.delta", output_index=0, delta=full["arguments"])
        + event("output_item.done", output_index=0, item=full)
        + completed(full),
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )
    yield odd(
        "a refusal",
        event("refusal.delta", output_index=0, content_index=0, delta="I cannot.")
        + completed({"type": "message", "content": [{"type": "refusal", "refusal": "I cannot."}]}),
        text="I cannot.",
        finish=FinishReason.CONTENT_FILTER,
        words="I cannot.",
        usage=used,
    )
    yield odd(
        "cut by its length",
        text + completed(message, kind="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        text=f"[DONE]{SEPARATORS}",
        finish=FinishReason.LENGTH,
        usage=used,
    )
    for name, sent in (
        ("incomplete without a reason", completed(message, kind="incomplete")),
        ("incomplete by its event alone", event("incomplete", response={"output": [message]})),
        ("incomplete by its status alone", event("completed", response={"status": "incomplete"})),
    ):
        yield odd(
            name,
            text + sent,
            text=f"[DONE]{SEPARATORS}",
            finish=FinishReason.OTHER,
            words="incomplete",
            usage=used if "reason" in name else None,
        )
    yield odd(
        "a failure",
        text
        + event(
            "failed",
            response={"status": "failed", "error": {"code": "server_error", "message": "the pump is dry"}},
        ),
        text=f"[DONE]{SEPARATORS}",
        failed="the pump is dry",
    )
    yield odd(
        "an error event",
        text + raw({"type": "error", "message": "the pump is dry", "code": "server_error"}, event="error"),
        text=f"[DONE]{SEPARATORS}",
        failed="the pump is dry",
    )
    yield odd("no end", text, text=f"[DONE]{SEPARATORS}", failed="broke off")
    whole = {
        "object": "response",
        "status": "completed",
        "output": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, message, full],
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    yield odd(
        "one document",
        json.dumps(whole).encode(),
        text=f"[DONE]{SEPARATORS}",
        reasoning="hm",
        calls=(CALL,),
        finish=CALLS,
        usage=used,
    )


ODD_REPLIES = (*_chat(), *_anthropic(), *_gemini(), *_ollama(), *_responses())
