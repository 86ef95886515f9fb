"""The small list above the composer with what completes the command that is being typed.

It takes no focus and no letter, and keeps nobody waiting: a key is looked at in its turn, against what stands
in the composer at that moment, so that an Enter typed fast obeys what was typed (U1). For anything that does
not begin with a slash it does nothing at all. It lies over what is above it and moves nothing.

Esc is not its business; who holds it calls `dismiss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.message import Message

from tui.completing import NO_OFFERS, Offer, Offers
from tui.list_rows import Piece, Tone, fitted, inline
from tui.operation_rows import fit
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.list_rows import Line
    from tui.widgets.prompt import Prompt

MOST_ROWS = 8
LOWEST = 8
"""With fewer rows in the terminal there is no such list."""

NAME_CELLS = 30
"""How much room the names may take before their help, where they need it."""


class Completion(RowList[Offer]):
    """For one `prompt`, whose `completer` it is to be. `find` gives what completes a line; it never waits."""

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
        """It has appeared or gone: Esc may mean something else now."""

    def __init__(self, prompt: Prompt, find: Callable[[str], Offers]) -> None:
        super().__init__(self._line)
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

    # -- what the composer does --

    def follow(self) -> None:
        """The text or the focus has changed: show what completes it now."""
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
        """Close it, until the text changes: what came into the composer was not typed, or Esc was pressed."""
        self._dismissed = self._typed = self._line_typed()
        self._offers = NO_OFFERS
        self._arrange_rows()

    def select_next(self, step: int) -> bool:
        """Select another one; false if there is no other, and the key has its usual meaning."""
        self.follow()
        if len(self._offers.rows) < 2:
            return False
        self.move(step)
        self._moved = True
        return True

    def complete(self) -> bool:
        """Put the selected one into the composer; false if there is none."""
        self.follow()
        if not self._offers.rows:
            return False
        self._prompt.replace_line(self.selected)
        self.follow()
        return True

    def take_enter(self) -> bool:
        """Complete what is no whole command, or what was selected in its place; false if it is to be sent."""
        self.follow()
        typed = self._typed.rstrip()
        if (
            not self._offers.rows
            or typed == self.selected.rstrip()
            or (self._offers.whole and not self._moved)
        ):
            return False
        return self.complete()

    # -- showing --

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self.complete()

    def on_resize(self) -> None:
        super().on_resize()
        self._place()

    def _line_typed(self) -> str:
        """The line that may be a command, "" if there is none."""
        prompt = self._prompt
        if not prompt.begins_command or not prompt.has_focus or self.app.size.height < LOWEST:
            return ""
        return prompt.document[0]

    def _arrange_rows(self) -> None:
        rows = self._offers.rows
        widest = max((cell_len(row.name) for row in rows), default=0)
        # What has no help may have all the room.
        self._name_cells = min(widest, NAME_CELLS) if any(row.words for row in rows) else widest
        self.show(rows, select=rows[0].key if rows else None)
        if bool(rows) is not self.is_open:
            self.display = bool(rows)
            self.post_message(self.Changed())
        self._place()

    def _place(self) -> None:
        """Right above the composer, over what is there."""
        height = min(len(self._offers.rows), MOST_ROWS, max(1, self.app.size.height // 3))
        if height and height != self._high:
            self._high = height
            self.styles.height = height
            self.styles.offset = (0, -height)

    def _line(self, row: Offer, width: int, selected: bool) -> Line:
        name = Piece(fit(inline(row.name), self._name_cells).ljust(self._name_cells), Tone.NAME)
        mark = Piece("› " if selected else "  ", Tone.MARK)
        return fitted((mark, name, Piece(f"  {row.words}" if row.words else "", Tone.DETAIL)), width)
