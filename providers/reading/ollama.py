"""Ollama's `/api/chat`: one JSON object a line. A call always comes whole and has no id."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from core.model.messages import FinishReason, Usage
from core.model.provider import ReasoningDelta, TextDelta
from providers.reading.parser import Parser, Unreadable, count_of, text_of
from providers.reading.returned import Kind, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.provider import ContentDelta
    from providers.reading.parser import Json, Summary


class OllamaParser(Parser):
    REASONS: ClassVar = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}

    def __init__(self, summary: Summary) -> None:
        super().__init__(summary)
        self._has_thought = False

    def _deltas(self, name: str, value: Json) -> Iterator[ContentDelta]:
        self.summary.model = text_of(value.get("model")) or self.summary.model
        is_last = value.get("done") is True
        if not is_last and "message" not in value:
            raise Unreadable("a line without a message")
        said = value.get("message") or {}
        if thought := text_of(said.get("thinking")):
            self._has_thought = True
            yield ReasoningDelta(thought)
        if self._has_thought and (said.get("content") or said.get("tool_calls")):
            self._has_thought = False
            yield note(Kind.FIELD, "thinking")
        if text := text_of(said.get("content")):
            yield TextDelta(text)
        for call in said.get("tool_calls") or ():
            function = call["function"]
            call_id = f"call_{uuid.uuid4().hex[:24]}"
            yield self.calls.whole(function.get("arguments"), call_id, text_of(function["name"]))
        if is_last:
            self._count(value)
            self._end(str(value.get("done_reason") or "stop"))
            self.is_done = True

    def _count(self, value: Json) -> None:
        read, written = count_of(value, "prompt_eval_count"), count_of(value, "eval_count")
        if read or written:
            self.summary.usage = Usage(read, written)
