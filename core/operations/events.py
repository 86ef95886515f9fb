"""The events of a session: a closed union of small frozen values.

They can be stored and sent: no event carries a live object. Start and end come in pairs, and the end always
comes: after each `TurnStarted` exactly one `TurnEnded` with the same id (U4).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from core.base.values import Record, Value
from core.model.provider import Closing

if TYPE_CHECKING:
    from core.model.messages import ResultStatus, Usage
    from core.model.provider import Effort, ModelInfo
    from core.model.reply_end import ReplyEnd
    from core.permissions.policy import Mode


class Trigger(StrEnum):
    """Why a compaction is made."""

    AUTOMATIC = "the context is nearly full"
    REFUSED = "the provider found the request too long"
    ASKED = "asked for"


class Action(StrEnum):
    """What to do about a context."""

    NOTHING = "nothing"
    TRIM = "trim"
    SUMMARISE = "summarise"
    FULL = "full"


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


class StopReport(Record):
    """What is known of the end of a stopped turn or call (E6).

    `source` is the key, signal or command. `after_s` is the time in seconds from the request to the confirmed
    end of all that was running; None while something has not confirmed it. `closing` is None when no request
    was under way. `unconfirmed` names what had not ended when the wait was given up. `alive` lists the
    processes that did not end, each with its id and name; `processes` counts those that ended.
    """

    source: str
    after_s: float | None
    closing: Closing | None
    unconfirmed: tuple[str, ...] = ()
    processes: int = 0
    alive: tuple[tuple[int, str], ...] = ()


class ShownKind(StrEnum):
    """How a result is drawn for the user."""

    TEXT = "text"
    DIFF = "diff"
    MARKDOWN = "markdown"


class Shown(Record):
    """What the user sees of a call's result, or of what the call is going to do."""

    text: str
    kind: ShownKind = ShownKind.TEXT


class AnswerKind(StrEnum):
    """The user's answer to a question. Only the first three allow anything."""

    ONCE = "once"
    SESSION = "session"
    ALWAYS = "always"
    DENY = "deny"

    @property
    def allows(self) -> bool:
        return self is not AnswerKind.DENY


class Answer(Value):
    """`words` go to the model with a denial."""

    kind: AnswerKind
    words: str = ""


class Question(Value):
    """A question whether a call is allowed. Answer it by id: `Session.questions.answer(ask_id, answer)`.

    `title` describes the call on one line, `why` gives the reason for asking. `rule` describes what "for the
    session" and "always" would allow; empty if they are not offered. `agent` names the sub-agent that asks.
    """

    ask_id: str
    call_id: str
    tool: str
    title: str
    why: str
    rule: str = ""
    preview: Shown | None = None
    agent: str = ""


class TurnStarted(Value):
    """`started_at` is `time.monotonic()`. A `continued` turn resumes one that was stopped."""

    turn_id: int
    prompt: str
    started_at: float
    continued: bool = False


class TurnStopping(Value):
    """The turn was asked to end and has not ended yet. `source` is the cause."""

    turn_id: int
    source: str


class TextArrived(Value):
    turn_id: int
    text: str


class ReasoningArrived(Value):
    turn_id: int
    text: str


class CallNamed(Value):
    """A call is queued and can be stopped (S1, S4). `parent_id` is the call of its sub-agent, if any."""

    turn_id: int
    call_id: str
    name: str
    parent_id: str | None = None


class CallStarted(Value):
    """The call's arguments are read: `title` describes it on one line. A question may still follow."""

    turn_id: int
    call_id: str
    title: str


class CallEnded(Value):
    """The last event of a call, once for each `CallNamed` (H5).

    `arguments` is the JSON text as received. `seconds` counts from its start, None if it never ran. `proof`
    is the report of its stop, if it was stopped.
    """

    turn_id: int
    call_id: str
    name: str
    title: str
    status: ResultStatus
    shown: Shown
    arguments: str
    seconds: float | None = None
    proof: StopReport | None = None
    parent_id: str | None = None


class QuestionAsked(Value):
    turn_id: int
    question: Question


class QuestionClosed(Value):
    """`answer` is None when a stop has closed the question; that is not a denial (E4)."""

    turn_id: int
    ask_id: str
    answer: Answer | None


class ModeChanged(Value):
    mode: Mode


class BackgroundEnded(Value):
    """A background command has ended. `shown` is its output, `proof` the report of its stop, if it was
    stopped."""

    call_id: str
    title: str
    exit_code: int | None
    shown: Shown
    proof: StopReport | None = None


class CompactionStarted(Value):
    """`turn_id` is None for `/compact`. `call_id` is its operation's id, empty if outputs are only trimmed.

    `steps` counts the steps that are summarized, or whose outputs are trimmed; `tokens` estimates the context
    before.
    """

    turn_id: int | None
    call_id: str
    action: Action
    trigger: Trigger
    steps: int
    tokens: int


class CompactionEnded(Value):
    """The last event of a compaction, once for each `CompactionStarted`.

    `number` is that of its record. None means that nothing has changed; then `proof` is the report of its
    stop or `error` a sentence for the user. `upto` counts the steps that the summary replaces. `tokens`
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
    proof: StopReport | None = None
    upto: int = 0


class BackOffStarted(Value):
    """A request failed before it had shown anything, and is repeated in `seconds`, at `until` of
    `time.monotonic()`. `Session.backoffs.skip_all` repeats it at once; a stop ends the wait (R2).

    `call_id` is that of the request's operation. The next attempt is number `attempt` of at most `attempts`;
    `model` is the one that failed and `why` the reason as text. `turn_id` is None for a compaction that the
    user requested.
    """

    turn_id: int | None
    call_id: str
    seconds: float
    until: float
    attempt: int
    attempts: int
    model: str
    why: str


class BackOffEnded(Value):
    """The last event of a back-off, once for each `BackOffStarted`, however it ended."""

    turn_id: int | None
    call_id: str


class ModelFailedOver(Value):
    """`model` is used from now on, because `failed` could not answer."""

    turn_id: int
    failed: str
    model: str
    why: str


class ParametersLeftOut(Value):
    """`model` does not take these parameters, so requests leave them out. Emitted once for each model."""

    turn_id: int
    model: str
    names: tuple[str, ...]


class ModelSwitched(Value):
    """Another model, or the same one with other settings, answers from the next turn on."""

    model: str
    effort: Effort | None


class StepCommitted(Value):
    """`usage` is this step's, None if the provider reported none; `total` is the session's so far. `model` is
    the one that answered if the request went to a route; else empty."""

    turn_id: int
    usage: Usage | None
    total: Usage
    model: str = ""


class TurnEnded(Value):
    """The last event of a turn.

    `error` is a sentence for the user. `returned_prompt` is set when nothing of the turn was kept (H1): it
    returns to an empty composer. The prompt of `/continue` does not, since the user did not write it. `text`
    is what was kept of the reply, whole or partial. `unsaved` is the reason why the end is not in the file,
    if it is not. `changed` names the files that our tools changed, or were about to change, and that can be
    restored. `end` is how the reply ended that was its last; None if the turn ended between two.
    """

    turn_id: int
    outcome: Outcome
    text: str
    error: str | None = None
    proof: StopReport | None = None
    returned_prompt: str | None = None
    unsaved: str | None = None
    changed: tuple[str, ...] = ()
    end: ReplyEnd | None = None


class QueueChanged(Value):
    """Prompts that wait for the running turn; `paused` when a stop has made them wait for the user."""

    prompts: tuple[str, ...]
    paused: bool


class Titled(Value):
    """The session has a new title."""

    title: str


class ModelDescribed(Value):
    info: ModelInfo


class Notice(Value):
    """A sentence for the user about the session itself: a setting that could not be used, a rule that could
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
