"""When the scroll bar is drawn again: whenever what it shows would look different."""

from __future__ import annotations

import pytest
from textual.scrollbar import ScrollBar, ScrollBarRender

from tui.transcript.drawn import move_thumb


class CountedBar(ScrollBar):
    refreshed = 0

    def refresh(self, *args: object, **kwargs: object) -> CountedBar:
        self.refreshed += 1
        return self


def picture(rows: int, height: int, top: int) -> list[tuple[str, str]]:
    window = rows if rows < height else 0
    bar = ScrollBarRender.render_bar(size=rows, virtual_size=height, window_size=window, position=top)
    return [(text, str(style)) for text, style, _ in bar.segments]


@pytest.mark.parametrize("rows", [3, 10, 38])
def test_the_bar_is_drawn_again_whenever_it_looks_different(rows: int) -> None:
    bar = CountedBar()
    before = picture(rows, 0, 0)
    for height in range(1, rows * 8):
        for top in {0, max(0, height - rows) // 3, max(0, height - rows)}:
            count = bar.refreshed
            move_thumb(bar, rows, height, top)
            now = picture(rows, height, top)
            assert bar.refreshed > count or now == before
            before = now
    assert bar.refreshed


def test_a_thumb_that_textual_has_drawn_for_a_new_size_goes_again() -> None:
    bar = CountedBar()
    move_thumb(bar, 40, 30, 0)
    bar.set_reactive(ScrollBar.window_size, 20)  # of 30 rows, of which there are 15 in the new width
    count = bar.refreshed
    move_thumb(bar, 20, 15, 0)
    assert bar.refreshed == count + 1
