"""What Esc and Ctrl+C do in a pane, and what happens to single calls: the part of it that stops.

Esc acts on the innermost visible thing (E1): a line of words closes; else a question that has the focus is
denied and the turn stopped; else the list over the transcript closes; else an open question is denied; else
the queue or the panel closes, if it has the focus: one that is merely visible keeps nobody from a stop; else
the turn is stopped. Ctrl+C stops the turn in each of these cases. Which of them it is, `tui.key_state` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from tui.stop_keys import QUIT_WITHIN_S, REWIND_WITHIN_S, IdleEsc, IdlePress
from tui.widgets.pane_parts import PaneParts
from tui.widgets.status_line import EscAction

if TYPE_CHECKING:
    from tui.widgets.panel import Panel

CLEARED_NOTE_S = 5.0
"""How long the status line says how something that was cleared or removed comes back."""


class PaneStopping(PaneParts):
    """See the module."""

    class StopKey(Message):
        """A stop key that has waited for its turn behind what was typed before it."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def show_interrupted(self) -> None:
        """The input thread has stopped the turn: show it in this very frame (E6)."""
        self._refresh_state()

    def action_stop(self) -> None:
        """Esc that came as an ordinary key: nothing was running when it was read, or it closes something."""
        if self._esc() is EscAction.CLOSE:
            self._close_innermost()
        else:
            self._act_in_order("escape")

    def action_interrupt(self) -> None:
        """Ctrl+C that came as an ordinary key."""
        self._act_in_order("ctrl+c")

    def _act_in_order(self, key: str) -> None:
        """Act on a stop key now if there is something to stop, else behind what was typed before it (U1).

        Textual runs these bindings at once, when the composer may still have an Enter in its queue: the turn
        which that starts is the one that is meant.
        """
        if self.stop_keys.stop_or_force(key):
            self._refresh_state()
        else:
            self.prompt.call_later(self.prompt.post_message, self.StopKey(key))

    def on_pane_stopping_stop_key(self, message: StopKey) -> None:
        message.stop()
        if not self.stop_keys.stop_or_force(message.key):
            if message.key == "ctrl+c":
                self._clear_or_quit()
            elif self.prompt.is_empty and self._esc() in (EscAction.NOTHING, EscAction.REWIND):
                self._rewind_on_second_esc()
        self._refresh_state()

    def _clear_or_quit(self) -> None:
        """Ctrl+C while idle: clear; on an empty composer, twice, quit (E2)."""
        if self.stop_keys.aftershock:
            return
        if self.dialogs.words_open:
            self.dialogs.close_words()
        elif self.lists.is_open:
            self.lists.close_innermost()
        elif self.queue.edits:
            self.queue.close_innermost()
        elif self.prompt.clear_undoable():
            self._say("cleared, Ctrl+Z brings it back", for_s=CLEARED_NOTE_S)
        elif self.stop_keys.ctrl_c_while_idle() is IdlePress.QUIT:
            self.quit()
        else:
            self._say("Ctrl+C again quits", for_s=QUIT_WITHIN_S)

    def _rewind_on_second_esc(self) -> None:
        match self.stop_keys.esc_while_idle():
            case IdleEsc.REWIND:
                self.lists.open_rewind(self.keeping)
            case IdleEsc.FIRST:
                # The status line says it for as long as it is so.
                self.set_timer(REWIND_WITHIN_S, self._refresh_state)
            case IdleEsc.AFTERSHOCK:
                pass

    def _close_innermost(self) -> None:
        if self.dialogs.words_open:
            self.dialogs.close_words()
        elif self.lists.is_open:
            self.lists.close_innermost()
        elif self.queue.closes:
            self.queue.close_innermost()
        elif self.screen.focused is not self.panel and self.completion.is_open:
            self.completion.dismiss()
        else:
            self._close_panel()

    def _close_panel(self) -> None:
        self.panel.close()
        self._focus(self.prompt)

    # -- single calls --

    def on_panel_stop_requested(self, message: Panel.StopRequested) -> None:
        message.stop()
        self.stops.press(message.call_id, message.button, "the panel")
        self.panel.wake()

    def on_panel_deadline_moved(self, message: Panel.DeadlineMoved) -> None:
        message.stop()
        self.stops.give_time(message.call_id, message.seconds)
        self.panel.wake()

    def on_panel_kill_requested(self, message: Panel.KillRequested) -> None:
        message.stop()
        self.action_kill_survivors()

    def action_kill_survivors(self) -> None:
        self.run_worker(self._kill_survivors(), group="kill")

    async def _kill_survivors(self) -> None:
        await self.stops.kill_survivors()
        self._refresh_state()
