"""Messages and their parts: the only shape that is stored and that models are sent.

All of it is frozen and JSON-able. A message never changes after it was committed (H3).
"""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


class FinishReason(StrEnum):
    """Why a reply ended, in the provider's view."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Usage:
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


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought aloud. `signature` goes back to the provider with it, unread."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asked for. `arguments` is the JSON text as it came, valid or not."""

    call_id: str
    name: str
    arguments: str


Part = Text | Reasoning | ToolCall


@dataclass(frozen=True, slots=True)
class UserMessage:
    text: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """One reply. `interrupted` marks a reply that a stop, a deadline or a failure cut short (H2)."""

    parts: tuple[Part, ...]
    model: str
    finish: FinishReason | None = None
    interrupted: bool = False

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


class ResultStatus(StrEnum):
    """What became of a call, told truthfully to the model and on its card (H5)."""

    COMPLETED = "completed"
    FAILED = "failed"
    DENIED = "denied"
    STOPPED = "stopped"
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The one result of one call (H4). `text` is what the model is told; it says the status by itself."""

    call_id: str
    name: str
    status: ResultStatus
    text: str


@dataclass(frozen=True, slots=True)
class ToolResults:
    """The results of all calls of the reply before it, in their order (H4)."""

    results: tuple[ToolResult, ...]


Message = UserMessage | AssistantMessage | ToolResults


@dataclass(frozen=True, slots=True)
class Step:
    """The unit of commit (H3): the prompt that led to a reply if it was the first, the reply, the results of
    its calls, and what it cost.

    `usage` is None when the provider reported none.
    """

    messages: tuple[Message, ...]
    usage: Usage | None = None

    @property
    def model(self) -> str:
        """The model that replied."""
        return next((said.model for said in self.messages if isinstance(said, AssistantMessage)), "")


STOPPED_NOTE = "[The reply above was stopped before its end.]"
"""What the model is told in the next prompt after an interrupted reply (H2)."""

UNREADABLE_KEPT = 2_000
"""How many characters of arguments that are no JSON object go back to the model."""


def sendable(messages: Iterable[Message]) -> tuple[Message, ...]:
    """What of a conversation is sent, in a form that every provider accepts (H4).

    Reasoning that the provider has not signed is left out, so are replies that are blank without it; prompts
    that come to stand next to each other are joined, an interrupted reply is said to be one, and arguments
    that are no JSON object are quoted in one.
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
                note = STOPPED_NOTE if message.interrupted else ""
                if message.text.strip() or message.calls:
                    sent.append(_acceptable(message))
            case ToolResults():
                sent.append(message)
            case _:
                assert_never(message)
    return tuple(sent)


def read_arguments(text: str) -> dict[str, object] | None:
    """The arguments of a call; no text is no arguments. None for what is not one JSON object."""
    try:
        read = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


@lru_cache(maxsize=4_096)
def _acceptable(message: AssistantMessage) -> AssistantMessage:
    """`message` without blank text and reasoning that its provider would not take back, its calls in JSON.

    Remembered, for a message is sent again with every step that follows and its arguments may be long.
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
