"""What of the transcript has to be drawn again: the rows that changed, and the scroll bar if its thumb moved.

Textual would draw every row for each piece of text, and the scroll bar for each row that is added.
"""

from __future__ import annotations

from math import ceil

from textual.geometry import Region
from textual.scrollbar import ScrollBar

_EIGHTHS = len(ScrollBar.renderer.VERTICAL_BARS)


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
    """Have a vertical `bar` show the `rows` from `top` on of `height`. It is drawn again only if that looks
    different from what it shows, which Textual sets too, with a new size."""
    before = _thumb(bar.window_size, bar.window_virtual_size, bar.position)
    bar.set_reactive(ScrollBar.window_virtual_size, height)
    bar.set_reactive(ScrollBar.window_size, rows)
    bar.set_reactive(ScrollBar.position, top)
    if _thumb(rows, height, top) != before:
        bar.refresh()


def _thumb(rows: int, height: int, top: float) -> tuple[int, int]:
    """The beginning of the thumb and its end in eighths of a row, as `ScrollBarRender` rounds them."""
    if not 0 < rows < height:
        return 0, 0
    size = max(1, rows * rows / height)
    start = int((rows - size) * top / (height - rows) * _EIGHTHS)
    return start, start + ceil(size * _EIGHTHS)
