"""What the palette offers: every command, and what keys do that no command does; found by any of its words.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tui.commands import Command
from tui.keys import KEYS, KeyBinding, KeyScope, key_name
from tui.list_rows import Line, Piece, Tone, fitted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tui.commands import CommandTable

Act: TypeAlias = Command | KeyBinding

NOT_OFFERED = frozenset(
    {
        # They close the palette itself, or make sense only as a key under the fingers.
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


class PaletteRow(NamedTuple):
    """`keys` are the names of those that do the same, empty where there are none."""

    key: str
    name: str
    words: str
    keys: str
    act: Act


def palette_rows(table: CommandTable, words: Sequence[str]) -> list[PaletteRow]:
    """All in which each of `words`, in small letters, is found; those whose name has it first come first."""
    rows = [row for row in _all(table) if all(word in _text(row) for word in words)]
    if words:
        rows.sort(key=lambda row: _rank(row, words[0]))
    return rows


def palette_line(row: PaletteRow, width: int, *, selected: bool) -> Line:
    mark = Piece("› " if selected else "  ", Tone.MARK)
    keys = f"  {row.keys}" if row.keys else ""
    room = width - len(keys) - 2
    name = Piece(row.name, Tone.NAME)
    words = Piece(f"  {row.words}" if row.words else "", Tone.DETAIL)
    return (
        mark,
        *fitted([name, words], max(0, room)),
        *fitted([Piece(keys, Tone.MARK)], min(len(keys), width)),
    )


def _all(table: CommandTable) -> Iterator[PaletteRow]:
    told = set(NOT_OFFERED)
    for group in table.groups:
        for command in group.commands:
            told.add(command.key_id)
            keys = key_name(command.key_id) if command.key_id else ""
            yield PaletteRow(f"/{command.name}", command.usage, command.summary, keys, command)
    for key in KEYS:
        if key.id not in told and key.scope in (KeyScope.APP, KeyScope.PANE, KeyScope.PROMPT):
            yield PaletteRow(key.id, key.description, "", key_name(key.id), key)


def _text(row: PaletteRow) -> str:
    return f"{row.name} {row.words} {row.keys}".lower()


def _rank(row: PaletteRow, word: str) -> int:
    name = row.name.lstrip("/").lower()
    return 0 if name.startswith(word) else 1 if word in name else 2
