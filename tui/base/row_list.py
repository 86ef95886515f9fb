"""A list of any number of rows, of which one entry is selected.

Rows are known by their keys. The owner says which rows there are and how one looks, gets a message for a
click, and decides what a key does. Only rows in sight become lines, and only changed ones are painted again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar

from rich.segment import Segment
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.base.row import ListRow, Row, Tone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style
    from textual import events
    from textual.geometry import Offset

    from tui.base.row import Line

STRIPS_KEPT: Final = 512

MOVED_S: Final = 0.4
"""Seconds after the selection has moved by itself during which a key was meant for the row before."""

AnyRow = TypeVar("AnyRow", bound=Row)


class RowList(ScrollView, Generic[AnyRow]):
    """Shows rows. `row_line` gives the line of a row that is no `ListRow`, from its width and whether it is
    selected.

    With `on_key` the list can have the focus and passes on the names of keys; `on_key` says which ones it has
    handled. `clock` gives seconds.
    """

    SELECTS_WITHOUT_FOCUS: ClassVar[bool] = True
    """Whether the selection is shown while the focus is elsewhere."""

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
        """A click selected a row; `again` if it was selected before. `x` is the column, in cells."""

        def __init__(self, row: Row, x: int, *, again: bool) -> None:
            super().__init__()
            self.row = row
            self.x = x
            self.again = again

    class Resized(Message):
        """The rows have got their width, or another one: after the widget around them, on a slow machine."""

    def __init__(
        self,
        row_line: Callable[[AnyRow, int, bool], Line] | None = None,
        on_key: Callable[[str], bool] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(can_focus=on_key is not None)
        self._row_line = row_line
        self._take_key = on_key
        self._clock = clock
        self._rows: Sequence[AnyRow | ListRow] = ()
        self._keys: list[str] = []
        self._spans: dict[str, tuple[int, int]] = {}
        self._selected = ""
        self._moved_at = float("-inf")
        self._pressed = ""
        self._painted: dict[int, tuple[Line, bool]] = {}
        """What each line of the view showed when it was painted last."""
        self._strips: LRUCache[tuple[Line, bool], Strip] = LRUCache(STRIPS_KEPT)
        self._styles: dict[tuple[Tone, bool], Style] = {}

    # -- for the owner --

    @property
    def selected(self) -> str:
        """The key of the selected entry, "" if there is none."""
        return self._selected

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the entries, from top to bottom."""
        return tuple(self._keys)

    @property
    def has_just_moved(self) -> bool:
        """Whether the selection moved by itself a moment ago, because its row is gone."""
        return self._clock() - self._moved_at < MOVED_S

    def settle(self) -> None:
        """The person knows which row is selected: `has_just_moved` ends."""
        self._moved_at = float("-inf")

    def show(
        self, rows: Sequence[AnyRow | ListRow], *, select: str | None = None, follow: bool = True
    ) -> None:
        """Show these rows. The selection goes to `select`, else stays, else goes to what took its place.

        With `follow` the selected entry is brought into sight.
        """
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
            if self._selected:
                self._moved_at = self._clock()
            self._selected = self._keys[min(at, len(self._keys) - 1)] if self._keys else ""
        self._arrange(moved=self._spans.get(self._selected) != before, follow=follow)

    def select(self, key: str) -> None:
        self.settle()
        if key in self._spans and key != self._selected:
            self._selected = key
            self.repaint()
        self.scroll_to_selected(moved=True)

    def navigate(self, key: str) -> bool:
        """Move the selection as this key does; false for all other keys."""
        match key:
            case "up" | "down":
                self.move(-1 if key == "up" else 1)
            case "pageup" | "pagedown":
                self.move_page(-1 if key == "pageup" else 1)
            case "ctrl+home" | "ctrl+end":
                self.move_to_end(-1 if key == "ctrl+home" else 1)
            case _:
                return False
        return True

    def move(self, step: int) -> None:
        """Select the next entry, or the one before; one that is higher than the view is scrolled through."""
        self.settle()
        if self._scroll_within(step):
            return
        if self._selected in self._spans:
            at = self._keys.index(self._selected) + step
            self.select(self._keys[max(0, min(at, len(self._keys) - 1))])

    def move_page(self, sign: int) -> None:
        """Select the entry a page further."""
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
        """Handle keys in their order: a binding would run before keys that came earlier."""
        if self._take_key is not None and self._take_key(event.key):
            event.stop()
            event.prevent_default()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        offset, row = self._row_at(event)
        is_meant = offset is not None and self.is_aimed_at(offset.y)
        self._pressed = row.key if row is not None and is_meant else ""

    def on_click(self, event: events.Click) -> None:
        """Count a click only if it went down and up on one entry: the list may have moved in between."""
        event.stop()
        offset, row = self._row_at(event)
        if offset is None or row is None or not row.key or row.key != self._pressed:
            return
        again = row.key == self._selected
        self.select(row.key)
        self.post_message(self.Clicked(row, offset.x, again=again))

    def is_aimed_at(self, y: int) -> bool:
        """Whether who presses the mouse on line `y` of the view means the row that is there."""
        return True

    def keys_in_sight(self) -> list[str]:
        """The keys of the lines of the view, "" for one without an entry."""
        top = self.scroll_offset.y
        return [row.key for row in self._rows[top : top + self._height]]

    def _row_at(self, event: events.MouseEvent) -> tuple[Offset | None, AnyRow | ListRow | None]:
        offset = event.get_content_offset(self)
        at = -1 if offset is None else self.scroll_offset.y + offset.y
        return offset, self._rows[at] if 0 <= at < len(self._rows) else None

    # -- layout --

    @property
    def _height(self) -> int:
        return self.scrollable_content_region.height

    def _arrange(self, *, moved: bool, follow: bool = True) -> None:
        size = Size(self.scrollable_content_region.width, len(self._rows))
        if size != self.virtual_size:
            self.set_reactive(ScrollView.virtual_size, size)
            self._scroll_update(size)
            self.refresh()
        if follow:
            self.scroll_to_selected(moved=moved)
        self.repaint()

    def scroll_to_selected(self, *, moved: bool) -> None:
        """Bring the selected entry into sight; if it `moved` and is higher than the view, its beginning."""
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

    def _look_of(self, at: int) -> tuple[Line, bool]:
        """The line at this place, and whether it is shown as selected."""
        if not 0 <= at < len(self._rows):
            return (), False
        row = self._rows[at]
        width = self.scrollable_content_region.width
        shows_selection = self.SELECTS_WITHOUT_FOCUS or self.has_focus
        selected = shows_selection and bool(row.key) and row.key == self._selected
        if isinstance(row, ListRow):
            return row.line(width, selected=selected), selected
        assert self._row_line is not None
        return self._row_line(row, width, selected), selected

    def repaint(self) -> None:
        """Paint those rows in sight again that look different now."""
        top = self.scroll_offset.y
        for y in range(self._height):
            if self._painted.get(y) != self._look_of(top + y):
                self.refresh_line(top + y)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        look = self._painted[y] = self._look_of(self.scroll_offset.y + y)
        line, selected = look
        if not line:
            return Strip.blank(width, self._style(Tone.HINT, selected=False))
        strip = self._strips.get(look)
        if strip is None:
            segments = [Segment(text, self._style(tone, selected=selected)) for text, tone in line]
            strip = self._strips[look] = Strip(segments).adjust_cell_length(width)
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

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    def on_resize(self) -> None:
        self._arrange(moved=True)
        self.post_message(self.Resized())
