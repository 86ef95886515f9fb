"""How long a request has received no word, and how long it may: then it is given up.

A server that reads a long prompt, or whose model thinks unseen, may send pings, comments and empty pieces so
that nobody hangs up. In the middle of a reply they do keep the request. Before its first word they do not: a
gateway goes on pinging for a model that will never answer, and that limit is what ends such a request.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.base.values import Value
from core.model.provider import (
    AttemptStarted,
    BackingOff,
    KeptAlive,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from core.model.provider import Delta


class Silence(Value):
    """No word has come since `since`, in `time.monotonic()` seconds; after `limit_s` the request is given up.

    `is_begun` means that something of the reply came before. Then the limit counts from `alive_at`, the last
    sign of life, if one came after the last word.
    """

    since: float
    limit_s: float
    is_begun: bool
    alive_at: float | None = None


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
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                if self.now is not None:
                    self.now = Silence(time.monotonic(), self._idle_s, is_begun=True)
            case KeptAlive():
                if self.now is not None and self.now.is_begun:
                    self.now = replace(self.now, alive_at=time.monotonic())
            case BackingOff():
                self.now = None
            case _:
                pass


def latest(silences: list[Silence]) -> Silence | None:
    """The silence of several requests together: that of the one that has received something last."""
    return max(silences, key=lambda silence: silence.since, default=None)
