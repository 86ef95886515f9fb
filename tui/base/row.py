"""What the rows of all lists are made of: pieces of text with a tone each. Pure.

Text that others wrote goes through `inline` before it stands in a row.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from rich.cells import cell_len

from core.base.sanitize import printable
from core.base.values import Value
from tui.base.fit import fit

if TYPE_CHECKING:
    from collections.abc import Iterable


class Tone(StrEnum):
    """The role of a piece of text, from which the theme takes its color: `row-list--<tone>`."""

    NAME = "name"
    DETAIL = "detail"
    FOUND = "found"
    MARK = "mark"
    GOOD = "good"
    WARNING = "warning"
    HINT = "hint"

    # Only in the running panel, which declares their colors.
    RUNNING = "running"
    WAITING = "waiting"
    ERROR = "error"
    FORCE = "force"


class Piece(NamedTuple):
    text: str
    tone: Tone


Line: TypeAlias = tuple[Piece, ...]


class Row(Protocol):
    """A row of a list. Rows with the same `key` are selected together; rows with an empty one cannot be."""

    @property
    def key(self) -> str: ...


class ListRow(Value, kw_only=True):
    """A row that makes its own line."""

    key: str = ""

    def line(self, width: int, *, selected: bool) -> Line:
        """The row in exactly `width` cells."""
        raise NotImplementedError


class HintRow(ListRow):
    """A head, or a sentence where there are no rows. It cannot be selected."""

    text: str
    tone: Tone = Tone.HINT

    def line(self, width: int, *, selected: bool) -> Line:
        return fitted([Piece(f" {self.text}", self.tone)], width)


class TextRow(ListRow):
    """Pieces of text; one that `begins` an entry has the cursor before them."""

    pieces: Line
    begins: bool = True

    def line(self, width: int, *, selected: bool) -> Line:
        return fitted((cursor(selected), *self.pieces) if self.begins else self.pieces, width)


def cursor(selected: bool) -> Piece:
    """The two cells that begin a row and mark the selected one."""
    return Piece("› " if selected else "  ", Tone.MARK)


def fitted(pieces: Iterable[Piece], width: int) -> Line:
    """The pieces in exactly `width` cells: cut at the end, or filled up with blanks."""
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
    """`text` as it may stand in a row: printable and without line breaks; blanks stay as they are."""
    return printable(text).replace("\n", " ").replace("\t", " ")
