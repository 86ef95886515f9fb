"""The help under F1: what each key does now, and all commands, to be scrolled and searched.

It shows the keys of the place where it was opened, and follows what changes meanwhile, such as the end of a
turn. It does nothing itself.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from tui.base.key_hints import KeyHint
from tui.base.row import Line, ListRow, Piece, Tone, cursor, fitted
from tui.keys.effects import KeyEffect, effects, elsewhere
from tui.keys.state import Place
from tui.lists.base.list_overlay import FilteredList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tui.commands.command import Command, CommandTable
    from tui.keys.state import KeyState

LOOK_S = 0.25
"""Seconds between two looks at what keys mean."""

KEY_CELLS = 24
"""Cells for the names of keys; after a longer name the words begin in the next row."""

INDENT = "    "
NARROWEST = 30


class HelpRow(ListRow):
    """A line of the help. `tone` is that of `words`."""

    name: str = ""
    words: str = ""
    tone: Tone = Tone.DETAIL

    def line(self, width: int, *, selected: bool) -> Line:
        if self.tone is Tone.FOUND:
            return fitted([Piece(self.name, Tone.FOUND)], width)
        name = Piece(self.name.ljust(KEY_CELLS) if self.name else INDENT, Tone.NAME)
        words = Piece(f" {self.words}" if self.name else self.words, self.tone)
        return fitted([cursor(selected and bool(self.name)), name, words], width)


class _Entry(NamedTuple):
    rows: tuple[HelpRow, ...]
    text: str

    def has(self, words: Sequence[str]) -> bool:
        return all(word in self.text for word in words)


def help_rows(state: KeyState, table: CommandTable, words: Sequence[str], width: int) -> list[HelpRow]:
    """The help in which each of the lower-case `words` is found."""
    rows: list[HelpRow] = []
    for title, entries in _sections(state, table, max(width, NARROWEST)):
        found = [entry for entry in entries if entry.has(words)]
        if found:
            rows += [HelpRow()] if rows else []
            rows.append(HelpRow(title, tone=Tone.FOUND))
            rows += [row for entry in found for row in entry.rows]
    return rows


def _sections(state: KeyState, table: CommandTable, width: int) -> Iterator[tuple[str, Iterable[_Entry]]]:
    yield (
        f"Keys, as they are now in {state.place} (Esc closes this list first)",
        [_key_entry(key, width) for key in effects(state)],
    )
    for title, keys in elsewhere():
        yield title, [_key_entry(key, width) for key in keys]
    for group in table.groups:
        yield f"Commands: {group.title}", [_command_entry(each, width) for each in group.commands]


def _key_entry(key: KeyEffect, width: int) -> _Entry:
    tone = Tone.NAME if key.effect.works else Tone.HINT
    rows = _named(key.binding_id, key.keys, key.effect.words, tone, width)
    return _Entry(tuple(rows), f"{key.keys} {key.effect.words} {key.binding_id}".lower())


def _command_entry(command: Command, width: int) -> _Entry:
    row_key = f"/{command.name}"
    rows = _named(row_key, command.usage, command.summary, Tone.NAME, width)
    for paragraph in filter(None, command.details.split("\n\n")):
        wrapped = textwrap.wrap(paragraph, width - len(INDENT) - 3)
        rows += [HelpRow("", line, Tone.HINT, key=row_key) for line in wrapped]
    return _Entry(tuple(rows), f"{command.usage} {command.summary} {command.details}".lower())


def _named(row_key: str, name: str, words: str, tone: Tone, width: int) -> list[HelpRow]:
    """A name with its words beside it if there is room, else below it."""
    if width < 2 * KEY_CELLS:
        wrapped = textwrap.wrap(words, width - len(INDENT) - 3)
        return [HelpRow(name, key=row_key), *(HelpRow("", line, tone, key=row_key) for line in wrapped)]
    beside = len(name) <= KEY_CELLS
    first, *rest = ([] if beside else [""]) + textwrap.wrap(words, width - KEY_CELLS - 4)
    margin = " " * (KEY_CELLS + 1 - len(INDENT))
    return [
        HelpRow(name, first, tone, key=row_key),
        *(HelpRow("", margin + line, tone, key=row_key) for line in rest),
    ]


class HelpList(FilteredList):
    """`look` gives the key state at the moment; it is first called before this list is open."""

    TITLE = "Help"
    PLACEHOLDER = "a key, a command, a word of what it does"

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
        targets = tuple(place for place in state.focus_targets if place is not Place.LIST)
        place = self._place if self._place in targets else Place.COMPOSER
        return replace(state, place=place, focus_targets=targets)

    def make_rows(self, words: Sequence[str], width: int) -> Sequence[HelpRow]:
        return help_rows(self._state, self._table, words, width)

    def key_hints(self) -> Sequence[KeyHint[str]]:
        return (
            KeyHint("down", "Down", "next"),
            KeyHint("pagedown", "PageDown", "page"),
            KeyHint("ctrl+end", "Ctrl+End", "commands"),
        )
