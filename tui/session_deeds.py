"""What can be done with a session without opening it, and what to say when it is done.

Each raises what the shelf raises, a `CaesuraError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tui.session_rows import brief_title

if TYPE_CHECKING:
    from core.records import SessionInfo
    from tui.shelf import SessionShelf


class Done(NamedTuple):
    """A sentence, and the session that is to be selected then."""

    text: str
    select: str | None = None


async def delete(shelf: SessionShelf, info: SessionInfo) -> Done:
    await shelf.delete(info.session_id)
    return Done(f"Deleted ‘{brief_title(info)}’.")


async def fork(shelf: SessionShelf, info: SessionInfo) -> Done:
    copy = await shelf.fork(info.session_id)
    return Done(f"Forked ‘{brief_title(info)}’: Enter opens the copy.", select=copy)


async def export(shelf: SessionShelf, info: SessionInfo) -> Done:
    return Done(f"Exported to {await shelf.export(info.session_id)}")
