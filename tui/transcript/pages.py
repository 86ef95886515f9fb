"""Pages: pieces of a conversation of some forty rows, each laid out separately and only when in view.

Until then the height of a page is a guess; `tui.transcript.document` puts the pages in order.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from tui.transcript.layout import lay_out
from tui.transcript.markdown.blocks import Blank, CardRow, Code, Prose, Rule, Table

if TYPE_CHECKING:
    from tui.transcript.layout import Carry
    from tui.transcript.markdown.blocks import Block, Line

PAGE_ROWS = 40
PAGE_CHARACTERS = 3_000
LONGEST_PAGE = 12_000
"""Characters after which a page ends even within a paragraph, which continues in a new row."""


class Entry:
    """One prompt, reply or notice. `folded` entries take no rows.

    `item` is further data, such as a card; pages do not use it.
    """

    __slots__ = ("folded", "item")

    def __init__(self, *, folded: bool = False, item: object = None) -> None:
        self.folded = folded
        self.item = item


class Page:
    """Blocks of one entry and, if laid out, their lines. `serial` grows from page to page.

    A finished page keeps its blocks packed: each full garbage collection would visit a hundred thousand live
    objects, which noticeably delays keys.
    """

    __slots__ = (
        "_blocks",
        "_laid",
        "_packed",
        "_rows",
        "_size",
        "entry",
        "height",
        "is_exact",
        "serial",
        "tail",
    )

    def __init__(self, entry: Entry, serial: int) -> None:
        self.entry = entry
        self.serial = serial
        self.tail: tuple[Block, ...] = ()
        self.height = 0
        self.is_exact = False
        self._blocks: list[Block] | None = []
        self._packed = b""
        self._laid: _Laid | None = None
        self._rows = 0
        self._size = 0

    @property
    def blocks(self) -> list[Block]:
        """The finished blocks; the blocks below, which may still change, are the `tail`."""
        if self._blocks is not None:
            return self._blocks
        blocks: list[Block] = pickle.loads(self._packed)
        return blocks

    @property
    def lines(self) -> list[Line] | None:
        """The lines of the latest layout, if they still exist."""
        return self._laid.lines if self._laid is not None else None

    @property
    def starts(self) -> list[int]:
        """The first line of each block of a page that is laid out."""
        return self._laid.starts if self._laid is not None else []

    def add(self, block: Block) -> None:
        rows, size = _weight(block)
        self.blocks.append(block)
        self._rows += rows
        self._size += size
        self.is_exact = False

    def finish(self) -> None:
        """Pack the blocks; no more are added."""
        if self._blocks is not None:
            self._packed = pickle.dumps(self._blocks)
            self._blocks = None

    def takes(self, block: Block) -> bool:
        """Whether `block` fits, or continues the last row of this page."""
        if self._rows < PAGE_ROWS and self._size < PAGE_CHARACTERS:
            return True
        return isinstance(block, Prose) and block.continues and self._size < LONGEST_PAGE

    def guess(self, width: int) -> None:
        """Drop the lines and guess the height."""
        self._laid = None
        self.is_exact = False
        rows, size = self._rows, self._size
        for block in self.tail:
            more_rows, more = _weight(block)
            rows, size = rows + more_rows, size + more
        self.height = rows if rows * width >= size else size // width

    def drop(self) -> None:
        """Drop the lines but keep the height."""
        self._laid = None

    def lay_out(self, width: int) -> None:
        """Bring the lines up to date; unchanged lines stay the same objects."""
        if self._laid is None or self._laid.width != width:
            self._laid = _Laid(width)
        self._laid.update(self.blocks, self.tail)
        self.height = len(self._laid.lines)
        self.is_exact = True


class _Laid:
    """The lines of a page for one width. Lines of finished blocks, `_done`, are made once."""

    __slots__ = ("_carry", "_done", "_done_blocks", "lines", "starts", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[Line] = []
        self.starts: list[int] = []
        self._done: list[Line] = []
        self._done_blocks = 0
        self._carry: Carry | None = None

    def update(self, blocks: list[Block], tail: tuple[Block, ...]) -> None:
        del self.starts[self._done_blocks :]
        for block in blocks[self._done_blocks :]:
            self._put(self._done, block)
        self._done_blocks = len(blocks)
        carry = self._carry
        self.lines = self._done[:]
        for block in tail:
            self._put(self.lines, block)
        self._carry = carry

    def _put(self, lines: list[Line], block: Block) -> None:
        carry = self._carry if isinstance(block, Prose) and block.continues else None
        if carry is not None:
            lines.pop()
        self.starts.append(len(lines))
        laid = lay_out(block, self.width, carry)
        lines += laid.lines
        self._carry = laid.carry


def _weight(block: Block) -> tuple[int, int]:
    """The minimum number of rows of `block`, and its characters."""
    match block:
        case Prose(source=source) | Code(source=source):
            return source.count("\n") + 1, len(source)
        case Table(rows=rows):
            return len(rows) + 2, sum([len(cell) for row in rows for cell in row])
        case Rule() | Blank() | CardRow():
            return 1, 0
