"""Messages and their parts: the only shape that is stored and that models are sent.

All of it is frozen and JSON-able. A message never changes after it was committed (H3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
