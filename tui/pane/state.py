"""What the keys of a pane depend on now, and what follows it: status line, question, queue and gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.operations.events import Status
from tui.base.timers import call_after
from tui.keys.state import EscAction, KeyState, Place, esc_action
from tui.pane.status import status_view
from tui.terminal.interrupt import BOTH_KEYS, InterruptKey

if TYPE_CHECKING:
    from textual.timer import Timer
    from textual.widget import Widget

    from core.session.session import Session
    from tui.keys.stop_keys import StopKeys
    from tui.pane.widgets import PaneWidgets
    from tui.terminal.interrupt import InterruptGate

HINT_S = 5.0
"""Seconds for which the status line shows a hint, such as how something that was removed comes back."""


class PaneState:
    """Reads the state of one pane from its session, widgets and stop keys (U4), which its controllers share.
    It stores only the hint and whether something is written. `gate` is armed while a turn runs."""

    def __init__(
        self, pane: Widget, session: Session, widgets: PaneWidgets, stop_keys: StopKeys, gate: InterruptGate
    ) -> None:
        self.pane = pane
        self.session = session
        self.widgets = widgets
        self.stop_keys = stop_keys
        self._gate = gate
        self._drafting = False
        self._hint: str | None = None
        self._hint_timer: Timer | None = None

    @property
    def key_state(self) -> KeyState:
        """What keys depend on at this moment."""
        session, widgets, stop_keys = self.session, self.widgets, self.stop_keys
        targets = widgets.focus_targets
        focused = widgets.focused
        waiting = session.queue.prompts
        return KeyState(
            status=session.status,
            place=next((place for place, widget in targets if widget is focused), Place.COMPOSER),
            focus_targets=tuple(place for place, _ in targets),
            written=not widgets.prompt.is_empty,
            completing=widgets.prompt.completer.is_open,
            queued=len(waiting),
            editing_next=bool(waiting) and waiting[0].queue_id == session.queue.edited,
            question=widgets.dialogs.question is not None,
            waiting=session.backoffs.soonest is not None,
            refused=bool(session.unkilled.names),
            esc_again=stop_keys.esc_rewinds,
            ctrl_c_again=stop_keys.ctrl_c_quits,
            aftershock=stop_keys.aftershock,
            mode=session.permissions.mode,
        )

    @property
    def esc(self) -> EscAction:
        """What Esc does at this moment."""
        return esc_action(self.key_state)

    def refresh(self) -> None:
        """Update question, queue, gate and status line from the session."""
        if not self.pane.is_attached:
            return
        widgets = self.widgets
        widgets.dialogs.update()
        asked = widgets.dialogs.question is not None
        widgets.queue.set_compact(compact=asked or self.pane.has_class("-low"))
        widgets.queue.update()
        esc = self.esc
        self._set_gate(esc)
        widgets.status_line.show(status_view(self.session, esc, self._hint, drafting=self._drafting))

    def refresh_in(self, seconds: float) -> None:
        """Refresh again when something that depends on time has passed."""
        call_after(self.pane, seconds, self.refresh)

    def draft_changed(self) -> None:
        """Refresh when the composer gets its first letter or loses its last: others change nothing shown."""
        if self._drafting is self.widgets.prompt.is_empty:
            self._drafting = not self._drafting
            self.refresh()

    def hint(self, text: str, seconds: float = HINT_S) -> None:
        """Show a short text in the status line for some seconds."""
        self.drop_hint()
        self._hint = text
        self._hint_timer = call_after(self.pane, seconds, self.drop_hint)
        self.refresh()

    def drop_hint(self) -> None:
        self._hint = None
        if self._hint_timer is not None:
            self._hint_timer.stop()
            self._hint_timer = None
        self.refresh()

    def _set_gate(self, esc: EscAction) -> None:
        if self.session.status is Status.IDLE:
            self._gate.disarm()
        else:
            keys = frozenset({InterruptKey.CTRL_C}) if esc is EscAction.CLOSE else BOTH_KEYS
            self._gate.arm(self.stop_keys.interrupt, keys=keys)
