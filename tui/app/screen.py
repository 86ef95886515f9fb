"""The one screen of the application, which draws its first frame once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from tui.app.compositor import LineCompositor

if TYPE_CHECKING:
    from textual import events


class MainScreen(Screen[None]):
    """Textual's screen without the work that the start does not need, some 40 ms before the first key (E3).

    Textual sets the styles of every widget again when a screen is shown, also the first time, just after they
    were set; draws the whole screen again for a size that it has already; and lays it out once more to hide
    the place of its notifications, of which we show none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = LineCompositor()

    def on_mount(self) -> None:
        self.query("ToastRack").set(display=False)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        if not self.stack_updates:
            event.refresh_styles = False

    def on_resize(self, event: events.Resize) -> None:
        if self.stack_updates and event.size == self.outer_size:
            event.prevent_default()
