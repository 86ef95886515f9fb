"""How long a stop takes on this machine: replies are stopped in mid-stream, over the real model process.

It sends requests only to the given provider, which is the built-in demo model of this machine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.cancel import Cancelled, CancelReason, Cause
from core.model.provider import Closed, Closing, Delta, ReasoningDelta, TextDelta

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from core.model.provider import ModelProvider, ModelRequest

SOURCE = "the doctor"


async def measure_stops(
    provider: ModelProvider, request: ModelRequest, count: int, token: CancelToken
) -> tuple[float, ...]:
    """Stop `count` replies to `request` at their first words, one after the other; the seconds from each stop
    until its connection had been closed, infinite for one that nobody could confirm.

    A reply that ends before it can be stopped is left out, so there may be fewer. Raises `ModelError` when a
    request fails and `Cancelled` when `token` ends all of it.
    """
    seconds: list[float] = []
    for number in range(count):
        token.check()
        stop = _Stop(token, number)
        try:
            await provider.stream(request, stop.token, stop.emit)
        except Cancelled:
            token.check()
        if stop.seconds is not None:
            seconds.append(stop.seconds)
    return tuple(seconds)


class _Stop:
    """One reply, stopped at its first words or thoughts."""

    def __init__(self, parent: CancelToken, number: int) -> None:
        self.token = parent.child(f"measured stop {number}")
        self.seconds: float | None = None

    def emit(self, delta: Delta) -> None:
        match delta:
            case TextDelta() | ReasoningDelta():
                self.token.cancel(CancelReason(Cause.CLIENT, SOURCE))
            case Closed(how, at) if (reason := self.token.reason) is not None:
                if how not in (Closing.NEVER_OPENED, Closing.FINISHED):
                    self.seconds = math.inf if how is Closing.UNCONFIRMED else at - reason.at
            case _:
                pass
