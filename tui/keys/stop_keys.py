"""What a press of Esc or Ctrl+C means: the first stop, the second, a key bounce, or a request to quit.

`interrupt` also runs in the input thread and must never wait for anything.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from core.cancel import CancelReason, Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.session.session import Session
    from tui.terminal.interrupt import Press

QUIT_WITHIN_S = 2.0
"""Ctrl+C twice within this time quits, if idle and with an empty composer (E2)."""

AFTERSHOCK_S = 0.5
"""Seconds after the end of a stopped turn in which a Ctrl+C was meant for that turn and does nothing."""

KEY_REPEAT_S = 0.15
"""Seconds after a stopping press in which another counts as the same press: a bounce or a double tap."""

REWIND_WITHIN_S = 0.8
"""Esc twice within this time opens the list of prompts to rewind to, if idle and with an empty composer."""


class IdleEsc(Enum):
    """What an Esc means while nothing runs, nothing is open and the composer is empty."""

    AFTERSHOCK = auto()
    FIRST = auto()
    REWIND = auto()


class StopKeys:
    """Stop keys of one session. `clock` returns seconds as `time.monotonic` does."""

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self._first_ctrl_c = float("-inf")
        self._first_esc = float("-inf")
        self._stopped_at = float("-inf")
        # When a turn ended, or the latest Esc that was still meant for it.
        self._quiet_since = float("-inf")
        # Written by the input thread: when the last stop key that stopped something was read.
        self._pressed_at = float("-inf")

    def interrupt(self, press: Press) -> None:
        """Handle a stop key: the first press stops, the next forces. Also runs in the input thread."""
        if self._session.stop(CancelReason(Cause.USER, press.key.value, press.at)):
            self._pressed_at = press.at
        elif press.at - self._pressed_at > KEY_REPEAT_S:
            self._session.force()

    def stop_or_force(self, source: str) -> bool:
        """Stop or force for an ordinary key event; false if there is nothing to stop."""
        return self._session.stop(CancelReason(Cause.USER, source)) or self._session.force()

    def overtook(self, sent_at: float) -> bool:
        """Whether a stop key was read after `sent_at` (`time.monotonic()`), though it was handled first."""
        return sent_at < self._pressed_at

    def turn_started(self) -> None:
        """Forget first presses: Ctrl+C and Esc mean something else now."""
        self._first_ctrl_c = float("-inf")
        self._first_esc = float("-inf")

    def turn_ended(self, *, stopped: bool) -> None:
        """Remember when a turn ended, in any way: a stop key may be pressed before that is visible."""
        self._quiet_since = self._clock()
        if stopped:
            self._stopped_at = self._quiet_since

    @property
    def aftershock(self) -> bool:
        """Whether a press now was meant for the turn that has just been stopped."""
        return self._clock() - self._stopped_at < AFTERSHOCK_S

    @property
    def ctrl_c_quits(self) -> bool:
        """Whether a Ctrl+C now would be the second of two."""
        return self._clock() - self._first_ctrl_c <= QUIT_WITHIN_S

    def count_ctrl_c(self) -> None:
        """Count a press while nothing runs and there is nothing to clear."""
        self._first_ctrl_c = self._clock()

    @property
    def esc_rewinds(self) -> bool:
        """Whether an Esc now would be the second of two."""
        return self._clock() - self._first_esc <= REWIND_WITHIN_S

    def esc_while_idle(self) -> IdleEsc:
        """Count the press: a second one in time rewinds.

        Repeated presses of Esc are meant to stop the turn: a press soon after its end, however it ended, does
        not count, and neither does a press soon after such a press.
        """
        now = self._clock()
        if now - self._quiet_since < AFTERSHOCK_S:
            self._quiet_since = now
            return IdleEsc.AFTERSHOCK
        if self.esc_rewinds:
            self._first_esc = float("-inf")
            return IdleEsc.REWIND
        self._first_esc = now
        return IdleEsc.FIRST
