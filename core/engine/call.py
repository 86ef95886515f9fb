"""One call: what is known of it while it lives, and which of the five results it has in the end (H5).

The result is decided by how its operation ended, never by what its token says afterwards: a call that had
failed by itself when a stop came has failed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.cancel import END_OF_PROGRAM, Cancelled, CancelReason, Cause
from core.engine.results import CallOutcome, completed, denied, failed, not_started, stopped
from core.model.messages import ToolResult
from core.operations.operation import OperationState
from core.operations.stop_report import report_stop
from core.permissions.policy import Denied

if TYPE_CHECKING:
    from core.cancel import CancelToken, Registration
    from core.engine.approval import Approval
    from core.engine.tool import ToolOutput
    from core.operations.events import StopReport
    from core.operations.registry import Operation

log = logging.getLogger(__name__)


class Call:
    """`outcome` is its result, from the moment that it has one; it never changes after.

    `turn` is the token of its turn, by which a stop of the call alone is told from one of the turn.
    """

    def __init__(self, operation: Operation, name: str, approval: Approval, turn: CancelToken) -> None:
        self.operation = operation
        self.approval = approval
        self.name = name
        self.arguments = ""
        self.title = ""
        self.outcome: CallOutcome | None = None
        self.began_at: float | None = None
        self.ended_at: float | None = None
        self.done = asyncio.Event()
        self.drop: Registration | None = None
        self.work: asyncio.Task[ToolOutput] | None = None
        self._turn = turn

    @property
    def call_id(self) -> str:
        return self.operation.call_id

    @property
    def result(self) -> ToolResult:
        """What goes back to the model. Raises `RuntimeError` while the call has not ended."""
        if self.outcome is None:
            raise RuntimeError(f"the call {self.call_id} was asked for its result before its end")
        outcome = self.outcome
        return ToolResult(self.call_id, self.name, outcome.status, outcome.text, outcome.images)

    @property
    def seconds(self) -> float | None:
        """How long it ran, None if it never did."""
        if self.began_at is None:
            return None
        return (self.ended_at or time.monotonic()) - self.began_at

    def outcome_of(self, work: asyncio.Task[ToolOutput]) -> CallOutcome:
        """What came of it. A result that is there counts, also in the tick of a stop (S6)."""
        error = None if work.cancelled() else work.exception()
        if not work.cancelled() and error is None:
            return completed(work.result())
        if isinstance(error, Denied):
            return denied(error, None if self.began_at is None else self.operation.progress)
        if self.operation.state in (OperationState.ERROR, OperationState.INTERNAL_ERROR):
            return self.failure(error)
        if error is not None and not isinstance(error, Cancelled):
            log.info("call %s failed while it was being stopped: %r", self.call_id, error)
        return self.unstarted() if self.began_at is None else self.stopped()

    def failure(self, error: BaseException | None) -> CallOutcome:
        """It could not do what was asked; an unexpected error is described in general and kept in the log."""
        if isinstance(error, CaesuraError):
            return failed(str(error), self.operation.progress)
        log.error("the tool %s failed unexpectedly", self.name, exc_info=error)
        effects = "it did not run" if self.began_at is None else "its effects are unknown"
        return failed(f"The tool {self.name} failed inside Caesura; {effects}.", self.operation.progress)

    def unstarted(self, otherwise: CancelReason | None = None) -> CallOutcome:
        """It never began: because of a stop, its own or `otherwise` that of the reply, or of a failure."""
        reason = self.operation.token.reason or otherwise
        alone = reason is not otherwise and self._alone(reason)
        proof = None if reason is None else self.proof(reason)
        return not_started(reason, alone=alone, asked=self.approval.asked, proof=proof)

    def stopped(self, *, unconfirmed: bool = False) -> CallOutcome:
        """It ran and was stopped; `unconfirmed` when it was not waited for any longer."""
        reason = self.operation.token.reason or CancelReason(Cause.QUIT, END_OF_PROGRAM)
        seconds = self.seconds or 0.0
        proof = self.proof(reason, unconfirmed=unconfirmed)
        return stopped(reason, seconds, self.operation.progress, alone=self._alone(reason), proof=proof)

    def proof(self, reason: CancelReason, *, unconfirmed: bool = False) -> StopReport:
        """What is known of the end of it and of all that it had started (E6)."""
        progress = self.operation.progress
        named = (*((self.title or self.name,) if unconfirmed else ()), *progress.unconfirmed)
        return report_stop(reason, self.ended_at or time.monotonic(), unconfirmed=named, ended=progress.ended)

    def _alone(self, reason: CancelReason | None) -> bool:
        """Whether this call was stopped by itself and not with its turn."""
        return reason is not None and reason is not self._turn.reason
