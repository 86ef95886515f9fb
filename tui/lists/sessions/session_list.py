"""The list of sessions: found by typing, opened, named, deleted, forked and written out.

Letters go to the line at its head, so that everything else is a chord. Nothing here waits: what it asks for
comes when it comes, and an answer to what is no longer asked is dropped. It deletes nothing that the person
has not been asked about by name, and opens nothing itself: it posts what was chosen.

Esc and Ctrl+C are not its business; who holds it calls `close_innermost`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from core.errors import CaesuraError
from tui.list_rows import HintRow
from tui.output import one_line
from tui.session_acts import (
    ALL,
    DELETING,
    HERE,
    KEYS,
    OPEN,
    RENAMING,
    REST,
    Deleting,
    LineUse,
    Renaming,
    Searching,
    SessionAct,
    Whereabouts,
)
from tui.session_deeds import Done, delete, export, fork
from tui.session_lookup import Lookup
from tui.session_rows import Looks, Scope, ShelfRow, brief_title, make_rows, row_line
from tui.widgets.chords import Chords
from tui.widgets.list_line import ListLine
from tui.widgets.open_list import OpenList
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from textual import events

    from core.records import SessionInfo
    from tui.list_rows import Line
    from tui.shelf import SessionShelf

LOW = 6
"""With fewer rows than this there is no frame and no foot."""


class SessionList(OpenList):
    """See the module. `tell` says what has failed when the list is closed by then. `now` gives Unix time."""

    DEFAULT_CSS = """
    SessionList {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .session-list--head { height: 1; padding: 0 1; }
        & .session-list--label { width: auto; color: $text-accent; text-style: bold; }
        & > .session-list--note { display: none; height: auto; max-height: 3; padding: 0 1; }
        & > .session-list--note.-failed { color: $text-error; text-style: bold; }
        & > Chords { padding: 0 1; }
        &.-low { border: none; }
        &.-low > Chords { display: none; }
        &.-low > .session-list--note { max-height: 1; }
    }
    """

    class Opened(Message):
        """Open this session. The list stays until its owner closes it, or tells why that cannot be."""

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
        shelf: SessionShelf,
        where: Whereabouts,
        tell: Callable[[str], object],
        now: Callable[[], float],
    ) -> None:
        super().__init__()
        self._shelf = shelf
        self._where = where
        self._tell = tell
        self._now = now
        self._scope = Scope(where.workspace)
        self._use: LineUse = Searching()
        self._opening = False
        self._titles: dict[str, str] = {}
        """What was typed as a title and could not be saved, by session."""
        self._lookup = Lookup(shelf, self._start_reading, self._found, self.fail)
        self._looks = Looks(0, now(), where.session_id, str(Path.home()))
        self.line = ListLine(self._hear)
        self._rows: RowList[ShelfRow] = RowList(self._paint)
        self._label = Static("", classes="session-list--label")
        self._note = Static("", classes="session-list--note")
        self._chords: Chords[SessionAct] = Chords()

    def assemble(self) -> None:
        """Mount what is inside, at once. What is composed is in no chain of bindings yet when its first key
        comes: an Esc would be lost."""
        head = Horizontal(classes="session-list--head")
        self.mount(head, self._note, self._rows, self._chords)
        head.mount(self._label, self.line)

    def on_mount(self) -> None:
        self._begin(Searching())
        self._lookup.load()

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height < LOW, "-low")

    # -- what the owner does --

    @property
    def station(self) -> ListLine:
        return self.line

    @property
    def use(self) -> LineUse:
        """What the line at the head is for."""
        return self._use

    def close_innermost(self) -> bool:
        """Esc: end a rename or a question, and change nothing. False if it is the list that has to close."""
        if isinstance(self._use, Searching):
            return False
        self._begin(Searching())
        return True

    def fail(self, text: str) -> None:
        """Say in the list why what was asked for cannot be done."""
        self._opening = False
        self._say(text, failed=True)

    # -- keys and clicks --

    def _hear(self, key: str) -> bool:
        """A key in the line, in its turn; true if it was meant for the list."""
        match self._use:
            case Searching():
                act = KEYS.get(key)
                if act is None or (key == "delete" and not self.line.at_end):
                    return False
                self._act(act)
                return True
            case Renaming():
                if key == "enter":
                    self._act(SessionAct.ACCEPT)
                return key in ("enter", "up", "down")
            case Deleting():
                if key in ("y", "n"):
                    self._act(SessionAct.ACCEPT if key == "y" else SessionAct.KEEP)
                return True
            case _:
                assert_never(self._use)

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        self._focus_line()
        if isinstance(message.act, SessionAct):
            self._act(message.act)

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._focus_line()
        if isinstance(self._use, Searching) and message.again:
            self._act(SessionAct.OPEN)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self._focus_line()

    def on_input_changed(self, message: ListLine.Changed) -> None:
        message.stop()
        self._take_query()

    def _focus_line(self) -> None:
        self.screen.set_focus(self.line, scroll_visible=False)

    def _act(self, act: SessionAct) -> None:
        self._take_query()
        match act:
            case SessionAct.UP | SessionAct.DOWN:
                self._rows.move(-1 if act is SessionAct.UP else 1)
            case SessionAct.PAGE_UP | SessionAct.PAGE_DOWN:
                self._rows.move_page(-1 if act is SessionAct.PAGE_UP else 1)
            case SessionAct.FIRST | SessionAct.LAST:
                self._rows.move_to_end(-1 if act is SessionAct.FIRST else 1)
            case SessionAct.EVERYWHERE:
                self._scope = replace(self._scope, everywhere=not self._scope.everywhere)
                self._arrange()
            case SessionAct.ACCEPT:
                self._accept()
            case SessionAct.KEEP:
                self.close_innermost()
            case (
                SessionAct.OPEN | SessionAct.RENAME | SessionAct.DELETE | SessionAct.FORK | SessionAct.EXPORT
            ):
                if (info := self._selected) is not None:
                    self._act_on(act, info)
            case _:
                assert_never(act)

    def _act_on(self, act: SessionAct, info: SessionInfo) -> None:
        is_current = info.session_id == self._where.session_id
        if act is SessionAct.OPEN:
            self._open(info)
        elif act is SessionAct.RENAME:
            self._begin(Renaming(info))
        elif act is SessionAct.DELETE and is_current:
            self._say("This session is on the screen: open another one, then delete this.", failed=True)
        elif act is SessionAct.DELETE:
            self._begin(Deleting(info))
        elif act is SessionAct.FORK:
            self._start("Forking…", fork(self._shelf, info))
        elif act is SessionAct.EXPORT:
            self._start("Exporting…", export(self._shelf, info))

    def _open(self, info: SessionInfo) -> None:
        if info.session_id == self._where.session_id:
            self.post_message(self.Closed(self))
        elif not self._opening:
            self._opening = True
            self._say(f"Opening ‘{brief_title(info)}’…")
            self.post_message(self.Opened(info.session_id))

    # -- the line --

    def _begin(self, use: LineUse) -> None:
        """Use the line for this."""
        if isinstance(self._use, Searching):
            self._take_query()
        self._use = use
        match use:
            case Searching():
                label, text, hint = "Search ", self._lookup.query, "titles and everything said"
            case Renaming(info):
                text = self._titles.get(info.session_id, one_line(info.title))
                label, hint = "New title ", "Enter without a title keeps the old one"
            case Deleting(info):
                label, text, hint = "Delete? y/n ", "", ""
                self._say(f"Delete ‘{brief_title(info)}’ and all that was said in it? Esc keeps it.")
            case _:
                assert_never(use)
        if not isinstance(use, Deleting):
            self._say("")
        self._label.update(Content(label))
        self.line.put(text, hint)
        self._show_chords()
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
                self._start("Deleting…", delete(self._shelf, info))
            case Searching():
                pass
            case _:
                assert_never(use)

    def _take_query(self) -> None:
        """What is typed by now is what is searched for."""
        if isinstance(self._use, Searching) and self.line.value != self._lookup.query:
            self._say("")
            self._lookup.ask(self.line.value)
            self._arrange(select_first=True)

    # -- what is done with a session --

    def _start(self, doing: str, work: Coroutine[None, None, Done]) -> None:
        self._say(doing)
        # The application's and not the list's own: what was asked for is done though the list is closed.
        self.app.run_worker(self._do(work), group="shelf")

    async def _do(self, work: Coroutine[None, None, Done]) -> None:
        try:
            done = await work
        except CaesuraError as error:
            if self.is_attached:
                self.fail(str(error))
            else:
                self._tell(str(error))
            return
        if self.is_attached:
            self._say(done.text)
            self._lookup.load(select=done.select)

    async def _rename(self, info: SessionInfo, title: str) -> Done:
        await self._shelf.rename(info.session_id, title)
        self._titles.pop(info.session_id, None)
        self.post_message(self.Renamed(info.session_id, title))
        return Done("Renamed.")

    # -- showing --

    @property
    def _selected(self) -> SessionInfo | None:
        key = self._rows.selected
        return next((info for info in self._lookup.infos or () if info.session_id == key), None)

    def _start_reading(self, work: Coroutine[None, None, None]) -> None:
        # Its own: nobody needs the answer when the list is closed.
        self.run_worker(work, group="lookup")

    def _found(self, select: str | None) -> None:
        self._looks = replace(self._looks, now=self._now())
        self._arrange(select=select)

    def _arrange(self, *, select: str | None = None, select_first: bool = False) -> None:
        shown = self._scope.of(self._lookup.infos or ())
        rows = make_rows(shown, self._lookup.query, self._lookup.hits)
        self._looks = replace(self._looks, everywhere=self._scope.everywhere)
        if select_first and rows:
            select = rows[0].key
        self._rows.show(rows or [HintRow(self._why_empty(len(shown)))], select=select)
        where = "all workspaces" if self._scope.everywhere else "this workspace"
        self.border_title = Content(f"Sessions · {where}")
        found = len(self._rows.keys)
        self.border_subtitle = f"{found} of {len(shown)}" if self._lookup.words else f"{found}"
        self._show_chords()

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

    def _paint(self, row: ShelfRow, width: int, selected: bool) -> Line:
        return row_line(row, replace(self._looks, width=width, selected=selected))

    def _show_chords(self) -> None:
        match self._use:
            case Searching():
                scope = HERE if self._scope.everywhere else ALL
                some = REST if self._rows.keys else ()
                self._chords.show((*((OPEN,) if some else ()), *some, scope))
            case Renaming():
                self._chords.show(RENAMING)
            case Deleting():
                self._chords.show(DELETING)
            case _:
                assert_never(self._use)

    def _say(self, text: str, *, failed: bool = False) -> None:
        # Not a string, in which a title could be markup.
        self._note.update(Content(("! " if failed else "") + one_line(text)))
        self._note.set_class(failed, "-failed")
        self._note.display = bool(text)
