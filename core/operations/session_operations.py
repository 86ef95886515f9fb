"""The operations of one session: what its front ends list, stop and extend.

The panel, the keys, the commands and every front end stop work through `SessionOperations.cancel` and nothing
else, so that a stop means the same wherever it comes from.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.base.values import Value
from core.operations.operation import CancelAnswer, CancelResult, OperationError

if TYPE_CHECKING:
    from core.cancel import CancelReason
    from core.operations.operation import OperationView
    from core.operations.registry import Registry


class SessionOperations(Value):
    """A view of the registry for one session. All but `extend` may be called from any thread."""

    registry: Registry
    session_id: str

    def snapshot(self) -> tuple[OperationView, ...]:
        """Everything that is alive, oldest first."""
        return self.registry.snapshot(self.session_id)

    def tail(self, call_id: str, lines: int) -> str:
        """The latest lines of an operation's output; empty once it has ended."""
        operation = self.registry.find(self.session_id, call_id)
        return "" if operation is None else operation.progress.tail(lines)

    def cancel(self, call_id: str, reason: CancelReason) -> CancelResult:
        """Stop one operation; a second call forces it (S2, S11). Raises `OperationError` for an empty id."""
        if not self.session_id or not call_id:
            raise OperationError("To stop a call, name its session and its id: one of them is empty.")
        operation = self.registry.find(self.session_id, call_id)
        if operation is None:
            return CancelResult(CancelAnswer.NOT_FOUND)
        if operation.token.cancel(reason):
            return CancelResult(CancelAnswer.CANCELLED, operation.title)
        operation.token.force()
        return CancelResult(CancelAnswer.ALREADY_CANCELLED, operation.title)

    async def cancel_and_wait(self, call_id: str, reason: CancelReason, *, wait: float) -> CancelResult:
        """Call `cancel`, then wait up to `wait` seconds for the real end (S7).

        `TIMEOUT` means that it has not ended yet: it stays listed as stopping. 0 does not wait. Raises
        `OperationError` for a negative or infinite wait.
        """
        if not 0 <= wait < float("inf"):
            raise OperationError(f"A call cannot be waited for {wait} seconds: give 0 or more.")
        operation = self.registry.find(self.session_id, call_id)
        result = self.cancel(call_id, reason)
        if operation is None or wait == 0 or await operation.wait_ended(wait):
            return result
        return CancelResult(CancelAnswer.TIMEOUT, operation.title)

    def extend(self, call_id: str, seconds: float) -> bool:
        """Move the deadline of an operation, back if `seconds` is negative. Call in the event loop.

        Returns false if it has none or has ended. A deadline that is then in the past stops it at once.
        """
        operation = self.registry.find(self.session_id, call_id)
        if operation is None or operation.deadline_at is None or operation.token.cancelled:
            return False
        operation.limit(max(0.0, operation.deadline_at + seconds - time.monotonic()))
        return True
