"""What a person can do in the list of sessions, with which key, and what the line at its head is for."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from core.values import dataclass
from tui.widgets.chords import Chord

if TYPE_CHECKING:
    from core.records import SessionInfo


class SessionAct(Enum):
    """What a person can do in the list."""

    OPEN = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()
    RENAME = auto()
    DELETE = auto()
    FORK = auto()
    EXPORT = auto()
    EVERYWHERE = auto()
    ACCEPT = auto()
    KEEP = auto()


KEYS = {
    "enter": SessionAct.OPEN,
    "up": SessionAct.UP,
    "down": SessionAct.DOWN,
    "pageup": SessionAct.PAGE_UP,
    "pagedown": SessionAct.PAGE_DOWN,
    "ctrl+home": SessionAct.FIRST,
    "ctrl+end": SessionAct.LAST,
    "ctrl+r": SessionAct.RENAME,
    "f2": SessionAct.RENAME,
    "ctrl+d": SessionAct.DELETE,
    "delete": SessionAct.DELETE,
    "ctrl+f": SessionAct.FORK,
    "ctrl+e": SessionAct.EXPORT,
    "ctrl+a": SessionAct.EVERYWHERE,
}

OPEN = Chord(SessionAct.OPEN, "Enter", "open")
REST = (
    Chord(SessionAct.RENAME, "^R", "rename"),
    Chord(SessionAct.DELETE, "^D", "delete"),
    Chord(SessionAct.FORK, "^F", "fork"),
    Chord(SessionAct.EXPORT, "^E", "export"),
)
ALL = Chord(SessionAct.EVERYWHERE, "^A", "all workspaces")
HERE = Chord(SessionAct.EVERYWHERE, "^A", "this workspace")
RENAMING = (Chord(SessionAct.ACCEPT, "Enter", "rename"), Chord(SessionAct.KEEP, "Esc", "keep the title"))
DELETING = (Chord(SessionAct.ACCEPT, "y", "delete for good"), Chord(SessionAct.KEEP, "n", "keep"))


@dataclass(frozen=True, slots=True)
class Searching:
    """The line is for words to search for."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """The line is for the new title of this session."""

    info: SessionInfo


@dataclass(frozen=True, slots=True)
class Deleting:
    """The line waits for the answer whether this session shall be deleted."""

    info: SessionInfo


LineUse: TypeAlias = Searching | Renaming | Deleting


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the list is opened: the id of the session on the screen, and the workspace of it."""

    session_id: str
    workspace: str
