"""What the engine knows of a language model: a request goes in, deltas come out, a token stops it.

Providers implement `ModelProvider`; the engine sees nothing else of them. A provider *emits*
its deltas into a callback instead of yielding them, so that no async generator holds a cancel scope open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from core.errors import CaesuraError

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from core.messages import FinishReason, Message, Usage


class Phase(StrEnum):
    """How far an operation has got, as a stop's record names it (T9)."""

    BEFORE_REQUEST = "before request"
    CONNECTING = "connecting"
    WAITING_FOR_HEADERS = "waiting for headers"
    STREAMING = "streaming"
    BACK_OFF = "back-off"
    COMPACTION = "compaction"
    WAITING_FOR_APPROVAL = "waiting for approval"
    BEFORE_CALL = "before call"
    IN_CALL = "in call"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it. `parameters` is the JSON Schema of one object, as JSON text."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model answers, and where. `model` is litellm's name; `api_base` None is the usual address."""

    model: str
    api_base: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to a model.

    `model` is litellm's name for it, provider prefix included. `messages` is what is sent, already well
    formed (H4). `timeout_s` bounds the silence between two chunks and the wait for headers, in seconds.
    `streaming` is false for a model that only answers in one piece; a stop closes its connection as well.
    The model may call `tools`.
    """

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    api_base: str | None = None
    timeout_s: float = 600.0
    streaming: bool = True
    tools: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Reasoning as the model shows it, with the provider's signature for it, which is sent back unread."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. `index` tells the calls of one reply apart; `call_id` and `name` come once."""

    index: int
    arguments: str
    call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    phase: Phase


class Closing(StrEnum):
    """How the provider's connection of a stopped request came to its end.

    `FINISHED`: the reply had come to its own end when the stop arrived. `KILLED`: the model process did not
    confirm in time, so it was killed and the kernel closed its sockets. `UNCONFIRMED`: nobody can say.
    """

    NEVER_OPENED = "never opened"
    FINISHED = "finished"
    CLOSED = "closed"
    KILLED = "killed"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class Closed:
    """The proof of a stop: the last delta of a stopped stream. `at` is `time.monotonic()` of the close."""

    how: Closing
    at: float


Delta = TextDelta | ReasoningDelta | ToolCallDelta | PhaseChanged | Closed
Emit = Callable[[Delta], None]


@dataclass(frozen=True, slots=True)
class Finished:
    """The normal end of a reply. `usage` is None when the provider sent none: it is never invented (H6)."""

    reason: FinishReason
    usage: Usage | None
    model: str


class FailureKind(StrEnum):
    """Why a request failed, by what the user can do about it."""

    NO_KEY = "no key"
    WRONG_KEY = "wrong key"
    UNKNOWN_MODEL = "unknown model"
    UNREACHABLE = "unreachable"
    NAME_NOT_FOUND = "name not found"
    RATE_LIMITED = "rate limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server error"
    CONTEXT_TOO_LONG = "context too long"
    BAD_REQUEST = "bad request"
    BROKEN_STREAM = "broken stream"
    TOO_LARGE = "too large"
    TIMED_OUT = "timed out"
    PROCESS_DIED = "process died"
    UNKNOWN = "unknown"


class ModelError(CaesuraError):
    """A request failed. `message` is one sentence for the user with what to do next.

    `detail` is the library's own words, for the log alone: it may hold addresses, never keys.
    `retry_after_s` is what the server asked for, in seconds, uncapped.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        detail: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the catalogue knows of a model; None where it does not know. Prices in dollars per token.

    A cached or a reasoning token without a price of its own costs what other tokens of the input or of the
    output cost. For a prompt of more than `long_prompt` tokens the `long_` prices hold, where there are any.
    """

    model: str
    context_window: int | None = None
    max_output: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    reasoning: bool | None = None
    tools: bool | None = None
    cached_input_price: float | None = None
    reasoning_price: float | None = None
    long_prompt: int | None = None
    long_input_price: float | None = None
    long_cached_input_price: float | None = None
    long_output_price: float | None = None


class ModelProvider(Protocol):
    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Send `request` and emit its deltas until its end.

        Raises `ModelError` when the request fails and `core.cancel.Cancelled` when `token` ends it; then
        the last delta emitted is `Closed`. The token is checked before anything is sent (R1, T3).
        """
        ...

    async def describe(self, model: str) -> ModelInfo:
        """What is known of a model; never raises for one that is not known."""
        ...
