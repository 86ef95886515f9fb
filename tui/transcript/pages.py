"""Pages: pieces of a conversation of some forty rows, each laid out by itself and only when it is looked at.

Until then the height of a page is a guess; `transcript_document` puts them in a row.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from tui.blocks import Blank, CardRow, Code, Prose, Rule, Table
from tui.widgets.transcript_layout import lay_out

if TYPE_CHECKING:
    from tui.blocks import Block, Line
    from tui.widgets.transcript_layout import Carry

PAGE_ROWS = 40
PAGE_CHARACTERS = 3_000
LONGEST_PAGE = 12_000
"""Characters after which a page ends in the middle of a paragraph: its next row begins anew."""


class Entry:
    """One thing said: a prompt, a reply, a notice. `folded` ones take no rows.

    `item` is what else is known of it, such as its card; pages do not look at it.
    """

    __slots__ = ("folded", "item")

    def __init__(self, *, folded: bool = False, item: object = None) -> None:
        self.folded = folded
        self.item = item


class Page:
    """Blocks of one entry and, if laid out, their lines. `serial` grows from page to page.

    A finished page keeps its blocks packed: hundred thousand live objects would be visited by each full run
    of the garbage collector, and that is felt at the keyboard.
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
        """The finished blocks; those below, which may still change, are the `tail`."""
        if self._blocks is not None:
            return self._blocks
        blocks: list[Block] = pickle.loads(self._packed)
        return blocks

    @property
    def lines(self) -> list[Line] | None:
        """The lines as they were laid out last, if they still exist."""
        return self._laid.lines if self._laid is not None else None

    @property
    def starts(self) -> list[int]:
        """For each block of a page that is laid out, the line with which it begins."""
        return self._laid.starts if self._laid is not None else []

    def add(self, block: Block) -> None:
        rows, size = _weight(block)
        self.blocks.append(block)
        self._rows += rows
        self._size += size
        self.is_exact = False

    def finish(self) -> None:
        """No more blocks are added."""
        if self._blocks is not None:
            self._packed = pickle.dumps(self._blocks)
            self._blocks = None

    def takes(self, block: Block) -> bool:
        """Whether there is room for `block`, or it goes on where this page ends."""
        if self._rows < PAGE_ROWS and self._size < PAGE_CHARACTERS:
            return True
        return isinstance(block, Prose) and block.continues and self._size < LONGEST_PAGE

    def guess(self, width: int) -> None:
        """Forget the lines; the height becomes a guess."""
        self._laid = None
        self.is_exact = False
        rows, size = self._rows, self._size
        for block in self.tail:
            more_rows, more = _weight(block)
            rows, size = rows + more_rows, size + more
        self.height = rows if rows * width >= size else size // width

    def drop(self) -> None:
        """Forget the lines, not the height."""
        self._laid = None

    def lay_out(self, width: int) -> None:
        """Bring the lines up to date; lines that did not change stay the same objects."""
        if self._laid is None or self._laid.width != width:
            self._laid = _Laid(width)
        self._laid.update(self.blocks, self.tail)
        self.height = len(self._laid.lines)
        self.is_exact = True


class _Laid:
    """The lines of a page for one width. Those of finished blocks, `_done`, are made once."""

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
    """Rows that `block` takes at least, and its characters."""
    match block:
        case Prose(source=source) | Code(source=source):
            return source.count("\n") + 1, len(source)
        case Table(rows=rows):
            return len(rows) + 2, sum([len(cell) for row in rows for cell in row])
        case Rule() | Blank() | CardRow():
            return 1, 0
