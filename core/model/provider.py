"""What the engine knows of a language model: a request goes in, deltas come out, a token stops it.

Providers implement `ModelProvider`; the engine sees nothing else of them. A provider *emits*
its deltas into a callback instead of yielding them, so that no async generator holds a cancel scope open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from core.errors import CaesuraError
from core.values import dataclass

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


class Effort(StrEnum):
    """How long a model that reasons may do so before it answers."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a model is to answer; None leaves it to the provider. `max_output` counts tokens.

    A model that does not take one of them is asked without it, and `ParametersDropped` says so.
    """

    effort: Effort | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output: int | None = None

    def or_else(self, others: Parameters) -> Parameters:
        """Those of `others` where there is none here."""
        return Parameters(
            others.effort if self.effort is None else self.effort,
            others.temperature if self.temperature is None else self.temperature,
            others.top_p if self.top_p is None else self.top_p,
            others.max_output if self.max_output is None else self.max_output,
        )


AS_IT_IS = Parameters()


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model answers, and where. `model` is litellm's name, or that of a model or a route of the
    person's own settings; `api_base` None is the usual address."""

    model: str
    api_base: str | None = None
    system: str | None = None
    parameters: Parameters = AS_IT_IS


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to a model.

    `model` is litellm's name for it, provider prefix included. `messages` is what is sent, already well
    formed (H4). `timeout_s` bounds the silence between two chunks and the wait for headers, in seconds.
    `streaming` is false for a model that only answers in one piece; a stop closes its connection as well.
    The model may call `tools`. `key_name` names the environment variable, or the entry of the keyring, that
    holds the key, where it is not the provider's usual one; the key itself is never here.
    """

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    api_base: str | None = None
    timeout_s: float = 600.0
    streaming: bool = True
    tools: tuple[ToolSpec, ...] = ()
    parameters: Parameters = AS_IT_IS
    key_name: str | None = None
    api_version: str | None = None


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
    `NOT_OPEN`: attempts before had failed, and none was under way.
    """

    NEVER_OPENED = "never opened"
    NOT_OPEN = "not open"
    FINISHED = "finished"
    CLOSED = "closed"
    KILLED = "killed"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class Closed:
    """The proof of a stop: the last delta of a stopped stream. `at` is `time.monotonic()` of the close."""

    how: Closing
    at: float


class Wait:
    """One back-off under way. `skip` ends it at once, from any thread, and the next attempt follows.

    A stop needs nothing of it: the wait ends through the token, and no attempt follows (R2).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.until = time.monotonic() + seconds
        self._skipped = threading.Event()
        self._on_skip: Callable[[], object] = lambda: None

    @property
    def skipped(self) -> bool:
        return self._skipped.is_set()

    def skip(self) -> None:
        self._skipped.set()
        self._on_skip()

    def on_skip(self, callback: Callable[[], object]) -> None:
        """Call this when it is skipped, in that thread; at once if it is already."""
        self._on_skip = callback
        if self.skipped:
            callback()


@dataclass(frozen=True, slots=True)
class BackingOff:
    """The provider waits before it tries again. `attempt` is the number of the next one, from 2, of at most
    `attempts`; `failed` is the model that has failed and `why` the reason in words. The wait is over when
    `BackedOff` comes, or the reply itself, or the end."""

    wait: Wait = field(compare=False)
    attempt: int
    attempts: int
    failed: str
    why: str


@dataclass(frozen=True, slots=True)
class BackedOff:
    """The wait is over and the next attempt begins."""


@dataclass(frozen=True, slots=True)
class FailedOver:
    """`model` is asked now, because `failed` could not answer; `why` is the reason in words."""

    failed: str
    model: str
    why: str


@dataclass(frozen=True, slots=True)
class ParametersDropped:
    """`model` is asked without these parameters, which it does not take."""

    model: str
    names: tuple[str, ...]


Delta = (
    TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | PhaseChanged
    | BackingOff
    | BackedOff
    | FailedOver
    | ParametersDropped
    | Closed
)
Emit = Callable[[Delta], None]


@dataclass(frozen=True, slots=True)
class Finished:
    """The normal end of a reply. `usage` is None when the provider sent none: it is never invented (H6).

    `model` is what the server calls itself; `answered_by` the name under which it was asked, where that is
    another than the request's.
    """

    reason: FinishReason
    usage: Usage | None
    model: str
    answered_by: str = ""


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
    `efforts` is true for a model that takes an `Effort`, `vision` for one that sees pictures. `members` are
    the models behind a route, of which the route has the least limits, and no prices where theirs differ.
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
    efforts: bool | None = None
    vision: bool | None = None
    members: tuple[ModelInfo, ...] = ()

    def of(self, model: str) -> ModelInfo:
        """What is known of the member of this name; of all of it if there is none."""
        return next((member for member in self.members if member.model == model), self)


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


class OfferKind(StrEnum):
    """Where a model that can be chosen comes from: the person's settings, or the catalogue."""

    ROUTE = "route"
    NAMED = "named"
    SERVER = "server"
    CATALOG = "catalog"


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be chosen, under the name `info.model`. `usable` is true when a key for it was found
    in the environment, or none is needed; false when there is none there, and None where nobody looked."""

    info: ModelInfo
    kind: OfferKind
    usable: bool | None = None


class Catalog(Protocol):
    """Knows what models there are."""

    async def offers(self) -> tuple[Offer, ...]:
        """All that can be chosen, the person's own first. Never raises; bounded in time; asks no server."""
        ...
