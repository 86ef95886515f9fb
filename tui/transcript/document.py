"""The lines of a conversation, kept so that neither adding nor resizing ever touches all of them.

A page is laid out when it is looked at; until then its height is a guess, and when it has not been looked at
for long its lines are dropped again. So a message costs its source and little more, a new width costs one
pass over the pages, and the end costs the same whatever stands above it. What is put above what is there
moves rows and nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from tui.blocks import Code
from tui.widgets.transcript_pages import Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tui.blocks import Block
    from tui.widgets.transcript_pages import Entry

PAGES_LAID_OUT = 16
FIRST_SERIAL = 1 << 32
"""Pages below count up from here, pages that are put above count down: a serial never changes."""


class Document:
    """All pages in order, and which row of the whole each begins with. Rows count from 0."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._pages: list[Page] = []
        self._tops: list[int] = []
        self._stale = 0  # from this page on `_tops` has to be added up again
        self._laid: dict[Page, None] = {}
        self._serial = FIRST_SERIAL  # of the next page at the end
        self._first_serial = FIRST_SERIAL  # of the first page there ever was

    @property
    def is_empty(self) -> bool:
        return not self._pages

    @property
    def first(self) -> Page | None:
        return self._pages[0] if self._pages else None

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

    def pages_from_end(self) -> Iterator[Page]:
        return reversed(self._pages)

    def begin(self, entry: Entry) -> Page:
        """A new page at the end, for `entry`."""
        if self._pages:
            self._pages[-1].finish()
        page = Page(entry, self._serial)
        self._serial += 1
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

    def prepend(self, older: Document) -> int:
        """Put the pages of `older`, which is used up by that, above all others; the rows that they take.

        None of them may be laid out yet. Costs some nanoseconds for each page there is.
        """
        pages = older._pages
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
        self._pages[:0] = pages
        return rows

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
        # The one pass over all pages that scrolling may take; it is worth not calling `_shown` for each.
        heights = [0 if page.entry.folded else page.height for page in self._pages[start:-1]]
        self._tops += accumulate(heights, initial=top)
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
