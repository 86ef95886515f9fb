"""The gate between a key press and what it stops.

Purpose: a press of Esc or Ctrl+C has to reach the cancel token while the event loop is busy. The driver's
input thread asks the gate, which calls the armed target in that thread.

It must never wait for a lock, the event loop or a widget, import Textual, or decide what a press means (first
or second press, which turn): the target decides that.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable

from core.base.values import Value

log = logging.getLogger(__name__)


class InterruptKey(enum.Enum):
    """The two keys that may interrupt; no other key can be bound to it, and these cannot be rebound."""

    ESCAPE = "escape"
    CTRL_C = "ctrl+c"


class Press(Value):
    """One press that went to a target instead of to the application's key bindings.

    `at` is in seconds of `time.monotonic`, the clock of `textual.message.Message.time`, so that a handler can
    tell whether a key event was typed before or after the press.
    """

    key: InterruptKey
    at: float


Target = Callable[[Press], None]
"""Called immediately in the input thread. It must return within about a millisecond, must not block, and must
accept a call just after `disarm`: bind it to one turn, for which a late stop changes nothing."""

BOTH_KEYS = frozenset(InterruptKey)


class _Arming(Value):
    target: Target
    keys: frozenset[InterruptKey]


class InterruptGate:
    """Decides whether a press interrupts, and calls the target.

    The event loop calls `arm` and `disarm` whenever focus, turn or an open dialog changes what the keys do;
    each call replaces the whole state. A turn that runs under an open dialog is armed for Ctrl+C alone: Esc
    then closes the dialog as an ordinary key.

    The state is one immutable value that is swapped, so neither side ever waits for the other.
    """

    def __init__(self) -> None:
        self._arming: _Arming | None = None

    def arm(self, target: Target, *, keys: frozenset[InterruptKey] = BOTH_KEYS) -> None:
        """Let the `keys` call `target` from now on.

        Raises ValueError if `keys` is empty: call `disarm` instead.
        """
        if not keys:
            raise ValueError("arm() needs at least one key; use disarm() to let no key interrupt")
        self._arming = _Arming(target, keys)

    def disarm(self) -> None:
        """Make Esc and Ctrl+C ordinary keys."""
        self._arming = None

    @property
    def armed(self) -> bool:
        """Whether either key can interrupt something.

        If so, ESC and a letter in one read are two keys (E5), otherwise an Alt chord.
        """
        return self._arming is not None

    def is_armed(self, key: InterruptKey) -> bool:
        """Whether `key` would call a target now."""
        arming = self._arming
        return arming is not None and key in arming.keys

    def press(self, key: InterruptKey) -> Press | None:
        """Call the target and return the press, or return None if the key is an ordinary one now.

        A target that raises is logged and counts as not pressed, so that the key takes the ordinary way
        through the event loop and has a second chance to stop something.
        """
        arming = self._arming
        if arming is None or key not in arming.keys:
            return None
        press = Press(key, time.monotonic())
        try:
            arming.target(press)
        except Exception:
            log.exception("The target of %s failed; the key goes to the application instead", key.value)
            return None
        return press
