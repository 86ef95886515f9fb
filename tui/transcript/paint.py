"""Painting of lines as strips of the screen, in the colors of the theme.

An unchanged line is painted once, wherever it moves: visible lines are requested many times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from rich.segment import Segment
from rich.style import Style
from textual.cache import FIFOCache
from textual.strip import Strip

from tui.transcript.markdown.spans import Part, cells
from tui.transcript.selection import line_id, mark_selected

if TYPE_CHECKING:
    from textual.color import Color
    from textual.widget import Widget

    from tui.transcript.document import Document
    from tui.transcript.markdown.blocks import Line
    from tui.transcript.markdown.spans import Look

STRIPS_KEPT = 256

ShownLine: TypeAlias = "tuple[int, Line | None, tuple[int, int] | None]"
"""The `line_id` of a row, its line, and which of its characters are selected."""
NOTHING: ShownLine = (-1, None, None)


class Painter:
    """Paints the lines of one transcript."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._strips: FIFOCache[int, tuple[Line, int, tuple[int, int] | None, Strip]] = FIFOCache(STRIPS_KEPT)
        self._framed: FIFOCache[int, tuple[Strip, int, Strip]] = FIFOCache(STRIPS_KEPT)
        self._labeled: tuple[Strip, str, Strip] | None = None
        self._looks: dict[Look | Part, Style] = {}
        self._own: tuple[Style, Color] | None = None

    def forget(self) -> None:
        """Drop all strips after a change of the theme."""
        self._own = self._labeled = None
        self._looks.clear()
        self._strips.clear()
        self._framed.clear()

    def rows(self, document: Document, top: int, rows: int) -> list[Strip]:
        """The `rows` rows of the document from `top` on, with what is selected marked."""
        width = document.width
        found = []
        for number, line, selected in self.lines(document, top, rows):
            if line is None:
                found.append(Strip.blank(width, self._own_style))
                continue
            known = self._strips.get(number)
            if known is None or known[:3] != (line, width, selected):
                known = self._strips[number] = line, width, selected, self._paint(line, width, selected)
            found.append(known[3])
        return found

    def lines(self, document: Document, top: int, rows: int) -> list[ShownLine]:
        """What these rows show. Costs much less than `rows`."""
        selection = self._widget.text_selection
        found: list[ShownLine] = []
        for place in document.places(top, rows):
            if place is None or (lines := place[0].lines) is None or place[1] >= len(lines):
                found.append(NOTHING)
                continue
            number = line_id(*place)
            span = selection.get_span(number) if selection is not None else None
            found.append((number, lines[place[1]], span))
        return found

    def with_label(self, row: Strip, text: str, width: int) -> Strip:
        """The row with the label that announces new lines at its end."""
        known = self._labeled
        if known is None or known[0] is not row or known[1] != text:
            style = self._widget.get_component_rich_style("transcript--new-lines")
            label = Strip([Segment(text, style)], len(text))
            known = self._labeled = row, text, Strip.join([row.crop(0, width - len(text)), label])
        return known[2]

    def framed(self, rows: list[Strip], width: int) -> list[Strip]:
        """Rows with the padding at their sides, up to `width`, in the colors of the terminal."""
        return [self._frame(row, width) for row in rows]

    def _frame(self, row: Strip, width: int) -> Strip:
        known = self._framed.get(id(row))  # the entry keeps the object, so that no other gets its id
        if known is None or known[1] != width:
            style, background = self._own_look
            padding, left = Style(bgcolor=style.bgcolor), self._widget.gutter.left
            right = max(0, width - left - row.cell_length)
            segments = [Segment(" " * left, padding), *row, Segment(" " * right, padding)]
            for line_filter in self._widget.get_line_filters():
                segments = line_filter.apply(segments, background)
            strip = Strip(filter(_has_text, segments), left + row.cell_length + right)
            known = self._framed[id(row)] = row, width, strip.crop(0, width)
        return known[2]

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
        return self._own_look[0]

    @property
    def _own_look(self) -> tuple[Style, Color]:
        """Style and background of the widget, cached: needed for nearly every line and computed each time."""
        if self._own is None:
            self._own = self._widget.rich_style, self._widget.background_colors[1]
        return self._own


def _has_text(segment: Segment) -> bool:
    return bool(segment.text)
