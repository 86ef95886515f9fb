"""The rows of the help: what each key does now, then what it does elsewhere, then all commands.

Pure. What a person searches for keeps its heading, so that it is seen where a key counts.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from tui.key_help import KeyDeed, deeds, elsewhere
from tui.list_rows import Line, Piece, Tone, fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tui.commands import Command, CommandTable
    from tui.key_state import KeyState

KEY_CELLS = 24
"""The room for the names of keys; longer ones push their words to the right."""

INDENT = "    "
NARROWEST = 30


class HelpRow(NamedTuple):
    """A line. Those of one `key` are selected together; "" cannot be. `tone` is that of `words`."""

    key: str
    name: str = ""
    words: str = ""
    tone: Tone = Tone.DETAIL


class _Entry(NamedTuple):
    rows: tuple[HelpRow, ...]
    text: str

    def has(self, words: Sequence[str]) -> bool:
        return all(word in self.text for word in words)


def help_rows(state: KeyState, table: CommandTable, words: Sequence[str], width: int) -> list[HelpRow]:
    """All of it in which each of `words`, in small letters, is found."""
    rows: list[HelpRow] = []
    for title, entries in _sections(state, table, max(width, NARROWEST)):
        found = [entry for entry in entries if entry.has(words)]
        if found:
            rows += [HelpRow("")] if rows else []
            rows.append(HelpRow("", title, tone=Tone.FOUND))
            rows += [row for entry in found for row in entry.rows]
    return rows


def help_line(row: HelpRow, width: int, *, selected: bool) -> Line:
    if row.tone is Tone.FOUND:
        return fitted([Piece(row.name, Tone.FOUND)], width)
    mark = Piece("› " if selected and row.name else "  ", Tone.MARK)
    name = Piece(row.name.ljust(KEY_CELLS) if row.name else INDENT, Tone.NAME)
    return fitted([mark, name, Piece(f" {row.words}" if row.name else row.words, row.tone)], width)


def _sections(state: KeyState, table: CommandTable, width: int) -> Iterator[tuple[str, Iterable[_Entry]]]:
    yield (
        f"Keys, as they are now in {state.place} (Esc closes this list first)",
        [_key_entry(key, width) for key in deeds(state)],
    )
    for title, keys in elsewhere():
        yield title, [_key_entry(key, width) for key in keys]
    for group in table.groups:
        yield f"Commands: {group.title}", [_command_entry(each, width) for each in group.commands]


def _key_entry(key: KeyDeed, width: int) -> _Entry:
    tone = Tone.NAME if key.deed.works else Tone.HINT
    rows = _named(key.binding_id, key.keys, key.deed.words, tone, width)
    return _Entry(tuple(rows), f"{key.keys} {key.deed.words} {key.binding_id}".lower())


def _command_entry(command: Command, width: int) -> _Entry:
    row_key = f"/{command.name}"
    rows = _named(row_key, command.usage, command.summary, Tone.NAME, width)
    for paragraph in filter(None, command.details.split("\n\n")):
        wrapped = textwrap.wrap(paragraph, width - len(INDENT) - 3)
        rows += [HelpRow(row_key, "", line, Tone.HINT) for line in wrapped]
    return _Entry(tuple(rows), f"{command.usage} {command.summary} {command.details}".lower())


def _named(row_key: str, name: str, words: str, tone: Tone, width: int) -> list[HelpRow]:
    """A name and what belongs to it, beside it if there is room, else below it."""
    if width < 2 * KEY_CELLS:
        wrapped = textwrap.wrap(words, width - len(INDENT) - 3)
        return [HelpRow(row_key, name), *(HelpRow(row_key, "", line, tone) for line in wrapped)]
    beside = len(name) <= KEY_CELLS
    first, *rest = ([] if beside else [""]) + textwrap.wrap(words, width - KEY_CELLS - 4)
    margin = " " * (KEY_CELLS + 1 - len(INDENT))
    return [
        HelpRow(row_key, name, first, tone),
        *(HelpRow(row_key, "", margin + line, tone) for line in rest),
    ]
