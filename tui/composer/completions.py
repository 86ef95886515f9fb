"""The completions of a line that begins as a command: commands by their beginnings, then their arguments.
Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tui.commands.command import Choices, Command, CommandTable

_NAME = re.compile(r"/[a-z]*")
_WITH_WORDS = re.compile(r"/([a-z]+)[^\S\n]+(.*)")

MOST_CHARACTERS = 200
"""A longer line has no completions."""


class Offer(NamedTuple):
    """A completion: `key` is the whole line that results, `name` and `words` are its row."""

    key: str
    name: str
    words: str


class Offers(NamedTuple):
    """The completions of a line; `whole` means that the line is a complete command."""

    rows: tuple[Offer, ...] = ()
    whole: bool = False


NO_OFFERS = Offers()


def offers_for(line: str, table: CommandTable, names: Choices) -> Offers:
    """The completions of this line, best first; none for a line that is no command."""
    if not line.startswith("/") or len(line) > MOST_CHARACTERS:
        return NO_OFFERS
    if _NAME.fullmatch(line):
        return _commands(line[1:], table)
    found = _WITH_WORDS.fullmatch(line)
    command = None if found is None else table.by_name.get(found[1])
    if found is None or command is None or not command.takes_words:
        return NO_OFFERS
    return _words(command, found[2], names)


def _commands(beginning: str, table: CommandTable) -> Offers:
    fitting = (table.by_name[name] for name in sorted(table.by_name) if name.startswith(beginning))
    rows = tuple(
        Offer(f"/{each.name}{' ' if each.takes_words else ''}", each.usage, each.summary) for each in fitting
    )
    typed = table.by_name.get(beginning)
    return Offers(rows, whole=typed is not None and not typed.needs_words)


def _words(command: Command, words: str, names: Choices) -> Offers:
    wanted = words.strip().lower()
    choices = tuple(dict.fromkeys(command.choices(names)))
    beginning = [choice for choice in choices if choice.lower().startswith(wanted)]
    within = [choice for choice in choices if wanted in choice.lower() and choice not in beginning]
    rows = tuple(Offer(f"/{command.name} {choice}", choice, "") for choice in (*beginning, *within))
    return Offers(rows, whole=not command.is_closed or not wanted or wanted in map(str.lower, choices))
