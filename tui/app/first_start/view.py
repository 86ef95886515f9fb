"""How a step of the first start looks: its heading, what is typed, the rows, a note, and what the keys do.

It shows what it is told and decides nothing. What is typed reaches it as it may be shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from tui.first_start import CARET
from tui.first_start_rows import StartRow, name_cells, row_line
from tui.list_rows import inline
from tui.widgets.chords import Chord, Chords
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from tui.first_start import Heading, Item, StartAct
    from tui.first_start_rows import AnyRow
    from tui.list_rows import Line


class FirstStartView(Vertical):
    """See the module. Clicks on rows and keys are posted by those."""

    DEFAULT_CSS = """
    FirstStartView {
        width: 100%;
        max-width: 100;
        height: 100%;
        max-height: 26;
        padding: 1 2;
        border: round $border;
        border-title-color: $foreground;
        & > .first-start--title { height: 1; text-style: bold; color: $text-accent; }
        & > .first-start--sentence { height: auto; max-height: 4; margin: 0 0 1 0; }
        & > .first-start--sentence.-failed { color: $text-error; text-style: bold; }
        & > .first-start--head { display: none; height: 1; margin: 0 0 1 0; }
        & .first-start--label { width: auto; color: $text-accent; text-style: bold; }
        & .first-start--line { width: 1fr; height: 1; }
        & > .first-start--note { display: none; height: auto; max-height: 3; margin: 1 0 0 0; }
        & > .first-start--note.-failed { color: $text-error; text-style: bold; }
        & > Chords { margin: 1 0 0 0; }
        &.-low {
            border: none;
            padding: 0;
            & > .first-start--sentence { max-height: 2; margin: 0; }
            & > .first-start--head { margin: 0; }
            & > .first-start--note { max-height: 2; margin: 0; }
            & > Chords { margin: 0; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.border_title = "Caesura"
        self.rows: RowList[AnyRow] = RowList(self._paint)
        self.said = ""
        """The sentence below the rows."""
        self._names = 0
        self._items: dict[str, Item] = {}
        self._title = Static("", classes="first-start--title")
        self._sentence = Static("", classes="first-start--sentence")
        self._head = Horizontal(classes="first-start--head")
        self._label = Static("", classes="first-start--label")
        self._line = Static("", classes="first-start--line")
        self._note = Static("", classes="first-start--note")
        self._chords: Chords[StartAct] = Chords()

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._sentence
        with self._head:
            yield self._label
            yield self._line
        yield self.rows
        yield self._note
        yield self._chords

    @property
    def selected(self) -> Item | None:
        """What the selected row stands for."""
        return self._items.get(self.rows.selected)

    def line_cells(self, shown: Heading) -> int:
        """How wide what is typed may be."""
        return max(8, self._title.size.width - len(shown.label))

    def show_heading(self, shown: Heading, *, failed: bool) -> None:
        # None of these is a string, in which a name could be markup.
        self._title.update(Content(inline(shown.title)))
        self._sentence.update(Content(inline(shown.sentence)))
        self._sentence.set_class(failed, "-failed")
        self._label.update(Content(shown.label))
        self._head.display = bool(shown.label)

    def show_typed(self, text: str, hint: str) -> None:
        """`hint` stands where nothing is typed."""
        self._line.update(Content(text) if text else Content.assemble(CARET, (hint, "$foreground 70%")))

    def show_rows(self, rows: Sequence[AnyRow], *, select: str | None) -> None:
        self._names = name_cells(rows)
        self._items = {row.key: row.item for row in rows if isinstance(row, StartRow)}
        self.rows.show(rows, select=select)

    def show_chords(self, chords: Sequence[Chord[StartAct]]) -> None:
        self._chords.show(chords)

    def say(self, text: str, *, failed: bool = False) -> None:
        """A sentence below the rows; empty: none."""
        self.said = text
        self._note.update(Content(("! " if failed else "") + inline(text)))
        self._note.set_class(failed, "-failed")
        self._note.display = bool(text)

    def _paint(self, row: AnyRow, width: int, selected: bool) -> Line:
        return row_line(row, width, self._names, selected=selected)
