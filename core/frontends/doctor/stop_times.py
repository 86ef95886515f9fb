"""How long stops took, from the record that every stop leaves (T9).

The registry keeps the records and the operations that are still stopping. A time runs from the request to the
real end of the operation, a command's grace included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.base.values import Value
from core.operations.operation import OperationKind, OperationState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.operations.session_operations import SessionOperations


class StopTimes(Value):
    """`streams` are the seconds of the model's replies, `others` of calls and everything else, as they
    ended. `unconfirmed` names what was asked to end and has not ended yet, `unseen` that of which it will
    never be known (S12)."""

    streams: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    unconfirmed: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[float, ...]:
        return self.streams + self.others


def stop_times(operations: SessionOperations) -> StopTimes:
    """The stop times of a session."""
    records = operations.registry.records
    mine = [record for record in records if record.session_id == operations.session_id]
    times = ((record.kind, record.confirmed_after_s) for record in mine)
    ended = [(kind, seconds) for kind, seconds in times if seconds is not None]
    return StopTimes(
        tuple(seconds for kind, seconds in ended if kind is OperationKind.STREAM),
        tuple(seconds for kind, seconds in ended if kind is not OperationKind.STREAM),
        tuple(view.title for view in operations.snapshot() if view.state is OperationState.STOPPING),
        tuple(record.title for record in mine if record.confirmed_after_s is None),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that `percent` of them do not exceed. `values` must not be empty."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
