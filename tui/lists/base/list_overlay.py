"""Overlays that show rows: `ListOverlay`, and `SearchOverlay` and `FilteredList` with a line to type in.

They handle the keys that move the selection, clicks and the focus. A subclass says which rows there are and
what the other keys do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import Horizontal
from textual.widgets import Static

from tui.base.row import HintRow
from tui.base.row_list import RowList
from tui.base.search_line import SearchLine
from tui.lists.base.overlay import Overlay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.widget import Widget

    from tui.base.row import Line, ListRow, Row


class ListOverlay(Overlay):
    """Rows of which one is selected, without a line to type in."""

    KEY_SYNONYMS: ClassVar[Mapping[str, str]] = {
        "k": "up",
        "j": "down",
        "home": "ctrl+home",
        "end": "ctrl+end",
    }
    """Keys that move the selection as other keys do."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: RowList[Row] = RowList(self.row_line, self.take_key)

    def row_line(self, row: Row, width: int, selected: bool) -> Line:
        """The line of a row that is no `ListRow`, in exactly `width` cells."""
        raise NotImplementedError

    def act(self, key: str) -> bool:
        """Do what a key other than those that move the selection is for; false if it means nothing here."""
        return False

    def selection_moved(self) -> None:
        """Called after a key or a click has selected a row."""

    def rows_resized(self) -> None:
        """Called when the rows have got their width, and whenever it changes."""

    def row_clicked(self, row: Row, *, again: bool) -> None:
        """A row was clicked; `again` if it was selected before."""
        if again:
            self.act("enter")
        else:
            self.selection_moved()

    @property
    def focus_target(self) -> Widget:
        return self.rows

    def parts(self) -> Sequence[Widget]:
        return (self._note, self.rows, self._key_hints)

    def take_key(self, key: str) -> bool:
        if self.rows.navigate(self.KEY_SYNONYMS.get(key, key)):
            self.selection_moved()
            return True
        return self.act(key)

    def on_row_list_resized(self, message: RowList.Resized) -> None:
        message.stop()
        self.rows_resized()

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self.take_focus()
        self.row_clicked(message.row, again=message.again)


class SearchOverlay(ListOverlay):
    """Rows that are found by typing: letters go to the line at the head."""

    DEFAULT_CSS = """
    SearchOverlay {
        & > .search--head { height: 1; padding: 0 1; }
        & .search--label { width: auto; color: $text-accent; text-style: bold; }
    }
    """
    KEY_SYNONYMS: ClassVar[Mapping[str, str]] = {}
    PLACEHOLDER: ClassVar[str] = ""
    """What the line shows while nothing is typed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows.can_focus = False
        self.line = SearchLine(self.take_key)
        self._head = Horizontal(classes="search--head")
        self._label = Static("Search ", classes="search--label")
        self._query = ""

    def query_changed(self) -> None:
        """Called when `_query` has changed."""

    def take_query(self) -> None:
        """Search for what is typed by now."""
        if (typed := self.line.value.strip()) != self._query:
            self._query = typed
            self.query_changed()

    @property
    def focus_target(self) -> SearchLine:
        return self.line

    def parts(self) -> Sequence[Widget]:
        return (self._head, *super().parts())

    def assemble(self) -> None:
        super().assemble()
        self._head.mount(self._label, self.line)
        self.line.put("", self.PLACEHOLDER)

    def take_key(self, key: str) -> bool:
        # A key finds the rows for what was typed before it.
        self.take_query()
        return super().take_key(key)

    def on_input_changed(self, message: SearchLine.Changed) -> None:
        message.stop()
        self.take_query()


class FilteredList(SearchOverlay):
    """Rows that are all at hand and made from the words that are typed: nothing waits."""

    def __init__(self) -> None:
        super().__init__()
        self._width = 0

    def make_rows(self, words: Sequence[str], width: int) -> Sequence[ListRow]:
        """The rows in which all of these lower-case `words` are found, the best first."""
        raise NotImplementedError

    def choose(self, key: str) -> None:
        """Do what the row with this key is for: after Enter, or a second click."""

    def show_rows(self, *, select_first: bool = False) -> None:
        """Make the rows anew."""
        rows = self.make_rows(self._query.lower().split(), self._width)
        first = next((row.key for row in rows if row.key), None)
        self.rows.show(rows or [HintRow(" Nothing found.")], select=first if select_first else None)
        self.border_subtitle = f"{len(self.rows.keys)}"
        self.show_key_hints()

    def assemble(self) -> None:
        super().assemble()
        self.show_rows()

    def rows_resized(self) -> None:
        width = self.rows.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self.show_rows()

    def query_changed(self) -> None:
        self.show_rows(select_first=True)

    def act(self, key: str) -> bool:
        if key != "enter":
            return False
        if self.rows.selected:
            self.choose(self.rows.selected)
        return True
