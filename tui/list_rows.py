"""What the rows of the lists over the transcript are made of: pieces of text with a tone each.

Pure, like `tui.operation_rows`. Text that others wrote goes through `inline` before it stands in a row.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from rich.cells import cell_len, set_cell_size

from core.sanitize import printable
from tui.operation_rows import fit

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
MONTH_S = 30 * DAY_S
AGE_CELLS = len("29 days ago")


class Tone(StrEnum):
    """What a piece of a row is, by which the theme colours it: `row-list--<tone>`."""

    NAME = "name"
    DETAIL = "detail"
    FOUND = "found"
    MARK = "mark"
    GOOD = "good"
    WARNING = "warning"
    HINT = "hint"


class Piece(NamedTuple):
    text: str
    tone: Tone


Line: TypeAlias = tuple[Piece, ...]


class Row(Protocol):
    """A row of a list. Rows with one `key` belong together and are selected together; "" cannot be."""

    @property
    def key(self) -> str: ...


class HintRow(NamedTuple):
    """A sentence in the place of rows."""

    text: str

    @property
    def key(self) -> str:
        return ""


def fitted(pieces: Iterable[Piece], width: int) -> Line:
    """The pieces in exactly `width` cells: the last ones cut, or filled up with blanks."""
    kept: list[Piece] = []
    room = width
    for piece in pieces:
        if not piece.text:
            continue
        if room <= 0:
            break
        size = cell_len(piece.text)
        kept.append(piece if size <= room else Piece(fit(piece.text, room), piece.tone))
        room -= size
    if room > 0:
        kept.append(Piece(" " * room, Tone.DETAIL))
    return tuple(kept)


def inline(text: str) -> str:
    """A piece of a line as it may be shown: printable, and without a break; blanks stay as they are."""
    return printable(text).replace("\n", " ").replace("\t", " ")


def without_beginning(text: str, width: int) -> str:
    """The end of `text`, in at most `width` cells, behind an ellipsis if something is missing."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    # A wide letter may leave one cell of it unused.
    return "…" + set_cell_size(text[::-1], width - 1)[::-1].lstrip()


def age(seconds: float, at: float) -> str:
    """How long ago `at`, Unix time, was; from a month on its date. At most `AGE_CELLS` wide."""
    if seconds < MINUTE_S:
        return "just now"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min ago"
    if seconds < DAY_S:
        return f"{int(seconds // HOUR_S)} h ago"
    if seconds < MONTH_S:
        days = int(seconds // DAY_S)
        return f"{days} day{'s' * (days > 1)} ago"
    try:
        return f"{dt.date.fromtimestamp(at):%Y-%m-%d}"
    except (OverflowError, OSError, ValueError):
        # A date that no calendar has: a file can hold any number.
        return "long ago"
