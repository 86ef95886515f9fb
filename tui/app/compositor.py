"""Textual's compositor, which draws no more than what changed and can be seen.

For each frame Textual's asks every widget of the screen for all of its lines, also those that are behind
others, and throws away what did not change: half of the cost of a reply that streams.

It also mends a fault. Asked for the place of a widget between two layouts, Textual may make its map anew,
and at the next layout finds nothing changed: no widget hears of its new size. The transcript did not go to
its end when a question was opened.

Of Textual's insides it uses `_full_map`, `_dirty_regions`, `_regions_to_spans`, `cuts` and `layers_visible`.
Whole screens, such as the first, are drawn by Textual.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from textual._compositor import Compositor, CompositorUpdate
from textual.geometry import Region

if TYPE_CHECKING:
    from rich.console import Console
    from textual._compositor import ReflowResult
    from textual.geometry import Size
    from textual.strip import Strip
    from textual.widget import Widget


class _Piece(NamedTuple):
    """A part of one line of the screen, from column `start` to `end`, that shows a line of `widget`."""

    start: int
    end: int
    widget: Widget
    region: Region
    """Where the widget is, of which other widgets may hide something."""
    seen: Region


class PiecesUpdate(CompositorUpdate):
    """Parts of lines, each with its place: line and column."""

    def __init__(self, pieces: list[tuple[int, int, Strip]]) -> None:
        self.pieces = pieces

    def render_segments(self, console: Console) -> str:
        return "".join([f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for y, x, strip in self.pieces])


class LineCompositor(Compositor):
    """Asks each widget for the lines that changed, if nothing hides them."""

    def __init__(self) -> None:
        super().__init__()
        self._plan: list[list[_Piece]] | None = None
        self._last_map = self._full_map

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        # Forgotten now and not with the next change: it holds widgets that may be gone.
        self._plan = None
        self._full_map = self._last_map
        result = super().reflow(parent, size)
        self._last_map = self._full_map
        return result

    def reflow_visible(self, parent: Widget, size: Size) -> set[Widget]:
        self._plan = None
        return super().reflow_visible(parent, size)

    def render_partial_update(self) -> PiecesUpdate | None:  # type: ignore[override]
        """What is to be written to the terminal; None if nothing changed."""
        screen = self.size.region
        changed = [region.intersection(screen) for region in self._dirty_regions]
        self._dirty_regions.clear()
        wanted: dict[Widget, list[tuple[int, _Piece]]] = {}
        for y, start, end in self._regions_to_spans(changed):
            for piece in self._pieces[y]:
                if piece.start < end and piece.end > start:
                    wanted.setdefault(piece.widget, []).append((y, piece))
        if not wanted:
            return None
        return PiecesUpdate([part for parts in wanted.values() for part in _render(parts)])

    @property
    def _pieces(self) -> list[list[_Piece]]:
        """What each line of the screen shows, made anew when the layout changes."""
        if self._plan is None:
            self._plan = [
                _pieces_of(cuts, layers) for cuts, layers in zip(self.cuts, self.layers_visible, strict=True)
            ]
        return self._plan


def _pieces_of(cuts: list[int], layers: list[tuple[Widget, Region, Region]]) -> list[_Piece]:
    """One line between the `cuts`, where widgets begin and end. The first of `layers` is in front."""
    found = []
    for start, end in pairwise(cuts):
        for widget, seen, region in layers:
            if seen.x <= start and end <= seen.right:
                found.append(_Piece(start, end, widget, region, seen))
                break
    return found


def _render(parts: list[tuple[int, _Piece]]) -> list[tuple[int, int, Strip]]:
    """Parts of one widget, sorted by lines. Lines that follow each other are asked for at once."""
    _, piece = parts[0]
    found: list[tuple[int, int, Strip]] = []
    lines: list[Strip] = []
    first = last = -1
    for number, (y, part) in enumerate(parts):
        if not first <= y <= last:
            first = last = y
            for after, _ in parts[number + 1 :]:
                if after > last + 1:
                    break
                last = after
            seen = Region(piece.seen.x, first, piece.seen.width, last + 1 - first)
            lines = piece.widget.render_lines(seen.translate(-piece.region.offset))
        strip = lines[y - first].crop(part.start - piece.seen.x, part.end - piece.seen.x)
        found.append((y, part.start, strip))
    return found
