"""The engine's interface to language models: a request goes in, deltas come out, a token stops it.

Providers implement `ModelProvider`; the engine uses nothing else of them. A provider *emits* its deltas into
a callback instead of yielding them, so that no async generator holds a cancel scope open.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from core.base.errors import CaesuraError
from core.base.values import Record, Value
from core.model.messages import FinishReason, Message, Usage
from core.model.server_options import USUAL, ServerOptions

if TYPE_CHECKING:
    from core.cancel import CancelToken


class Phase(StrEnum):
    """How far an operation has got, as the record of a stop names it (T9)."""

    BEFORE_REQUEST = "before request"
    CONNECTING = "connecting"
    WAITING_FOR_HEADERS = "waiting for headers"
    STREAMING = "streaming"
    BACK_OFF = "back-off"
    COMPACTION = "compaction"
    WAITING_FOR_APPROVAL = "waiting for approval"
    BEFORE_CALL = "before call"
    IN_CALL = "in call"


class ToolSpec(Record, forbid_unknown_fields=True):
    """A tool as described to the model. `parameters` is the JSON Schema of one object, as JSON text."""

    name: str
    description: str
    parameters: str


class Effort(StrEnum):
    """How long a reasoning model may reason before it answers."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Parameters(Record, forbid_unknown_fields=True):
    """Parameters of a model's reply; None leaves it to the provider. `max_output` counts tokens.

    A parameter that a model does not take is left out of the request, and `ParametersDropped` reports it.
    """

    effort: Effort | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output: int | None = None


AS_IT_IS = Parameters()


class ModelChoice(Value):
    """Which model answers, and at which address. `model` is litellm's name, or that of a model or a route of
    the user's own settings. `api_base` is None for the usual address, `key_name` for the usual key."""

    model: str
    api_base: str | None = None
    system: str | None = None
    parameters: Parameters = AS_IT_IS
    key_name: str | None = None


class ModelRequest(Record, forbid_unknown_fields=True):
    """One request to a model.

    `model` is litellm's name for it, provider prefix included. `messages` is what is sent, already well
    formed (H4). `streaming` is false for a model that answers only as a whole; a stop closes its connection
    as well. The model may call `tools`. `key_name` names the environment variable or keyring entry that holds
    the key, if it is not the provider's usual one; the key itself is never here. `server` has what is special
    about the server, the limits of silence among it. `address_setting` names the setting that `api_base` is
    from, for errors; "" if it is from none.
    """

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    api_base: str | None = None
    streaming: bool = True
    tools: tuple[ToolSpec, ...] = ()
    parameters: Parameters = AS_IT_IS
    key_name: str | None = None
    api_version: str | None = None
    server: ServerOptions = USUAL
    address_setting: str = ""


class TextDelta(Record, tag="text"):
    text: str


class ReasoningDelta(Record, tag="reasoning"):
    """Reasoning as the model shows it, with the provider's signature for it, which is sent back unread."""

    text: str
    signature: str | None = None


class ToolCallDelta(Record, tag="call", rename={"call_id": "id"}):
    """A piece of a tool call. `index` identifies the call within the reply; `call_id` and `name` come
    once."""

    index: int
    arguments: str
    call_id: str | None = None
    name: str | None = None


class PhaseChanged(Record, tag="phase"):
    phase: Phase


class KeptAlive(Record, tag="alive"):
    """Something came in the middle of a reply that is no piece of it, such as a ping: the server is alive.
    Emitted once a second at most."""


class Closing(StrEnum):
    """How the provider's connection of a stopped request ended.

    `FINISHED`: the reply had ended by itself when the stop arrived. `KILLED`: the model process did not
    confirm in time, so it was killed and the kernel closed its sockets. `UNCONFIRMED`: it is not known.
    `NOT_OPEN`: earlier attempts had failed, and none was under way.
    """

    NEVER_OPENED = "never opened"
    NOT_OPEN = "not open"
    FINISHED = "finished"
    CLOSED = "closed"
    KILLED = "killed"
    UNCONFIRMED = "unconfirmed"


class Closed(Value):
    """The report of a stop: the last delta of a stopped stream. `at` is `time.monotonic()` of the close."""

    how: Closing
    at: float


class Wait:
    """One back-off under way. `skip` ends it at once, from any thread, and the next attempt follows.

    A stop does not use it: the wait ends through the token, and no attempt follows (R2).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.until = time.monotonic() + seconds
        self.skipped = False
        self._on_skip: Callable[[], object] = lambda: None

    def skip(self) -> None:
        self.skipped = True
        self._on_skip()

    def on_skip(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the wait is skipped, in that thread; at once if it already was."""
        self._on_skip = callback
        if self.skipped:
            callback()


class AttemptStarted(Value):
    """A request is sent, the first one or a further attempt. It is given up when no word of the reply has
    come for `first_byte_timeout` seconds, and later when nothing at all has for `idle_timeout` seconds."""

    first_byte_timeout: float
    idle_timeout: float


class BackingOff(Value):
    """The provider waits before it tries again. `attempt` is the number of the next one, from 2, of at most
    `attempts`; `failed` is the model that failed and `why` the reason as text. The wait is over when
    `BackedOff`, the reply or the end comes."""

    wait: Wait
    attempt: int
    attempts: int
    failed: str
    why: str


class BackedOff(Value):
    """The wait is over and the next attempt begins."""


class FailedOver(Value):
    """`model` is used from now on, because `failed` could not answer; `why` is the reason as text."""

    failed: str
    model: str
    why: str


class ParametersDropped(Record, tag="dropped"):
    """`model` does not take these parameters, so they are left out of the request."""

    model: str
    names: tuple[str, ...]


ContentDelta = TextDelta | ReasoningDelta | ToolCallDelta
"""The parts of a reply."""

Delta = (
    ContentDelta
    | PhaseChanged
    | KeptAlive
    | AttemptStarted
    | BackingOff
    | BackedOff
    | FailedOver
    | ParametersDropped
    | Closed
)
"""What a provider emits while a request is under way."""

Emit = Callable[[Delta], None]


class Finished(Value):
    """The provider has ended the reply. `usage` is None when it sent none: it is never invented (H6).

    `model` is what the server calls itself; `answered_by` is the name under which it was requested, if it
    differs from the request's. `words` are the provider's own about the end: the text of a refusal, the name
    of what blocked it, a reason that we do not know. `is_whole`: it was one document, though it may have been
    asked for in pieces.
    """

    reason: FinishReason
    usage: Usage | None
    model: str
    answered_by: str = ""
    words: str = ""
    is_whole: bool = False


class FailureKind(StrEnum):
    """Why a request failed, grouped by what the user can do about it."""

    NO_KEY = "no key"
    WRONG_KEY = "wrong key"
    UNKNOWN_MODEL = "unknown model"
    UNREACHABLE = "unreachable"
    NAME_NOT_FOUND = "name not found"
    WEB_PAGE = "web page"
    UNTRUSTED = "certificate not accepted"
    REDIRECTED = "redirected"
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

    `detail` is the library's own text, for the log alone: it may hold addresses, never keys. `retry_after_s`
    is what the server asked for, in seconds, uncapped.
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


class ModelInfo(Record, omit_defaults=True, forbid_unknown_fields=True):
    """What the catalog knows of a model; None where it does not know. Prices in dollars per token.

    A cached or a reasoning token without a price of its own costs as much as other tokens of the input or
    output. For a prompt of more than `long_prompt` tokens the `long_` prices hold, if any. `efforts` is true
    for a model that takes an `Effort`, `vision` for one that accepts images. `members` are the models behind
    a route; the route has their lowest limits, and no prices where theirs differ.
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
        """What is known of the member of this name; of the whole if there is none."""
        return next((member for member in self.members if member.model == model), self)


class ModelProvider(Protocol):
    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Send `request` and emit its deltas until its end.

        Raises `ModelError` when the request fails and `core.cancel.Cancelled` when `token` ends it; then the
        last delta emitted is `Closed`. The token is checked before anything is sent (R1, T3).
        """

    async def describe(self, model: str) -> ModelInfo:
        """What is known of a model; never raises for an unknown one."""


class OfferKind(StrEnum):
    """The source of an offered model: the user's settings, or the catalog."""

    ROUTE = "route"
    NAMED = "named"
    SERVER = "server"
    CATALOG = "catalog"


class Offer(Value):
    """A model that can be chosen, under the name `info.model`. `usable` is true if a key for it was found in
    the environment or none is needed, false if none was found there, and None if it was not checked."""

    info: ModelInfo
    kind: OfferKind
    usable: bool | None = None


class Catalog(Protocol):
    """Lists the available models."""

    async def offers(self) -> tuple[Offer, ...]:
        """All that can be chosen, the user's own first. Never raises; bounded in time; asks no server."""
