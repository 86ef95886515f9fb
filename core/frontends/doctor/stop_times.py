"""How long stops have taken, from the records that every one of them leaves (T9).

Nothing is collected here: the registry keeps the records, and what is still stopping is still in it. A figure
counts from the request to the real end of what was stopped, a command's grace included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.operations import OperationKind, OperationState
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.operations import OperationView, StopRecord


@dataclass(frozen=True, slots=True)
class StopTimes:
    """`streams` are the seconds of the model's replies, `others` of calls and everything else, as they
    ended. `unconfirmed` names what was asked to end and has not ended yet."""

    streams: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    unconfirmed: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[float, ...]:
        return self.streams + self.others


def stop_times(records: Iterable[StopRecord], live: Iterable[OperationView], session_id: str) -> StopTimes:
    """Those of one session: `records` and `live` are `Registry.records` and `Registry.snapshot()`."""
    mine = [record for record in records if record.session_id == session_id]
    return StopTimes(
        tuple(record.confirmed_after_s for record in mine if record.kind is OperationKind.STREAM),
        tuple(record.confirmed_after_s for record in mine if record.kind is not OperationKind.STREAM),
        tuple(
            view.title
            for view in live
            if view.session_id == session_id and view.state is OperationState.STOPPING
        ),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that so many percent of them do not exceed. There must be one at least."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
