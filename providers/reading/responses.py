"""OpenAI's Responses: typed events about numbered items of output.

The API says everything several times: in pieces, when a part is done, when its item is done and in the
response at the end. Some servers leave out all but one of these, so each announcement is compared with what
has come, and what is missing is taken from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from core.model.messages import FinishReason, Usage
from core.model.provider import ReasoningDelta, TextDelta
from providers.reading.chat import END_MARK
from providers.reading.parser import (
    Parser,
    StreamError,
    Summary,
    Unreadable,
    count_of,
    text_of,
    text_of_arguments,
)
from providers.reading.returned import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.provider import ContentDelta
    from providers.reading.decoder import Event
    from providers.reading.parser import Json

ITEM_FIELDS = ("type", "id", "summary", "content", "encrypted_content", "signature", "format")
PART_FIELDS = ("type", "text")
"""What goes back of a reasoning item. The API refuses fields that are null, and others that it may send."""


class ResponsesParser(Parser):
    REASONS: ClassVar = {
        "stop": FinishReason.STOP,
        "max_output_tokens": FinishReason.LENGTH,
        "content_filter": FinishReason.CONTENT_FILTER,
    }

    def __init__(self, summary: Summary) -> None:
        super().__init__(summary)
        # How many characters have come of each part, by item, kind and number of the part.
        self._lengths: dict[tuple[object, str, object], int] = {}
        self._sealed: set[object] = set()
        # What tells an item apart, by its id; None for an id that several items have.
        self._keys: dict[object, object] = {}
        self._is_refused = False

    @property
    def is_complete(self) -> bool:
        return self.is_done

    def parse(self, event: Event) -> Iterator[ContentDelta]:
        return iter(()) if event[1].strip() == END_MARK else super().parse(event)

    def _deltas(self, name: str, value: Json) -> Iterator[ContentDelta]:
        match value.get("type") or name:
            case "response.output_text.delta" | "response.refusal.delta" as kind:
                yield from self._piece(value, "refusal" if "refusal" in kind else "text")
            case "response.reasoning_summary_text.delta":
                yield from self._piece(value, "summary")
            case "response.reasoning_text.delta":
                yield from self._piece(value, "reasoning")
            case "response.function_call_arguments.delta":
                yield self.calls.piece(self._key(value), text_of(value["delta"]))
            case "response.function_call_arguments.done" if (key := self._key(value)) in self.calls:
                yield from self._rest_of_call(key, value)
            case "response.output_item.added" if value["item"].get("type") == "function_call":
                yield from self._begin_call(self._key(value), value["item"])
            case "response.output_text.annotation.added":
                self._cite_one(value["annotation"])
            case "response.output_item.done":
                yield from self._item(self._key(value), value["item"])
            case "response.completed" | "response.done":
                yield from self._response(value["response"])
            case "response.incomplete":
                yield from self._response({**value["response"], "status": "incomplete"})
            case "response.failed" | "response.cancelled":
                raise StreamError(value.get("response") or value)
            case "" if value.get("object") == "response" or "output" in value:
                yield from self._response(value)
            case str(other) if other:
                pass  # the other events announce what the ones above say
            case _:
                raise Unreadable("an event without a type")

    def _piece(self, value: Json, kind: str) -> Iterator[ContentDelta]:
        part = value.get("summary_index" if kind == "summary" else "content_index")
        yield from self._add(self._key(value), kind, part, text_of(value["delta"]))

    def _key(self, value: Json) -> object:
        """What tells items apart: the place in the output, or the id with servers that leave it out."""
        item_id = value.get("item_id") or (value.get("item") or {}).get("id")
        place = value.get("output_index")
        key = item_id if place is None else place
        if item_id and self._keys.setdefault(item_id, key) != key:
            self._keys[item_id] = None
        return key

    def _add(self, item: object, kind: str, part: object, text: str) -> Iterator[ContentDelta]:
        if not text:
            return
        key = (item, kind, part or 0)
        self._lengths[key] = self._lengths.get(key, 0) + len(text)
        match kind:
            case "summary" | "reasoning":
                yield ReasoningDelta(text)
            case "refusal":
                self._is_refused = True
                self._refuse(text)
                yield TextDelta(text)
            case _:
                yield TextDelta(text)

    def _rest(self, item: object, kind: str, part: int, text: object) -> Iterator[ContentDelta]:
        """What has not come yet of a part whose whole text is known."""
        come = self._lengths.get((item, kind, part), 0)
        yield from self._add(item, kind, part, text_of(text)[come:])

    def _begin_call(self, key: object, item: Json) -> Iterator[ContentDelta]:
        call_id = text_of(item.get("call_id")) or text_of(item.get("id")) or None
        yield self.calls.piece(key, "", call_id, text_of(item["name"]))

    def _rest_of_call(self, key: object, item: Json) -> Iterator[ContentDelta]:
        if rest := text_of_arguments(item.get("arguments"))[self.calls.length(key) :]:
            yield self.calls.piece(key, rest)

    def _item(self, key: object, item: Json) -> Iterator[ContentDelta]:
        """What has not come yet of an item that is done."""
        match item.get("type"):
            case "message":
                for number, part in enumerate(item.get("content") or ()):
                    kind = "refusal" if part.get("refusal") else "text"
                    yield from self._rest(key, kind, number, part.get(kind))
                    for annotation in part.get("annotations") or ():
                        self._cite_one(annotation)
            case "function_call":
                if key not in self.calls or self.calls.id_of(key) is None:
                    yield from self._begin_call(key, item)
                yield from self._rest_of_call(key, item)
            case "reasoning":
                for number, part in enumerate(item.get("summary") or ()):
                    yield from self._rest(key, "summary", number, part.get("text"))
                for number, part in enumerate(item.get("content") or ()):
                    yield from self._rest(key, "reasoning", number, part.get("text"))
                yield from self._seal(key, item)
            case _:
                pass

    def _seal(self, key: object, item: Json) -> Iterator[ReasoningDelta]:
        """The item itself goes back: it says who can read it. One with neither cannot be known again."""
        if (item.get("encrypted_content") or item.get("content")) and key not in self._sealed:
            self._sealed.add(key)
            known = {name: item[name] for name in ITEM_FIELDS if item.get(name) is not None}
            for name in ("summary", "content"):
                if name in known:
                    known[name] = [{field: part.get(field) for field in PART_FIELDS} for part in known[name]]
            yield ReasoningDelta("", to_json(known))

    def _cite_one(self, annotation: Json) -> None:
        name = annotation.get("title") or annotation.get("filename")
        self._cite(name, annotation.get("url") or annotation.get("file_id"))

    def _response(self, response: Json) -> Iterator[ContentDelta]:
        if (status := response.get("status")) in ("failed", "cancelled"):
            raise StreamError(response)
        if status in ("queued", "in_progress"):
            raise Unreadable(f"a response that is {status}")
        for number, item in enumerate(response.get("output") or ()):
            known = self._keys.get(item.get("id"))
            yield from self._item(number if known is None else known, item)
        self.summary.model = text_of(response.get("model")) or self.summary.model
        if usage := response.get("usage"):
            self.summary.usage = Usage(
                input_tokens=count_of(usage, "input_tokens"),
                output_tokens=count_of(usage, "output_tokens"),
                cached_tokens=count_of(usage, "input_tokens_details", "cached_tokens"),
                reasoning_tokens=count_of(usage, "output_tokens_details", "reasoning_tokens"),
            )
        why = (response.get("incomplete_details") or {}).get("reason")
        reason = why or ("incomplete" if status == "incomplete" else "stop")
        self._end("content_filter" if self._is_refused else str(reason))
        self.is_done = True
