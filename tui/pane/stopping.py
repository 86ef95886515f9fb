"""What Esc and Ctrl+C do in a pane when they come through the event loop.

Esc acts on the innermost visible thing (E1), in the order of `tui.keys.state.esc_action`. Ctrl+C stops the
turn in each of these cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from tui.keys.state import EscAction
from tui.keys.stop_keys import QUIT_WITHIN_S, REWIND_WITHIN_S, IdleEsc

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.pane.focus import PaneFocus
    from tui.pane.state import PaneState


class LateStopKey(Message):
    """A stop key that stopped nothing when it was pressed, behind what was typed before it."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class StopActions:
    """Stops, closes, clears, rewinds or quits. `rewind` opens the prompts to go back to."""

    def __init__(
        self,
        state: PaneState,
        focus: PaneFocus,
        *,
        rewind: Callable[[], object],
        quit_program: Callable[[], object],
    ) -> None:
        self._state = state
        self._widgets = state.widgets
        self._stop_keys = state.stop_keys
        self._focus = focus
        self._rewind = rewind
        self._quit = quit_program

    def escape(self) -> None:
        """Esc as an ordinary key: nothing was running when it was read, or it closes something."""
        if self._state.esc is EscAction.CLOSE:
            self._close_innermost()
        else:
            self._act_in_order("escape")

    def ctrl_c(self) -> None:
        """Ctrl+C as an ordinary key."""
        self._act_in_order("ctrl+c")

    def _act_in_order(self, key: str) -> None:
        """Act on a stop key now if there is something to stop, else behind what was typed before it (U1).

        Textual runs these bindings at once, when the composer may still have an Enter in its queue: the turn
        which that starts is the one that is meant.
        """
        if self._stop_keys.stop_or_force(key):
            self._state.refresh()
        else:
            prompt = self._widgets.prompt
            prompt.call_later(prompt.post_message, LateStopKey(key))

    def act_late(self, key: str) -> None:
        """Act on a `LateStopKey`."""
        if not self._stop_keys.stop_or_force(key):
            if key == "ctrl+c":
                self._clear_or_quit()
            elif self._widgets.prompt.is_empty and self._state.esc in (EscAction.NOTHING, EscAction.REWIND):
                self._rewind_on_second_esc()
        self._state.refresh()

    def _clear_or_quit(self) -> None:
        """Ctrl+C while idle: close or clear; on an empty composer, twice, quit (E2)."""
        widgets = self._widgets
        if self._stop_keys.aftershock:
            return
        if widgets.dialogs.reason_open:
            widgets.dialogs.close_reason()
        elif widgets.lists.is_open:
            widgets.lists.close_innermost()
        elif widgets.queue.edits:
            widgets.queue.close_innermost()
        elif widgets.prompt.clear_undoable():
            self._state.hint("cleared, Ctrl+Z brings it back")
        elif self._stop_keys.ctrl_c_quits:
            self._quit()
        else:
            self._stop_keys.count_ctrl_c()
            self._state.hint("Ctrl+C again quits", QUIT_WITHIN_S)

    def _rewind_on_second_esc(self) -> None:
        match self._stop_keys.esc_while_idle():
            case IdleEsc.REWIND:
                self._rewind()
            case IdleEsc.FIRST:
                # Until then the status line says what a second one does.
                self._state.refresh_in(REWIND_WITHIN_S)
            case IdleEsc.AFTERSHOCK:
                pass

    def _close_innermost(self) -> None:
        widgets = self._widgets
        if widgets.dialogs.reason_open:
            widgets.dialogs.close_reason()
        elif widgets.lists.is_open:
            widgets.lists.close_innermost()
        elif widgets.queue.closes:
            widgets.queue.close_innermost()
        elif widgets.focused is not widgets.panel and widgets.prompt.completer.is_open:
            widgets.prompt.completer.dismiss()
        else:
            self._focus.close_panel()
