"""The gate between a key press and what it stops.

Why it exists: a press of Esc or Ctrl+C has to reach the cancel token while the event loop is busy. The
driver's input thread asks the gate; the gate calls the armed target right there, in the input thread.

What it must never do: wait for a lock, the event loop or a widget; import Textual; decide what a press means
(first press, second press, which turn: that is the target's business).
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable

from core.values import dataclass

log = logging.getLogger(__name__)


class InterruptKey(enum.Enum):
    """The two keys that may interrupt; no others can be bound to it and these cannot be bound away."""

    ESCAPE = "escape"
    CTRL_C = "ctrl+c"


@dataclass(frozen=True, slots=True)
class Press:
    """One press that went to a target instead of to the application's key bindings.

    `at` is in seconds of `time.monotonic`, the clock of `textual.message.Message.time`, so that a handler can
    tell whether a key event that it handles now was typed before or after the press.
    """

    key: InterruptKey
    at: float


Target = Callable[[Press], None]
"""Called in the input thread, at once. It must return within a millisecond or so, must not block, and must
bear a call that arrives just after `disarm`: bind it to one turn, for which a late stop changes nothing."""

BOTH_KEYS = frozenset(InterruptKey)


@dataclass(frozen=True, slots=True)
class _Arming:
    target: Target
    keys: frozenset[InterruptKey]


class InterruptGate:
    """Says whether a press interrupts, and does it.

    The event loop calls `arm` and `disarm` whenever focus, turn or an open dialog changes what the keys do;
    each call replaces the arming as a whole. A turn that runs under an open dialog is armed for Ctrl+C alone:
    Esc then closes the dialog as an ordinary key.

    The arming is one immutable value that is swapped, so neither side ever waits for the other.
    """

    def __init__(self) -> None:
        self._arming: _Arming | None = None

    def arm(self, target: Target, *, keys: frozenset[InterruptKey] = BOTH_KEYS) -> None:
        """Let the `keys` call `target` from now on.

        Raises ValueError when `keys` is empty: nothing could be pressed, `disarm` says that better.
        """
        if not keys:
            raise ValueError("arm() needs at least one key; use disarm() to let no key interrupt")
        self._arming = _Arming(target, keys)

    def disarm(self) -> None:
        """Let Esc and Ctrl+C be ordinary keys."""
        self._arming = None

    @property
    def armed(self) -> bool:
        """Whether anything can be interrupted, by whichever key.

        While it can, ESC and a letter in one read are two keys (E5), else they are an Alt chord.
        """
        return self._arming is not None

    def is_armed(self, key: InterruptKey) -> bool:
        """Whether `key` would call a target now."""
        arming = self._arming
        return arming is not None and key in arming.keys

    def press(self, key: InterruptKey) -> Press | None:
        """Call the target and return the press, or return None: the key is an ordinary one now.

        A target that raises is logged and counts as not pressed, so that the key still takes the ordinary way
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
