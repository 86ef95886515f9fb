"""The doctor's own measure of stops, over the real model process and the built-in demo model."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.messages import UserMessage
from core.model import Closed, Closing, Delta, ModelRequest, TextDelta
from providers.demo import DemoServer
from providers.stop_check import measure_stops
from tests.providers.harness import until

if TYPE_CHECKING:
    from core.model import Emit, Finished, ModelInfo
    from providers.process import ModelProcess


def long_reply(demo: DemoServer) -> ModelRequest:
    return ModelRequest(demo.model, (UserMessage("long"),), api_base=demo.url)


@pytest.mark.promise("P1", "P2")
async def test_replies_of_the_demo_model_are_stopped_in_mid_stream(model: ModelProcess) -> None:
    with DemoServer() as demo:
        seconds = await measure_stops(model, long_reply(demo), 5, CancelToken("doctor"))
        await until(lambda: len(demo.hang_ups) == 5)
    assert len(seconds) == 5
    assert all(0 < one < math.inf for one in seconds)


@pytest.mark.promise("T3")
async def test_the_measuring_itself_can_be_stopped(model: ModelProcess) -> None:
    token = CancelToken("doctor")
    with DemoServer() as demo:
        task = asyncio.create_task(measure_stops(model, long_reply(demo), 10_000, token))
        await until(lambda: len(demo.hang_ups) > 2)
        token.cancel(CancelReason(Cause.USER, "esc"))
        with pytest.raises(Cancelled):
            await task


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
