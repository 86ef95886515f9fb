"""What is open over the transcript, if anything: sessions, prompts to go back to, notes, models, help.

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
    from tui.widgets.open_list import OpenList


class Lists(Widget):
    """See the module. `home` is where the focus goes when a list closes and the place it came from is gone.
    `tell` says what has failed when its list is closed by then; `now` gives Unix time in seconds, and `clock`
    those of `time.monotonic`."""

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
        self._opened: OpenList | None = None
        self._came_from: Widget | None = None

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def opened(self) -> OpenList | None:
        """The list that is open."""
        return self._opened

    @property
    def stations(self) -> list[Widget]:
        """Where Tab goes here."""
        return [] if self._opened is None else [self._opened.station]

    def open(self, opened: OpenList) -> None:
        """Open a list, in place of what is open. Raises `CaesuraError` if something there would be lost."""
        self.check_unsaved()
        focused = self.screen.focused
        if focused is None or self not in focused.ancestors:
            self._came_from = focused
        before, self._opened = self._opened, opened
        self.display = True
        self.mount(opened)
        opened.assemble()
        # At once, unlike `Widget.focus`: what is typed behind the key that led here goes to the list.
        self.screen.set_focus(opened.station, scroll_visible=False)
        if before is not None:
            before.remove()
        self.post_message(self.Changed())

    # Only who needs one of these pays for its import.

    def open_sessions(self, shelf: SessionShelf, where: Whereabouts) -> None:
        from tui.widgets.session_list import SessionList

        self.open(SessionList(shelf, where, self._tell, self._now))

    def open_rewind(self, points: RewindPoints) -> None:
        from tui.widgets.rewind_list import RewindList

        self.open(RewindList(points, self._now))

    def open_memory(self, keeper: MemoryKeeper) -> None:
        """Open the notes; go there if they are open."""
        from tui.widgets.memory_editor import MemoryEditor

        if isinstance(self._opened, MemoryEditor):
            self._opened.enter()
        else:
            self.open(MemoryEditor(keeper, self._tell, self._clock))

    def check_unsaved(self) -> None:
        """Raises `CaesuraError` if something is being written that would be lost; says so there too."""
        if self._opened is not None:
            self._opened.check_unsaved()

    def close_innermost(self) -> None:
        """Esc: close what is open in the list, else the list."""
        if self._opened is None or not self._opened.close_innermost():
            self.close()

    def close(self) -> None:
        """Close whatever list is open; the focus goes back to where it was before, unless it is elsewhere."""
        focused = self.screen.focused
        if focused is not None and self in focused.ancestors:
            # Before the list goes, which would have Textual choose another place.
            self.screen.set_focus(self._way_back, scroll_visible=False)
        before, self._opened, self._came_from = self._opened, None, None
        if before is not None:
            before.remove()
        self.display = False
        self.post_message(self.Changed())

    @property
    def _way_back(self) -> Widget:
        """Where the focus was before the list was opened, if that can still have it."""
        back = self._came_from
        is_there = (
            back is not None
            and back.is_attached
            and back.focusable
            and all(node.display for node in back.ancestors_with_self)
        )
        return back if back is not None and is_there else self._home

    def fail(self, text: str) -> None:
        """What was chosen cannot be done: say so in the list, which stays, or elsewhere if it has closed."""
        if self._opened is None:
            self._tell(text)
        else:
            self._opened.fail(text)

    def on_open_list_closed(self, message: OpenList.Closed) -> None:
        message.stop()
        if message.opened is self._opened:
            self.close()

    def on_open_list_use_changed(self, message: OpenList.UseChanged) -> None:
        message.stop()
        self.post_message(self.Changed())
