"""What is known of the end of something that was stopped: the one place that makes a `StopReport` (E6)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.model.provider import Closing
from core.operations.events import StopReport
from core.operations.progress import Ended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.cancel import CancelReason
    from core.model.provider import Closed
    from core.operations.registry import Operation


def report_stop(
    reason: CancelReason,
    ended_at: float | None,
    *,
    closing: Closing | None = None,
    unconfirmed: tuple[str, ...] = (),
    ended: Ended = Ended(),  # noqa: B008 - a frozen value
) -> StopReport:
    """Report what was stopped for `reason`.

    `ended_at` is `time.monotonic()` of the confirmed end of all of it, None if that was not seen. It does
    not count while something is `unconfirmed` or a process is alive.
    """
    confirmed = ended_at is not None and not unconfirmed and not ended.alive
    after_s = max(0.0, ended_at - reason.at) if ended_at is not None and confirmed else None
    return StopReport(reason.source, after_s, closing, unconfirmed, ended.processes, ended.alive)


def report_request(
    reason: CancelReason, operation: Operation, closed: Closed | None, *, attempt_failed: bool
) -> StopReport:
    """Report a request to a model. `closed` is what its provider said about the connection."""
    if closed is not None and closed.how is not Closing.UNCONFIRMED:
        # An earlier attempt was sent, and refused with an answer.
        answered = closed.how is Closing.NEVER_OPENED and attempt_failed
        return report_stop(reason, closed.at, closing=Closing.NOT_OPEN if answered else closed.how)
    if closed is not None or operation.state.live:
        return report_stop(reason, None, unconfirmed=(operation.title,))
    # It ended before there was a connection to close.
    return report_stop(reason, time.monotonic())


def join_reports(reason: CancelReason, first: StopReport, others: Sequence[StopReport]) -> StopReport:
    """Report several things that were stopped together. The connection is that of `first`."""
    reports = (first, *others)
    times = [report.after_s for report in reports if report.after_s is not None]
    ended = sum((Ended(report.processes, report.alive) for report in reports), Ended())
    return report_stop(
        reason,
        reason.at + max(times) if len(times) == len(reports) else None,
        closing=first.closing,
        unconfirmed=tuple(name for report in reports for name in report.unconfirmed),
        ended=ended,
    )
