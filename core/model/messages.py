"""Messages and their parts: the only form that is stored and sent to models.

All of it is frozen and JSON-able. A message never changes after it was committed (H3).
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from core.base.values import Record
from core.model.images import Image
from core.model.reply_end import FinishReason as FinishReason
from core.model.reply_end import ReplyEnd, decide_end, note_for_model

if TYPE_CHECKING:
    from collections.abc import Iterable


class Usage(
    Record,
    rename={
        "input_tokens": "input",
        "output_tokens": "output",
        "cached_tokens": "cached",
        "reasoning_tokens": "reasoning",
    },
):
    """Tokens of one request as the provider counted them (H6)."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


class Text(Record, tag="text"):
    text: str


class Reasoning(Record, tag="reasoning"):
    """The model's reasoning. `signature` goes back to the provider with it, unread."""

    text: str
    signature: str | None = None


class ToolCall(Record, tag="call", rename={"call_id": "id"}):
    """A call the model requested. `arguments` is the JSON text as received, valid or not."""

    call_id: str
    name: str
    arguments: str


Part = Text | Reasoning | ToolCall


class UserMessage(Record, tag_field="role", tag="user"):
    text: str


class AssistantMessage(Record, tag_field="role", tag="assistant"):
    """One reply. `interrupted` marks a reply that a stop, a deadline or a failure cut short (H2).

    `unfinished` is how it ended then, unset if that is not known; `words` are the provider's own about its
    end. Unset fields are not written: what earlier versions wrote is what this one writes.
    """

    parts: tuple[Part, ...]
    model: str
    finish: FinishReason | None = None
    interrupted: bool = False
    unfinished: ReplyEnd | UnsetType = UNSET
    words: str | UnsetType = UNSET

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def says_something(self) -> bool:
        """It has more than reasoning."""
        return bool(self.text.strip() or self.calls)

    @property
    def end(self) -> ReplyEnd:
        return decide_end(
            # A file need not tell why a whole reply has ended.
            None if self.interrupted else self.finish or FinishReason.STOP,
            text=bool(self.text.strip()),
            calls=bool(self.calls),
            unfinished=self.unfinished or ReplyEnd.INTERRUPTED,
        )


class ResultStatus(StrEnum):
    """The result of a call, reported truthfully to the model and on its card (H5)."""

    COMPLETED = "completed"
    FAILED = "failed"
    DENIED = "denied"
    STOPPED = "stopped"
    NOT_STARTED = "not started"


class ToolResult(Record, rename={"call_id": "id"}, omit_defaults=True):
    """The one result of one call (H4). `text` is what the model receives; it states the status by itself.

    `images` go with it to models that see.
    """

    call_id: str
    name: str
    status: ResultStatus
    text: str
    images: tuple[Image, ...] = ()

    def in_words(self, words: str = "[{}]") -> ToolResult:
        """The result with `words` in place of each of its images."""
        if not self.images:
            return self
        told = (words.format(image) for image in self.images)
        return replace(self, text="\n".join((*((self.text,) if self.text else ()), *told)), images=())


class ToolResults(Record, tag_field="role", tag="tool"):
    """The results of all calls of the preceding reply, in their order (H4)."""

    results: tuple[ToolResult, ...]


Message = UserMessage | AssistantMessage | ToolResults


class Step(Record):
    """The unit of commit (H3): the prompt that led to a reply if it was the first, the reply, the results of
    its calls, and its usage.

    `usage` is None when the provider reported none.
    """

    messages: tuple[Message, ...]
    usage: Usage | None = None

    @property
    def model(self) -> str:
        """The model that replied."""
        return next((said.model for said in self.messages if isinstance(said, AssistantMessage)), "")


REMINDER = "Do not run it again unless the user asks for it."
"""Part of the result of a call that was stopped individually and not by time: its one reminder (S8)."""

OUTPUT_SO_FAR = "\n\nOutput so far:\n"
"""Separates, in a result, what happened from what the call had printed by then."""

UNREADABLE_KEPT = 2_000
"""Characters of invalid arguments (not a JSON object) that go back to the model."""


def sendable(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The part of a conversation that is sent, in a form that every provider accepts (H4).

    Leaves out reasoning that the provider has not signed, and replies that are blank without it. Joins
    adjacent prompts, and quotes arguments that are not a JSON object in one. The prompt after a reply that is
    not whole begins with a note about that (H2, P7): so a prompt without a reply is never part of the next.
    """
    sent: list[Message] = []
    note = ""
    for message in messages:
        match message:
            case UserMessage(text):
                prompt = f"{note}\n\n{text}" if note else text
                note = ""
                if sent and isinstance(previous := sent[-1], UserMessage):
                    sent[-1] = UserMessage(f"{previous.text}\n\n{prompt}")
                else:
                    sent.append(UserMessage(prompt))
            case AssistantMessage():
                above = message.says_something
                note = note_for_model(message.end, message.words or "", above=above)
                if above:
                    sent.append(_acceptable(message))
            case ToolResults():
                sent.append(message)
            case _:
                assert_never(message)
    return tuple(sent)


def read_arguments(text: str) -> dict[str, object] | None:
    """The arguments of a call; empty for empty text. None if the text is not one JSON object."""
    try:
        read = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


@lru_cache(maxsize=4_096)
def _acceptable(message: AssistantMessage) -> AssistantMessage:
    """`message` without blank text and reasoning that its provider would reject, its calls as JSON.

    Cached, because a message is sent again with every later step and its arguments may be long.
    """
    keep: list[Part] = []
    for part in message.parts:
        match part:
            case Text():
                if message.text.strip():
                    keep.append(part)
            case Reasoning(signature=signature):
                if signature:
                    keep.append(part)
            case ToolCall(arguments=arguments):
                keep.append(replace(part, arguments=_readable(arguments)))
            case _:
                assert_never(part)
    return replace(message, parts=tuple(keep))


def _readable(arguments: str) -> str:
    if read_arguments(arguments) is None:
        return json.dumps({"unreadable": arguments[:UNREADABLE_KEPT]})
    return arguments if arguments.strip() else "{}"
