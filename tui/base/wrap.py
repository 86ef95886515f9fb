"""Text and spans cut into rows of terminal cells.

Widths are rich's (`rich.cells`), as Textual measures the same text when it paints, so that no row is ever
wider than the widget. Graphemes are never cut, and a grapheme is never spread over two spans.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.cells import cell_len, split_graphemes

if TYPE_CHECKING:
    from tui.blocks import Span, Spans

# Characters that are one cell wide each, so that text made of them alone is measured by its length.
_ONE_CELL = re.compile("[ -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0377\u0384-\u0482\u2010-\u2027\u2500-\u257f]*")
_FLAG_HALF = re.compile("[\U0001f1e6-\U0001f1ff]")
_MAX_GRAPHEME = 32


def is_single_cell(text: str) -> bool:
    """Whether every character of `text` takes one cell."""
    return text.isascii() or _ONE_CELL.fullmatch(text) is not None


def text_cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def cells(spans: Spans) -> int:
    """Width of `spans` in terminal cells."""
    return sum([text_cells(text) for text, _ in spans])


def plain(spans: Spans) -> str:
    return "".join([text for text, _ in spans])


def wrap(text: str, width: int, *, at_words: bool = True) -> list[tuple[int, int]]:
    """Rows of `text` (which has no newline) as (start, end), none wider than `width` cells (at least 2).

    The blanks at which a row is broken belong to no row. What follows the start of a row is wrapped in the
    same way whatever stands before it: text can be added by wrapping again from the last row's start.
    """
    return _wrap_narrow(text, width, at_words) if is_single_cell(text) else _wrap_wide(text, width, at_words)


def _wrap_narrow(text: str, width: int, at_words: bool) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = []
    start, length = 0, len(text)
    while length - start > width:
        end = follow = start + width
        if at_words:
            blank = text.rfind(" ", start, end + 1)
            if blank > start and not text[start:blank].isspace():
                end = follow = blank
                while follow < length and text[follow] == " ":
                    follow += 1
                end = start + len(text[start:end].rstrip(" "))
        rows.append((start, end))
        start = follow
        if start == length:
            return rows
    rows.append((start, length))
    return rows


def _wrap_wide(text: str, width: int, at_words: bool) -> list[tuple[int, int]]:
    """As `_wrap_narrow`, by graphemes; a row may also be broken before a wide one (CJK has no blanks)."""
    found = graphemes(text)
    most = 8 * width
    rows: list[tuple[int, int]] = []
    row = index = used = 0
    words = False  # something but blanks stands in this row
    broken: tuple[int, int] | None = None  # the grapheme before which this row may end; cells up to there
    while index < len(found):
        start, end, size = found[index]
        blank = at_words and text[start:end] == " "
        if at_words and words and not blank and (text[start - 1] == " " or size == 2):
            broken = index, used
        if index > row and not blank and (used + size > width or index - row > most):
            at, before = broken or (index, used)
            rows.append(_row(text, found[row][0], found[at][0], trim=at_words))
            row, used, broken = at, used - before, None
            words = index > row
            continue
        words = words or not blank
        used += size
        index += 1
    rows.append(_row(text, found[row][0], len(text), trim=used > width))
    return rows


def _row(text: str, start: int, end: int, *, trim: bool) -> tuple[int, int]:
    return (start, start + len(text[start:end].rstrip(" "))) if trim else (start, end)


def graphemes(text: str) -> list[tuple[int, int, int]]:
    """(start, end, cells) of each grapheme; flags are kept whole, endless piles of marks are cut."""
    found = split_graphemes(text)[0]
    if _FLAG_HALF.search(text) or any(end - start > _MAX_GRAPHEME for start, end, _ in found):
        return _corrected(text, found)
    return found


def _corrected(text: str, spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for start, end, size in spans:
        if found and _FLAG_HALF.fullmatch(text, start, end) and _FLAG_HALF.fullmatch(text, *found[-1][:2]):
            found[-1] = (found[-1][0], end, found[-1][2] + size)
            continue
        begin, width = start, size
        while end - begin > _MAX_GRAPHEME:
            found.append((begin, begin + _MAX_GRAPHEME, width))
            begin, width = begin + _MAX_GRAPHEME, 0
        found.append((begin, end, width))
    return found


def slice_spans(spans: Spans, start: int, end: int) -> Spans:
    """The characters from `start` to `end` of `spans`."""
    found: list[Span] = []
    position = 0
    for text, look in spans:
        after = position + len(text)
        if after > start and position < end:
            found.append((text[max(0, start - position) : end - position], look))
        position = after
        if position >= end:
            break
    return tuple(found)


def snap(spans: Spans) -> Spans:
    """`spans` with no grapheme spread over two of them, so that their widths add up."""
    if not any(_may_join(before[0], after[0]) for before, after in pairwise(spans)):
        return spans
    joined = plain(spans)
    borders = {start for start, _, _ in graphemes(joined)}
    found: list[Span] = []
    begin = position = 0
    for text, look in spans:
        position += len(text)
        border = max(begin, position)
        while border < len(joined) and border not in borders:
            border += 1
        if border > begin:
            found.append((joined[begin:border], look))
        begin = border
    return tuple(found)


def _may_join(before: str, after: str) -> bool:
    """Whether a grapheme may begin in `before` and end in `after`."""
    if before.isascii() and after.isascii():
        return False
    return (
        not before
        or not after
        or cell_len(before[-1] + after[0]) != cell_len(before[-1]) + cell_len(after[0])
        or not cell_len(after[0])
        or _FLAG_HALF.match(after) is not None
    )


def cut(spans: Spans, width: int) -> Spans:
    """As much of `spans` as fits into `width` cells (at least 2)."""
    _, end = wrap(plain(spans), width, at_words=False)[0]
    return slice_spans(spans, 0, end)
