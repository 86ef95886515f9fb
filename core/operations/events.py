"""What a session tells its front ends: a closed union of small frozen values.

They can be stored and sent: no event carries a live object. Begin and end come in pairs, and the end always
comes: after each `TurnStarted` exactly one `TurnEnded` with the same id (U4).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from core.values import dataclass

if TYPE_CHECKING:
    from core.compaction_plan import Action, Trigger
    from core.messages import ResultStatus, Usage
    from core.model import Closing, Effort, ModelInfo
    from core.permissions import Mode


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
    """What is known of the end of a stopped turn or call (E6).

    `source` is the key, signal or command. `after_s` is the time from the request to the confirmed end of all
    that was alive, in seconds; None while something has not confirmed it. `closing` is None when no request
    was under way. `unconfirmed` names what had not ended when it was given up, `alive` the processes that
    refused, each with its id and name; `processes` counts those that ended.
    """

    source: str
    after_s: float | None
    closing: Closing | None
    unconfirmed: tuple[str, ...] = ()
    processes: int = 0
    alive: tuple[tuple[int, str], ...] = ()


class ShownKind(StrEnum):
    """How a result is drawn for the person."""

    TEXT = "text"
    DIFF = "diff"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person sees of a call's result, or of what it is going to do."""

    text: str
    kind: ShownKind = ShownKind.TEXT


class AnswerKind(StrEnum):
    """What a person says to a question. Only the first three allow anything."""

    ONCE = "once"
    SESSION = "session"
    ALWAYS = "always"
    DENY = "deny"

    @property
    def allows(self) -> bool:
        return self is not AnswerKind.DENY


@dataclass(frozen=True, slots=True)
class Answer:
    """`words` go to the model with a denial."""

    kind: AnswerKind
    words: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """May this call do that? Answered by id: `Session.answer(ask_id, answer)`.

    `title` is what it does on one line, `why` says why it is asked. `rule` is what "for the session" and
    "always" would allow, in words; empty where they are not offered. `agent` names the sub-agent that asks.
    """

    ask_id: str
    call_id: str
    tool: str
    title: str
    why: str
    rule: str = ""
    preview: Shown | None = None
    agent: str = ""


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
class CallNamed:
    """The model has named a call: it is queued, and can be stopped, from now on (S1, S4).

    `parent_id` is the call of the sub-agent that it belongs to.
    """

    turn_id: int
    call_id: str
    name: str
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The call's arguments are read: `title` is what it does on one line. It may still be asked about."""

    turn_id: int
    call_id: str
    title: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The last word on a call, once for each `CallNamed` (H5).

    `arguments` is their JSON text as it came. `seconds` counts from its start, None if it never ran. `proof`
    is that of its stop, if it was stopped.
    """

    turn_id: int
    call_id: str
    name: str
    title: str
    status: ResultStatus
    shown: Shown
    arguments: str
    seconds: float | None = None
    proof: StopProof | None = None
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    turn_id: int
    question: Question


@dataclass(frozen=True, slots=True)
class QuestionClosed:
    """`answer` is None when a stop has closed it, which is no denial (E4)."""

    turn_id: int
    ask_id: str
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class ModeChanged:
    mode: Mode


@dataclass(frozen=True, slots=True)
class BackgroundEnded:
    """A background command is over. `shown` is its output, `proof` that of its stop, if it was stopped."""

    call_id: str
    title: str
    exit_code: int | None
    shown: Shown
    proof: StopProof | None = None


@dataclass(frozen=True, slots=True)
class CompactionStarted:
    """`turn_id` is None for `/compact`; `call_id` is its operation's, empty for one that only trims.

    `steps` are the steps that are summarised, or those of which outputs are trimmed; `tokens` estimates the
    context before.
    """

    turn_id: int | None
    call_id: str
    action: Action
    trigger: Trigger
    steps: int
    tokens: int


@dataclass(frozen=True, slots=True)
class CompactionEnded:
    """The last word on a compaction, once for each `CompactionStarted`.

    `number` is that of its record; None means that nothing has changed, and then `proof` is that of its stop
    or `error` a sentence for the user. `upto` counts the steps that the summary stands for. `tokens`
    estimates the context now. `usage` is what the provider counted for the request, None if it counted
    nothing or the request was stopped.
    """

    turn_id: int | None
    call_id: str
    action: Action
    number: int | None
    summary: str
    tokens: int
    usage: Usage | None = None
    error: str | None = None
    proof: StopProof | None = None
    upto: int = 0


@dataclass(frozen=True, slots=True)
class BackOffStarted:
    """A request failed before it had shown anything, and is made again in `seconds`, at `until` of
    `time.monotonic()`: `Session.retry_now` makes it at once, a stop ends the wait and makes none (R2).

    `call_id` is that of the request's operation. The next attempt is number `attempt` of at most `attempts`;
    `model` is what has failed, and `why` says why, in words. `turn_id` is None for a compaction that was
    asked for.
    """

    turn_id: int | None
    call_id: str
    seconds: float
    until: float
    attempt: int
    attempts: int
    model: str
    why: str


@dataclass(frozen=True, slots=True)
class BackOffEnded:
    """The last word on a back-off, once for each `BackOffStarted`, whatever ended it."""

    turn_id: int | None
    call_id: str


@dataclass(frozen=True, slots=True)
class ModelFailedOver:
    """`model` is asked now, because `failed` could not answer."""

    turn_id: int
    failed: str
    model: str
    why: str


@dataclass(frozen=True, slots=True)
class ParametersLeftOut:
    """`model` is asked without these parameters, which it does not take. Told once for each model."""

    turn_id: int
    model: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelSwitched:
    """Another model answers, or the same in another way, from the next turn on."""

    model: str
    effort: Effort | None


@dataclass(frozen=True, slots=True)
class StepCommitted:
    """`usage` is this step's, None if the provider reported none; `total` the session's so far. `model` is
    the one that answered, where a route was asked; else empty."""

    turn_id: int
    usage: Usage | None
    total: Usage
    model: str = ""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The last word on a turn.

    `error` is a sentence for the user. `returned_prompt` is set when nothing of the turn was kept (H1): it
    goes back to an empty composer. Not so the prompt of `/continue`, which nobody wrote. `text` is what of
    the reply was kept, whole or partial. `unsaved` says why the end is not in the file, if it is not.
    `changed` names the files that tools of ours have changed in it, or set out to, and that can be put back.
    """

    turn_id: int
    outcome: Outcome
    text: str
    error: str | None = None
    proof: StopProof | None = None
    returned_prompt: str | None = None
    unsaved: str | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """Prompts that wait for the running turn; `paused` when a stop has made them wait for the user."""

    prompts: tuple[str, ...]
    paused: bool


@dataclass(frozen=True, slots=True)
class Titled:
    """The session has a title, or another one."""

    title: str


@dataclass(frozen=True, slots=True)
class ModelDescribed:
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the person about the session itself: a setting that could not be used, a rule that could
    not be kept."""

    text: str


Event = (
    TurnStarted
    | TurnStopping
    | TextArrived
    | ReasoningArrived
    | CallNamed
    | CallStarted
    | CallEnded
    | QuestionAsked
    | QuestionClosed
    | ModeChanged
    | BackgroundEnded
    | Notice
    | CompactionStarted
    | CompactionEnded
    | BackOffStarted
    | BackOffEnded
    | ModelFailedOver
    | ParametersLeftOut
    | ModelSwitched
    | StepCommitted
    | TurnEnded
    | QueueChanged
    | ModelDescribed
    | Titled
)
