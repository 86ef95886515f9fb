"""The view of a first start step: heading, typed text, rows, a note, and key hints."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from tui.app.first_start.rows import (
    PLACE_ROWS,
    StartRow,
    choice_rows,
    model_rows,
    name_cells,
    provider_rows,
    remedy_rows,
    row_line,
)
from tui.app.first_start.steps import (
    CARET,
    Choosing,
    Keeping,
    Over,
    PickingModel,
    PickingProvider,
    Placing,
    StartAct,
    Trying,
    TypingKey,
    Unproven,
    enter_words,
    esc_words,
    heading,
)
from tui.base.key_hints import KeyHint, KeyHints
from tui.base.row import inline
from tui.base.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from core.model.setup import Setup
    from tui.app.first_start.findings import Findings
    from tui.app.first_start.rows import AnyRow
    from tui.app.first_start.steps import Item, Step, TypedLine
    from tui.base.row import Line

ROOMY = 66
"""Columns of the screen from which the last line has room for more than Enter and Esc."""


class FirstStartView(Vertical):
    """Shows a step, with what was typed and found. Rows and key hints post their own clicks."""

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
        & > KeyHints { margin: 1 0 0 0; }
        &.-low {
            border: none;
            padding: 0;
            & > .first-start--sentence { max-height: 2; margin: 0; }
            & > .first-start--head { margin: 0; }
            & > .first-start--note { max-height: 2; margin: 0; }
            & > KeyHints { margin: 0; }
        }
    }
    """

    def __init__(self, setup: Setup, typed: TypedLine, findings: Findings) -> None:
        super().__init__()
        self._setup = setup
        self._typed = typed
        self._findings = findings
        self.border_title = "Caesura"
        self.rows: RowList[StartRow] = RowList(self._paint)
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
        self._key_hints: KeyHints[StartAct] = KeyHints()

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._sentence
        with self._head:
            yield self._label
            yield self._line
        yield self.rows
        yield self._note
        yield self._key_hints

    @property
    def selected(self) -> Item | None:
        """The item of the selected row."""
        return self._items.get(self.rows.selected)

    def show(self, step: Step) -> None:
        """Show all but the rows and the sentence."""
        shown, failed = heading(step), isinstance(step, Unproven | Placing)
        # All of these are `Content`: in a string, a name could contain markup.
        self._title.update(Content(inline(shown.title)))
        self._sentence.update(Content(inline(shown.sentence)))
        self._sentence.set_class(failed, "-failed")
        self._label.update(Content(shown.label))
        self._head.display = bool(shown.label)
        self.show_line(step)
        self.show_key_hints(step)

    def show_line(self, step: Step) -> None:
        """Show what is typed, of a key only the length, or a hint if nothing is."""
        shown = heading(step)
        cells = max(8, self._title.size.width - len(shown.label))
        if not len(self._typed):
            self._line.update(Content.assemble(CARET, (shown.hint, "$foreground 70%")))
        elif isinstance(step, TypingKey):
            self._line.update(Content(self._typed.masked(cells)))
        else:
            self._line.update(Content(self._typed.shown(cells)))

    def show_rows(self, step: Step, *, select_first: bool = False) -> None:
        rows = self._rows_of(step)
        self._names = name_cells(rows)
        self._items = {row.key: row.item for row in rows if isinstance(row, StartRow)}
        self.rows.show(rows, select=rows[0].key if select_first and rows else None)

    def show_key_hints(self, step: Step) -> None:
        hints = [
            KeyHint(StartAct.TAKE, "Enter", enter_words(step, self.selected)),
            KeyHint(StartAct.BACK, "Esc", esc_words(step)),
        ]
        if isinstance(step, Choosing) and self.screen.size.width >= ROOMY:
            hints += [
                KeyHint(StartAct.QUIT, "^Q", "quits"),
                KeyHint(StartAct.LOOK_AGAIN, "^R", "looks again"),
            ]
        self._key_hints.show(hints)

    def show_search(self, step: Step) -> None:
        """While the person chooses: show how far the search for keys and servers has come."""
        if isinstance(step, Choosing):
            self.say(self._findings.note)

    def say(self, text: str, *, failed: bool = False) -> None:
        """Show a sentence below the rows; an empty text removes it."""
        self.said = text
        self._note.update(Content(("! " if failed else "") + inline(text)))
        self._note.set_class(failed, "-failed")
        self._note.display = bool(text)

    def _rows_of(self, step: Step) -> Sequence[AnyRow]:
        match step:
            case Choosing():
                return choice_rows(self._findings.found)
            case PickingProvider():
                return provider_rows(self._setup.providers, self._typed.query)
            case PickingModel(server):
                return model_rows(server, self._typed.query)
            case Unproven(attempt, _):
                return remedy_rows(attempt)
            case Placing():
                return PLACE_ROWS
            case TypingKey() | Trying() | Keeping() | Over():
                return ()
            case _:
                assert_never(step)

    def _paint(self, row: StartRow, width: int, selected: bool) -> Line:
        return row_line(row, width, self._names, selected=selected)
