"""Everything that is alive in one list, with a button on each row that stops it.

One line-API view, however many rows: it looks at the session ten times a second, only while it is visible and
something is alive, and paints again only rows that have changed. It stops nothing itself: it posts a message
for what the person wants, and shows in the next frame what has become of it.

A click never takes the focus, so that Esc goes on to mean what it meant.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from core.events import Status
from tui.keys import KeyScope, bindings, key_name
from tui.operation_rows import ONE_LINE_FROM, Button, Line, Placed, Tone, button_of, in_tree_order, name_of
from tui.panel_rows import Face, Living, OperationRow, RefusedRow, Row, latest_output, make_rows, row_line
from tui.words import StopWords

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.style import Style
    from textual import events
    from textual.binding import BindingType
    from textual.timer import Timer

    from tui.words import AskWords

LOOK_S = 0.1
"""How often the panel looks at what is alive, in seconds."""

DEADLINE_STEP_S = 30.0
STRIPS_KEPT = 512


MOVED_S = 0.4
"""For so long after the selection went to the next row by itself, because its row ended, no key stops."""


class Panel(ScrollView, can_focus=True):
    """See the module. `clock` is that of the operations, `time.monotonic`."""

    FOCUS_ON_CLICK = False
    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"panel--{tone}" for tone in Tone} | {"panel--selected"}
    DEFAULT_CSS = """
    Panel {
        display: none;
        border: round $border-blurred;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        &:focus { border: round $border; }
        &:focus:nocolor { border: heavy $border; }
        & .panel--name { color: $foreground; text-style: bold; }
        & .panel--detail { color: $foreground 70%; }
        & .panel--running { color: $primary; }
        & .panel--waiting { color: $secondary; }
        & .panel--stopping { color: $text-warning; text-style: bold; }
        & .panel--button { color: $text-warning; text-style: bold; }
        & .panel--force { color: $text-error; text-style: bold reverse; }
        & .panel--output { color: $foreground 70%; }
        & .panel--refused { color: $text-error; text-style: bold; }
        & .panel--hint { color: $foreground 70%; }
        & .panel--selected { background: $surface; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.PANEL)]

    class StopRequested(Message):
        """Stop this operation; `button` is what its row said at that moment."""

        def __init__(self, call_id: str, button: Button) -> None:
            super().__init__()
            self.call_id = call_id
            self.button = button

    class DeadlineMoved(Message):
        """Give this operation so many seconds more, or less."""

        def __init__(self, call_id: str, seconds: float) -> None:
            super().__init__()
            self.call_id = call_id
            self.seconds = seconds

    class KillRequested(Message):
        """Kill what refused to end."""

    def __init__(
        self, living: Living, ask_words: AskWords, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._ask_words = ask_words
        self._living = living
        self._clock = clock
        self._placed: tuple[Placed, ...] = ()
        self._survivors: tuple[tuple[int, str], ...] = ()
        self._unfolded: dict[str, tuple[str, ...]] = {}
        self._rows: list[Row] = []
        self._shown: list[tuple[Line, bool]] = []
        self._width = 0
        self._selected = ""
        self._moved_at = float("-inf")
        self._pressed = ""
        self._strips: LRUCache[tuple[Line, bool], Strip] = LRUCache(STRIPS_KEPT)
        self._styles: dict[tuple[Tone, bool], Style] = {}
        self._timer: Timer | None = None

    def on_mount(self) -> None:
        self._timer = self.set_interval(LOOK_S, self.look, pause=True)

    # -- what the owner does --

    @property
    def is_open(self) -> bool:
        return bool(self.display)

    def open(self) -> None:
        self.display = True
        self.wake()

    def close(self) -> None:
        self.display = False
        if self._timer is not None:
            self._timer.pause()

    def wake(self) -> None:
        """Something may have begun: look again, now and from now on."""
        if self.is_open and self._timer is not None:
            self._timer.resume()
            self.look()

    def look(self) -> None:
        """Show what is alive at this moment."""
        placed = in_tree_order(self._living.operations())
        self._survivors = self._living.survivors
        self._select_again(placed)
        self._placed = placed
        alive = {one.view.call_id for one in placed}
        self._unfolded = {call_id: self._output(call_id) for call_id in self._unfolded if call_id in alive}
        self._arrange()
        if not placed and self._living.status is Status.IDLE and self._timer is not None:
            self._timer.pause()

    # -- what the person does --

    def action_select(self, step: int) -> None:
        keys = self._keys()
        if not keys:
            return
        at = keys.index(self._selected) + step if self._selected in keys else 0
        self._selected = keys[max(0, min(at, len(keys) - 1))]
        self._moved_at = float("-inf")
        self._arrange()
        self._show_selected()

    def action_unfold(self) -> None:
        self._fold_or_unfold(self._selected)

    def action_stop_one(self) -> None:
        if not self._has_just_moved:
            self._stop(self._selected)

    def action_stop_with_words(self) -> None:
        if not self._has_just_moved and (placed := self._find(self._selected)) is not None:
            self._ask_words(StopWords(placed.view.call_id, name_of(placed.view)))

    def action_deadline(self, sign: int) -> None:
        if self._find(self._selected) is not None:
            self.post_message(self.DeadlineMoved(self._selected, sign * DEADLINE_STEP_S))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        row = self._row_at(event)
        self._pressed = "" if row is None else row.key

    def on_click(self, event: events.Click) -> None:
        """A click counts if it goes down and up on one row: a list that moved in between stops nothing."""
        row = self._row_at(event)
        if row is None or not row.key or row.key != self._pressed:
            return
        event.stop()
        line = self._line(row)
        offset = event.get_content_offset(self)
        self._selected = row.key
        if (
            line.button is not None
            and offset is not None
            and offset.x >= self._width - len(line.button.value)
        ):
            self._stop(row.key)
        elif isinstance(row, OperationRow):
            self._fold_or_unfold(row.key)
        self._arrange()

    @property
    def _has_just_moved(self) -> bool:
        """Whether a key was meant for the row that has ended, and not for what took its place."""
        return self._clock() - self._moved_at < MOVED_S

    def _stop(self, key: str) -> None:
        if (placed := self._find(key)) is not None:
            self.post_message(self.StopRequested(key, button_of(placed.view)))
        elif key and any(RefusedRow(*survivor).key == key for survivor in self._survivors):
            self.post_message(self.KillRequested())

    def _fold_or_unfold(self, key: str) -> None:
        if self._find(key) is None:
            return
        if key in self._unfolded:
            del self._unfolded[key]
        else:
            self._unfolded[key] = self._output(key)
        self._arrange()
        self._show_selected()

    # -- what is where --

    def _output(self, call_id: str) -> tuple[str, ...]:
        return latest_output(self._living, call_id, self.scrollable_content_region.height)

    def _find(self, key: str) -> Placed | None:
        return next((placed for placed in self._placed if placed.view.call_id == key), None)

    def _keys(self) -> list[str]:
        """What can be selected, from top to bottom."""
        refused = [RefusedRow(*survivor).key for survivor in self._survivors]
        return [placed.view.call_id for placed in self._placed] + refused

    def _select_again(self, placed: tuple[Placed, ...]) -> None:
        """Keep the selection, or go to what stands in the place of what has ended."""
        before = self._keys()
        at = before.index(self._selected) if self._selected in before else 0
        self._placed = placed
        keys = self._keys()
        if self._selected not in keys:
            if self._selected:
                self._moved_at = self._clock()
            self._selected = keys[min(at, len(keys) - 1)] if keys else ""

    def _arrange(self) -> None:
        """Lay out the rows, and paint again those on the screen that differ."""
        region = self.scrollable_content_region
        self._width = region.width
        if not self._width:
            return
        rows = make_rows(self._placed, self._unfolded, self._survivors, self._width)
        self._rows = rows
        size = Size(self._width, len(rows))
        if size != self.virtual_size:
            self.set_reactive(ScrollView.virtual_size, size)
            self._scroll_update(size)
        top = self.scroll_offset.y
        shown = [self._face(row) for row in rows[top : top + region.height]]
        if len(shown) != len(self._shown):
            self.refresh()
        else:
            for y, (new, old) in enumerate(zip(shown, self._shown, strict=True)):
                if new != old:
                    self.refresh_line(top + y)
        self._shown = shown
        self._title()

    def _title(self) -> None:
        count = len(self._placed)
        self.border_title = f"Running: {count}" if count else "Running"
        full = "x stop · w with words · + - deadline · Enter output · Esc closes"
        keys = full if self._width >= ONE_LINE_FROM else "x stop · w words · + - time · Enter"
        if not count and not self._survivors:
            keys = "Esc closes"
        # Not a string, in which `[stop]` would be markup.
        self.border_subtitle = Content(
            keys if self.has_focus else f"{key_name('pane.toggle_panel')} goes here · or click [stop]"
        )

    def _show_selected(self) -> None:
        places = [at for at, row in enumerate(self._rows) if row.key == self._selected]
        if places:
            top, height = self.scroll_offset.y, self.scrollable_content_region.height
            if places[0] < top or places[-1] >= top + height:
                to = places[0] if places[0] < top else min(places[0], places[-1] - height + 1)
                self.scroll_to(y=to, animate=False)

    def _row_at(self, event: events.MouseEvent) -> Row | None:
        offset = event.get_content_offset(self)
        at = -1 if offset is None else self.scroll_offset.y + offset.y
        return self._rows[at] if 0 <= at < len(self._rows) else None

    # -- painting --

    def _face(self, row: Row) -> tuple[Line, bool]:
        return self._line(row), bool(row.key) and row.key == self._selected and self.has_focus

    def _line(self, row: Row) -> Line:
        selected = row.key == self._selected and self.has_focus
        face = Face(self._width, self._clock(), selected=selected, unfolded=row.key in self._unfolded)
        return row_line(row, face)

    def render_line(self, y: int) -> Strip:
        at = self.scroll_offset.y + y
        if at >= len(self._rows):
            return Strip.blank(self._width, self._style(Tone.HINT, selected=False))
        face = self._shown[y] if y < len(self._shown) else self._face(self._rows[at])
        strip = self._strips.get(face)
        if strip is None:
            line, selected = face
            segments = [
                Segment(piece.text, self._style(piece.tone, selected=selected)) for piece in line.pieces
            ]
            strip = self._strips[face] = Strip(segments).adjust_cell_length(self._width)
        return strip

    def _style(self, tone: Tone, *, selected: bool) -> Style:
        style = self._styles.get((tone, selected))
        if style is None:
            style = self.get_component_rich_style(f"panel--{tone}")
            if selected:
                style += self.get_component_rich_style("panel--selected", partial=True)
            self._styles[tone, selected] = style
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._shown = []
