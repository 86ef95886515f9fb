"""The list that is open over the transcript, if any: of sessions, of prompts to go back to, or the notes.

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
    from tui.shelf import MemoryKeeper, RewindPoints, SessionShelf
    from tui.widgets.memory_editor import MemoryEditor
    from tui.widgets.rewind_list import RewindList
    from tui.widgets.session_list import SessionList


class Lists(Widget):
    """See the module. `home` is where the focus goes when a list closes; `tell` says what has failed when its
    list is closed by then; `now` gives Unix time in seconds, and `clock` those of `time.monotonic`."""

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
        self,
        home: Widget,
        tell: Callable[[str], object],
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._home = home
        self._tell = tell
        self._now = now
        self._clock = clock
        self._sessions: SessionList | None = None
        self._rewind: RewindList | None = None
        self._memory: MemoryEditor | None = None

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def stations(self) -> list[Widget]:
        """Where Tab goes here."""
        if self._sessions is not None:
            return [self._sessions.line]
        if self._rewind is not None:
            return [self._rewind.rows]
        return [] if self._memory is None else [self._memory.area]

    def open_sessions(self, shelf: SessionShelf, where: Whereabouts) -> None:
        """Open the list of sessions, in place of what is open. Raises `UnsavedNotes`."""
        # Only who needs it pays for the import.
        from tui.widgets.session_list import SessionList

        self.check_unsaved()
        self._drop()
        self._sessions = SessionList(shelf, where, self._tell, self._now)
        self._show(self._sessions)

    def open_rewind(self, points: RewindPoints) -> None:
        """Open the list of prompts, in place of what is open. Raises `UnsavedNotes`."""
        from tui.widgets.rewind_list import RewindList

        self.check_unsaved()
        self._drop()
        self._rewind = RewindList(points, self._now)
        self._show(self._rewind)

    def open_memory(self, keeper: MemoryKeeper) -> None:
        """Open the notes, in place of what is open; go there if they are open."""
        from tui.widgets.memory_editor import MemoryEditor

        if self._memory is not None:
            self._memory.enter()
            return
        self._drop()
        self._memory = MemoryEditor(keeper, self._tell, self._clock)
        self._show(self._memory)

    def check_unsaved(self) -> None:
        """Raises `UnsavedNotes` if notes are being written that would be lost; says so there too."""
        if self._memory is not None:
            self._memory.check_unsaved()

    def close_innermost(self) -> None:
        """Esc: close what is open in the list, else the list."""
        opened = self._sessions or self._memory
        if opened is None or not opened.close_innermost():
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
        if self._opened is None:
            self._tell(text)
        else:
            self._opened.fail(text)

    def on_session_list_closed(self, message: SessionList.Closed) -> None:
        message.stop()
        self.close()

    def on_memory_editor_closed(self, message: MemoryEditor.Closed) -> None:
        message.stop()
        if message.editor is self._memory:
            self.close()

    def on_session_list_use_changed(self, message: SessionList.UseChanged) -> None:
        message.stop()
        self.post_message(self.Changed())

    @property
    def _opened(self) -> SessionList | RewindList | MemoryEditor | None:
        return self._sessions or self._rewind or self._memory

    def _show(self, opened: SessionList | RewindList | MemoryEditor) -> None:
        self.display = True
        self.mount(opened)
        opened.assemble()
        # At once, unlike `Widget.focus`: what is typed behind the key that led here goes to the list.
        self.screen.set_focus(self.stations[0], scroll_visible=False)
        self.post_message(self.Changed())

    def _drop(self) -> None:
        opened = self._opened
        self._sessions = self._rewind = self._memory = None
        if opened is not None:
            opened.remove()
