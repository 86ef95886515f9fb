"""The list that is open over the transcript, if any: of sessions, or of prompts to go back to.

It is part of the pane and no screen of its own, so that the stop keys, the status line and a question go on
to work beneath it, and what stands in the composer stays there. It opens and closes lists and moves the focus
with them; what was chosen goes on to its owner, as a message of the list.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.session_acts import Whereabouts
    from tui.shelf import RewindPoints, SessionShelf
    from tui.widgets.rewind_list import RewindList
    from tui.widgets.session_list import SessionList


class Lists(Widget):
    """See the module. `home` is where the focus goes when a list closes; `tell` says what has failed when its
    list is closed by then; `now` gives Unix time in seconds."""

    DEFAULT_CSS = """
    Lists {
        display: none;
        layer: lists;
        width: 100%;
        height: 100%;
        background: $background;
    }
    """

    class Changed(Message):
        """A list was opened or closed, or something in it: Esc may mean something else now."""

    def __init__(
        self, home: Widget, tell: Callable[[str], object], *, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self._home = home
        self._tell = tell
        self._now = now
        self._sessions: SessionList | None = None
        self._rewind: RewindList | None = None

    @property
    def is_open(self) -> bool:
        return self._sessions is not None or self._rewind is not None

    @property
    def stations(self) -> list[Widget]:
        """Where Tab goes here."""
        sessions, rewind = self._sessions, self._rewind
        return [*([] if sessions is None else [sessions.line]), *([] if rewind is None else [rewind.rows])]

    def open_sessions(self, shelf: SessionShelf, where: Whereabouts) -> None:
        """Open the list of sessions, in place of what is open."""
        # Only who needs it pays for the import.
        from tui.widgets.session_list import SessionList

        self._drop()
        self._sessions = SessionList(shelf, where, self._tell, self._now)
        self._show(self._sessions)

    def open_rewind(self, points: RewindPoints) -> None:
        """Open the list of prompts, in place of what is open."""
        from tui.widgets.rewind_list import RewindList

        self._drop()
        self._rewind = RewindList(points, self._now)
        self._show(self._rewind)

    def close_innermost(self) -> None:
        """Esc: close what is open in the list, else the list."""
        if self._sessions is None or not self._sessions.close_innermost():
            self.close()

    def close(self) -> None:
        """Close whatever list is open; the focus goes home, unless it is elsewhere."""
        was_here = self.screen.focused in self.stations
        self._drop()
        self.display = False
        if was_here:
            self.screen.set_focus(self._home, scroll_visible=False)
        self.post_message(self.Changed())

    def fail(self, text: str) -> None:
        """What was chosen cannot be done: say so in the list, which stays, or elsewhere if it has closed."""
        open_list = self._sessions or self._rewind
        if open_list is None:
            self._tell(text)
        else:
            open_list.fail(text)

    def on_session_list_closed(self, message: SessionList.Closed) -> None:
        message.stop()
        self.close()

    def on_session_list_use_changed(self, message: SessionList.UseChanged) -> None:
        message.stop()
        self.post_message(self.Changed())

    def _show(self, opened: SessionList | RewindList) -> None:
        self.display = True
        self.mount(opened)
        opened.assemble()
        # At once, unlike `Widget.focus`: what is typed behind the key that led here goes to the list.
        self.screen.set_focus(self.stations[0], scroll_visible=False)
        self.post_message(self.Changed())

    def _drop(self) -> None:
        opened = self._sessions or self._rewind
        self._sessions = self._rewind = None
        if opened is not None:
            opened.remove()
