"""The lines of a conversation, stored so that neither adding nor resizing touches all of them.

A page is laid out when it comes into view; until then its height is a guess, and its lines are dropped when
it has been out of view for long. So a message costs little more than its source, a new width costs one pass
over the pages, and the end costs the same whatever is above it. Adding older pages above only moves rows.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from tui.transcript.markdown.blocks import Code
from tui.transcript.pages import Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tui.transcript.markdown.blocks import Block
    from tui.transcript.pages import Entry

PAGES_LAID_OUT = 16
FIRST_SERIAL = 1 << 32
"""The first serial: pages added below count up, pages added above count down; none changes."""


class Document:
    """All pages in order, and the first row of each. Rows count from 0."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.pages: list[Page] = []
        self._tops: list[int] = []
        self._stale = 0  # from this page on `_tops` has to be added up again
        self._laid: dict[Page, None] = {}
        self._serial = FIRST_SERIAL  # of the next page at the end
        self._first_serial = FIRST_SERIAL  # of the first page there ever was

    @property
    def first(self) -> Page | None:
        return self.pages[0] if self.pages else None

    @property
    def last(self) -> Page | None:
        return self.pages[-1] if self.pages else None

    @property
    def height(self) -> int:
        """The number of rows, with guesses for pages that are not laid out."""
        if not self.pages:
            return 0
        self._add_up()
        return self._tops[-1] + _shown(self.pages[-1])

    def begin(self, entry: Entry) -> Page:
        """Add a new page for `entry` at the end."""
        if self.pages:
            self.pages[-1].finish()
        page = Page(entry, self._serial)
        self._serial += 1
        self._stale = min(self._stale, len(self.pages))
        self.pages.append(page)
        return page

    def extend(self, entry: Entry, blocks: Iterable[Block]) -> Page:
        """Add `blocks` at the end, which must belong to `entry`; returns the last page."""
        page = self.pages[-1]
        for block in blocks:
            if not page.takes(block):
                page.tail = ()
                self._resized(page)
                page = self.begin(entry)
            page.add(block)
        self._resized(page)
        return page

    def set_tail(self, page: Page, tail: list[Block]) -> None:
        """Set the blocks that are shown below the finished blocks of `page` for now."""
        page.tail = tuple(tail)
        self._resized(page)

    def _resized(self, page: Page) -> None:
        """Lay the page out again if it has lines, else guess its height."""
        if page.lines is None:
            page.guess(self.width)
        else:
            page.lay_out(self.width)
        self._changed(self._index(page))

    def prepend(self, older: Document) -> int:
        """Put the pages of `older` above all others; returns their rows. `older` is unusable afterwards.

        None of its pages may be laid out yet. Costs some nanoseconds per existing page.
        """
        pages = older.pages
        if not pages:
            return 0
        pages[-1].finish()
        self._first_serial -= len(pages)
        for serial, page in enumerate(pages, self._first_serial):
            page.serial = serial
            if older.width != self.width:
                page.guess(self.width)
        if older.width != self.width:
            older._changed(0)
        rows = older.height
        self._tops = older._tops + [rows + top for top in self._tops[: self._stale]]
        self._stale += len(pages)
        self.pages[:0] = pages
        return rows

    def remove(self, entry: Entry) -> None:
        self.pages = [page for page in self.pages if page.entry is not entry]
        self._laid = {page: None for page in self._laid if page.entry is not entry}
        self._tops.clear()
        self._changed(0)

    def retract(self) -> None:
        """Remove the last page."""
        page = self.pages.pop()
        self._laid.pop(page, None)
        del self._tops[len(self.pages) :]
        self._changed(len(self.pages))

    def fold(self, entry: Entry, *, folded: bool) -> None:
        entry.folded = folded
        self._changed(0)

    def forget_code(self, language: str) -> None:
        """Have pages that show code of `language` laid out again."""
        for page in list(self._laid):
            if any(
                isinstance(block, Code) and block.language == language for block in (*page.blocks, *page.tail)
            ):
                page.drop()

    def at(self, row: int) -> tuple[Page, int] | None:
        """The page that shows `row`, and the index of the line in it."""
        self._add_up()
        index = bisect_right(self._tops, row) - 1
        if index < 0 or row - self._tops[index] >= _shown(self.pages[index]):
            return None
        return self.pages[index], row - self._tops[index]

    def places(self, top: int, rows: int) -> Iterator[tuple[Page, int] | None]:
        """`at` for each of the `rows` rows from `top` on."""
        self._add_up()
        index = max(0, bisect_right(self._tops, top) - 1)
        row, end = top, top + rows
        while row < end and index < len(self.pages):
            page, start = self.pages[index], self._tops[index]
            below = min(end, start + _shown(page))
            while row < below:
                yield page, row - start
                row += 1
            index += 1
        for _ in range(row, end):
            yield None

    def settle(self, top: int, rows: int, *, upwards: bool = False) -> int:
        """Lay out what `rows` rows from `top` on show; returns the row where the same text is afterwards.

        Going `upwards`, text known to be right below stays in place, so that nothing is skipped; otherwise a
        guessed page that is entered keeps its distance from its end.
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
        while index < len(self.pages) and missing > 0:
            self._lay_out(index)
            missing -= _shown(self.pages[index])
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
            missing -= _shown(self.pages[index])
        self._lay_out(last)
        self._drop_oldest(last - index + 1)
        self._add_up()
        return max(0, self._tops[last] + line - rows)

    def settle_end(self, rows: int) -> None:
        """Lay out what the last `rows` rows show."""
        index = len(self.pages) - 1
        while index >= 0 and rows > 0:
            self._lay_out(index)
            rows -= _shown(self.pages[index])
            index -= 1
        self._drop_oldest(len(self.pages) - index)

    def resize(self, width: int, top: int) -> int:
        """Use `width` from now on; returns the row where the text of row `top` is afterwards."""
        place = self.at(top)
        anchor = _anchor(*place) if place else None
        self.width = width
        for page in self.pages:
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
        page = self.pages[index]
        if page.entry.folded:
            return
        if not page.is_exact or page.lines is None:
            page.lay_out(self.width)
            self._changed(index)
        self._laid.pop(page, None)
        self._laid[page] = None

    def _drop_oldest(self, shown: int) -> None:
        """Keep the lines of the pages viewed last, of at least `shown` pages."""
        while len(self._laid) > max(PAGES_LAID_OUT, shown):
            oldest = next(iter(self._laid))
            del self._laid[oldest]
            oldest.drop()

    def _index(self, page: Page) -> int:
        return bisect_right(self.pages, page.serial, key=lambda page: page.serial) - 1

    def _changed(self, index: int) -> None:
        self._stale = min(self._stale, index)

    def _add_up(self) -> None:
        if self._stale >= len(self.pages):
            return
        start = max(0, self._stale)
        del self._tops[start:]
        top = self._tops[-1] + _shown(self.pages[start - 1]) if start else 0
        # The only pass over all pages that scrolling may need; not calling `_shown` for each is worth it.
        heights = [0 if page.entry.folded else page.height for page in self.pages[start:-1]]
        self._tops += accumulate(heights, initial=top)
        self._stale = len(self.pages)


def _shown(page: Page) -> int:
    return 0 if page.entry.folded else page.height


def _anchor(page: Page, line: int) -> tuple[int, float] | None:
    """The block of the page that contains `line`, and the position in it as a fraction."""
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
