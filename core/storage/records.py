"""The records of the session file, which a session, its journal and the store exchange.

Steps are numbered from 0 in their session and do not change after their commit (H3). What changes how they
are sent, such as a compaction, is a record of its own.
"""

from __future__ import annotations

from core.base.values import Record
from core.model.messages import Step, Usage
from core.operations.events import Outcome, Shown, StopReport

NOTHING_USED = Usage(0, 0)


def add_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    """Add two usages, each None if none was reported."""
    return other if one is None else one if other is None else one + other


class CallCard(Record, rename={"call_id": "id"}):
    """The data for the card of an ended call besides its result. `seconds` is None if it never ran.

    `proof` is the report of its stop, if it was stopped.
    """

    call_id: str
    title: str
    shown: Shown
    seconds: float | None = None
    proof: StopReport | None = None


class StoredStep(Record, rename={"subagent_usage": "beside"}):
    """A committed step. `turn` numbers the turns of its session from 1; `at` is Unix time in seconds.

    `cost` is in dollars, None if the usage or the price is unknown. `cards` belong to the calls of the step,
    `subagent_usage` to the sub-agents that these started.
    """

    step: Step
    turn: int
    at: float
    cost: float | None = None
    cards: tuple[CallCard, ...] = ()
    subagent_usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """The usage of the step with its sub-agents; None if none was reported."""
        return add_usage(self.step.usage, self.subagent_usage)


class TurnRecord(Record):
    """A turn and how it ended. `outcome` is None while it runs, and after a crash of the program.

    `prompt` is the text that the user wrote. `kept` says whether the turn is part of the history; otherwise
    its prompt was returned to the user (H1). `at` is the Unix time of its start in seconds. `proof` is the
    report of its stop, if it was stopped.
    """

    turn: int
    prompt: str
    at: float
    continued: bool = False
    outcome: Outcome | None = None
    error: str | None = None
    kept: bool = False
    proof: StopReport | None = None


class Compaction(Record):
    """How the steps so far are sent to the model. The steps themselves do not change (C1).

    The first `upto` steps are sent as `summary`, which is empty if `upto` is 0. In the steps from there up to
    `trimmed`, long outputs of tools are shortened. Only the newest compaction that was not undone applies;
    undone ones are kept (C2). `number` counts the compactions of a session from 1. `usage` and `cost` belong
    to the request for the summary; `usage` is zero if there was none, None if it is unknown. `made_after` is
    the number of steps at that time; the usage of those steps does not tell the size of later requests.
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


class PreImage(Record):
    """A file before a tool changed it in this turn, so that it can be restored.

    `before` is its content and `mode` its permission bits; both are None if there was no such file. `after`
    is the SHA-256 of the new content in hexadecimal, empty if the file was removed.
    """

    turn: int
    path: str
    before: bytes | None
    after: str
    mode: int | None = None


class SessionInfo(Record):
    """The facts about a session that a list shows. Times are Unix times in seconds.

    `workspace` is the folder it works in. `title` is empty until one is set. `steps` counts committed steps.
    `parent` is the id of the session it was forked from. `cost` is in dollars, None if any part is unknown.
    `in_use` says that a process has it open for writing, `crashed` that a process ended in its last turn.
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


class LoadedSession(Record):
    """A whole session. `turns` are in order; the last one may have no outcome, after a crash."""

    info: SessionInfo
    steps: tuple[StoredStep, ...]
    turns: tuple[TurnRecord, ...] = ()
    compactions: tuple[Compaction, ...] = ()
    queue: tuple[str, ...] = ()
    queue_paused: bool = False


class SearchMatch(Record):
    """A place that matches a search. `snippet` is the text around it on one line, without markup; `marks` are
    the spans (start, end) of the words in it."""

    info: SessionInfo
    step: int
    snippet: str
    marks: tuple[tuple[int, int], ...] = ()
