"""Text in as many terminal cells as there is room for.

Widths are those of `rich.cells`, with which Textual measures the same text when it paints.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from tui.base.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    if text.isascii():
        if len(text) <= width:
            return text.ljust(width)
        return text[: width - 1] + "…"
    if (size := cell_len(text)) <= width:
        return text + " " * (width - size)
    return set_cell_size(text, width - 1) + "…"


def without_beginning(text: str, width: int) -> str:
    """The end of `text` in at most `width` cells, with an ellipsis before it if something is missing."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    # A wide character may leave one cell unused.
    return "…" + set_cell_size(text[::-1], width - 1)[::-1].lstrip()


def count_fitting(widths: Iterable[int], room: int) -> int:
    """How many columns of these widths, the most important first, fit into `room` cells."""
    return sum(end <= room for end in accumulate(widths))


def short_path(path: str, home: str, width: int) -> str:
    """The end of a path in at most `width` cells; `~` stands for the folder `home`."""
    path = one_line(path)
    if home and (path == home or path.startswith(f"{home}/")):
        path = "~" + path.removeprefix(home)
    return without_beginning(path, width)
