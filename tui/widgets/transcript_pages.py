"""The lines of a conversation, kept so that neither adding nor resizing ever touches all of them.

Blocks stand in pages of some forty rows. A page is laid out when it is looked at; until then its height is a
guess, and when it has not been looked at for long its lines are dropped again. So a message costs its source
and little more, a new width costs one pass over the pages, and the end costs the same whatever stands above
it.
"""

from __future__ import annotations

import pickle
from bisect import bisect_right
from typing import TYPE_CHECKING

from tui.blocks import Blank, CardRow, Code, Prose, Rule, Table
from tui.widgets.transcript_layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tui.blocks import Block, Line
    from tui.widgets.transcript_layout import Carry

PAGE_ROWS = 40
PAGE_CHARACTERS = 3_000
LONGEST_PAGE = 12_000
"""Characters after which a page ends in the middle of a paragraph: its next row begins anew."""
PAGES_LAID_OUT = 16


class Entry:
    """One thing said: a prompt, a reply, a notice. `folded` ones take no rows."""

    __slots__ = ("folded",)

    def __init__(self, *, folded: bool = False) -> None:
        self.folded = folded


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


class Document:
    """All pages in order, and which row of the whole each begins with. Rows count from 0."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._pages: list[Page] = []
        self._tops: list[int] = []
        self._stale = 0  # from this page on `_tops` has to be added up again
        self._laid: dict[Page, None] = {}
        self._serial = 0

    @property
    def is_empty(self) -> bool:
        return not self._pages

    @property
    def last(self) -> Page | None:
        return self._pages[-1] if self._pages else None

    @property
    def height(self) -> int:
        """Rows of everything, guessed for pages that were not looked at yet."""
        if not self._pages:
            return 0
        self._add_up()
        return self._tops[-1] + _shown(self._pages[-1])

    def pages(self) -> Iterator[Page]:
        return iter(self._pages)

    def begin(self, entry: Entry) -> Page:
        """A new page at the end, for `entry`."""
        if self._pages:
            self._pages[-1].finish()
        self._serial += 1
        page = Page(entry, self._serial)
        self._stale = min(self._stale, len(self._pages))
        self._pages.append(page)
        return page

    def extend(self, entry: Entry, blocks: Iterable[Block]) -> Page:
        """Add `blocks` at the end, where `entry` must be; returns the page that is the last then."""
        page = self._pages[-1]
        for block in blocks:
            if not page.takes(block):
                page.tail = ()
                self._resized(page)
                page = self.begin(entry)
            page.add(block)
        self._resized(page)
        return page

    def set_tail(self, page: Page, tail: list[Block]) -> None:
        """What stands below the blocks of `page` for now."""
        page.tail = tuple(tail)
        self._resized(page)

    def _resized(self, page: Page) -> None:
        """A page that is looked at is laid out again, another one guessed."""
        if page.lines is None:
            page.guess(self.width)
        else:
            page.lay_out(self.width)
        self._changed(self._index(page))

    def remove(self, entry: Entry) -> None:
        self._pages = [page for page in self._pages if page.entry is not entry]
        self._laid = {page: None for page in self._laid if page.entry is not entry}
        self._changed(0)

    def retract(self) -> None:
        """Take the last page away."""
        page = self._pages.pop()
        self._laid.pop(page, None)
        del self._tops[len(self._pages) :]
        self._changed(len(self._pages))

    def fold(self, entry: Entry, *, folded: bool) -> None:
        entry.folded = folded
        self._changed(0)

    def forget_code(self, language: str) -> None:
        """Lay pages out again that show code of `language`."""
        for page in list(self._laid):
            if any(
                isinstance(block, Code) and block.language == language for block in (*page.blocks, *page.tail)
            ):
                page.drop()

    def at(self, row: int) -> tuple[Page, int] | None:
        """The page that shows `row`, and which of its lines."""
        self._add_up()
        index = bisect_right(self._tops, row) - 1
        if index < 0 or row - self._tops[index] >= _shown(self._pages[index]):
            return None
        return self._pages[index], row - self._tops[index]

    def settle(self, top: int, rows: int, *, upwards: bool = False) -> int:
        """Lay out what `rows` rows from `top` on show; returns the row at which the same text stands then.

        Going `upwards`, what is known to stand right below keeps its place, so that nothing is skipped; else
        a guessed page that is entered keeps its distance from its end.
        """
        if upwards and (known := self.at(top + rows)) is not None and known[0].is_exact:
            return self._settle_above(*known, rows)
        place = self.at(top)
        if place is None:
            return max(0, min(top, self.height - rows))
        page, line = place
        first = index = self._index(page)
        if not page.is_exact:
            below = page.height - line
            self._lay_out(index)
            line = max(0, page.height - below if upwards else min(line, page.height - 1))
        missing = rows + line
        while index < len(self._pages) and missing > 0:
            self._lay_out(index)
            missing -= _shown(self._pages[index])
            index += 1
        self._drop_oldest(index - first)
        self._add_up()
        return self._tops[first] + line

    def _settle_above(self, page: Page, line: int, rows: int) -> int:
        """Lay out the `rows` rows above `line` of `page`; returns the row of the first of them."""
        last = index = self._index(page)
        missing = rows - line
        while index > 0 and missing > 0:
            index -= 1
            self._lay_out(index)
            missing -= _shown(self._pages[index])
        self._lay_out(last)
        self._drop_oldest(last - index + 1)
        self._add_up()
        return max(0, self._tops[last] + line - rows)

    def settle_end(self, rows: int) -> None:
        """Lay out what the last `rows` rows show."""
        index = len(self._pages) - 1
        while index >= 0 and rows > 0:
            self._lay_out(index)
            rows -= _shown(self._pages[index])
            index -= 1
        self._drop_oldest(len(self._pages) - index)

    def resize(self, width: int, top: int) -> int:
        """Lay out for `width` from now on; returns the row where the text of row `top` stands then."""
        place = self.at(top)
        anchor = _anchor(*place) if place else None
        self.width = width
        for page in self._pages:
            page.guess(width)
        self._laid.clear()
        self._changed(0)
        if place is None or anchor is None:
            return top
        index = self._index(place[0])
        self._lay_out(index)
        self._add_up()
        return self._tops[index] + _anchored(place[0], *anchor)

    def _lay_out(self, index: int) -> None:
        page = self._pages[index]
        if page.entry.folded:
            return
        if not page.is_exact or page.lines is None:
            page.lay_out(self.width)
            self._changed(index)
        self._laid.pop(page, None)
        self._laid[page] = None

    def _drop_oldest(self, shown: int) -> None:
        """Keep the lines of the last pages that were looked at, `shown` at least."""
        while len(self._laid) > max(PAGES_LAID_OUT, shown):
            oldest = next(iter(self._laid))
            del self._laid[oldest]
            oldest.drop()

    def _index(self, page: Page) -> int:
        return bisect_right(self._pages, page.serial, key=lambda page: page.serial) - 1

    def _changed(self, index: int) -> None:
        self._stale = min(self._stale, index)

    def _add_up(self) -> None:
        if self._stale >= len(self._pages):
            return
        start = max(0, self._stale)
        del self._tops[start:]
        top = self._tops[-1] + _shown(self._pages[start - 1]) if start else 0
        for page in self._pages[start:]:
            self._tops.append(top)
            top += _shown(page)
        self._stale = len(self._pages)


def _shown(page: Page) -> int:
    return 0 if page.entry.folded else page.height


def _anchor(page: Page, line: int) -> tuple[int, float] | None:
    """`line` as a block of the page and how far down in it."""
    if not page.starts:
        return None
    block = max(0, bisect_right(page.starts, line) - 1)
    return block, (line - page.starts[block]) / max(1, _end(page, block) - page.starts[block])


def _anchored(page: Page, block: int, part: float) -> int:
    if block >= len(page.starts):
        return 0
    start = page.starts[block]
    return min(page.height - 1, start + int(part * (_end(page, block) - start)))


def _end(page: Page, block: int) -> int:
    return page.starts[block + 1] if block + 1 < len(page.starts) else page.height
