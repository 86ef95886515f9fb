"""Requests that wait for a slot, and requests of several event loops at once: nothing leaks or is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from core.cancel import Cancelled, CancelToken
from core.model.messages import FinishReason
from core.model.provider import Closed, Closing, Emit, Finished, ModelRequest, TextDelta
from core.model.settings import ModelSettings, NamedModel, Route, ServerAddress
from providers.routing.slots import ConcurrencyLimit, _Waiter
from tests.providers.harness import request
from tests.providers.routing.routed import ESCAPE, Listened, Stage, router
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script, Stall
from tests.support.waiting import until

if TYPE_CHECKING:
    from providers.client.model_process import ModelProcess


async def hold(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
    """A reply that does not end, but through its token."""
    emit(TextDelta("word"))
    try:
        with token.bind():
            await asyncio.Event().wait()
    except Cancelled:
        emit(Closed(Closing.CLOSED, time.monotonic()))
        raise
    raise AssertionError("unreachable")


@pytest.fixture
def slots() -> ConcurrencyLimit:
    return ConcurrencyLimit(1)


@pytest.mark.promise("R5")
async def test_a_stopped_waiter_leaks_no_slot_and_asks_nobody(model: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer(Script(fault=Stall(after=1)))) as server:
        name = request(PROTOCOLS["openai"], server.url).model
        limited = NamedModel(name, api_base=server.url, concurrent=1)
        asking = router(model, ModelSettings(models={"one": limited}, routes={"r": Route(rotate=("one",))}))
        first = Listened(asking, "r")
        await until(lambda: first.shown)
        second, third = Listened(asking, "one"), Listened(asking, "r")
        assert asking._tree is not None
        (slots,) = asking._tree._slots.values()
        await until(lambda: slots.waiting == 2)
        assert (await second.stop()).how is Closing.NEVER_OPENED
        assert slots.waiting == 1
        assert len(server.exchanges) == 1
        server.script = Script()
        assert (await first.stop()).how is Closing.CLOSED
        await third.finished()
        await Listened(asking, "one").finished()
        assert len(server.exchanges) == 3


@pytest.mark.promise("R5")
async def test_models_of_one_server_share_its_slots() -> None:
    stage = Stage(hold)
    asking = router(stage, ModelSettings(providers={"team": ServerAddress(concurrent=3)}))
    asked = [Listened(asking, f"team/{n}") for n in range(4)]
    await until(lambda: len(stage.asked) == 3)
    assert not asked[3].deltas
    await asked[0].stop()
    await until(lambda: len(stage.asked) == 4)
    assert stage.asked == [f"openai/{n}" for n in range(4)]
    for one in asked[1:]:
        await one.stop()


class Waiter:
    """Somebody who wants a slot, and gives it back when he is let go."""

    def __init__(self, slots: ConcurrencyLimit) -> None:
        self.token = CancelToken("test")
        self.held = asyncio.Event()
        self.let_go = asyncio.Event()
        self.task = asyncio.create_task(self._run(slots))

    async def _run(self, slots: ConcurrencyLimit) -> str:
        try:
            async with slots.acquired(self.token):
                self.held.set()
                await self.let_go.wait()
        except Cancelled:
            return "stopped"
        return "done"


async def queue_of(slots: ConcurrencyLimit, count: int) -> list[Waiter]:
    """The first holds the only slot, the others wait for it."""
    waiters = [Waiter(slots) for _ in range(count)]
    await until(lambda: slots.waiting == count - 1)
    return waiters


@pytest.mark.promise("R5")
@pytest.mark.parametrize("stop_first", [True, False])
@pytest.mark.parametrize("steps", range(4))
async def test_a_slot_that_is_granted_in_the_tick_of_the_stop_goes_to_the_next(
    slots: ConcurrencyLimit, stop_first: bool, steps: int
) -> None:
    """The stop falls before the grant, and each of the first steps of the loop after it."""
    first, second, third = await queue_of(slots, 3)
    if stop_first:
        second.token.cancel(ESCAPE)
    first.let_go.set()
    await until(first.held.is_set)
    for _ in range(steps):
        await asyncio.sleep(0)
    second.token.cancel(ESCAPE)
    second.let_go.set()
    await until(lambda: second.task.done() and third.held.is_set())
    assert await first.task == "done"
    assert (slots.free, slots.waiting) == (0, 0)
    third.let_go.set()
    assert await third.task == "done"
    assert slots.free == 1


@pytest.mark.promise("R5")
async def test_a_slot_that_is_granted_before_the_stop_is_delivered_starts_no_work(
    slots: ConcurrencyLimit,
) -> None:
    """Stopped by another thread: the token is marked at once, the waiting task hears of it a step later."""
    first, second = await queue_of(slots, 2)
    first.let_go.set()
    await first.task
    stopper = threading.Thread(target=second.token.cancel, args=(ESCAPE,))
    stopper.start()
    stopper.join()
    assert await second.task == "stopped"
    assert not second.held.is_set()
    assert slots.free == 1


@pytest.mark.promise("R5")
async def test_a_slot_is_not_granted_to_a_loop_that_is_closed(slots: ConcurrencyLimit) -> None:
    (first,) = await queue_of(slots, 1)
    await until(first.held.is_set)
    closed = asyncio.new_event_loop()
    gone = _Waiter(closed)
    closed.close()
    slots._waiting.append(gone)
    second = Waiter(slots)
    await until(lambda: slots.waiting == 2)
    first.let_go.set()
    second.let_go.set()
    assert await second.task == "done"
    slots._leave(gone)
    assert (slots.free, slots.waiting) == (1, 0)


@pytest.mark.promise("R5", "T5")
async def test_a_waiter_that_is_ended_from_outside_leaks_nothing(slots: ConcurrencyLimit) -> None:
    first, second, third = await queue_of(slots, 3)
    second.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second.task
    # And in the tick of the grant.
    first.let_go.set()
    await first.task
    assert slots.waiting == 0
    third.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third.task
    assert slots.free == 1


@pytest.mark.promise("R5", "T3")
async def test_a_token_that_is_cancelled_already_takes_no_slot() -> None:
    slots, token = ConcurrencyLimit(1), CancelToken("test")
    token.cancel(ESCAPE)
    with pytest.raises(Cancelled):
        async with slots.acquired(token):
            raise AssertionError("unreachable")
    assert slots.free == 1


@pytest.mark.promise("R5")
def test_a_loop_that_has_ended_keeps_no_slot(slots: ConcurrencyLimit) -> None:
    held, ended = threading.Event(), threading.Event()

    async def wait_and_end_with_the_loop() -> None:
        abandoned = Waiter(slots)
        await until(lambda: slots.waiting == 1)
        abandoned.task.cancel()

    async def hold_and_free() -> None:
        async with slots.acquired(CancelToken("test")):
            held.set()
            await asyncio.to_thread(ended.wait)
        assert slots.free == 1

    holder = threading.Thread(target=lambda: asyncio.run(hold_and_free()))
    holder.start()
    held.wait()
    asyncio.run(wait_and_end_with_the_loop())
    ended.set()
    holder.join()
    assert (slots.free, slots.waiting) == (1, 0)


@pytest.mark.promise("R1", "R5")
def test_requests_of_many_loops_share_turns_and_slots() -> None:
    """The turn counts each request that was not stopped, from wherever, and no slot is taken twice."""
    at_once, most, counting = 0, 0, threading.Lock()

    async def play(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        nonlocal at_once, most
        with counting:
            at_once += 1
            most = max(most, at_once)
        await asyncio.sleep(0)
        with counting:
            at_once -= 1
        return Finished(FinishReason.STOP, None, request.model)

    stage = Stage(play)
    routes = {"r": Route(rotate=("team/0", "team/1", "team/2"))}
    asking = router(stage, ModelSettings(providers={"team": ServerAddress(concurrent=3)}, routes=routes))

    async def ask() -> None:
        asked = [Listened(asking, "r") for _ in range(30)]
        for one in asked[::3]:
            await asyncio.sleep(0)
            one.token.cancel(ESCAPE)
        for one in asked:
            await one.outcome()

    loops = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(6)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    assert most <= 3
    answered = len(stage.asked)
    assert asking._tree is not None
    choice = asking._tree.provider_for("r")
    assert getattr(choice, "turn") % 3 == answered % 3  # noqa: B009
