"""The active back-offs of one session, so that a person can have the next attempt made now; texts for them.

A stop needs none of this: it reaches a wait through its token.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

from core.operations.events import BackOffEnded, BackOffStarted, ModelFailedOver, ParametersLeftOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.provider import BackingOff

    Emit = Callable[[BackOffStarted | BackOffEnded], None]


class BackoffRegistry:
    """Active back-offs of a session and its sub-agents, keyed by operation id. `emit` publishes an event."""

    def __init__(self) -> None:
        self._backoffs: dict[str, BackingOff] = {}

    @property
    def soonest(self) -> BackingOff | None:
        """The one that is over first."""
        return min(self._backoffs.values(), key=lambda back_off: back_off.wait.until, default=None)

    def begin(self, turn_id: int | None, call_id: str, delta: BackingOff, emit: Emit) -> None:
        """Begin a back-off; the one before it, if any, is over."""
        self.end(turn_id, call_id, emit)
        self._backoffs[call_id] = delta
        emit(
            BackOffStarted(
                turn_id,
                call_id,
                delta.wait.seconds,
                delta.wait.until,
                delta.attempt,
                delta.attempts,
                delta.failed,
                delta.why,
            )
        )

    def end(self, turn_id: int | None, call_id: str, emit: Emit) -> None:
        if self._backoffs.pop(call_id, None) is not None:
            emit(BackOffEnded(turn_id, call_id))

    def end_all(self, turn_id: int, emit: Emit) -> None:
        for call_id in tuple(self._backoffs):
            self.end(turn_id, call_id, emit)

    def skip_all(self) -> bool:
        """Have all of them try again now; whether there was any."""
        waiting = tuple(self._backoffs.values())
        for back_off in waiting:
            back_off.wait.skip()
        return bool(waiting)


def describe(event: BackOffStarted | ModelFailedOver | ParametersLeftOut) -> str:
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
