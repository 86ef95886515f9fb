"""Waiting until an application has nothing to do, in place of the pause by which Textual's pilot guesses it.

Textual sleeps 20 ms for each key and each pause, and longer while the process is at work. Here the event loop
and the screen are asked instead. Work in other threads and timers that are not due do not count: a test waits
for their effect.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import textual.app
import textual.pilot
from textual._context import active_app

if TYPE_CHECKING:
    import pytest
    from textual.app import App

QUIET_ROUNDS: Final = 3
"""Rounds of the loop with nothing to do. In each it has also looked for input and timers that are due."""

ALWAYS_BUSY_S: Final = 1.0
"""When to give up, in seconds, because something comes back in every round of the loop. As in Textual."""


async def until_idle(min_sleep: float = 0, max_sleep: float = ALWAYS_BUSY_S) -> None:
    """Wait until only the caller is ready to run and the screen is drawn. The parameters are those of
    Textual's `wait_for_idle`."""
    until = time.monotonic() + max_sleep
    await _until_quiet(until)
    while _draw(active_app.get()) and time.monotonic() < until:
        await _until_quiet(until)


async def _until_quiet(until: float) -> None:
    loop: Any = asyncio.get_running_loop()
    quiet = 0
    while quiet < QUIET_ROUNDS and time.monotonic() < until:
        await asyncio.sleep(0)
        quiet = 0 if loop._ready else quiet + 1


def _draw(app: App[Any]) -> bool:
    """Draw the next frame, at the new size if it has changed. Returns whether there was anything to draw."""
    if app._resize_timer is not None:
        app._check_resize()
        return True
    if not app._screen_stack or app._batch_count:
        return False
    screen = app.screen
    due = (
        screen._layout_required
        or screen._scroll_required
        or screen._repaint_required
        or screen._recompose_required
        or screen._dirty_widgets
        or screen._callbacks
    )
    if due and screen.is_current:
        screen._on_timer_update()
        return True
    return False


def use_in_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Textual's pilot wait in this way."""
    monkeypatch.setattr(textual.app, "wait_for_idle", until_idle)
    monkeypatch.setattr(textual.pilot, "wait_for_idle", until_idle)
