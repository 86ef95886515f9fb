"""What the screen says about the end of a turn, in words (E6).

Pure functions of the event: nothing is claimed here that the engine did not report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.events import Outcome
from core.model import Closing

if TYPE_CHECKING:
    from core.events import StopProof, TurnEnded

_SOURCES = {"escape": "Esc", "ctrl+c": "Ctrl+C"}


def stop_notice(ended: TurnEnded, *, returned: bool) -> str:
    """That the turn was stopped, by what, how long it took, what has become of the connection, what next."""
    assert ended.proof is not None
    word = "Timed out" if ended.outcome is Outcome.TIMEOUT else "Stopped"
    source = _SOURCES.get(ended.proof.source, ended.proof.source)
    told = f"{word} by {source}{_after(ended.proof)}: {_connection(ended.proof)}."
    return told + _next(ended, returned=returned)


def failure_notice(ended: TurnEnded, *, returned: bool) -> str:
    """The error's own sentence, and what has become of the prompt or the beginning of a reply."""
    kept = " What had arrived is kept; /continue goes on from there." if ended.text else ""
    return f"{ended.error}{kept or _next(ended, returned=returned)}"


def duration(seconds: float) -> str:
    """A measured time in the unit that suits it.

    >>> duration(0.0042), duration(0.26), duration(3.2)
    ('4.2 ms', '260 ms', '3.2 s')
    """
    ms = seconds * 1000
    # The limits are where rounding reaches the next unit: never `10.0 ms` or `1000 ms`.
    if ms < 9.95:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 999.5 else f"{seconds:.1f} s"


def _after(proof: StopProof) -> str:
    return "" if proof.after_s is None else f" after {duration(proof.after_s)}"


def _connection(proof: StopProof) -> str:
    if proof.unconfirmed:
        return f"{', '.join(proof.unconfirmed)} has not confirmed its end and was left behind"
    match proof.closing:
        case Closing.CLOSED:
            return "connection closed"
        case Closing.KILLED:
            return "the model process did not answer and was killed, its connection with it"
        case Closing.FINISHED:
            return "the reply had just ended by itself"
        case Closing.NEVER_OPENED | None:
            return "nothing had been sent"
        case Closing.UNCONFIRMED:
            return "its end is not confirmed"
        case _:
            assert_never(proof.closing)


def _next(ended: TurnEnded, *, returned: bool) -> str:
    if returned:
        return " Your prompt is back below."
    if ended.returned_prompt is not None:
        return " Up brings the prompt back, /continue sends it again."
    return " /continue goes on."
