"""OpenAI's chat completions, which most gateways and local servers speak too, each a little differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from core.model.messages import FinishReason, Usage
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from providers.reading.parser import Parser, StreamError, Summary, count_of, text_of, text_of_arguments
from providers.reading.returned import CONTENT_PARTS, Kind, add_details, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.provider import ContentDelta
    from providers.reading.decoder import Event
    from providers.reading.parser import Json

END_MARK = "[DONE]"
OF_THE_PROVIDER = ("srvtoolu_", "mcptoolu_")
"""How the ids of calls begin that Anthropic runs itself. Gateways pass them on among ours."""
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")
SEALED_FIELDS = ("reasoning_opaque",)
"""Fields of a reply that nobody but the provider can read: GitHub Copilot's."""


class ChatParser(Parser):
    REASONS: ClassVar = {
        "stop": FinishReason.STOP,
        "eos": FinishReason.STOP,
        "eos_token": FinishReason.STOP,
        "end_turn": FinishReason.STOP,
        "stop_sequence": FinishReason.STOP,
        "length": FinishReason.LENGTH,
        "max_tokens": FinishReason.LENGTH,
        "model_length": FinishReason.LENGTH,
        "tool_calls": FinishReason.TOOL_CALLS,
        "tool_use": FinishReason.TOOL_CALLS,
        "function_call": FinishReason.TOOL_CALLS,
        "content_filter": FinishReason.CONTENT_FILTER,
        "sensitive": FinishReason.CONTENT_FILTER,
        "refusal": FinishReason.CONTENT_FILTER,
    }

    def __init__(self, summary: Summary) -> None:
        super().__init__(summary)
        self._choice: object = None
        self._is_refused = False
        self._foreign: set[object] = set()
        # Reasoning that no note is about yet: the field it came in, whether it has text, and its details.
        self._field = ""
        self._has_text = False
        self._details: list[Json] = []

    def rest(self) -> Iterator[ContentDelta]:
        yield from self._note()
        yield from super().rest()

    def parse(self, event: Event) -> Iterator[ContentDelta]:
        if event[1].strip() == END_MARK:
            self._end_by_mark()
            return iter(())
        return super().parse(event) if event[1].strip() else iter(())

    def _end_by_mark(self) -> None:
        self.is_done = True
        if not self.has_reason:
            # Some servers give no reason at all. The mark says that nothing is missing.
            self._end("stop")

    def _deltas(self, name: str, value: Json) -> Iterator[ContentDelta]:
        self.summary.model = text_of(value.get("model")) or self.summary.model
        self._count(value.get("usage") or (value.get("x_groq") or {}).get("usage"))
        self._cite_listed(value)
        choices = value.get("choices")
        if choices is None and (sentence := value.get("detail") or value.get("message")):
            raise StreamError({"error": {"message": sentence} if isinstance(sentence, str) else sentence})
        for choice in choices or ():
            if not self._is_chosen(choice.get("index")):
                continue
            yield from self._noted(self._said(choice.get("delta") or choice.get("message") or {}))
            if text := text_of(choice.get("text")):
                yield TextDelta(text)
            if error := choice.get("error"):
                raise StreamError({"error": error})
            match choice.get("finish_reason"):
                case None | "" | "null":
                    pass
                case "error":
                    raise StreamError({"error": {"message": "The reply ended with an error."}})
                case reason:
                    self._end("refusal" if self._is_refused else str(reason))

    def _cite_listed(self, value: Json) -> None:
        """Perplexity and xAI list all sources of the reply, in each of its chunks or in the last."""
        for number, source in enumerate(value.get("search_results") or value.get("citations") or ()):
            found = source if isinstance(source, dict) else {"url": source}
            self._cite(found.get("title"), found.get("url"), number=number)

    def _is_chosen(self, index: object) -> bool:
        """One reply was asked for. Of a server that sends several, the first is read."""
        index = index or 0
        if self._choice is None:
            self._choice = index
        return index == self._choice

    def _count(self, usage: Any) -> None:
        read, written = count_of(usage, "prompt_tokens"), count_of(usage, "completion_tokens")
        if read or written:
            self.summary.usage = Usage(
                input_tokens=read,
                output_tokens=written,
                cached_tokens=count_of(usage, "prompt_tokens_details", "cached_tokens")
                or count_of(usage, "prompt_cache_hit_tokens")
                or count_of(usage, "cached_tokens"),
                reasoning_tokens=count_of(usage, "completion_tokens_details", "reasoning_tokens"),
            )

    def _said(self, said: Json) -> Iterator[ContentDelta]:
        content = said.get("content")
        if isinstance(content, str) and len(said) == 1:
            # By far the most frequent.
            if content:
                yield TextDelta(content)
            return
        yield from self._reasoning(said)
        if isinstance(content, str):
            if content:
                yield TextDelta(content)
        else:
            yield from self._parts(content or ())
        for annotation in said.get("annotations") or ():
            cited = annotation.get("url_citation") or annotation
            self._cite(cited.get("title"), cited.get("url"))
        if refusal := text_of(said.get("refusal")):
            self._is_refused = True
            self._refuse(refusal)
            yield TextDelta(refusal)
        for place, call in enumerate(said.get("tool_calls") or ()):
            yield from self._call(place, call)
        if function := said.get("function_call"):
            yield self.calls.piece(
                0, text_of_arguments(function.get("arguments")), None, function.get("name") or None
            )

    def _reasoning(self, said: Json) -> Iterator[ReasoningDelta]:
        found = [field for field in REASONING_FIELDS if said.get(field) is not None]
        field = next((field for field in found if said[field]), found[0] if found else "")
        details = said.get("reasoning_details") or ()
        text = text_of(said.get(field)) or "".join(map(_shown, details))
        # A gateway of litellm's sends signatures beside the text.
        blocks = said.get("thinking_blocks") or ()
        signature = next((block["signature"] for block in blocks if block.get("signature")), None)
        if text or signature:
            yield ReasoningDelta(text, text_of(signature) or None)
        if signature:
            self._field, self._has_text = "", False
        else:
            self._field, self._has_text = field or self._field, self._has_text or bool(text)
        add_details(self._details, details)
        for block in blocks:
            if block.get("type") == "redacted_thinking":
                yield from self._note()
                yield note(Kind.REDACTED, text_of(block["data"]))
        if sealed := {name: said[name] for name in SEALED_FIELDS if said.get(name)}:
            yield from self._note()
            yield note(Kind.FIELDS, sealed)

    def _noted(self, deltas: Iterator[ContentDelta]) -> Iterator[ContentDelta]:
        """`deltas` with a note behind each piece of reasoning, for what comes next would cut it off."""
        for delta in deltas:
            if not isinstance(delta, ReasoningDelta):
                yield from self._note(before_call=isinstance(delta, ToolCallDelta))
            yield delta

    def _note(self, *, before_call: bool = False) -> Iterator[ReasoningDelta]:
        """Note how the reasoning came, so that it can go back. With a call even an empty one does."""
        if self._details:
            yield note(Kind.DETAILS, self._details)
        elif self._field and (self._has_text or before_call):
            yield note(Kind.FIELD, self._field)
        else:
            return
        self._field, self._has_text, self._details = "", False, []

    def _parts(self, parts: Any) -> Iterator[ContentDelta]:
        for part in parts:
            if isinstance(part, str):
                yield TextDelta(part)
                continue
            match part.get("type"):
                case "thinking":
                    inner = part.get("thinking")
                    pieces = [inner] if isinstance(inner, str) else [piece.get("text") for piece in inner]
                    self._field, self._has_text = CONTENT_PARTS, True
                    yield ReasoningDelta("".join(map(text_of, pieces)))
                case "reference":
                    pass  # Mistral's numbers of the documents that the text beside it names
                case "refusal":
                    self._is_refused = True
                    self._refuse(text_of(part["refusal"]))
                    yield TextDelta(text_of(part["refusal"]))
                case _:
                    yield TextDelta(text_of(part["text"]))

    def _call(self, place: int, call: Json) -> Iterator[ToolCallDelta | ReasoningDelta]:
        function = call.get("function") or {}
        call_id, name = call.get("id") or None, function.get("name") or None
        key = call.get("index")
        if key is None:
            key = self._key_of(place, call_id, name)
        # Such as GLM's search.
        is_no_function = call.get("type") not in (None, "", "function") and call.get("function") is None
        if is_no_function or text_of(call_id).startswith(OF_THE_PROVIDER):
            self._foreign.add(key)
            self.has_foreign_calls = True
        elif call_id is not None:
            self._foreign.discard(key)
        if key not in self._foreign:
            arguments = text_of_arguments(function.get("arguments"))
            piece = self.calls.piece(key, arguments, call_id, text_of(name) or None)
            yield piece
            if extra := call.get("extra_content"):
                # Gemini's signature of the thought behind the call, which need not have an id of its own.
                yield note(Kind.CALLS, {str(piece.index): {"extra_content": extra}})

    def _key_of(self, place: int, call_id: object, name: object) -> object:
        """A key for a call of a server that numbers none: a name begins a call, all else goes on with one."""
        is_known = call_id is not None and call_id in self.calls
        if name and (place > 0 or not is_known):
            return object() if is_known or call_id is None else call_id
        return call_id if is_known else self.calls.newest()


def _shown(detail: Json) -> str:
    return text_of(detail.get("text")) or text_of(detail.get("summary"))
