"""What all parsers share: how events are read, what ends a reply, and how its calls are numbered.

A parser is tolerant where servers differ and the meaning is clear, and strict where it is not: it raises
`Unreadable` before it drops a piece of the reply.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from core.model.messages import FinishReason
from core.model.provider import TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from core.model.messages import Usage
    from core.model.provider import ContentDelta
    from providers.reading.decoder import Event

Json = dict[str, Any]

_STATUS = {
    "overloaded_error": 529, "rate_limit_error": 429, "rate_limit_exceeded": 429, "authentication_error": 401,
    "permission_error": 403, "not_found_error": 404, "request_too_large": 413, "invalid_request_error": 400,
    "insufficient_quota": 429, "server_error": 500, "api_error": 500, "timeout_error": 504,
    "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503, "INTERNAL": 500, "DEADLINE_EXCEEDED": 504,
    "INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404,
}  # fmt: skip
"""HTTP statuses of the names that errors in a stream have."""


class StreamError(Exception):
    """The server reports an error in its reply. `body` is what it sent, `status_code` the status it means."""

    def __init__(self, body: object) -> None:
        super().__init__(body if isinstance(body, str) else json.dumps(body, ensure_ascii=False))
        self.body = body
        inner = body.get("error") or body if isinstance(body, dict) else body
        self.status_code = _status_of(inner) if isinstance(inner, dict) else 500


class Unreadable(Exception):
    """What came does not follow the protocol."""


class WebPage(Exception):
    """The answer is a page for a browser."""


@dataclass(slots=True)
class Summary:
    """What is known of a reply so far, besides its deltas. `words` is why it ended, in the provider's own
    words; empty if there are none that matter. `is_whole`: it came as one document."""

    finish: FinishReason | None = None
    usage: Usage | None = None
    model: str = ""
    words: str = ""
    is_whole: bool = False


class Parser(ABC):
    """Turns the events of one reply into deltas, and its end into `summary`.

    `is_done`: the protocol's own end mark has come, and nothing that belongs to the reply follows.
    `has_reason`: a reason to end has come. `is_ending`: it came after the reply, so that only usage and the
    end mark may follow; some servers send a reason in every event, or before the first word.
    `has_foreign_calls`: calls that the provider runs itself were passed over.
    """

    REASONS: ClassVar[Mapping[str, FinishReason]]

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.calls = Calls()
        self.is_done = False
        self.has_reason = False
        self.is_ending = False
        self.has_foreign_calls = False
        self._has_begun = False
        self._went_on = False
        # Title and address of each source, by what tells it apart.
        self._sources: dict[Hashable, tuple[str, str]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether the reply is whole if nothing more comes."""
        return self.is_done or self.has_reason

    def parse(self, event: Event) -> Iterator[ContentDelta]:
        """Raises `StreamError` for an error of the server and `Unreadable` for what is not the protocol."""
        name, data = event
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            problem = str(error)
        else:
            return self.parse_value(name, value)
        # Not in the handler: that error would be in the chain of this one, and be taken for its cause.
        raise StreamError(data) if name == "error" else Unreadable(problem)

    def parse_document(self, text: str) -> Iterator[ContentDelta]:
        """The deltas of a body that is no stream: the reply as one JSON document. Raises like `parse`."""
        if text.lstrip().startswith("<"):
            raise WebPage(text)
        is_reply = False
        for delta in self.parse(("", text)):
            is_reply = True
            yield delta
        if not (self.is_complete or is_reply):
            # A sentence of a gateway, such as {"detail": "..."}, in place of a reply.
            raise StreamError(json.loads(text))
        self.is_done = self.is_complete

    def parse_value(self, name: str, value: Any) -> Iterator[ContentDelta]:
        """`parse` for an event whose JSON has been read."""
        if name == "error" or (isinstance(value, dict) and _is_error(value)):
            raise StreamError(value)
        had_reason, is_piece = self.has_reason, False
        try:
            for delta in self._deltas(name, value):
                is_piece = True
                yield delta
        except (AttributeError, TypeError, KeyError, IndexError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error
        self._went_on = self._went_on or (had_reason and is_piece)
        self.is_ending = self.has_reason and self._has_begun and not (is_piece or self._went_on)
        self._has_begun = self._has_begun or is_piece

    @abstractmethod
    def _deltas(self, name: str, value: Json) -> Iterator[ContentDelta]:
        """The deltas of one event. May raise `AttributeError`, `TypeError`, `KeyError` or `IndexError` for
        one that is not the protocol's."""

    def rest(self) -> Iterator[ContentDelta]:
        """What follows the last event: the sources that the reply names, as a list below its text."""
        if self._sources:
            named = enumerate(self._sources.values(), 1)
            lines = (f"{place}. " + ", ".join(filter(None, source)) for place, source in named)
            yield TextDelta("\n\nSources:\n" + "\n".join(lines))

    def _cite(self, title: object, address: object, *, number: int | None = None) -> None:
        """Keep a source, once. `number` is its place in a list of the provider's, to which texts refer; a
        later list replaces an earlier one."""
        source = text_of(title).strip(), text_of(address).strip()
        if number is not None:
            self._sources[number] = source
        elif any(source):
            self._sources.setdefault(source[1] or source, source)

    def _end(self, reason: str, words: str = "") -> None:
        """The reply ends for `reason`, in the protocol's own word for it."""
        self.has_reason = True
        known = self.REASONS.get(reason, FinishReason.OTHER)
        if known is FinishReason.STOP and self.calls:
            known = FinishReason.TOOL_CALLS
        elif known is FinishReason.TOOL_CALLS and self.has_foreign_calls and not self.calls:
            known = FinishReason.STOP
        self.summary.finish = known
        self.summary.words = words or self.summary.words or (reason if known is FinishReason.OTHER else "")

    def _refuse(self, words: str) -> None:
        """The reply is a refusal, `words` a piece of what the model says of it."""
        self.summary.words += words


@dataclass(slots=True)
class _Call:
    call_id: str | None = None
    name: str | None = None
    length: int = 0


@dataclass(slots=True)
class Calls:
    """The calls of a reply, in order. Each is announced once, with its id and its name."""

    _calls: list[_Call] = field(default_factory=list)
    _by_key: dict[Hashable, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._by_key

    def length(self, key: Hashable) -> int:
        """How many characters of its arguments have come."""
        return self._calls[self._by_key[key]].length

    def piece(
        self, key: Hashable, arguments: str, call_id: str | None = None, name: str | None = None
    ) -> ToolCallDelta:
        """A piece of the call that the server tells apart by `key`.

        A new id together with a name begins another call, also under a key that is in use: some servers give
        all calls of a reply the same number. A new id alone does not: some servers make one for each piece.
        """
        index = self._by_key.get(key)
        if index is None or (call_id and name and self._calls[index].call_id not in (None, call_id)):
            index = self._by_key[key] = len(self._calls)
            self._calls.append(_Call())
        call = self._calls[index]
        if name and call.name and name != call.name:
            raise Unreadable(f"a call is named {call.name} and {name}")
        delta = ToolCallDelta(
            index, arguments, None if call.call_id else call_id, None if call.name else name
        )
        call.call_id = call.call_id or call_id
        call.name = call.name or name
        call.length += len(arguments)
        return delta

    def whole(self, arguments: object, call_id: str | None, name: str) -> ToolCallDelta:
        """A call that comes in one piece."""
        return self.piece(object(), text_of_arguments(arguments) or "{}", call_id, name)

    def id_of(self, key: Hashable) -> str | None:
        """The id that the server has given the call."""
        return self._calls[self._by_key[key]].call_id

    def newest(self) -> Hashable:
        """The key of the call that began last; a new one if there is none."""
        return max(self._by_key, key=self._by_key.__getitem__, default=object())


def text_of(value: object) -> str:
    """A text that may be null. Raises `TypeError` for anything else."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise TypeError(f"a text that is a {type(value).__name__}")


def text_of_arguments(value: object) -> str:
    """Arguments as JSON text; some servers send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def count_of(value: Any, *path: str) -> int:
    """A number of tokens in an object, and 0 where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return int(value) if is_count else 0


def _is_error(value: Json) -> bool:
    return bool(value.get("error")) or "error" in (value.get("object"), value.get("type"))


def _status_of(error: Json) -> int:
    for name in ("code", "status", "status_code", "type"):
        match error.get(name):
            case bool():
                pass
            case int(number) if 400 <= number < 600:
                return number
            case str(number) if number.isdecimal() and 400 <= int(number[:4]) < 600:
                return int(number)
            case str(known) if known in _STATUS:
                return _STATUS[known]
            case _:
                pass
    return 500
