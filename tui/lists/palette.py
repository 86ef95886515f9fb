"""The palette under Ctrl+P: all commands and what keys do, found by typing, run with Enter.

It runs nothing itself: it posts what was chosen, and its owner closes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from textual.message import Message

from tui.base.key_hints import KeyHint
from tui.base.row import Line, ListRow, Piece, Tone, cursor, fitted
from tui.commands.command import Command
from tui.keys.bindings import KEYS, KeyBinding, KeyScope, key_name
from tui.lists.base.list_overlay import FilteredList

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tui.commands.command import CommandTable

Act: TypeAlias = Command | KeyBinding

NOT_OFFERED = frozenset(
    {
        # They close the palette itself, or are useful only as keys.
        "pane.stop",
        "pane.interrupt",
        "pane.palette",
        "pane.next",
        "app.copy",
        "prompt.submit",
        "prompt.newline",
        "prompt.up",
        "prompt.down",
        "prompt.copy",
    }
)


class PaletteRow(ListRow):
    """A command or a key binding. `keys` names the keys that do the same, if there are any."""

    name: str
    words: str
    keys: str
    act: Act

    def has(self, words: Sequence[str]) -> bool:
        return all(word in f"{self.name} {self.words} {self.keys}".lower() for word in words)

    def line(self, width: int, *, selected: bool) -> Line:
        keys = f"  {self.keys}" if self.keys else ""
        name = Piece(self.name, Tone.NAME)
        words = Piece(f"  {self.words}" if self.words else "", Tone.DETAIL)
        return (
            cursor(selected),
            *fitted([name, words], max(0, width - len(keys) - 2)),
            *fitted([Piece(keys, Tone.MARK)], min(len(keys), width)),
        )


def palette_rows(table: CommandTable, words: Sequence[str]) -> list[PaletteRow]:
    """The rows in which each of the lower-case `words` is found; those whose name begins with it first."""
    rows = [row for row in _all(table) if row.has(words)]
    if words:
        rows.sort(key=lambda row: _rank(row, words[0]))
    return rows


def _all(table: CommandTable) -> Iterator[PaletteRow]:
    told = set(NOT_OFFERED)
    for group in table.groups:
        for command in group.commands:
            told.add(command.key_id)
            keys = key_name(command.key_id) if command.key_id else ""
            yield PaletteRow(command.usage, command.summary, keys, command, key=f"/{command.name}")
    for key in KEYS:
        if key.id not in told and key.scope in (KeyScope.APP, KeyScope.PANE, KeyScope.PROMPT):
            yield PaletteRow(key.description, "", key_name(key.id), key, key=key.id)


def _rank(row: PaletteRow, word: str) -> int:
    name = row.name.lstrip("/").lower()
    return 0 if name.startswith(word) else 1 if word in name else 2


class Palette(FilteredList):
    """Posts the command or key binding that was chosen, once."""

    TITLE = "Commands and keys"
    PLACEHOLDER = "a command, a key, a word of what it does"

    class Chosen(Message):
        """Run this: a command without arguments, or the action of a key on the widget of its scope."""

        def __init__(self, act: Act) -> None:
            super().__init__()
            self.act = act

    def __init__(self, table: CommandTable) -> None:
        super().__init__()
        self._table = table
        self._acts: dict[str, Act] = {}

    def make_rows(self, words: Sequence[str], width: int) -> Sequence[PaletteRow]:
        rows = palette_rows(self._table, words)
        self._acts = {row.key: row.act for row in rows}
        return rows

    def choose(self, key: str) -> None:
        if not self._chosen:
            self._chosen = True
            self.line.hold_keys()
            self.post_message(self.Chosen(self._acts[key]))

    def fail(self, text: str) -> None:
        self.line.release_keys()
        super().fail(text)

    def key_hints(self) -> Sequence[KeyHint[str]]:
        return (KeyHint("enter", "Enter", "do it"), KeyHint("down", "Down", "next")) if self._acts else ()
