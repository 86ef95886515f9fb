"""The proof of a stop: what is known of the ends of all that was alive when it came (E6)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.events import StopProof
from core.model import Closing
from core.progress import Ended

if TYPE_CHECKING:
    from core.cancel import CancelReason
    from core.step import RunningStep


def proof_of(reason: CancelReason, step: RunningStep | None) -> StopProof:
    """What is known of the ends of all that was alive when the stop came (E6)."""
    if step is None:
        return StopProof(reason.source, time.monotonic() - reason.at, None)
    # Only of this stop: a call may have been stopped by itself before.
    mine = [call.told for call in step.calls.all if call.operation.token.reason is reason]
    proofs = [told.proof for told in mine if told is not None and told.proof is not None]
    ended = sum((Ended(proof.processes, proof.alive) for proof in proofs), Ended())
    unconfirmed = tuple(name for proof in proofs for name in proof.unconfirmed)
    stream = _stream_proof(reason, step)
    times = [stream.after_s, *(proof.after_s for proof in proofs)]
    after = None if None in times else max(seconds for seconds in times if seconds is not None)
    return StopProof(
        reason.source,
        after,
        stream.closing,
        (*stream.unconfirmed, *unconfirmed),
        ended.processes,
        ended.alive,
    )


def _stream_proof(reason: CancelReason, step: RunningStep) -> StopProof:
    closed = step.closed
    if step.finished is not None:
        # The reply had come to its end before; what was stopped are its calls.
        return StopProof(reason.source, 0.0, None)
    if closed is not None and closed.how is Closing.UNCONFIRMED:
        return StopProof(reason.source, None, None, unconfirmed=(step.operation.title,))
    if closed is not None:
        # What was sent before, and refused, has had its answer.
        before = closed.how is Closing.NEVER_OPENED and step.attempt_failed
        return StopProof(reason.source, closed.at - reason.at, Closing.NOT_OPEN if before else closed.how)
    if step.operation.state.live:
        return StopProof(reason.source, None, None, unconfirmed=(step.operation.title,))
    # It ended before there was a connection to close.
    return StopProof(reason.source, time.monotonic() - reason.at, None)
