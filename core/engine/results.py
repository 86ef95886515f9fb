"""The five true results of a call, in the words that the model reads (H5).

Each begins with a sentence that no other result has, so that a model, and a test, can tell them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.base.values import Value
from core.cancel import Cause
from core.model.messages import OUTPUT_SO_FAR, REMINDER, ResultStatus
from core.model.reply_end import describe_end
from core.operations.events import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError

    from core.cancel import CancelReason
    from core.engine.tool import ToolOutput
    from core.model.images import Image
    from core.model.reply_end import ReplyEnd
    from core.operations.events import StopReport
    from core.operations.progress import Progress
    from core.permissions.policy import Denied


class CallOutcome(Value):
    """What became of a call: `text` and `images` for the model, `shown` for the person."""

    status: ResultStatus
    text: str
    shown: Shown
    proof: StopReport | None = None
    images: tuple[Image, ...] = ()


def completed(output: ToolOutput) -> CallOutcome:
    """It ran to its end; `output.failed` says that this was a bad one."""
    status = ResultStatus.FAILED if output.failed else ResultStatus.COMPLETED
    text = output.text or ("" if output.images else "(no output)")
    return CallOutcome(status, text, output.shown, images=output.images)


def failed(error: str, progress: Progress | None = None) -> CallOutcome:
    """It could not do what was asked, or broke."""
    output = progress.text() if progress is not None else ""
    text = f"Failed: {error}"
    return CallOutcome(ResultStatus.FAILED, _with_output(text, output), Shown(_with_output(error, output)))


def no_such_tool(name: str, tools: Iterable[str]) -> CallOutcome:
    known = ", ".join(sorted(tools)) or "none"
    return failed(f"There is no tool {name!r}. The tools are: {known}.")


def no_json_object(name: str) -> CallOutcome:
    return failed(f"The arguments of {name} are no JSON object. Call it again with valid JSON.")


def invalid_arguments(name: str, error: ValidationError) -> CallOutcome:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    return failed(f"The arguments of {name} are not valid: {problems}. Call it again with these mended.")


def denied(error: Denied, progress: Progress | None) -> CallOutcome:
    """A person or a rule said no: before it ran, or, with `progress`, to something that it asked for then."""
    why = f"{error}{_words(error.words)}"
    if progress is None:
        return CallOutcome(ResultStatus.DENIED, f"Denied, it did not run: {why}", Shown(why))
    text, output = f"Denied on its way, it ran until then: {why}", progress.text()
    return CallOutcome(ResultStatus.DENIED, _with_output(text, output), Shown(_with_output(why, output)))


def not_started(
    reason: CancelReason | None, *, alone: bool, asked: bool, proof: StopReport | None
) -> CallOutcome:
    """A stop came before it began. `asked`: while the person was being asked for permission."""
    when = " while the user was asked for permission" if asked else ""
    text = f"Not started: {_who(reason, alone=alone)}{when}, before it began.{_request(reason, alone=alone)}"
    return CallOutcome(ResultStatus.NOT_STARTED, text, Shown(text), proof)


def cut_off() -> CallOutcome:
    """The reply was cut by length while the model wrote this call."""
    why = "cut off by the output limit"
    text = f"Not started: it was {why}, so its arguments may not be whole. Call it again with less at once."
    return CallOutcome(ResultStatus.NOT_STARTED, text, Shown(f"It was {why} and did not run."))


def not_whole(end: ReplyEnd) -> CallOutcome:
    """Its reply ended like this before anything was run."""
    text = f"Not started: the reply that it is part of is not complete: {describe_end(end)}."
    return CallOutcome(ResultStatus.NOT_STARTED, text, Shown(text))


def stopped(
    reason: CancelReason, seconds: float, progress: Progress, *, alone: bool, proof: StopReport | None
) -> CallOutcome:
    """It ran and was stopped: how long, what it had said, what it may have done."""
    if progress.changed:
        effects = f"It had begun to change: {', '.join(map(str, progress.changed))}."
    else:
        effects = "What it had done by then is unknown."
    if proof is not None and proof.alive:
        effects += f" Of it, {len(proof.alive)} processes refused to end."
    elif proof is not None and proof.unconfirmed:
        names = ", ".join(proof.unconfirmed)
        effects += f" Asked to stop, not confirmed: {names}. It may still be at work."
    output = progress.text()
    who, request = _who(reason, alone=alone), _request(reason, alone=alone)
    text = f"Stopped after {seconds:.1f} s: {who}. {effects}{request}"
    return CallOutcome(ResultStatus.STOPPED, _with_output(text, output), Shown(output), proof)


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
    return user_request(reason)


def user_request(reason: CancelReason | None) -> str:
    """What the user has said with a stop, and the reminder not to try again (S8)."""
    if reason is None:
        return ""
    return _words(reason.words) + (f" {REMINDER}" if reason.remind else "")


def _words(words: str) -> str:
    return f' The user says: "{words}".' if words else ""


def _with_output(text: str, output: str) -> str:
    return f"{text}{OUTPUT_SO_FAR}{output}" if output.strip() else text
