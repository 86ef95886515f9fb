"""How a line that was typed is read as a command.

A line is a command only if it is one word with a slash in front of it, so that a path or a question that
begins with one is sent as it is. Some commands take words behind theirs: those are always commands, for
somebody who writes `/stop everything` does not mean to send it to the model.

It knows no command by itself: `tui.command_table` has them.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, NamedTuple

from core.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(\S.*?))?\s*", re.DOTALL)


class SlashCommandError(CaesuraError):
    """There is no such command, or it cannot be obeyed like that."""


class Line(NamedTuple):
    """What may be a command: the name, and the words behind it, empty where there is nothing."""

    name: str
    words: str


def split_line(text: str) -> Line | None:
    """The parts of a line that looks like a command; None for what is a prompt in any case."""
    found = _COMMAND.fullmatch(text)
    return None if found is None else Line(found[1], found[2] or "")


def nearest(name: str, known: Iterable[str]) -> str:
    """The one of `known` that was probably meant; empty if none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def read_stop(words: str) -> tuple[int, str] | None:
    """Number and words of a `/stop`, None for the turn. Raises `SlashCommandError` if there is no number."""
    if not words:
        return None
    number, _, rest = words.partition(" ")
    if not (number.isascii() and number.isdigit()):
        raise SlashCommandError(
            "/stop alone stops the turn; one call is stopped by its number, as in /stop 2 too slow. "
            "/running lists them."
        )
    return int(number), rest.strip()
