"""What commands share that read words: the error, the nearest name, the arguments of `/stop`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Iterable


class SlashCommandError(CaesuraError):
    """The command does not exist or cannot be run as typed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The entry of `known` that was probably meant; empty if none is close."""
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
