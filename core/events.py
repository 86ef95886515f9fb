"""What a session tells its front ends: a closed union of small frozen values.

They can be stored and sent: no event carries a live object. Begin and end come in pairs, and the end always
comes: after each `TurnStarted` exactly one `TurnEnded` with the same id (U4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.messages import Usage
    from core.model import Closing, ModelInfo


class Outcome(StrEnum):
    """How a turn ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    MAX_TURNS_REACHED = "max_turns_reached"
    MAX_BUDGET_REACHED = "max_budget_reached"
    ERROR = "error"


class Status(StrEnum):
    """What a session is doing."""

    IDLE = "idle"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class StopProof:
    """What is known of the end of a stopped turn (E6).

    `source` is the key, signal or command. `after_s` is the time from the request to the confirmed end of the
    connection, in seconds; None while nothing has confirmed it. `closing` is None when there was no request.
    `unconfirmed` names what had not ended when the turn was given up.
    """

    source: str
    after_s: float | None
    closing: Closing | None
    unconfirmed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """`started_at` is `time.monotonic()`. A `continued` turn takes up one that was stopped."""

    turn_id: int
    prompt: str
    started_at: float
    continued: bool = False


@dataclass(frozen=True, slots=True)
class TurnStopping:
    """The turn was asked to end, `source` says by what; it has not ended yet."""

    turn_id: int
    source: str


@dataclass(frozen=True, slots=True)
class TextArrived:
    turn_id: int
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningArrived:
    turn_id: int
    text: str


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The model asked for a tool that there is none of; nothing ran and nothing of it is sent back."""

    turn_id: int
    name: str


@dataclass(frozen=True, slots=True)
class StepCommitted:
    """`usage` is this step's, None if the provider reported none; `total` the session's so far."""

    turn_id: int
    usage: Usage | None
    total: Usage


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The last word on a turn.

    `error` is a sentence for the user. `returned_prompt` is set when nothing of the turn was kept (H1): it
    goes back to an empty composer. Not so the prompt of `/continue`, which nobody wrote. `text` is what of
    the reply was kept, whole or partial.
    """

    turn_id: int
    outcome: Outcome
    text: str
    error: str | None = None
    proof: StopProof | None = None
    returned_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """Prompts that wait for the running turn; `paused` when a stop has made them wait for the user."""

    prompts: tuple[str, ...]
    paused: bool


@dataclass(frozen=True, slots=True)
class ModelDescribed:
    info: ModelInfo


Event = (
    TurnStarted
    | TurnStopping
    | TextArrived
    | ReasoningArrived
    | CallRefused
    | StepCommitted
    | TurnEnded
    | QueueChanged
    | ModelDescribed
)
