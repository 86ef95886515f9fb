"""How long a request has received nothing, and how long it may: then it is given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.base.values import Value
from core.model.provider import (
    AttemptStarted,
    BackingOff,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from core.model.provider import Delta


class Silence(Value):
    """Nothing has come since `since`, in `time.monotonic()` seconds; after `limit_s` the request is given up.

    `is_begun` means that something of the reply came before.
    """

    since: float
    limit_s: float
    is_begun: bool


class SilenceMonitor:
    """Follows the deltas of an operation. `now` is None while no attempt is under way."""

    def __init__(self) -> None:
        self._idle_s = 0.0
        self.now: Silence | None = None

    def take(self, delta: Delta) -> None:
        """Call it for each delta."""
        match delta:
            case AttemptStarted(first_byte_timeout, idle_timeout):
                self._idle_s = idle_timeout
                self.now = Silence(time.monotonic(), first_byte_timeout, is_begun=False)
            case PhaseChanged(Phase.STREAMING) | TextDelta() | ReasoningDelta() | ToolCallDelta():
                if self.now is not None:
                    self.now = Silence(time.monotonic(), self._idle_s, is_begun=True)
            case BackingOff():
                self.now = None
            case _:
                pass


def latest(silences: list[Silence]) -> Silence | None:
    """The silence of several requests together: that of the one that has received something last."""
    return max(silences, key=lambda silence: silence.since, default=None)
