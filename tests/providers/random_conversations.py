"""What may happen in a conversation, drawn at random: replies, faults, stops, and what lies between turns.

A conversation is data alone. It comes from any `Random`, so that hypothesis can make a failing one smaller
and a benchmark can name one by its seed. Nothing in it waits for ever that nobody stops.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from core.model.messages import FinishReason
from core.operations.events import AnswerKind
from tests.servers.script import (
    Call,
    Cut,
    ErrorEvent,
    Fault,
    Refusal,
    Refuse,
    Reset,
    Script,
    Silence,
    Stall,
    Truncate,
)
from tests.support.scripted_tools import Do

if TYPE_CHECKING:
    from random import Random

TOO_LONG = Refuse(Refusal.CONTEXT_TOO_LONG)
SUMMARY = "## Goal\nThe user wants to go on."
WORD = "word "


class How(Enum):
    """How a person interrupts."""

    ESCAPE = auto()
    TWICE = auto()
    """Escape, and once more in the same moment (E7)."""
    ROW = auto()
    """The request alone is stopped, not its turn."""
    QUIT = auto()
    """The session is closed; it is opened again from the file."""


@dataclass(frozen=True)
class Interruption:
    """`rounds` of the event loop after the event of that number, which counts from 0."""

    how: How
    event: int
    rounds: int


class Act(Enum):
    """What a person may do when nothing is running."""

    REOPEN = auto()
    COMPACT = auto()
    UNCOMPACT = auto()
    REWIND = auto()
    """To an earlier prompt: a fork."""


@dataclass(frozen=True)
class Between:
    act: Act
    interruption: Interruption | None = None


@dataclass(frozen=True)
class Plan:
    """One turn, and what comes before it.

    The server plays `replies` in order and plain ones after them; `summaries` answers the requests for one in
    the same way. Calls that say a word in `stopped` are stopped where they run. A `continued` turn is
    `/continue` where that can be; with `queued` another prompt waits behind it.
    """

    before: tuple[Between, ...] = ()
    prompt: str = "go on"
    replies: tuple[Script, ...] = ()
    summaries: tuple[Script, ...] = ()
    stopped: frozenset[str] = frozenset()
    answers: tuple[AnswerKind, ...] = (AnswerKind.ONCE,)
    interruption: Interruption | None = None
    continued: bool = False
    queued: bool = False


@dataclass(frozen=True)
class RandomConversation:
    """A whole conversation. `window` is what the client believes of the model's, `real_window` how long a
    request the server takes, both in tokens; None has no end."""

    window: int | None
    real_window: int | None
    turns: tuple[Plan, ...]


def random_conversation(chance: Random) -> RandomConversation:
    window = chance.choice((None, 2_500, 4_000, 8_000))
    real_window = chance.choice((None, None, window, 3_000))
    turns = tuple(_plan(chance) for _ in range(chance.randint(1, 5)))
    return RandomConversation(window, real_window, turns)


def _plan(chance: Random) -> Plan:
    return Plan(
        before=tuple(_between(chance) for _ in range(chance.choice((0, 0, 1, 1, 2)))),
        prompt=f"go on {WORD * chance.choice((0, 0, 0, 300))}".strip(),
        replies=tuple(_reply(chance) for _ in range(chance.randint(0, 4))),
        summaries=tuple(_summary(chance) for _ in range(chance.randint(0, 3))),
        stopped=frozenset(word for word in "abc" if _once_in(chance, 3)),
        answers=tuple(
            chance.choice((AnswerKind.ONCE, AnswerKind.DENY, AnswerKind.SESSION))
            for _ in range(chance.randint(1, 3))
        ),
        interruption=_interruption(chance, 20) if _once_in(chance, 2) else None,
        continued=_once_in(chance, 4),
        queued=_once_in(chance, 6),
    )


def _between(chance: Random) -> Between:
    act = chance.choice((Act.COMPACT, Act.COMPACT, Act.COMPACT, Act.UNCOMPACT, Act.REOPEN, Act.REWIND))
    stopped = act is Act.COMPACT and _once_in(chance, 2)
    return Between(act, _interruption(chance, 1) if stopped else None)


def _interruption(chance: Random, events: int) -> Interruption:
    how = chance.choice((How.ESCAPE, How.ESCAPE, How.ESCAPE, How.TWICE, How.ROW, How.QUIT))
    return Interruption(how, chance.randrange(events), chance.choice((0, 0, 1, 3, 10, 50, 200)))


def _reply(chance: Random) -> Script:
    fault = _fault(chance) if _once_in(chance, 3) else None
    words = chance.choice(((), ("so ", "be it"), ("so ", "be it"), ("so ", WORD * 400)))
    return Script(
        text=words,
        reasoning=("hm ", "hm ") if _once_in(chance, 4) else (),
        calls=tuple(_call(chance) for _ in range(chance.choice((0, 1, 1, 2, 4)))),
        finish=FinishReason.LENGTH if _once_in(chance, 12) else None,
        fault=fault,
    )


def _call(chance: Random) -> Call:
    # What holds is stopped at its start, if not before.
    do = chance.choice((Do.RETURN, Do.RETURN, Do.FAIL, Do.BREAK, Do.HOLD, Do.CHANGE, Do.SWALLOW))
    say = chance.choice(("a", "b", "c", "c " + WORD * 1_000))
    text = json.dumps({"do": do, "say": say})
    broken = _once_in(chance, 5)
    return Call(
        chance.choice(("one", "two", "two", None)),
        chance.choice(("read", "read", "write", "server", "unknown")),
        (text[:5], text[5:-1] if broken else text[5:]),
    )


def _summary(chance: Random) -> Script:
    match chance.randrange(10):
        case 0:
            return Script(text=(WORD * 4_000,))
        case 1:
            return Script(text=())
        case 2:
            return Script(text=(SUMMARY,), finish=FinishReason.LENGTH)
        case 3:
            return Script(text=(SUMMARY,), calls=(Call("one", "read"),))
        case 4 | 5 | 6:
            return Script(text=(SUMMARY, SUMMARY), fault=_fault(chance))
        case _:
            return Script(text=(SUMMARY,))


def _fault(chance: Random) -> Fault:
    after = chance.randint(0, 5)
    return chance.choice(
        (
            Cut(after),
            Truncate(after),
            Reset(after),
            Stall(after),
            Silence(),
            ErrorEvent(after),
            TOO_LONG,
            TOO_LONG,
            Refuse(Refusal.SERVER_ERROR),
        )
    )


def _once_in(chance: Random, many: int) -> bool:
    return chance.randrange(many) == 0
