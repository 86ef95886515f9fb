"""The help under F1: what each key does now, and all commands, to be scrolled and searched.

It shows the keys of the place where it was asked for, and follows what happens while it is open: a turn that
ends is seen here too. It does nothing itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tui.help_rows import HelpRow, help_line, help_rows
from tui.key_state import Place
from tui.widgets.chords import Chord
from tui.widgets.search_list import SearchList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tui.commands import CommandTable
    from tui.key_state import KeyState
    from tui.list_rows import Line

LOOK_S = 0.25
"""How often it looks whether keys mean something else, in seconds."""


class HelpList(SearchList[HelpRow]):
    """See the module. `look` gives the state at the moment, for the first time before this list is open."""

    TITLE = "Help"
    HINT = "a key, a command, a word of what it does"

    def __init__(self, look: Callable[[], KeyState], table: CommandTable) -> None:
        super().__init__()
        self._look = look
        self._table = table
        asked = look()
        # Another list has given way to this one by then.
        self._place = Place.COMPOSER if asked.place is Place.LIST else asked.place
        self._state = self._without_this(asked)

    def on_mount(self) -> None:
        self.set_interval(LOOK_S, self.look_again)

    def look_again(self) -> None:
        """Show what keys do at this moment."""
        if (state := self._without_this(self._look())) != self._state:
            self._state = state
            self.show_rows()

    def _without_this(self, state: KeyState) -> KeyState:
        """The state as it would be without this list, back where it was asked for if that is still there."""
        stations = tuple(place for place in state.stations if place is not Place.LIST)
        place = self._place if self._place in stations else Place.COMPOSER
        return replace(state, place=place, stations=stations)

    def make_rows(self, words: Sequence[str], width: int) -> Sequence[HelpRow]:
        return help_rows(self._state, self._table, words, width)

    def row_line(self, row: HelpRow, width: int, *, selected: bool) -> Line:
        return help_line(row, width, selected=selected)

    def chords(self) -> Sequence[Chord[str]]:
        return (
            Chord("down", "Down", "next"),
            Chord("pagedown", "PageDown", "page"),
            Chord("ctrl+end", "Ctrl+End", "commands"),
        )
