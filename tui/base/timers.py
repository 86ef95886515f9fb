"""One-shot timers that cannot be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.message_pump import MessagePump
    from textual.timer import Timer


def call_after(owner: MessagePump, seconds: float, callback: Callable[[], object]) -> Timer:
    """Call `callback` once, `seconds` from now, unless `owner` is removed before that.

    Textual skips the ticks of a timer that come too late, and a timer of `set_timer` has only one: on a busy
    machine, and after a suspended one wakes up, it would never call.
    """
    timer = owner.set_timer(seconds, callback)
    # Its task has not begun yet.
    timer._skip = False
    return timer
