"""The small list above the composer that completes the command that is being typed.

It takes neither the focus nor letters. A key is handled in its turn, for the text in the composer at that
moment, so that an Enter that is typed fast sends what was typed (U1). It does nothing for text that does not
begin with a slash. It covers what is above it and moves nothing. Esc is not handled here: the owner calls
`dismiss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.message import Message

from tui.base.fit import fit
from tui.base.row import Piece, Tone, cursor, fitted, inline
from tui.base.row_list import RowList
from tui.composer.completions import NO_OFFERS, Offer, Offers
from tui.composer.prompt import Completer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.base.row import Line
    from tui.composer.prompt import Prompt

MOST_ROWS = 8
LOWEST = 8
"""Rows of the terminal below which there is no such list."""

NAME_CELLS = 30
"""The most cells that names take where there is help beside them."""


class Completion(RowList[Offer], Completer):
    """The completions of `prompt`, whose `completer` this is to be. `find` gives those of a line without
    waiting."""

    DEFAULT_CSS = """
    Completion {
        display: none;
        overlay: screen;
        width: 100%;
        padding: 0 1;
        background: $panel;
        & .row-list--selected { background: $background; text-style: bold; }
    }
    """

    class Changed(Message):
        """The list has opened or closed: Esc may mean something else now."""

    def __init__(self, prompt: Prompt, find: Callable[[str], Offers]) -> None:
        super().__init__(self._offer_line)
        self._prompt = prompt
        self._find = find
        self._typed = ""
        self._dismissed = ""
        self._moved = False
        self._offers: Offers = NO_OFFERS
        self._name_cells = self._high = 0

    @property
    def is_open(self) -> bool:
        return bool(self.display)

    def on_mount(self) -> None:
        # It comes later than the first keys.
        self.follow()

    def follow(self) -> None:
        typed = self._line_typed()
        if typed == self._typed:
            return
        if typed != self._dismissed:
            self._dismissed = ""
        self._typed = typed
        self._moved = False
        self._offers = self._find(typed) if typed and not self._dismissed else NO_OFFERS
        self._arrange_rows()

    def dismiss(self) -> None:
        self._dismissed = self._typed = self._line_typed()
        self._offers = NO_OFFERS
        self._arrange_rows()

    def select_next(self, step: int) -> bool:
        self.follow()
        if len(self._offers.rows) < 2:
            return False
        self.move(step)
        self._moved = True
        return True

    def complete(self) -> None:
        self.follow()
        if self._offers.rows:
            self._prompt.replace_line(self.selected)
            self.follow()

    def take_enter(self) -> bool:
        self.follow()
        is_whole = self._offers.whole and not self._moved
        if not self._offers.rows or is_whole or self._typed.rstrip() == self.selected.rstrip():
            return False
        self.complete()
        return True

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self.complete()

    def on_resize(self) -> None:
        self._place()

    def _line_typed(self) -> str:
        """The line that may be a command, "" for none."""
        prompt = self._prompt
        if not prompt.begins_command or not prompt.has_focus or self.app.size.height < LOWEST:
            return ""
        return prompt.document[0]

    def _arrange_rows(self) -> None:
        rows = self._offers.rows
        widest = max((cell_len(row.name) for row in rows), default=0)
        # Without help, names may have all the room.
        self._name_cells = min(widest, NAME_CELLS) if any(row.words for row in rows) else widest
        self.show(rows, select=rows[0].key if rows else None)
        if bool(rows) is not self.is_open:
            self.display = bool(rows)
            self.post_message(self.Changed())
        self._place()

    def _place(self) -> None:
        """Put the list right above the composer, over what is there."""
        height = min(len(self._offers.rows), MOST_ROWS, max(1, self.app.size.height // 3))
        if height and height != self._high:
            self._high = height
            self.styles.height = height
            self.styles.offset = (0, -height)

    def _offer_line(self, row: Offer, width: int, selected: bool) -> Line:
        name = Piece(fit(inline(row.name), self._name_cells).ljust(self._name_cells), Tone.NAME)
        return fitted(
            (cursor(selected), name, Piece(f"  {row.words}" if row.words else "", Tone.DETAIL)), width
        )
