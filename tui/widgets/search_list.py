"""A list over the transcript that is searched by typing: a line at its head, rows, and what its keys do.

What the rows are and what is done with one is for those who build on it. All of it is at hand: nothing here
waits, and a key finds the rows for what was typed before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from tui.list_rows import HintRow, Piece, Row, Tone, fitted
from tui.output import one_line
from tui.widgets.chords import Chord, Chords
from tui.widgets.list_line import ListLine
from tui.widgets.open_list import OpenList
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.widget import Widget

    from tui.list_rows import Line

LOW = 6
"""With fewer rows than this there is no frame and no foot."""

AnyRow = TypeVar("AnyRow", bound=Row)


class SearchList(OpenList, Generic[AnyRow]):
    """See the module."""

    DEFAULT_CSS = """
    SearchList {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .search-list--head { height: 1; padding: 0 1; }
        & .search-list--label { width: auto; color: $text-accent; text-style: bold; }
        & > .search-list--note {
            display: none;
            height: auto;
            max-height: 3;
            padding: 0 1;
            color: $text-error;
            text-style: bold;
        }
        & > Chords { padding: 0 1; }
        &.-low { border: none; }
        &.-low > Chords { display: none; }
    }
    """
    TITLE = ""
    HINT = ""
    """What stands in the line while nothing is written there."""

    def __init__(self) -> None:
        super().__init__()
        self.line = ListLine(self._hear)
        self._rows: RowList[AnyRow | HintRow] = RowList(self._paint)
        self._note = Static("", classes="search-list--note")
        self._chords: Chords[str] = Chords()
        self._query = ""
        self._width = 0

    # -- for who builds on it --

    def make_rows(self, words: Sequence[str], width: int) -> Sequence[AnyRow]:
        """The rows in which all of these `words`, in small letters, are found; the best first."""
        raise NotImplementedError

    def row_line(self, row: AnyRow, width: int, *, selected: bool) -> Line:
        raise NotImplementedError

    def take(self, key: str) -> None:
        """Enter, or a second click: do what the selected row is for."""

    def chords(self) -> Sequence[Chord[str]]:
        """What the foot says. An `act` is the name of the key that a click on it stands for."""
        return ()

    def show_rows(self, *, select_first: bool = False) -> None:
        """Make the rows anew."""
        rows = self.make_rows(self._query.lower().split(), self._width)
        first = next((row.key for row in rows if row.key), None)
        shown: Sequence[AnyRow | HintRow] = rows or [HintRow("  Nothing found.")]
        self._rows.show(shown, select=first if select_first else None)
        found = len(self._rows.keys)
        self.border_subtitle = f"{found}"
        self._chords.show(self.chords())

    # -- what the owner does --

    @property
    def station(self) -> Widget:
        return self.line

    def assemble(self) -> None:
        """Mount what is inside, at once; see `SessionList.assemble`."""
        head = Horizontal(classes="search-list--head")
        self.mount(head, self._note, self._rows, self._chords)
        head.mount(Static("Search ", classes="search-list--label"), self.line)
        self.line.put("", self.HINT)
        self.border_title = Content(self.TITLE)
        self.show_rows()

    def fail(self, text: str) -> None:
        self._note.update(Content(f"! {one_line(text)}"))
        self._note.display = True

    # -- keys and clicks --

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height < LOW, "-low")
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        width = self._rows.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self.show_rows()

    def _hear(self, key: str) -> bool:
        """A key in the line, in its turn; true if it was meant for the list."""
        self._take_query()
        match key:
            case "up" | "down":
                self._rows.move(-1 if key == "up" else 1)
            case "pageup" | "pagedown":
                self._rows.move_page(-1 if key == "pageup" else 1)
            case "ctrl+home" | "ctrl+end":
                self._rows.move_to_end(-1 if key == "ctrl+home" else 1)
            case "enter":
                self._take_selected()
            case _:
                return False
        return True

    def on_input_changed(self, message: ListLine.Changed) -> None:
        message.stop()
        self._take_query()

    def _take_query(self) -> None:
        """What is typed by now is what is searched for."""
        if self.line.value != self._query:
            self._query = self.line.value
            self.show_rows(select_first=True)

    def _take_selected(self) -> None:
        if self._rows.selected:
            self.take(self._rows.selected)

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._focus_line()
        if message.again:
            self._take_selected()

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        self._focus_line()
        if isinstance(message.act, str):
            self._hear(message.act)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self._focus_line()

    def _focus_line(self) -> None:
        self.screen.set_focus(self.line, scroll_visible=False)

    def _paint(self, row: AnyRow | HintRow, width: int, selected: bool) -> Line:
        if isinstance(row, HintRow):
            return fitted([Piece(row.text, Tone.HINT)], width)
        return self.row_line(row, width, selected=selected)
