"""Values of an operation: kind, state, a snapshot of it, the answer to a stop, the record of a stop."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.values import Value

if TYPE_CHECKING:
    from core.cancel import CancelReason
    from core.model.provider import Phase
    from core.operations.silence import Silence


class OperationError(CaesuraError):
    """A request about an operation was invalid, or an operation was ended twice."""


class OperationKind(StrEnum):
    STREAM = "stream"
    CALL = "call"
    COMPACTION = "compaction"
    BACKGROUND = "background"
    JOB = "job"


class OperationState(StrEnum):
    """Scheduled > running > (stopping) > one of the final states (S10)."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    STOPPING = "stopping"
    READY = "ready"
    ERROR = "error"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal error"

    @property
    def live(self) -> bool:
        return self in (OperationState.SCHEDULED, OperationState.RUNNING, OperationState.STOPPING)


class CancelAnswer(StrEnum):
    """The result of a request to stop one operation (S2, S7)."""

    CANCELLED = "cancelled"
    ALREADY_CANCELLED = "already_cancelled"
    NOT_FOUND = "not_found"
    TIMEOUT = "timeout"


class CancelResult(Value):
    """`title` names what was stopped; it is empty when nothing was found."""

    answer: CancelAnswer
    title: str = ""


class StopRecord(Value):
    """What was stopped, by which cause, in which phase, and how long the end took (T9).

    `confirmed_after_s` counts from the request itself to the real end, None if that was never seen (S12).
    `forced`: there was a second stop.
    """

    reason: CancelReason
    session_id: str
    call_id: str
    kind: OperationKind
    title: str
    phase: Phase
    confirmed_after_s: float | None
    state: OperationState
    forced: bool

    def __str__(self) -> str:
        force = ", forced" if self.forced else ""
        seconds = self.confirmed_after_s
        took = "its end was not confirmed" if seconds is None else f"after {seconds * 1000:.1f} ms"
        return (
            f"{self.kind} {self.title!r} ({self.session_id}/{self.call_id}) {self.phase}: stopped by "
            f"{self.reason}{force}, {self.state} {took}"
        )


class LateEnd(Value):
    """What became of work elsewhere that had not confirmed its end when its call was left (S12).

    `confirmed`: its end was seen; else it will never be known. `text` is for the person and the model, `said`
    for the person alone: what the other side has said since the stop.
    """

    confirmed: bool
    text: str
    said: str = ""


class OperationView(Value):
    """A snapshot of one live operation.

    `title` is the tool, the model or the server, `detail` its argument on one line. `opened_at` and
    `deadline_at` are `time.monotonic()` in seconds. `processes` counts the live ones. `unconfirmed` names who
    was asked to stop and has not confirmed the end, `late` is what came from there since. `silence` is that
    of its request.
    """

    session_id: str
    call_id: str
    parent_id: str | None
    kind: OperationKind
    title: str
    state: OperationState
    phase: Phase
    opened_at: float
    detail: str = ""
    deadline_at: float | None = None
    processes: int = 0
    forced: bool = False
    unconfirmed: tuple[str, ...] = ()
    late: str = ""
    silence: Silence | None = None
