"""Painting of lines as strips of the screen, in the colors of the theme.

An unchanged line is painted once, because visible lines are requested many times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.strip import Strip

from tui.transcript.markdown.spans import Part, cells
from tui.transcript.selection import line_id, mark_selected

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.transcript.markdown.blocks import Line
    from tui.transcript.markdown.spans import Look
    from tui.transcript.pages import Page

STRIPS_KEPT = 256


class Painter:
    """Paints the lines of one transcript."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._strips: LRUCache[int, tuple[Line, Strip]] = LRUCache(STRIPS_KEPT)
        self._looks: dict[Look | Part, Style] = {}
        self._own: Style | None = None

    def forget(self) -> None:
        """Drop all strips after a change of the theme."""
        self._own = None
        self._looks.clear()
        self._strips.clear()

    def blank(self, width: int) -> Strip:
        return Strip.blank(width, self._own_style)

    def line(self, page: Page, index: int, width: int) -> Strip:
        """A line of a page, with its selected part marked."""
        if page.lines is None or index >= len(page.lines):
            return self.blank(width)
        selection = self._widget.text_selection
        span = selection.get_span(line_id(page, index)) if selection is not None else None
        line = page.lines[index]
        if span is not None:
            return self._paint(line, width, span)
        known = self._strips.get(line_id(page, index))
        if known is None or known[0] is not line:
            known = self._strips[line_id(page, index)] = line, self._paint(line, width, None)
        return known[1]

    def label(self, text: str) -> Strip:
        """The label that announces new lines."""
        style = self._widget.get_component_rich_style("transcript--new-lines")
        return Strip([Segment(text, style)], len(text))

    def _paint(self, line: Line, width: int, selected: tuple[int, int] | None) -> Strip:
        segments = [Segment(text, self._style(look)) for text, look in line.spans]
        missing = width - cells(line.spans)
        if missing:
            fill = self._own_style if line.fill is None else self._style(line.fill)
            segments.append(Segment(" " * missing, fill))
        if selected is not None:
            mark = self._widget.screen.get_component_rich_style("screen--selection")
            segments = mark_selected(segments, selected, mark)
        return Strip(segments, width)

    def _style(self, look: Look | Part) -> Style:
        style = self._looks.get(look)
        if style is None:
            if isinstance(look, Part):
                style = self._widget.get_component_rich_style(f"transcript--{look}")
            else:
                style = self._style(look.part) + Style(
                    bold=look.bold or None,
                    italic=look.italic or None,
                    strike=look.strike or None,
                    link=look.link or None,
                )
            self._looks[look] = style
        return style

    @property
    def _own_style(self) -> Style:
        """`rich_style`, cached: it is needed for nearly every line and computed each time."""
        if self._own is None:
            self._own = self._widget.rich_style
        return self._own
