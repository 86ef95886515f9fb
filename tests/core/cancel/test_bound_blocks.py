"""T4, T5 and T7: what a cancel does to bound code, what passes through it, and clean-up under it."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from core.cancel import Cancelled, CancelToken, shielded
from tests.support.bound_tasks import (
    FOREVER,
    QUIT,
    USER,
    begun,
    block,
    cancel,
    cancelled_with,
    end_of,
    rounds,
)
from tests.support.cancel_sweep import in_thread
from tests.support.waiting import GENEROUS_S


@pytest.mark.promise("T4")
@pytest.mark.parametrize("by_thread", [False, True])
async def test_code_that_swallows_cannot_go_on(turn: CancelToken, by_thread: bool) -> None:
    swallowed = 0
    finished = False

    async def library() -> None:
        nonlocal swallowed, finished
        for _ in range(20):
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.sleep(0)
        finished = True

    async def work() -> None:
        with turn.bind():
            await library()

    task = await begun(work())
    cancel(turn, USER, by_thread=by_thread)
    with anyio.fail_after(GENEROUS_S), pytest.raises(Cancelled):
        await task
    assert swallowed == 20
    assert not finished
    assert task.cancelling() == 0


@pytest.mark.promise("T4", "T5")
async def test_a_block_may_cancel_itself_and_ends_at_its_next_await(turn: CancelToken) -> None:
    log: list[str] = []

    async def work() -> None:
        with turn.bind():
            assert turn.cancel(USER)
            log.append("same step")
            await asyncio.sleep(FOREVER)
            log.append("never")

    with pytest.raises(Cancelled):
        await work()
    assert log == ["same step"]


@pytest.mark.promise("T4")
async def test_a_cancel_within_the_loop_leaves_not_one_more_step(turn: CancelToken) -> None:
    steps = 0

    async def work() -> None:
        nonlocal steps
        with turn.bind():
            while True:
                await asyncio.sleep(0)
                steps += 1

    task = await begun(work())
    before = steps
    turn.cancel(USER)
    assert isinstance(await end_of(task), Cancelled)
    assert steps == before > 0


@pytest.mark.promise("T4", "T8")
async def test_a_block_that_ends_by_itself_in_the_same_tick_has_ended_by_itself(turn: CancelToken) -> None:
    ready = asyncio.get_running_loop().create_future()

    async def work() -> str:
        with turn.bind():
            result: str = await ready
        await asyncio.sleep(0)  # what comes after the block is not the token's any more
        return result

    task = await begun(work())
    ready.set_result("done")
    turn.cancel(USER)
    assert await task == "done"
    assert task.cancelling() == 0


@pytest.mark.promise("T4")
async def test_one_token_bound_in_several_tasks_and_twice_in_one(turn: CancelToken) -> None:
    blocks = [await block(turn), await block(turn, turn), await block(turn)]
    blocks[0].left.set()
    assert await end_of(blocks[0].task) is None
    in_thread(lambda: turn.cancel(USER))
    assert [await cancelled_with(each) for each in blocks[1:]] == [USER, USER]


@pytest.mark.promise("T1", "T4")
async def test_blocks_of_two_loops_in_two_threads(turn: CancelToken) -> None:
    here, inside = await block(turn), threading.Event()
    there: list[object] = []

    async def other_loop() -> None:
        started = await block(turn)
        inside.set()
        there.append(await cancelled_with(started))

    thread = threading.Thread(target=asyncio.run, args=(other_loop(),))
    thread.start()
    assert inside.wait(GENEROUS_S)
    turn.cancel(USER)
    assert await cancelled_with(here) is USER
    thread.join(GENEROUS_S)
    assert there == [USER]


NESTED = ["parent outside", "child outside"]


@pytest.mark.promise("T1", "T4")
@pytest.mark.parametrize("order", NESTED)
@pytest.mark.parametrize("by_thread", [False, True])
async def test_nothing_awaits_between_two_blocks_that_one_cancel_ends(
    turn: CancelToken, call: CancelToken, order: str, by_thread: bool
) -> None:
    outer, inner = (turn, call) if order == NESTED[0] else (call, turn)
    log: list[object] = []

    async def work() -> None:
        with outer.bind():
            try:
                with inner.bind():
                    await asyncio.sleep(FOREVER)
            except Cancelled as stopped:
                log.append(stopped)
            finally:
                log.append("between")
                await asyncio.sleep(0)
                log.append("went on")
        log.append("after")

    task = await begun(work())
    cancel(turn, USER, by_thread=by_thread)
    assert isinstance(await end_of(task), Cancelled)
    assert log == ["between"]
    assert task.cancelling() == 0


@pytest.mark.promise("T1", "T4")
async def test_a_stopped_call_ends_alone_and_its_turn_goes_on(turn: CancelToken, call: CancelToken) -> None:
    with turn.bind():
        asyncio.get_running_loop().call_soon(call.cancel, USER)
        with pytest.raises(Cancelled) as caught, call.bind():
            await asyncio.sleep(FOREVER)
        await rounds()
    assert caught.value.reason is USER
    assert not turn.cancelled


@pytest.mark.promise("T4")
async def test_a_task_group_in_a_block_ends_with_it(turn: CancelToken) -> None:
    cleaned: list[str] = []

    async def member(name: str) -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            with shielded(GENEROUS_S):
                await rounds()
                cleaned.append(name)

    async def work() -> None:
        with turn.bind():
            async with anyio.create_task_group() as group:
                group.start_soon(member, "a")
                group.start_soon(member, "b")
                await member("host")

    task = await begun(work())
    in_thread(lambda: turn.cancel(USER))
    assert isinstance(await end_of(task), Cancelled)
    assert sorted(cleaned) == ["a", "b", "host"]
    assert task.cancelling() == 0


@pytest.mark.promise("T4")
async def test_an_error_of_the_work_is_not_hidden_by_the_cancel(turn: CancelToken) -> None:
    async def broken() -> None:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            raise OSError("disk full") from None

    async def work() -> None:
        with turn.bind():
            async with anyio.create_task_group() as group:
                group.start_soon(broken)

    task = await begun(work())
    turn.cancel(USER)
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert [repr(error) for error in caught.value.exceptions] == ["OSError('disk full')"]


@pytest.mark.promise("T5")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("order", ["outer", "outer, token", "token, outer", "token, turn, outer"])
async def test_an_outer_cancel_passes_through_and_is_not_relabelled(
    turn: CancelToken, call: CancelToken, order: str, nested: bool
) -> None:
    started = await (block(turn, call) if nested else block(call))
    for who in order.split(", "):
        if who == "outer":
            started.task.cancel("application exit")
        else:
            {"token": call, "turn": turn}[who].cancel(USER)
    assert isinstance(await end_of(started.task), asyncio.CancelledError)
    assert started.cancelling == 1, "the outer request is still the task's, and none of ours is left on it"


@pytest.mark.promise("T5")
async def test_a_token_cancelled_during_an_outer_cancels_clean_up_does_not_relabel_it(
    turn: CancelToken,
) -> None:
    cleaned = False

    async def work() -> None:
        nonlocal cleaned
        with turn.bind():
            try:
                await asyncio.sleep(FOREVER)
            finally:
                turn.cancel(USER)
                with shielded(GENEROUS_S):
                    await rounds()
                    cleaned = True
                await asyncio.sleep(0)

    task = await begun(work())
    task.cancel()
    assert isinstance(await end_of(task), asyncio.CancelledError)
    assert cleaned


@pytest.mark.promise("T5")
async def test_a_time_out_inside_a_block_stays_a_time_out(turn: CancelToken) -> None:
    with turn.bind():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(FOREVER)
        with anyio.move_on_after(0) as scope:
            await asyncio.sleep(FOREVER)
        assert scope.cancelled_caught
        await rounds()


@pytest.mark.promise("T5")
async def test_an_outer_scope_is_not_taken_for_the_token(turn: CancelToken) -> None:
    with anyio.CancelScope() as application:
        with turn.bind():
            application.cancel()
            turn.cancel(USER)
            await asyncio.sleep(FOREVER)
        raise AssertionError("the block was left as if nothing had happened")
    assert application.cancelled_caught


@pytest.mark.promise("T7")
@pytest.mark.parametrize("bound", [0, -1, float("inf"), float("nan")])
async def test_a_clean_up_has_a_bound(bound: float) -> None:
    with pytest.raises(ValueError, match="positive, finite bound"):
        shielded(bound)


@pytest.mark.promise("T4", "T7")
@pytest.mark.parametrize("by_thread", [False, True])
async def test_a_shielded_clean_up_finishes_in_a_cancelled_block(
    turn: CancelToken, call: CancelToken, by_thread: bool
) -> None:
    log: list[str] = []

    async def work() -> None:
        with turn.bind(), call.bind():
            try:
                await asyncio.sleep(FOREVER)
            finally:
                with shielded(GENEROUS_S) as scope:
                    await rounds()
                    log.append("cleaned")
                assert not scope.cancelled_caught
                await asyncio.sleep(0)
                log.append("went on after the clean-up")

    task = await begun(work())
    cancel(call, USER, by_thread=by_thread)
    cancel(turn, QUIT, by_thread=by_thread)
    error = await end_of(task)
    assert isinstance(error, Cancelled)
    assert error.reason is QUIT
    assert log == ["cleaned"]
    assert task.cancelling() == 0


@pytest.mark.promise("T7")
async def test_a_clean_up_that_hangs_or_swallows_is_left_when_its_time_is_over(turn: CancelToken) -> None:
    log: list[object] = []
    never = asyncio.Event()

    async def work() -> None:
        with turn.bind():
            try:
                await asyncio.sleep(FOREVER)
            finally:
                with shielded(0.01) as scope:
                    try:
                        await never.wait()
                    except asyncio.CancelledError:
                        await never.wait()
                log.append(scope.cancelled_caught)

    task = await begun(work())
    turn.cancel(USER)
    try:
        assert isinstance(await end_of(task), Cancelled)
    finally:
        never.set()
    assert log == [True]
