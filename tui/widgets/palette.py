"""The palette under Ctrl+P: all commands and what keys do, found by typing, done with Enter.

It does nothing itself: it posts what was chosen, and its owner closes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from tui.palette_rows import Act, PaletteRow, palette_line, palette_rows
from tui.widgets.chords import Chord
from tui.widgets.search_list import SearchList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.commands import CommandTable
    from tui.list_rows import Line


class Palette(SearchList[PaletteRow]):
    """See the module."""

    TITLE = "Commands and keys"
    HINT = "a command, a key, a word of what it does"

    class Chosen(Message):
        """Do this: a command, without words, or the action of a key, on the widget of its scope."""

        def __init__(self, act: Act) -> None:
            super().__init__()
            self.act = act

    def __init__(self, table: CommandTable) -> None:
        super().__init__()
        self._table = table
        self._acts: dict[str, Act] = {}
        self._chosen = False

    def make_rows(self, words: Sequence[str], width: int) -> Sequence[PaletteRow]:
        rows = palette_rows(self._table, words)
        self._acts = {row.key: row.act for row in rows}
        return rows

    def row_line(self, row: PaletteRow, width: int, *, selected: bool) -> Line:
        return palette_line(row, width, selected=selected)

    def take(self, key: str) -> None:
        if not self._chosen:
            self._chosen = True
            self.line.lead_away()
            self.post_message(self.Chosen(self._acts[key]))

    def fail(self, text: str) -> None:
        self._chosen = False
        self.line.stay()
        super().fail(text)

    def chords(self) -> Sequence[Chord[str]]:
        return (Chord("enter", "Enter", "do it"), Chord("down", "Down", "next")) if self._acts else ()
