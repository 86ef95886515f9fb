"""Text cut into rows of terminal cells.

Widths are those of `rich.cells`, with which Textual measures the same text when it paints, so that no row is
wider than its widget. Graphemes are never cut.
"""

from __future__ import annotations

import re

from rich.cells import cell_len, split_graphemes

# Characters of one cell each: text made of them alone is measured by its length.
_ONE_CELL = re.compile("[ -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0377\u0384-\u0482\u2010-\u2027\u2500-\u257f]*")
FLAG_HALF = re.compile("[\U0001f1e6-\U0001f1ff]")
_MAX_GRAPHEME = 32


def is_single_cell(text: str) -> bool:
    """Whether every character of `text` takes one cell."""
    return text.isascii() or _ONE_CELL.fullmatch(text) is not None


def text_cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def wrap(text: str, width: int, *, at_words: bool = True) -> list[tuple[int, int]]:
    """Rows of `text` (which has no newline) as (start, end), none wider than `width` cells (at least 2).

    The blanks at which a row is broken belong to no row. Wrapping from the start of a row does not depend on
    what is before it: text can be added by wrapping again from the start of the last row.
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
    """Like `_wrap_narrow`, by graphemes; a row can also be broken before a wide one (CJK has no blanks)."""
    found = graphemes(text)
    most = 8 * width
    rows: list[tuple[int, int]] = []
    row = index = used = 0
    words = False  # this row has something but blanks
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
    """(start, end, cells) of each grapheme. Flags are kept whole; very long sequences of marks are cut."""
    found = split_graphemes(text)[0]
    if FLAG_HALF.search(text) or any(end - start > _MAX_GRAPHEME for start, end, _ in found):
        return _corrected(text, found)
    return found


def _corrected(text: str, spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for start, end, size in spans:
        if found and FLAG_HALF.fullmatch(text, start, end) and FLAG_HALF.fullmatch(text, *found[-1][:2]):
            found[-1] = (found[-1][0], end, found[-1][2] + size)
            continue
        begin, width = start, size
        while end - begin > _MAX_GRAPHEME:
            found.append((begin, begin + _MAX_GRAPHEME, width))
            begin, width = begin + _MAX_GRAPHEME, 0
        found.append((begin, end, width))
    return found
