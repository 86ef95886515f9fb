"""What a press of Esc or Ctrl+C is to a session: the first stop, the second, a bounce, or the wish to quit.

`interrupt` runs in the input thread too, and must never wait for anything.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from core.cancel import CancelReason, Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.session import Session
    from tui.interrupt import Press

QUIT_WITHIN_S = 2.0
"""Ctrl+C twice within this time quits, idle and with an empty composer (E2)."""

AFTERSHOCK_S = 0.5
"""A Ctrl+C this soon after the end of a stopped turn was meant for that turn: it does nothing."""

KEY_REPEAT_S = 0.15
"""A stop key this soon after the one that stopped is the same press: a bounce, or a nervous double tap."""


REWIND_WITHIN_S = 0.8
"""Esc twice within this time opens the prompts to go back to, idle and with an empty composer."""


class IdlePress(Enum):
    """What a Ctrl+C means while nothing runs and nothing is left to be cleared."""

    FIRST = auto()
    QUIT = auto()


class IdleEsc(Enum):
    """What an Esc means while nothing runs, nothing is open and the composer is empty."""

    AFTERSHOCK = auto()
    FIRST = auto()
    REWIND = auto()


class StopKeys:
    """Of one session. `clock` gives seconds as `time.monotonic` does."""

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self._first_ctrl_c = float("-inf")
        self._first_esc = float("-inf")
        self._stopped_at = float("-inf")
        # When a turn ended, or an Esc came that was still meant for it.
        self._quiet_since = float("-inf")
        # Written by the input thread: when the last stop key that stopped something was read.
        self._pressed_at = float("-inf")

    def interrupt(self, press: Press) -> None:
        """A press of a stop key: the first stops, the next forces. Runs in the input thread, too."""
        if self._session.stop(CancelReason(Cause.USER, press.key.value, press.at)):
            self._pressed_at = press.at
        elif press.at - self._pressed_at > KEY_REPEAT_S:
            self._session.force()

    def stop_or_force(self, source: str) -> bool:
        """The same for a key that came as an ordinary one; false if there is nothing to stop."""
        return self._session.stop(CancelReason(Cause.USER, source)) or self._session.force()

    def overtook(self, sent_at: float) -> bool:
        """Whether a stop key was read after this, `time.monotonic()`, though it was acted on before."""
        return sent_at < self._pressed_at

    def turn_started(self) -> None:
        """Ctrl+C and Esc have another meaning now, and so would a second one have."""
        self._first_ctrl_c = float("-inf")
        self._first_esc = float("-inf")

    def turn_ended(self) -> None:
        """However it did: who was about to stop it may not have seen that yet."""
        self._quiet_since = self._clock()

    def turn_stopped(self) -> None:
        self._stopped_at = self._clock()

    @property
    def aftershock(self) -> bool:
        """Whether a press at this moment was meant for the turn that has just been stopped."""
        return self._clock() - self._stopped_at < AFTERSHOCK_S

    @property
    def ctrl_c_quits(self) -> bool:
        """Whether a Ctrl+C at this moment would be the second of two."""
        return self._clock() - self._first_ctrl_c <= QUIT_WITHIN_S

    def ctrl_c_while_idle(self) -> IdlePress:
        """Count the presses: the second in time quits."""
        if self.ctrl_c_quits:
            return IdlePress.QUIT
        self._first_ctrl_c = self._clock()
        return IdlePress.FIRST

    @property
    def esc_rewinds(self) -> bool:
        """Whether an Esc at this moment would be the second of two."""
        return self._clock() - self._first_esc <= REWIND_WITHIN_S

    def esc_while_idle(self) -> IdleEsc:
        """Count the presses: the second in time rewinds.

        Whoever hammers on Esc to stop a turn means the turn: a press soon after its end, however it ended,
        counts for nothing, and so does each one soon after such a press.
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
