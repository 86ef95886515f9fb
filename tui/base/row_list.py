"""Rows of which one entry is selected, however many: a line-API view that makes only the rows in sight.

It knows rows by their keys and nothing of what they mean. Its owner says which rows there are and how one
looks, hears of clicks, and decides what a key does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.list_rows import Row, Tone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style
    from textual import events

    from tui.list_rows import Line

STRIPS_KEPT = 512

AnyRow = TypeVar("AnyRow", bound=Row)


class RowList(ScrollView, Generic[AnyRow]):
    """See the module. `paint` gives the line of a row, from its width and whether it is selected.

    With `hear` it takes the focus and hands on the names of keys; `hear` says which the owner has taken.
    """

    FOCUS_ON_CLICK = False
    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"row-list--{tone}" for tone in (*Tone, "selected")}
    DEFAULT_CSS = """
    RowList {
        height: 1fr;
        width: 100%;
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        & .row-list--name { color: $foreground; }
        & .row-list--detail { color: $foreground 70%; }
        & .row-list--found { color: $text-accent; text-style: bold underline; }
        & .row-list--mark { color: $primary; text-style: bold; }
        & .row-list--good { color: $text-success; }
        & .row-list--warning { color: $text-warning; text-style: bold; }
        & .row-list--hint { color: $foreground 70%; }
        & .row-list--selected { background: $panel; text-style: bold; }
    }
    """

    class Clicked(Message):
        """A click on a row that can be selected, and is now; `again` if it was before."""

        def __init__(self, row: Row, *, again: bool) -> None:
            super().__init__()
            self.row = row
            self.again = again

    def __init__(
        self, paint: Callable[[AnyRow, int, bool], Line], hear: Callable[[str], bool] | None = None
    ) -> None:
        super().__init__(can_focus=hear is not None)
        self._paint = paint
        self._hear = hear
        self._rows: Sequence[AnyRow] = ()
        self._keys: list[str] = []
        self._spans: dict[str, tuple[int, int]] = {}
        self._selected = ""
        self._pressed = ""
        self._strips: LRUCache[tuple[int, bool], Strip] = LRUCache(STRIPS_KEPT)
        self._styles: dict[tuple[Tone, bool], Style] = {}

    # -- what the owner does --

    @property
    def selected(self) -> str:
        """The key of the selected entry, "" if there is none."""
        return self._selected

    @property
    def keys(self) -> tuple[str, ...]:
        """What can be selected, from top to bottom."""
        return tuple(self._keys)

    def show(self, rows: Sequence[AnyRow], *, select: str | None = None) -> None:
        """Show these rows. The selection goes to `select`, else stays, else goes to what took its place."""
        before = self._spans.get(self._selected)
        at = self._keys.index(self._selected) if self._selected in self._spans else 0
        spans: dict[str, tuple[int, int]] = {}
        for number, row in enumerate(rows):
            if row.key:
                spans[row.key] = (spans.get(row.key, (number, 0))[0], number)
        self._rows, self._spans, self._keys = rows, spans, list(spans)
        if select is not None and select in spans:
            self._selected = select
        elif self._selected not in spans:
            self._selected = self._keys[min(at, len(self._keys) - 1)] if self._keys else ""
        self._arrange(moved=self._spans.get(self._selected) != before)

    def repaint(self) -> None:
        """Rows look different now."""
        self._strips.clear()
        self.refresh()

    def select(self, key: str) -> None:
        if key in self._spans and key != self._selected:
            self._selected = key
            self.refresh()
        self._show_selected(moved=True)

    def move(self, step: int) -> None:
        """Select the next entry, or the one before; one that is higher than the view is scrolled through."""
        if self._scroll_within(step):
            return
        if self._selected in self._spans:
            at = self._keys.index(self._selected) + step
            self.select(self._keys[max(0, min(at, len(self._keys) - 1))])

    def move_page(self, sign: int) -> None:
        """Select what stands a page further."""
        if self._selected not in self._spans:
            return
        target = self._spans[self._selected][0] + sign * max(1, self._height - 1)
        if sign > 0:
            reached = [key for key in self._keys if self._spans[key][0] <= target][-1]
        else:
            reached = next(key for key in self._keys if self._spans[key][0] >= target)
        if reached == self._selected:
            self.move(sign)
        else:
            self.select(reached)

    def move_to_end(self, sign: int) -> None:
        if self._keys:
            self.select(self._keys[-1 if sign > 0 else 0])

    # -- keys and clicks --

    async def _on_key(self, event: events.Key) -> None:
        """In the order in which they come: a binding would be run before keys that came earlier."""
        if self._hear is not None and self._hear(event.key):
            event.stop()
            event.prevent_default()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        row = self._row_at(event)
        self._pressed = "" if row is None else row.key

    def on_click(self, event: events.Click) -> None:
        """A click counts if it goes down and up on one entry: a list that moved in between does nothing."""
        event.stop()
        row = self._row_at(event)
        if row is None or not row.key or row.key != self._pressed:
            return
        again = row.key == self._selected
        self.select(row.key)
        self.post_message(self.Clicked(row, again=again))

    def _row_at(self, event: events.MouseEvent) -> AnyRow | None:
        offset = event.get_content_offset(self)
        at = -1 if offset is None else self.scroll_offset.y + offset.y
        return self._rows[at] if 0 <= at < len(self._rows) else None

    # -- what is where --

    @property
    def _height(self) -> int:
        return self.scrollable_content_region.height

    def _arrange(self, *, moved: bool) -> None:
        self._strips.clear()
        size = Size(self.scrollable_content_region.width, len(self._rows))
        if size != self.virtual_size:
            self.set_reactive(ScrollView.virtual_size, size)
            self._scroll_update(size)
        self._show_selected(moved=moved)
        self.refresh()

    def _show_selected(self, *, moved: bool) -> None:
        """Bring the selected entry into sight; of a high one its beginning, if it has `moved`."""
        if self._selected not in self._spans or not self._height:
            return
        first, last = self._spans[self._selected]
        top, height = self.scroll_offset.y, self._height
        if last - first >= height:
            if moved or not first <= top <= last:
                self.scroll_to(y=first, animate=False)
        elif first < top:
            self.scroll_to(y=first, animate=False)
        elif last >= top + height:
            self.scroll_to(y=last - height + 1, animate=False)

    def _scroll_within(self, step: int) -> bool:
        first, last = self._spans.get(self._selected, (0, 0))
        top, height = self.scroll_offset.y, self._height
        if last - first < height:
            return False
        hidden = last - (top + height - 1) if step > 0 else top - first
        if hidden <= 0 or not first <= top <= last:
            return False
        self.scroll_to(y=top + min(hidden, max(1, height - 1)) * (1 if step > 0 else -1), animate=False)
        return True

    # -- painting --

    def render_line(self, y: int) -> Strip:
        at = self.scroll_offset.y + y
        width = self.scrollable_content_region.width
        if not 0 <= at < len(self._rows):
            return Strip.blank(width, self._style(Tone.HINT, selected=False))
        row = self._rows[at]
        selected = bool(row.key) and row.key == self._selected
        strip = self._strips.get((at, selected))
        if strip is None:
            pieces = self._paint(row, width, selected)
            segments = [Segment(text, self._style(tone, selected=selected)) for text, tone in pieces]
            strip = self._strips[at, selected] = Strip(segments).adjust_cell_length(width)
        return strip

    def _style(self, tone: Tone, *, selected: bool) -> Style:
        style = self._styles.get((tone, selected))
        if style is None:
            style = self.get_component_rich_style(f"row-list--{tone}")
            if selected:
                style += self.get_component_rich_style("row-list--selected", partial=True)
            self._styles[tone, selected] = style
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def on_resize(self) -> None:
        self._arrange(moved=True)
