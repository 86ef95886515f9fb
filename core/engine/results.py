"""The five true results of a call, in the words that the model reads (H5).

Each begins with a sentence that no other result has, so that a model, and a test, can tell them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.cancel import Cause
from core.events import Shown
from core.messages import ResultStatus, ToolResult
from core.values import dataclass

if TYPE_CHECKING:
    from core.cancel import CancelReason
    from core.events import StopProof
    from core.permissions import Denied
    from core.progress import Progress
    from core.tools.base import ToolOutput

REMINDER = "Do not run it again unless the user asks for it."
"""Part of the result of a call that was stopped alone and not by time: the one reminder of it (S8)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a call: `text` for the model, `shown` for the person."""

    status: ResultStatus
    text: str
    shown: Shown
    proof: StopProof | None = None


def completed(output: ToolOutput) -> Told:
    """It ran to its end; `output.failed` says that this was a bad one."""
    status = ResultStatus.FAILED if output.failed else ResultStatus.COMPLETED
    return Told(status, output.text or "(no output)", output.shown)


def failed(error: str, progress: Progress | None = None) -> Told:
    """It could not do what was asked, or broke."""
    output = progress.text() if progress is not None else ""
    text = f"Failed: {error}"
    return Told(ResultStatus.FAILED, _with_output(text, output), Shown(_with_output(error, output)))


def denied(error: Denied, progress: Progress | None) -> Told:
    """A person or a rule said no: before it ran, or, with `progress`, to something that it asked for then."""
    words = f' The user says: "{error.words}".' if error.words else ""
    if progress is None:
        text = f"Denied, it did not run: {error}{words}"
        return Told(ResultStatus.DENIED, text, Shown(f"{error}{words}"))
    text = f"Denied on its way, it ran until then: {error}{words}"
    output = progress.text()
    return Told(
        ResultStatus.DENIED, _with_output(text, output), Shown(_with_output(f"{error}{words}", output))
    )


def not_started(reason: CancelReason | None, *, alone: bool, asked: bool, proof: StopProof | None) -> Told:
    """A stop came before it began. `asked`: while the person was being asked for permission."""
    when = " while the user was asked for permission" if asked else ""
    text = f"Not started: {_who(reason, alone=alone)}{when}, before it began.{_request(reason, alone=alone)}"
    return Told(ResultStatus.NOT_STARTED, text, Shown(text), proof)


def stopped(
    reason: CancelReason, seconds: float, progress: Progress, *, alone: bool, proof: StopProof | None
) -> Told:
    """It ran and was stopped: how long, what it had said, what it may have done."""
    if progress.changed:
        effects = f"It had begun to change: {', '.join(map(str, progress.changed))}."
    else:
        effects = "What it had done by then is unknown."
    if proof is not None and proof.alive:
        effects += f" Of it, {len(proof.alive)} processes refused to end."
    elif proof is not None and proof.unconfirmed:
        effects += " Its end is not confirmed."
    output = progress.text()
    who, request = _who(reason, alone=alone), _request(reason, alone=alone)
    text = f"Stopped after {seconds:.1f} s: {who}. {effects}{request}"
    return Told(ResultStatus.STOPPED, _with_output(text, output), Shown(output), proof)


def died(call_id: str, name: str, *, ran: bool) -> ToolResult:
    """Caesura itself was killed before the call had ended; `ran` says whether it had begun."""
    if ran:
        text = "Stopped: Caesura itself was killed while this ran. What it had done by then is unknown."
        return ToolResult(call_id, name, ResultStatus.STOPPED, text)
    text = "Not started: Caesura itself was killed before it began, as far as could be written down."
    return ToolResult(call_id, name, ResultStatus.NOT_STARTED, text)


def _who(reason: CancelReason | None, *, alone: bool) -> str:
    if reason is None:
        return "the turn ended"
    match reason.cause:
        case Cause.DEADLINE:
            return "its deadline was over" if alone else "the deadline of the turn was over"
        case Cause.QUIT:
            return "the program was closed"
        case Cause.USER | Cause.CLIENT | Cause.SIGNAL:
            return "the user stopped this call" if alone else "the user stopped the turn"
        case _:
            assert_never(reason.cause)


def _request(reason: CancelReason | None, *, alone: bool) -> str:
    if reason is None or not alone or reason.cause in (Cause.DEADLINE, Cause.QUIT):
        return ""
    words = f' The user says: "{reason.words}".' if reason.words else ""
    return words + (f" {REMINDER}" if reason.remind else "")


def _with_output(text: str, output: str) -> str:
    return f"{text}\n\nOutput so far:\n{output}" if output.strip() else text
