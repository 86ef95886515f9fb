"""Gemini's `generateContent`, streamed or whole. A call always comes whole and has no id."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from core.model.messages import FinishReason, Usage
from core.model.provider import ReasoningDelta, TextDelta
from providers.reading.parser import Parser, count_of, text_of
from providers.reading.returned import Kind, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.provider import ContentDelta
    from providers.reading.parser import Json

NO_TEXT = frozenset({"inlineData", "fileData", "executableCode", "codeExecutionResult"})
"""Parts that are not asked for: pictures, and code that the provider runs itself."""
NO_TEXT_SHOWN = 200
"""Characters of such a part that are shown."""


class GeminiParser(Parser):
    """The protocol has no end mark: the reply ends with the connection, after its reason."""

    REASONS: ClassVar = {
        "STOP": FinishReason.STOP,
        "MAX_TOKENS": FinishReason.LENGTH,
        "SAFETY": FinishReason.CONTENT_FILTER,
        "RECITATION": FinishReason.CONTENT_FILTER,
        "LANGUAGE": FinishReason.CONTENT_FILTER,
        "BLOCKLIST": FinishReason.CONTENT_FILTER,
        "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
        "SPII": FinishReason.CONTENT_FILTER,
        "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    }

    def parse_value(self, name: str, value: Any) -> Iterator[ContentDelta]:
        # Without `alt=sse` the chunks are the elements of one array.
        for chunk in value if isinstance(value, list) else (value,):
            yield from super().parse_value(name, chunk)

    def _deltas(self, name: str, value: Json) -> Iterator[ContentDelta]:
        self.summary.model = text_of(value.get("modelVersion")) or self.summary.model
        self._count(value.get("usageMetadata"))
        candidates = value.get("candidates") or ()
        for candidate in candidates:
            if candidate.get("index"):
                continue  # one reply was asked for
            for part in (candidate.get("content") or {}).get("parts") or ():
                yield from self._part(part)
            self._cite_all(candidate)
            if reason := candidate.get("finishReason"):
                self._end(str(reason), text_of(candidate.get("finishMessage")))
        feedback = value.get("promptFeedback") or {}
        if (blocked := feedback.get("blockReason")) and not candidates:
            self._end("SAFETY", text_of(feedback.get("blockReasonMessage")) or text_of(blocked))

    def _part(self, part: Json) -> Iterator[ContentDelta]:
        signature = text_of(part.get("thoughtSignature"))
        if call := part.get("functionCall"):
            if signature:
                yield note(Kind.CALLS, {str(len(self.calls)): {"thoughtSignature": signature}})
            call_id = f"call_{uuid.uuid4().hex[:28]}"
            yield self.calls.whole(call.get("args"), call_id, text_of(call["name"]))
        elif part.get("thought"):
            yield ReasoningDelta(text_of(part.get("text")), signature or None)
        elif "text" in part:
            if text := text_of(part["text"]):
                yield TextDelta(text)
            if signature:
                yield note(Kind.FIELDS, {"thoughtSignature": signature})
        for kind in NO_TEXT & part.keys():
            yield TextDelta(f"[{kind}: {json.dumps(part[kind], ensure_ascii=False)[:NO_TEXT_SHOWN]}]")

    def _cite_all(self, candidate: Json) -> None:
        for chunk in (candidate.get("groundingMetadata") or {}).get("groundingChunks") or ():
            for found in chunk.values():
                self._cite(found.get("title"), found.get("uri"))
        for found in (candidate.get("citationMetadata") or {}).get("citationSources") or ():
            self._cite(found.get("title"), found.get("uri"))

    def _count(self, usage: Any) -> None:
        if usage:
            thought = count_of(usage, "thoughtsTokenCount")
            self.summary.usage = Usage(
                input_tokens=count_of(usage, "promptTokenCount"),
                output_tokens=count_of(usage, "candidatesTokenCount") + thought,
                cached_tokens=count_of(usage, "cachedContentTokenCount"),
                reasoning_tokens=thought,
            )
