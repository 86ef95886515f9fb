"""Messages and their parts: the only shape that is stored and that models are sent.

All of it is frozen and JSON-able. A message never changes after it was committed (H3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

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


Message = UserMessage | AssistantMessage


@dataclass(frozen=True, slots=True)
class Step:
    """The unit of commit (H3): the prompt that led to a reply, the reply, and what it cost.

    `usage` is None when the provider reported none.
    """

    messages: tuple[Message, ...]
    usage: Usage | None = None


STOPPED_NOTE = "[The reply above was stopped before its end.]"
"""What the model is told in the next prompt after an interrupted reply (H2)."""


def sendable(messages: Iterable[Message]) -> tuple[Message, ...]:
    """What of a conversation is sent, in a form that every provider accepts (H4).

    Reasoning that the provider has not signed is left out, so are replies that are blank without it; prompts
    that come to stand next to each other are joined, and an interrupted reply is said to be one.
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
                if message.text.strip() or any(isinstance(part, ToolCall) for part in message.parts):
                    sent.append(_signed(message))
            case _:
                assert_never(message)
    return tuple(sent)


def _signed(message: AssistantMessage) -> AssistantMessage:
    """`message` without the reasoning that its provider would not take back."""
    keep = tuple(part for part in message.parts if not isinstance(part, Reasoning) or part.signature)
    return replace(message, parts=keep)
