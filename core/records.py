"""What the file of sessions holds, as values: the shapes between a session, its journal and the store.

Steps are numbered from 0 within their session and never change once they are committed (H3); what changes the
view of them, such as a compaction, is a record beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.messages import Usage
from core.values import dataclass

if TYPE_CHECKING:
    from core.events import Outcome, Shown, StopProof
    from core.messages import Step

NOTHING_USED = Usage(0, 0)


def add_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    """The sum of what was reported; None when nothing was."""
    return other if one is None else one if other is None else one + other


@dataclass(frozen=True, slots=True)
class CallCard:
    """What the card of an ended call shows beside its result. `seconds` is None if it never ran."""

    call_id: str
    title: str
    shown: Shown
    seconds: float | None = None
    proof: StopProof | None = None


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A committed step. `turn` numbers the turns of its session from 1; `at` is Unix time in seconds.

    `cost` is in dollars, None where the usage or the price is not known. `cards` are those of its calls,
    `beside` is what sub-agents of theirs have used.
    """

    step: Step
    turn: int
    at: float
    cost: float | None = None
    cards: tuple[CallCard, ...] = ()
    beside: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """All that the step has used; None when nothing was reported."""
        return add_usage(self.step.usage, self.beside)


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """How a turn went. `outcome` None means that it was never told: the program died in it.

    `prompt` is what the person wrote. `kept` means that it is part of the history; the prompt of a turn that
    was not kept is given back (H1). `at` is Unix time of its start in seconds. `proof` is that of its stop,
    if there was one.
    """

    turn: int
    prompt: str
    at: float
    continued: bool = False
    outcome: Outcome | None = None
    error: str | None = None
    kept: bool = False
    proof: StopProof | None = None


@dataclass(frozen=True, slots=True)
class Compaction:
    """How steps are sent from now on; they themselves stay as they are (C1).

    The first `upto` steps are sent as `summary`, which is empty when `upto` is 0; of those behind it and
    before `trimmed`, long outputs of tools are sent shortened. The newest that was not undone says all of it.
    `number` tells the compactions of a session apart, from 1. One that was undone is kept, and not used (C2).
    `usage` and `cost` are those of the request that wrote the summary; nothing was used if it only trims.
    `made_after` is how many steps there were when it was made: what the provider counted for those does not
    tell how long the requests are since.
    """

    number: int
    upto: int
    summary: str
    at: float
    usage: Usage | None = None
    cost: float | None = None
    undone: bool = False
    trimmed: int = 0
    made_after: int = 0


@dataclass(frozen=True, slots=True)
class PreImage:
    """A file as it was before a tool of ours changed it in this turn, so that it can be put back.

    `before` is None if there was no such file; `after` is the SHA-256, in hexadecimal, of what was written,
    empty if the file was removed.
    `mode` are its permission bits, None if there was no such file.
    """

    turn: int
    path: str
    before: bytes | None
    after: str
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session in a list. Times are Unix times in seconds; `workspace` is the folder it works in.

    `title` is empty until something named it. `steps` counts what is committed. `parent` is the session it
    was forked from. `cost` is in dollars and None when any part of it is unknown. `in_use` means that a
    Caesura has it open for writing, `crashed` that one died in its last turn.
    """

    session_id: str
    title: str
    workspace: str
    model: str
    created_at: float
    updated_at: float
    steps: int
    parent: str | None = None
    usage: Usage = NOTHING_USED
    cost: float | None = 0.0
    in_use: bool = False
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class LoadedSession:
    """All of one session. `turns` are in order; the last one may have died."""

    info: SessionInfo
    steps: tuple[StoredStep, ...]
    turns: tuple[TurnRecord, ...] = ()
    compactions: tuple[Compaction, ...] = ()
    queue: tuple[str, ...] = ()
    queue_paused: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where the words of a search were found. `snippet` is plain text around them on one line;
    `marks` are (start, end) of the words in it."""

    info: SessionInfo
    step: int
    snippet: str
    marks: tuple[tuple[int, int], ...] = ()
