"""What the screen says about the end of a turn or of a call, in words (E6).

Pure functions of the event: nothing is claimed here that the engine did not report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.compaction_plan import Action
from core.events import Outcome
from core.model import Closing
from tui.output import one_line

if TYPE_CHECKING:
    from core.events import CompactionEnded, ModelSwitched, StopProof, TurnEnded

_SOURCES = {
    "escape": "Esc",
    "ctrl+c": "Ctrl+C",
    "ctrl+q": "Ctrl+Q",
    "quit": "/quit",
    "end of the program": "the end of the program",
}
_NAMED = 5


def stop_notice(ended: TurnEnded, *, returned: bool) -> str:
    """That the turn was stopped, by what, how long it took, what has become of all that lived, what next."""
    assert ended.proof is not None
    return _stopped(ended, ended.proof) + refusal(ended.proof) + _next(ended, returned=returned)


def past_stop_notice(ended: TurnEnded) -> str:
    """The same when the session is opened again: whoever refused to end then is nobody's business now."""
    assert ended.proof is not None
    kept = ended.returned_prompt is None
    return _stopped(ended, ended.proof) + (_offers(ended) if kept else " Nothing of the turn was kept.")


def limit_notice(ended: TurnEnded, *, returned: bool) -> str:
    """That a turn has come to a limit, and how to go on. The engine's own sentence says both."""
    if ended.error is not None:
        return ended.error
    match ended.outcome:
        case Outcome.MAX_TURNS_REACHED:
            told = "The turn has taken as many steps as it may."
        case Outcome.MAX_BUDGET_REACHED:
            told = "The turn has used up its budget."
        case Outcome.TIMEOUT:
            told = "Time is up."
        case Outcome.COMPLETED | Outcome.CANCELLED | Outcome.ERROR:
            raise ValueError(f"{ended.outcome} is no limit")
        case _:
            assert_never(ended.outcome)
    return told + _next(ended, returned=returned)


def failure_notice(ended: TurnEnded, *, returned: bool) -> str:
    """The error's own sentence, and what has become of the prompt or the beginning of a reply."""
    kept = " What had arrived is kept; /continue goes on from there." if ended.text else ""
    return f"{ended.error}{kept or _next(ended, returned=returned)}"


def switch_notice(switched: ModelSwitched) -> str:
    """Which model answers from now on."""
    effort = "" if switched.effort is None else f", with {switched.effort} effort"
    return f"{one_line(switched.model)} answers from the next prompt on{effort}."


def compaction_notice(ended: CompactionEnded) -> str:
    """What a compaction has come to. A stop or a failure has changed nothing (C1)."""
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


def stop_words(proof: StopProof) -> str:
    """The stop of one call for its card: by what, after what time, what has become of it."""
    became = _what_became(proof, nothing="")
    return f"{_by(proof)}: {became}" if became else _by(proof)


def refusal(proof: StopProof) -> str:
    """Who refused to end, and how to kill it: a sentence with a blank before it, or nothing."""
    if not proof.alive:
        return ""
    names = _listed([f"{one_line(name, 40)} (pid {pid})" for pid, name in proof.alive])
    return f" {names} refused to end: /kill kills {'it' if len(proof.alive) == 1 else 'them'}."


def duration(seconds: float) -> str:
    """A measured time in the unit that suits it.

    >>> duration(0.0042), duration(0.26), duration(3.2), duration(65.2)
    ('4.2 ms', '260 ms', '3.2 s', '1 min 05 s')
    """
    ms = seconds * 1000
    # The limits are where rounding reaches the next unit: never `10.0 ms` or `1000 ms`.
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if seconds < 59.95:
        return f"{ms:.0f} ms" if ms < 999.5 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _stopped(ended: TurnEnded, proof: StopProof) -> str:
    told = f"{_by(proof)}: {_what_became(proof, nothing=_nothing(ended))}."
    return f"Time is up: {told}" if ended.outcome is Outcome.TIMEOUT else told[0].upper() + told[1:]


def _by(proof: StopProof) -> str:
    after = "" if proof.after_s is None else f" after {duration(proof.after_s)}"
    source = _SOURCES.get(proof.source, one_line(proof.source, 40))
    return f"stopped by {source}{after}"


def _what_became(proof: StopProof, *, nothing: str) -> str:
    """What is known to have ended, and what is not; `nothing` where there was nothing to end."""
    known = [_connection(proof.closing)]
    if proof.processes or proof.alive:
        ended = "1 process" if proof.processes == 1 else f"{proof.processes} processes"
        known.append(f"{ended} ended, {len(proof.alive)} alive")
    clauses = [", ".join(filter(None, known))]
    if proof.unconfirmed:
        one = len(proof.unconfirmed) == 1
        names = _listed([one_line(name, 80) for name in proof.unconfirmed])
        words = "has not confirmed its end and was" if one else "have not confirmed their end and were"
        clauses.append(f"{names} {words} left behind")
    elif proof.closing is Closing.UNCONFIRMED:
        clauses.append("its end is not confirmed")
    return "; ".join(filter(None, clauses)) or nothing


def _connection(closing: Closing | None) -> str:
    match closing:
        case Closing.CLOSED:
            return "connection closed"
        case Closing.KILLED:
            return "the model process did not answer and was killed, its connection with it"
        case Closing.FINISHED:
            return "the reply had just ended by itself"
        case Closing.NOT_OPEN:
            return "no connection was open"
        case Closing.NEVER_OPENED | Closing.UNCONFIRMED | None:
            return ""
        case _:
            assert_never(closing)


def _nothing(ended: TurnEnded) -> str:
    """In a turn of several steps much may have been sent before one that has no connection to speak of."""
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
    """The ways on from a turn of which something was kept."""
    anew = " (the time begins anew)" if ended.outcome is Outcome.TIMEOUT else ""
    offers = f" /continue goes on{anew}, Esc Esc edits the prompt"
    if not ended.changed:
        return f"{offers}."
    count = len(ended.changed)
    files = one_line(ended.changed[0], 40) if count == 1 else f"{count} files"
    return f"{offers}, /undo puts {files} back."
