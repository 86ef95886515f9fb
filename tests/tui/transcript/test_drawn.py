"""Which rows of the scroll bar are drawn again: all that would look different."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.scrollbar import ScrollBar, ScrollBarRender

from tui.transcript.drawn import move_thumb

if TYPE_CHECKING:
    from textual.geometry import Region


class WatchedBar(ScrollBar):
    """Keeps which rows were to be drawn again; None are all."""

    def __init__(self) -> None:
        super().__init__()
        self.due: set[int] | None = set()

    def refresh(self, *regions: Region, **_: object) -> WatchedBar:
        self.due = {y for region in regions for y in region.line_range} if regions else None
        return self


def picture(rows: int, height: int, top: int) -> list[tuple[str, str]]:
    window = rows if rows < height else 0
    bar = ScrollBarRender.render_bar(size=rows, virtual_size=height, window_size=window, position=top)
    return [(text, str(style)) for text, style, _ in bar.segments]


@pytest.mark.parametrize("rows", [3, 10, 38])
def test_the_rows_of_the_bar_that_look_different_are_drawn_again(rows: int) -> None:
    bar = WatchedBar()
    before = picture(rows, 0, 0)
    drawn = 0
    for height in range(1, rows * 8):
        for top in {0, max(0, height - rows) // 3, max(0, height - rows)}:
            bar.due = set()
            move_thumb(bar, rows, height, top)
            now = picture(rows, height, top)
            different = {y for y in range(rows) if before[y] != now[y]}
            assert bar.due is None or different <= bar.due
            drawn += len(bar.due or ())
            before = now
    assert drawn


def test_a_step_of_the_thumb_draws_its_edges_alone() -> None:
    bar = WatchedBar()
    move_thumb(bar, 40, 400, 180)
    bar.due = set()
    move_thumb(bar, 40, 401, 182)
    assert bar.due is not None
    assert len(bar.due) in range(1, 5)


def test_a_thumb_that_textual_has_drawn_for_a_new_size_goes_again() -> None:
    bar = WatchedBar()
    move_thumb(bar, 40, 30, 0)
    bar.set_reactive(ScrollBar.window_size, 20)  # of 30 rows, of which there are 15 in the new width
    bar.due = set()
    move_thumb(bar, 20, 15, 0)
    assert bar.due is None
