"""Waiting for a state that nothing announces, with one bound for all tests."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

GENEROUS_S: Final = 120.0
"""How long a test waits, in seconds, before it is called wrong: enough for a loaded machine."""

STATE: Final = "the state that was waited for"

LOOP_ROUNDS: Final = 20
"""Rounds of the event loop before `until` sleeps between two looks."""


async def until(condition: Callable[[], object], *, what: str = STATE, timeout: float = GENEROUS_S) -> None:
    """Wait for a state that the event loop, a thread or another process brings about. Raises `AssertionError`
    naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    rounds = 0
    await asyncio.sleep(0)  # What was started just before gets its first step.
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout:g} s still not: {what}"
        await asyncio.sleep(0 if rounds < LOOP_ROUNDS else 0.002)
        rounds += 1


def wait_until(
    condition: Callable[[], object],
    *,
    what: str = STATE,
    timeout: float = GENEROUS_S,
    step: float = 0.005,
) -> None:
    """As `until`, for tests without an event loop; looks every `step` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout:g} s still not: {what}"
        time.sleep(step)
