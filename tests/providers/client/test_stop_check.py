"""The doctor's own measure of stops, over the real model process and the built-in demo model."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.frontends.doctor.stop_check import measure_stops
from core.model.messages import UserMessage
from core.model.provider import ModelRequest
from providers.demo.server import DemoServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from providers.client.model_process import ModelProcess
    from providers.demo.script import Progress


def long_reply(demo: DemoServer) -> ModelRequest:
    return ModelRequest(demo.model, (UserMessage("long"),), api_base=demo.url)


@pytest.mark.promise("P1", "P2")
async def test_replies_of_the_demo_model_are_stopped_in_mid_stream(model: ModelProcess) -> None:
    hang_ups: list[Progress] = []
    with DemoServer(on_hang_up=hang_ups.append) as demo:
        seconds = await measure_stops(model, long_reply(demo), 5, CancelToken("doctor"))
        await until(lambda: len(hang_ups) == 5)
    assert len(seconds) == 5
    assert all(0 < one < math.inf for one in seconds)


@pytest.mark.promise("T3")
async def test_the_measuring_itself_can_be_stopped(model: ModelProcess) -> None:
    token = CancelToken("doctor")
    hang_ups: list[Progress] = []
    with DemoServer(on_hang_up=hang_ups.append) as demo:
        task = asyncio.create_task(measure_stops(model, long_reply(demo), 10_000, token))
        await until(lambda: len(hang_ups) > 2)
        token.cancel(CancelReason(Cause.USER, "esc"))
        with pytest.raises(Cancelled):
            await task
