"""The one screen of the application: it draws its first frame once, and what a key changes at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.screen import UPDATE_PERIOD, Screen

from tui.app.compositor import LineCompositor

if TYPE_CHECKING:
    from textual import events


class MainScreen(Screen[None]):
    """Textual's screen without the work that the start does not need, some 40 ms before the first key (E3).

    Textual sets the styles of every widget again when a screen is shown, also the first time, just after they
    were set; draws the whole screen again for a size that it has already; and lays it out once more to hide
    the place of its notifications, of which we show none.

    Later, Textual draws with the next beat of a timer. Here what changes after a pause is drawn at once, so
    that a key is not echoed a beat later.
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = LineCompositor()
        self._drawn_at = 0.0

    def on_mount(self) -> None:
        self.query("ToastRack").set(display=False)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        if not self.stack_updates:
            event.refresh_styles = False

    def on_resize(self, event: events.Resize) -> None:
        if self.stack_updates and event.size == self.outer_size:
            event.prevent_default()

    def on_idle(self) -> None:
        """Textual's own handler, which comes after this one, finds nothing to do then."""
        is_rested = time.monotonic() - self._drawn_at >= UPDATE_PERIOD
        # In a batch it would only stop the timer, and nothing would be drawn after it.
        if not is_rested or self.app._batch_count:
            return
        if self._dirty_widgets and not (self._layout_required or self._scroll_required):
            self._on_timer_update()

    def _on_timer_update(self) -> None:
        self._drawn_at = time.monotonic()
        super()._on_timer_update()
