"""Anthropic's messages: blocks that open, grow and close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from core.model.messages import FinishReason, Usage
from core.model.provider import ReasoningDelta, TextDelta
from providers.reading.parser import (
    Parser,
    StreamError,
    Summary,
    Unreadable,
    count_of,
    text_of,
    text_of_arguments,
)
from providers.reading.returned import Kind, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.provider import ContentDelta
    from providers.reading.parser import Json


class AnthropicParser(Parser):
    """Tools that the provider runs itself have blocks too. They are no calls of ours and are passed over."""

    REASONS: ClassVar = {
        "end_turn": FinishReason.STOP,
        "stop_sequence": FinishReason.STOP,
        "tool_use": FinishReason.TOOL_CALLS,
        "max_tokens": FinishReason.LENGTH,
        "model_context_window_exceeded": FinishReason.LENGTH,
        "refusal": FinishReason.CONTENT_FILTER,
    }

    def __init__(self, summary: Summary) -> None:
        super().__init__(summary)
        self._usage: dict[str, Any] = {}
        # The input that a call has from its start, until the first piece of it comes.
        self._given: dict[object, object] = {}

    @property
    def is_complete(self) -> bool:
        return self.is_done

    def _deltas(self, name: str, value: Json) -> Iterator[ContentDelta]:
        match value.get("type") or name:
            case "content_block_delta":
                yield from self._grow(value.get("index"), value["delta"])
            case "content_block_start":
                yield from self._open(value.get("index"), value["content_block"])
            case "content_block_stop":
                yield from self._close(value.get("index"))
            case "message_start":
                self._begin(value["message"])
            case "message_delta":
                self._count(value.get("usage"))
                delta = value["delta"]
                if reason := delta.get("stop_reason"):
                    details = delta.get("stop_details") or {}
                    self._end(str(reason), text_of(details.get("explanation")))
            case "message_stop":
                for key in tuple(self._given):
                    yield from self._close(key)
                self.is_done = True
                if not self.has_reason:
                    self._end("end_turn")
            case "message":
                yield from self._message(value)
            case "error":
                raise StreamError(value)
            case str(other) if other:
                pass  # a ping, and what may come: the documentation says to ignore it
            case _:
                raise Unreadable("an event without a type")

    def _open(self, key: object, block: Json) -> Iterator[ContentDelta]:
        match block.get("type"):
            case "text" if text := text_of(block.get("text")):
                yield TextDelta(text)
            case "thinking" | "redacted_thinking":
                yield from _thinking(block)
            case "tool_use":
                self._given[key] = block.get("input")
                yield self.calls.piece(key, "", text_of(block.get("id")) or None, text_of(block["name"]))
            case _:
                pass

    def _grow(self, key: object, delta: Json) -> Iterator[ContentDelta]:
        match delta.get("type"):
            case "text_delta":
                yield TextDelta(text_of(delta["text"]))
            case "thinking_delta":
                yield ReasoningDelta(text_of(delta["thinking"]))
            case "signature_delta":
                yield ReasoningDelta("", text_of(delta["signature"]))
            case "citations_delta":
                self._cite_one(delta["citation"])
            case "input_json_delta" if key in self.calls:
                if text := text_of(delta.get("partial_json")):
                    self._given.pop(key, None)
                    yield self.calls.piece(key, text)
            case _:
                pass

    def _close(self, key: object) -> Iterator[ContentDelta]:
        # Some servers send the whole input at the start; and a call without any has none to stream.
        if key in self._given:
            yield self.calls.piece(key, text_of_arguments(self._given.pop(key)) or "{}")

    def _begin(self, message: Json) -> None:
        self.summary.model = text_of(message.get("model")) or self.summary.model
        self._count(message.get("usage"))

    def _message(self, message: Json) -> Iterator[ContentDelta]:
        """A reply that comes as one document."""
        self._begin(message)
        for block in message["content"] or ():
            match block.get("type"):
                case "text":
                    yield TextDelta(text_of(block["text"]))
                    for citation in block.get("citations") or ():
                        self._cite_one(citation)
                case "thinking" | "redacted_thinking":
                    yield from _thinking(block)
                case "tool_use":
                    yield self.calls.whole(
                        block.get("input"), text_of(block.get("id")) or None, text_of(block["name"])
                    )
                case _:
                    pass
        self._end(str(message.get("stop_reason") or "end_turn"))
        self.is_done = True

    def _cite_one(self, citation: Json) -> None:
        title = citation.get("title") or citation.get("document_title")
        self._cite(title, citation.get("url") or citation.get("source"))

    def _count(self, usage: Any) -> None:
        """Each event counts only some of the tokens. Cached input is counted apart from the rest."""
        self._usage.update(usage or {})
        cached = count_of(self._usage, "cache_read_input_tokens")
        read = count_of(self._usage, "input_tokens") + count_of(self._usage, "cache_creation_input_tokens")
        written = count_of(self._usage, "output_tokens")
        if read or cached or written:
            self.summary.usage = Usage(read + cached, written, cached)


def _thinking(block: Json) -> Iterator[ReasoningDelta]:
    if data := text_of(block.get("data")):
        yield note(Kind.REDACTED, data)
    text, signature = text_of(block.get("thinking")), text_of(block.get("signature"))
    if text or signature:
        yield ReasoningDelta(text, signature or None)
