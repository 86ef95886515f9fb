"""The back-offs of one session that are under way, so that a person can end them; and words for them.

A stop needs none of this: it reaches a wait through its token. This is for the other key, which has the next
attempt made now.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

from core.events import BackOffStarted, ModelFailedOver, ParametersLeftOut
from core.values import dataclass

if TYPE_CHECKING:
    from core.model import Wait


@dataclass(frozen=True, slots=True)
class BackOff:
    """A wait under way, and why, in words."""

    wait: Wait
    why: str


class Waits:
    """Those of one session, by the id of the request's operation; the session's and its sub-agents'."""

    def __init__(self) -> None:
        self._waits: dict[str, BackOff] = {}

    @property
    def soonest(self) -> BackOff | None:
        """The one that is over first."""
        return min(self._waits.values(), key=lambda back_off: back_off.wait.until, default=None)

    def begin(self, call_id: str, back_off: BackOff) -> None:
        self._waits[call_id] = back_off

    def end(self, call_id: str) -> bool:
        """Whether there was one."""
        return self._waits.pop(call_id, None) is not None

    def end_all(self) -> tuple[str, ...]:
        """Forget them all; of which operations they were."""
        ended = tuple(self._waits)
        self._waits.clear()
        return ended

    def skip_all(self) -> bool:
        """Have all that wait try again now; whether any did."""
        waiting = tuple(self._waits.values())
        for back_off in waiting:
            back_off.wait.skip()
        return bool(waiting)


def in_words(event: BackOffStarted | ModelFailedOver | ParametersLeftOut) -> str:
    """A sentence for the person."""
    match event:
        case BackOffStarted():
            seconds = math.ceil(event.seconds)
            which = f"attempt {event.attempt} of {event.attempts}"
            return f"{event.model}: {event.why}. Asked again in {seconds} s, {which}."
        case ModelFailedOver():
            return f"{event.failed}: {event.why}. {event.model} is asked instead."
        case ParametersLeftOut():
            names = " and ".join(event.names)
            return f"{event.model} takes no {names}: it is asked without."
        case _:
            assert_never(event)
