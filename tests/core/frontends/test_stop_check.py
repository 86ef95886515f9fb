"""What the doctor's measure of stops makes of the ends that a provider reports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from core.cancel import Cancelled, CancelToken
from core.frontends.doctor.stop_check import measure_stops
from core.model.messages import UserMessage
from core.model.provider import Closed, Closing, Delta, ModelRequest, TextDelta

if TYPE_CHECKING:
    from core.model.provider import Emit, Finished, ModelInfo


class Unsure:
    """Says of its streams' ends what it is told to say."""

    def __init__(self, closing: Closing) -> None:
        self._closing = closing

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        deltas: tuple[Delta, ...] = (TextDelta("a"), TextDelta("b"))
        for delta in deltas:
            emit(delta)
        reason = token.reason
        assert reason is not None
        emit(Closed(self._closing, reason.at + 0.5))
        raise Cancelled(reason)

    async def describe(self, model: str) -> ModelInfo:
        raise AssertionError


@pytest.mark.parametrize(
    ("closing", "seconds"),
    [
        (Closing.CLOSED, 0.5),
        (Closing.KILLED, 0.5),
        (Closing.UNCONFIRMED, math.inf),
        (Closing.FINISHED, None),
    ],
)
async def test_what_nobody_can_confirm_is_endless_and_what_was_over_is_no_stop(
    closing: Closing, seconds: float | None
) -> None:
    request = ModelRequest("x", (UserMessage("long"),))
    found = await measure_stops(Unsure(closing), request, 2, CancelToken("doctor"))
    assert found == pytest.approx(() if seconds is None else (seconds, seconds))
