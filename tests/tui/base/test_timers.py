"""A timer that starts too late, as on a busy machine, still calls."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from textual import _time
from textual.app import App

from tui.base.timers import call_after

if TYPE_CHECKING:
    import pytest


async def test_a_late_timer_calls_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = itertools.count(step=3600.0)
    called: asyncio.Queue[None] = asyncio.Queue()
    app = App[None]()
    async with app.run_test():
        with monkeypatch.context() as late:
            # An hour passes each time somebody looks at the clock.
            late.setattr(_time, "get_time", lambda: next(hours))
            timer = call_after(app, 0.001, lambda: called.put_nowait(None))
            async with asyncio.timeout(60):
                await called.get()
            assert timer._task is not None
            await timer._task
    assert called.empty()
