"""The place over the transcript where one overlay is open at a time.

It is part of the pane and no screen of its own, so that the stop keys, the status line and a question work
beneath it, and the composer keeps its text. It opens and closes overlays and moves the focus with them; what
was chosen goes on to the pane as a message of the overlay.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.lists.base.overlay import Overlay
    from tui.lists.base.sources import CurrentSession, NotesSource, RewindPoints, SessionSource


class Overlays(Widget):
    """Opens one overlay at a time. `return_to` gets the focus when an overlay closes and the widget that
    had it before is gone. `notify` reports a failure whose overlay has closed by then. `now` gives Unix time
    and `clock` the time of `time.monotonic`, both in seconds."""

    DEFAULT_CSS = """
    Overlays {
        display: none;
        layer: lists;
        width: 100%;
        height: 100%;
        background: $background;
    }
    """

    class Changed(Message):
        """An overlay was opened or closed, or something in it: Esc may mean something else now."""

    def __init__(
        self,
        return_to: Widget,
        notify: Callable[[str], object],
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._return_to = return_to
        self._notify = notify
        self._now = now
        self._clock = clock
        self._opened: Overlay | None = None
        self._came_from: Widget | None = None

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def opened(self) -> Overlay | None:
        """The overlay that is open."""
        return self._opened

    @property
    def focus_targets(self) -> list[Widget]:
        """The widgets that Tab reaches here."""
        return [] if self._opened is None else [self._opened.focus_target]

    def open(self, opened: Overlay) -> None:
        """Open an overlay in place of the open one. Raises `CaesuraError` if something there would be
        lost."""
        self.check_unsaved()
        focused = self.screen.focused
        if focused is None or self not in focused.ancestors:
            self._came_from = focused
        before, self._opened = self._opened, opened
        self.display = True
        self.mount(opened)
        opened.assemble()
        opened.take_focus()
        if before is not None:
            before.remove()
        self.post_message(self.Changed())

    # Each of these is imported when it is needed first.

    def open_sessions(self, source: SessionSource, where: CurrentSession) -> None:
        from tui.lists.sessions.session_list import SessionList

        self.open(SessionList(source, where, self._notify, self._now))

    def open_rewind(self, points: RewindPoints) -> None:
        from tui.lists.rewind_list import RewindList

        self.open(RewindList(points, self._now))

    def open_notes(self, source: NotesSource) -> None:
        """Open the notes, or focus them if they are open."""
        from tui.lists.notes_editor import NotesEditor

        if isinstance(self._opened, NotesEditor):
            self._opened.take_focus()
        else:
            self.open(NotesEditor(source, self._notify, self._clock))

    def check_unsaved(self) -> None:
        """Raises `CaesuraError` if text would be lost by closing; the overlay shows that too."""
        if self._opened is not None:
            self._opened.check_unsaved()

    def close_innermost(self) -> None:
        """Close what is open in the overlay, else the overlay itself."""
        if self._opened is None or not self._opened.close_innermost():
            self.close()

    def close(self) -> None:
        """Close the overlay. The focus goes back to where it was before, unless it is elsewhere already."""
        focused = self.screen.focused
        if focused is not None and self in focused.ancestors:
            # Before the removal, at which Textual would choose another widget.
            self.screen.set_focus(self._way_back, scroll_visible=False)
        before, self._opened, self._came_from = self._opened, None, None
        if before is not None:
            before.remove()
        self.display = False
        self.post_message(self.Changed())

    @property
    def _way_back(self) -> Widget:
        """The widget that had the focus before, if it still can have it."""
        back = self._came_from
        is_there = (
            back is not None
            and back.is_attached
            and back.focusable
            and all(node.display for node in back.ancestors_with_self)
        )
        return back if back is not None and is_there else self._return_to

    def fail(self, text: str) -> None:
        """Report that what was chosen cannot be done: in the overlay, or if it has closed, with `notify`."""
        if self._opened is None:
            self._notify(text)
        else:
            self._opened.fail(text)

    def on_overlay_closed(self, message: Overlay.Closed) -> None:
        message.stop()
        if message.opened is self._opened:
            self.close()

    def on_overlay_use_changed(self, message: Overlay.UseChanged) -> None:
        message.stop()
        self.post_message(self.Changed())
