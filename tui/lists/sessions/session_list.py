"""The list of sessions: found by typing, opened, renamed, deleted, forked and exported.

Letters go to the line at its head, so every other key is a combination. Reading and searching happen in the
background, and an answer to what is no longer asked is dropped. A session is deleted only after a question
that names it. The list opens nothing itself: it posts what was chosen.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace
from textual.content import Content
from textual.message import Message

from core.base.errors import CaesuraError
from tui.base.printable import one_line
from tui.base.row import HintRow
from tui.lists.base.list_overlay import SearchOverlay
from tui.lists.sessions.actions import (
    ALL,
    DELETING,
    HERE,
    OPEN,
    RENAMING,
    REST,
    Deleting,
    Done,
    LineUse,
    Renaming,
    Searching,
    delete,
    export,
    fork,
)
from tui.lists.sessions.lookup import Lookup
from tui.lists.sessions.rows import RowContext, brief_title, session_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from core.storage.records import SessionInfo
    from tui.base.key_hints import KeyHint
    from tui.base.row import Row
    from tui.lists.base.sources import CurrentSession, SessionSource


class SessionList(SearchOverlay):
    """`notify` reports a failure if the list is closed by then. `now` gives Unix time in seconds."""

    class Opened(Message):
        """Open this session. The owner closes the list, or calls `fail`."""

        def __init__(self, session_id: str) -> None:
            super().__init__()
            self.session_id = session_id

    class Renamed(Message):
        """A session has another title now."""

        def __init__(self, session_id: str, title: str) -> None:
            super().__init__()
            self.session_id = session_id
            self.title = title

    def __init__(
        self,
        source: SessionSource,
        where: CurrentSession,
        notify: Callable[[str], object],
        now: Callable[[], float],
    ) -> None:
        super().__init__()
        self._source = source
        self._where = where
        self._notify = notify
        self._now = now
        self._use: LineUse = Searching()
        self._titles: dict[str, str] = {}
        """Titles that were typed and could not be saved, by session."""
        # Workers of the list: closing it ends the search.
        self._lookup = Lookup(source, partial(self.run_worker, group="lookup"), self._found, self.fail)
        self._row_context = RowContext(where, now(), str(Path.home()))

    def on_mount(self) -> None:
        self._begin(Searching())
        self._lookup.load()

    # -- what the owner does --

    @property
    def use(self) -> LineUse:
        """What the line at the head is used for."""
        return self._use

    def close_innermost(self) -> bool:
        """End a rename or a question without a change. False if there is none: then the list closes."""
        if isinstance(self._use, Searching):
            return False
        self._begin(Searching())
        return True

    # -- keys and clicks --

    def take_key(self, key: str) -> bool:
        match self._use:
            case Searching():
                # In the middle of the line it deletes a character.
                return not (key == "delete" and not self.line.at_end) and super().take_key(key)
            case Renaming():
                if key == "enter":
                    self._accept()
                return key in ("enter", "up", "down")
            case Deleting():
                if key == "y":
                    self._accept()
                elif key == "n":
                    self.close_innermost()
                return True
            case _:
                assert_never(self._use)

    def row_clicked(self, row: Row, *, again: bool) -> None:
        if isinstance(self._use, Searching):
            super().row_clicked(row, again=again)

    def act(self, key: str) -> bool:
        match key:
            case "ctrl+a":
                self._row_context = replace(self._row_context, everywhere=not self._row_context.everywhere)
                self._arrange()
            case "enter" | "ctrl+r" | "f2" | "ctrl+d" | "delete" | "ctrl+f" | "ctrl+e":
                if (info := self._selected) is not None:
                    self._act_on(key, info)
            case _:
                return False
        return True

    def _act_on(self, key: str, info: SessionInfo) -> None:
        match key:
            case "enter":
                self._open(info)
            case "ctrl+r" | "f2":
                self._begin(Renaming(info))
            case "ctrl+f":
                self._start("Forking…", fork(self._source, info))
            case "ctrl+e":
                self._start("Exporting…", export(self._source, info))
            case _ if info.session_id == self._where.session_id:
                self.show_note(
                    "This session is on the screen: open another one, then delete this.", failed=True
                )
            case _:
                self._begin(Deleting(info))

    def _open(self, info: SessionInfo) -> None:
        if info.session_id == self._where.session_id:
            self.post_message(self.Closed(self))
        elif not self._chosen:
            self._chosen = True
            self.show_note(f"Opening ‘{brief_title(info)}’…")
            self.post_message(self.Opened(info.session_id))

    # -- the line --

    def _begin(self, use: LineUse) -> None:
        """Use the line for this from now on."""
        if isinstance(self._use, Searching):
            self.take_query()
        self._use = use
        match use:
            case Searching():
                label, text, hint = "Search ", self._lookup.query, "titles and everything said"
            case Renaming(info):
                text = self._titles.get(info.session_id, one_line(info.title))
                label, hint = "New title ", "Enter without a title keeps the old one"
            case Deleting(info):
                label, text, hint = "Delete? y/n ", "", ""
                self.show_note(f"Delete ‘{brief_title(info)}’ and all that was said in it? Esc keeps it.")
            case _:
                assert_never(use)
        if not isinstance(use, Deleting):
            self.show_note("")
        self._label.update(Content(label))
        self.line.put(text, hint)
        self.show_key_hints()
        self.post_message(self.UseChanged())

    def _accept(self) -> None:
        use = self._use
        match use:
            case Renaming(info):
                title = self.line.value.strip()
                self._begin(Searching())
                if title and title != info.title:
                    self._titles[info.session_id] = title
                    self._start("Renaming…", self._rename(info, title))
            case Deleting(info):
                self._begin(Searching())
                self._start("Deleting…", delete(self._source, info))
            case Searching():
                pass
            case _:
                assert_never(use)

    def take_query(self) -> None:
        # The blanks in the line count: it shows the query again after a rename.
        if isinstance(self._use, Searching) and self.line.value != self._lookup.query:
            self.show_note("")
            self._lookup.ask(self.line.value)
            self._arrange(select_first=True)

    # -- what is done with a session --

    def _start(self, doing: str, work: Coroutine[None, None, Done]) -> None:
        self.show_note(doing)
        # A worker of the app: the work is finished even if the list is closed.
        self.app.run_worker(self._do(work), group="shelf")

    async def _do(self, work: Coroutine[None, None, Done]) -> None:
        try:
            done = await work
        except CaesuraError as error:
            if self.is_attached:
                self.fail(str(error))
            else:
                self._notify(str(error))
            return
        if self.is_attached:
            self.show_note(done.text)
            self._lookup.load(select=done.select)

    async def _rename(self, info: SessionInfo, title: str) -> Done:
        await self._source.rename(info.session_id, title)
        self._titles.pop(info.session_id, None)
        self.post_message(self.Renamed(info.session_id, title))
        return Done("Renamed.")

    # -- showing --

    @property
    def _selected(self) -> SessionInfo | None:
        key = self.rows.selected
        return next((info for info in self._lookup.infos or () if info.session_id == key), None)

    def _found(self, select: str | None) -> None:
        self._row_context = replace(self._row_context, now=self._now())
        self._arrange(select=select)

    def _arrange(self, *, select: str | None = None, select_first: bool = False) -> None:
        shown = self._row_context.listed(self._lookup.infos or ())
        rows = session_rows(shown, self._lookup.query, self._lookup.hits, self._row_context)
        if select_first and rows:
            select = rows[0].key
        self.rows.show(rows or [HintRow(self._why_empty(len(shown)))], select=select)
        where = "all workspaces" if self._row_context.everywhere else "this workspace"
        self.border_title = Content(f"Sessions · {where}")
        found = len(self.rows.keys)
        self.border_subtitle = f"{found} of {len(shown)}" if self._lookup.words else f"{found}"
        self.show_key_hints()

    def _why_empty(self, in_scope: int) -> str:
        elsewhere = len(self._lookup.infos or ()) - in_scope
        if self._lookup.infos is None:
            return "Reading…"
        if self._lookup.words:
            if not self._lookup.is_answered:
                return "Searching…"
            more = "; ^A searches all workspaces." if elsewhere else "."
            return f"Nothing found{more}"
        if elsewhere:
            return f"No session in this workspace yet; ^A shows {elsewhere} of others."
        return "No session is kept yet."

    def key_hints(self) -> Sequence[KeyHint[str]]:
        match self._use:
            case Searching():
                scope = HERE if self._row_context.everywhere else ALL
                return (OPEN, *REST, scope) if self.rows.keys else (scope,)
            case Renaming():
                return RENAMING
            case Deleting():
                return DELETING
            case _:
                assert_never(self._use)
