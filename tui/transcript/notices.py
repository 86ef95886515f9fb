"""Texts about the end of a turn or of a call (E6).

Pure functions of the event: they claim nothing that the engine did not report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.model.provider import Closing
from core.model.reply_end import ReplyEnd
from core.operations.events import Action, Outcome
from tui.base.format import format_duration
from tui.base.printable import one_line

if TYPE_CHECKING:
    from core.operations.events import CompactionEnded, ModelSwitched, StopReport, TurnEnded

_SOURCES = {
    "escape": "Esc",
    "ctrl+c": "Ctrl+C",
    "ctrl+q": "Ctrl+Q",
    "quit": "/quit",
    "end of the program": "the end of the program",
}
_LIMITS = {
    Outcome.MAX_TURNS_REACHED: "The turn has taken as many steps as it may.",
    Outcome.MAX_BUDGET_REACHED: "The turn has used up its budget.",
    Outcome.TIMEOUT: "Time is up.",
}
_CONNECTIONS = {
    Closing.CLOSED: "connection closed",
    Closing.KILLED: "the model process did not answer and was killed, its connection with it",
    Closing.FINISHED: "the reply had just ended by itself",
    Closing.NOT_OPEN: "no connection was open",
}
_NAMED = 5


def reply_mark(end: ReplyEnd) -> str:
    """The mark where a reply breaks off; the notice below it says by what it was stopped."""
    return ReplyEnd.INTERRUPTED if end is ReplyEnd.STOPPED or end.whole else end


def stop_notice(ended: TurnEnded, *, returned: bool) -> str:
    """The stop of a turn: by what, after what time, the state of all that was running, what to do next."""
    assert ended.proof is not None
    return _stopped(ended, ended.proof) + refusal(ended.proof) + _next(ended, returned=returned)


def past_stop_notice(ended: TurnEnded) -> str:
    """The same for a session opened again, without processes that refused to end at that time."""
    assert ended.proof is not None
    kept = ended.returned_prompt is None
    return _stopped(ended, ended.proof) + (_offers(ended) if kept else " Nothing of the turn was kept.")


def limit_notice(ended: TurnEnded, *, returned: bool) -> str:
    """A turn has reached a limit, and how to continue. The engine's sentence says both."""
    if ended.error is not None:
        return ended.error
    return _LIMITS[ended.outcome] + _next(ended, returned=returned)


def failure_notice(ended: TurnEnded, *, returned: bool) -> str:
    """The error's own sentence, and what happened to the prompt or the beginning of a reply."""
    kept = " What had arrived is kept; /continue goes on from there." if ended.text else ""
    return f"{ended.error}{kept or _next(ended, returned=returned)}"


def switch_notice(switched: ModelSwitched) -> str:
    """Which model answers from now on."""
    effort = "" if switched.effort is None else f", with {switched.effort} effort"
    return f"{one_line(switched.model)} answers from the next prompt on{effort}."


def compaction_notice(ended: CompactionEnded) -> str:
    """The result of a compaction. A stop or a failure has changed nothing (C1)."""
    if ended.proof is not None:
        became = _what_became(ended.proof, nothing="nothing had been sent")
        told = f"Compaction {_by(ended.proof)}: {became}."
        return f"{told} The conversation is as it was."
    if ended.error is not None:
        return ended.error
    match ended.action:
        case Action.TRIM:
            return (
                f"Long outputs of earlier calls are sent shortened: {_tokens(ended)}. /uncompact undoes it."
            )
        case Action.SUMMARISE:
            steps = "step is" if ended.upto == 1 else f"{ended.upto:,} steps are"
            return f"The first {steps} sent as a summary: {_tokens(ended)}. /uncompact undoes it."
        case Action.NOTHING | Action.FULL:
            raise ValueError(f"a compaction does not come to {ended.action}")
        case _:
            assert_never(ended.action)


def _tokens(ended: CompactionEnded) -> str:
    return f"about {ended.tokens:,} tokens now"


def stop_words(proof: StopReport) -> str:
    """The stop of one call for its card: by what, after what time, and its result."""
    became = _what_became(proof, nothing="")
    return f"{_by(proof)}: {became}" if became else _by(proof)


def refusal(proof: StopReport) -> str:
    """What refused to end, and how to kill it: a sentence with a blank before it, or an empty text."""
    if not proof.alive:
        return ""
    names = _listed([f"{one_line(name, 40)} (pid {pid})" for pid, name in proof.alive])
    return f" {names} refused to end: /kill kills {'it' if len(proof.alive) == 1 else 'them'}."


def _stopped(ended: TurnEnded, proof: StopReport) -> str:
    told = f"{_by(proof)}: {_what_became(proof, nothing=_nothing(ended))}."
    return f"Time is up: {told}" if ended.outcome is Outcome.TIMEOUT else told[0].upper() + told[1:]


def _by(proof: StopReport) -> str:
    after = "" if proof.after_s is None else f" after {format_duration(proof.after_s)}"
    source = _SOURCES.get(proof.source, one_line(proof.source, 40))
    return f"stopped by {source}{after}"


def _what_became(proof: StopReport, *, nothing: str) -> str:
    """What is known to have ended, and what is not; `nothing` if there was nothing to end."""
    known = [] if proof.closing is None else [_CONNECTIONS.get(proof.closing, "")]
    if proof.processes or proof.alive:
        ended = "1 process" if proof.processes == 1 else f"{proof.processes} processes"
        known.append(f"{ended} ended, {len(proof.alive)} alive")
    clauses = [", ".join(filter(None, known))]
    if proof.unconfirmed:
        names = _listed([one_line(name, 80) for name in proof.unconfirmed])
        clauses.append(f"asked to stop, not confirmed: {names}")
    elif proof.closing is Closing.UNCONFIRMED:
        clauses.append("its end is not confirmed")
    return "; ".join(filter(None, clauses)) or nothing


def _nothing(ended: TurnEnded) -> str:
    """Text for no open connection: earlier steps of a turn may have been sent before a step without one."""
    kept = ended.returned_prompt is None
    return "nothing of it is running any more" if kept else "nothing had been sent"


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _next(ended: TurnEnded, *, returned: bool) -> str:
    if returned:
        return " Your prompt is back below."
    if ended.returned_prompt is not None:
        return " Up brings the prompt back, /continue sends it again."
    return _offers(ended)


def _offers(ended: TurnEnded) -> str:
    """The ways to continue after a turn that was kept in part."""
    anew = " (the time begins anew)" if ended.outcome is Outcome.TIMEOUT else ""
    offers = f" /continue goes on{anew}, Esc Esc edits the prompt"
    if not ended.changed:
        return f"{offers}."
    count = len(ended.changed)
    files = one_line(ended.changed[0], 40) if count == 1 else f"{count} files"
    return f"{offers}, /undo puts {files} back."
