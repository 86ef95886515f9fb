"""What of the transcript has to be drawn again: the rows that changed, and the scroll bar if its thumb moved.

Textual would draw every row for each piece of text, and the scroll bar for each row that is added.
"""

from __future__ import annotations

from math import ceil

from textual.geometry import Region
from textual.scrollbar import ScrollBar

_EIGHTHS = len(ScrollBar.renderer.VERTICAL_BARS)
_NO_THUMB = (0, 0)


class DrawnRows:
    """What the rows on the screen show."""

    def __init__(self) -> None:
        self._rows: list[object] = []

    def forget(self) -> None:
        """Take all rows for changed."""
        self._rows = []

    def changed(self, rows: list[object], width: int) -> list[Region]:
        """Where `rows` differ from those shown so far, whose place they take."""
        known = self._rows
        found: list[Region] = []
        for y, row in enumerate(rows):
            if y < len(known) and known[y] == row:
                continue
            if found and found[-1].bottom == y:
                found[-1] = Region(0, found[-1].y, width, y + 1 - found[-1].y)
            else:
                found.append(Region(0, y, width, 1))
        self._rows = rows
        return found


def move_thumb(bar: ScrollBar, rows: int, height: int, top: float) -> None:
    """Have a vertical `bar` show the `rows` from `top` on of `height`. Only what looks different from what it
    shows is drawn again; that is set by Textual too, with a new size."""
    before = _thumb(bar.window_size, bar.window_virtual_size, bar.position)
    bar.set_reactive(ScrollBar.window_virtual_size, height)
    bar.set_reactive(ScrollBar.window_size, rows)
    bar.set_reactive(ScrollBar.position, top)
    now = _thumb(rows, height, top)
    if now == before:
        return
    if _NO_THUMB in (before, now):
        bar.refresh()
    else:
        bar.refresh(*(_between(*edge) for edge in zip(before, now, strict=True)))


def _between(before: int, now: int) -> Region:
    """The rows from one place of an edge of the thumb to another."""
    first, last = min(before, now) // _EIGHTHS, max(before, now) // _EIGHTHS
    return Region(0, first, 1, last + 1 - first)


def _thumb(rows: int, height: int, top: float) -> tuple[int, int]:
    """The beginning of the thumb and its end in eighths of a row, as `ScrollBarRender` rounds them."""
    if not 0 < rows < height:
        return _NO_THUMB
    # In its order, which rounding depends on.
    size = max(1, rows / (height / rows))
    start = int((rows - size) * (top / (height - rows)) * _EIGHTHS)
    return start, start + ceil(size * _EIGHTHS)
