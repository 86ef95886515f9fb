"""When the scroll bar is drawn again: whenever Textual would draw it differently."""

from __future__ import annotations

import pytest
from textual.scrollbar import ScrollBar, ScrollBarRender

from tui.transcript.drawn import Thumb


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
    bar, thumb = CountedBar(), Thumb()
    before: list[tuple[str, str]] = []
    for height in range(1, rows * 8):
        for top in {0, max(0, height - rows) // 3, max(0, height - rows)}:
            count = bar.refreshed
            thumb.move(bar, rows, height, top)
            now = picture(rows, height, top)
            assert bar.refreshed > count or now == before
            before = now
    assert bar.refreshed
