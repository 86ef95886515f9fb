"""What the line at the head of the list of sessions is for, the keys that act then, and what they do.

The functions may raise `CaesuraError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from core.base.values import Value
from tui.base.key_hints import KeyHint
from tui.lists.sessions.rows import brief_title

if TYPE_CHECKING:
    from core.storage.records import SessionInfo
    from tui.lists.base.sources import SessionSource

OPEN = KeyHint("enter", "Enter", "open")
REST = (
    KeyHint("ctrl+r", "^R", "rename"),
    KeyHint("ctrl+d", "^D", "delete"),
    KeyHint("ctrl+f", "^F", "fork"),
    KeyHint("ctrl+e", "^E", "export"),
)
ALL = KeyHint("ctrl+a", "^A", "all workspaces")
HERE = KeyHint("ctrl+a", "^A", "this workspace")
RENAMING = (KeyHint("enter", "Enter", "rename"), KeyHint("escape", "Esc", "keep the title"))
DELETING = (KeyHint("y", "y", "delete for good"), KeyHint("n", "n", "keep"))


class Searching(Value):
    """The line has words to search for."""


class Renaming(Value):
    """The line has the new title of this session."""

    info: SessionInfo


class Deleting(Value):
    """The line waits for the answer whether to delete this session."""

    info: SessionInfo


LineUse: TypeAlias = Searching | Renaming | Deleting


class Done(NamedTuple):
    """A sentence to show, and the session to select."""

    text: str
    select: str | None = None


async def delete(source: SessionSource, info: SessionInfo) -> Done:
    await source.delete(info.session_id)
    return Done(f"Deleted ‘{brief_title(info)}’.")


async def fork(source: SessionSource, info: SessionInfo) -> Done:
    copy = await source.fork(info.session_id)
    return Done(f"Forked ‘{brief_title(info)}’: Enter opens the copy.", select=copy)


async def export(source: SessionSource, info: SessionInfo) -> Done:
    return Done(f"Exported to {await source.export(info.session_id)}")
