"""T1 to T3, T6 and T8: who is marked, with which reason, who is told, and who is left alone.

What a cancel does to bound code is in `test_cancel_blocks.py`.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING

import anyio
import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from tests.support.bound_tasks import QUIT, USER, block, cancel, cancelled_with, end_of, rounds
from tests.support.cancel_sweep import in_thread
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.promise("T1")
async def test_a_cancel_reaches_the_descendants_and_nobody_else() -> None:
    session = CancelToken("session")
    turn, other_turn = session.child("turn"), session.child("other turn")
    call, sibling = turn.child("call"), turn.child("sibling")
    nested = call.child("nested turn")
    blocks = {token: await block(token) for token in (session, other_turn, turn, call, sibling, nested)}

    assert call.cancel(USER)

    assert {token for token in blocks if token.cancelled} == {call, nested}
    assert await cancelled_with(blocks[call]) == USER
    assert await cancelled_with(blocks[nested]) == USER
    await rounds()
    for token in (session, other_turn, turn, sibling):
        assert not blocks[token].task.done()
        assert token.reason is None
        token.check()
        blocks[token].left.set()
        assert await end_of(blocks[token].task) is None


@pytest.mark.promise("T1")
async def test_a_detached_token_is_out_of_reach() -> None:
    session = CancelToken("session")
    background = CancelToken.detached("title")
    session.cancel(QUIT)
    assert background.parent is None
    assert not background.cancelled
    assert background.cancel(USER)


@pytest.mark.promise("T1")
@pytest.mark.parametrize("bound", ["turn", "call"])
async def test_another_thread_cancels_while_the_loop_stands_still(bound: str) -> None:
    tokens = {"turn": CancelToken("turn")}
    tokens["call"] = tokens["turn"].child("call")
    started = await block(tokens[bound])
    # `in_thread` joins: the cancel has returned although the loop could not answer.
    in_thread(lambda: tokens["turn"].cancel(USER))
    assert all(token.reason is USER for token in tokens.values())
    assert not started.task.done()
    assert await cancelled_with(started) is USER


@pytest.mark.promise("T1")
async def test_a_cancel_waits_for_no_callback_of_another_thread() -> None:
    session = CancelToken("session")
    turn, other = session.child("turn"), session.child("other")
    stuck, go_on = threading.Event(), threading.Event()
    closed: list[str] = []

    def hang(_: CancelReason) -> None:
        stuck.set()
        go_on.wait(GENEROUS_S)

    turn.on_cancel(hang)
    turn.on_cancel(lambda _: closed.append("socket"))
    canceller = threading.Thread(target=turn.cancel, args=(USER,))
    canceller.start()
    assert stuck.wait(GENEROUS_S)

    def work() -> None:
        assert not turn.cancel(QUIT)
        assert closed == ["socket"]  # delivered by the second caller, not left to the stuck one
        assert other.child("call").on_cancel(lambda _: closed.append("call")) is not None
        assert session.cancel(QUIT)
        assert turn.child("late").cancelled

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(GENEROUS_S)
    hung = worker.is_alive()
    go_on.set()
    worker.join()
    canceller.join()
    assert not hung
    assert turn.reason is USER
    assert other.reason is QUIT
    assert closed == ["socket", "call"]


@pytest.mark.promise("T2")
def test_only_the_first_call_counts_and_its_reason_stays(turn: CancelToken, call: CancelToken) -> None:
    assert turn.cancel(USER)
    assert not turn.cancel(QUIT)
    assert not call.cancel(QUIT)
    assert turn.reason is call.reason is USER
    with pytest.raises(Cancelled) as caught:
        call.check()
    assert caught.value.reason is USER


@pytest.mark.promise("T2")
def test_a_child_with_a_reason_of_its_own_keeps_it(turn: CancelToken) -> None:
    call, sibling = turn.child("call"), turn.child("sibling")
    nested = call.child("nested")
    assert call.cancel(USER)
    assert turn.cancel(QUIT)
    assert (call.reason, nested.reason, sibling.reason) == (USER, USER, QUIT)
    assert call.child("late").reason is USER


@pytest.mark.promise("T2")
def test_one_of_many_threads_wins_and_no_one_sees_a_mark_without_reason() -> None:
    for _ in range(50):
        turn = CancelToken("turn")
        nested = turn.child("call").child("nested")
        barrier = threading.Barrier(4)
        reasons = [CancelReason(Cause.USER, str(number)) for number in range(3)]
        won: list[CancelReason] = []
        seen: list[CancelReason | None] = []

        def cancel(
            reason: CancelReason,
            turn: CancelToken = turn,
            barrier: threading.Barrier = barrier,
            won: list[CancelReason] = won,
        ) -> None:
            barrier.wait(GENEROUS_S)
            if turn.cancel(reason):
                won.append(reason)

        threads = [threading.Thread(target=cancel, args=(reason,)) for reason in reasons]
        for thread in threads:
            thread.start()
        barrier.wait(GENEROUS_S)
        while not nested.cancelled:
            pass
        seen.append(nested.reason)
        for thread in threads:
            thread.join()
        assert won == [turn.reason] == seen


@pytest.mark.promise("T3")
async def test_a_late_child_is_born_cancelled_and_its_body_never_runs(turn: CancelToken) -> None:
    turn.cancel(USER)
    late = turn.child("late").child("later")
    ran: list[str] = []
    for token in (turn, late):
        with pytest.raises(Cancelled) as caught, token.bind():
            ran.append("body")
        assert caught.value.reason is USER
    assert ran == []
    await rounds()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


@pytest.mark.promise("T6")
@pytest.mark.parametrize("by_thread", [False, True])
async def test_a_waiter_is_woken_and_a_late_one_returns_at_once(
    turn: CancelToken, call: CancelToken, by_thread: bool
) -> None:
    early = [asyncio.create_task(token.wait_cancelled()) for token in (turn, call, call)]
    gone = asyncio.create_task(call.wait_cancelled())
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await rounds()
    assert not any(task.done() for task in early)
    cancel(turn, USER, by_thread=by_thread)
    gone.cancel()
    await asyncio.wait([gone])
    assert gone.cancelled()
    assert complaints == []
    with anyio.fail_after(GENEROUS_S):
        assert await asyncio.gather(*early) == [USER, USER, USER]
        assert await call.wait_cancelled() is USER
        assert await call.child("late").wait_cancelled() is USER


@pytest.mark.promise("T6")
def test_callbacks_run_once_in_order_and_late_ones_at_once(turn: CancelToken, call: CancelToken) -> None:
    ran: list[tuple[str, CancelReason]] = []

    def note(name: str) -> Callable[[CancelReason], None]:
        return lambda reason: ran.append((name, reason))

    turn.on_cancel(note("first"))
    turn.on_cancel(note("second"))
    call.on_cancel(note("call"))
    taken_back = call.on_cancel(note("taken back"))
    taken_back.close()
    taken_back.close()
    with call.on_cancel(note("left")):
        pass
    turn.cancel(USER)
    turn.cancel(QUIT)
    call.on_cancel(note("late")).close()
    taken_back.close()
    assert ran == [(name, USER) for name in ("first", "second", "call", "late")]


@pytest.mark.promise("T6")
def test_the_same_function_registered_twice_runs_twice(turn: CancelToken) -> None:
    ran: list[CancelReason] = []
    first = turn.on_cancel(ran.append)
    turn.on_cancel(ran.append)
    turn.on_cancel(ran.append)
    first.close()
    turn.cancel(USER)
    assert ran == [USER, USER]


@pytest.mark.promise("T6")
def test_a_callback_that_fails_stops_nobody_else(
    turn: CancelToken, call: CancelToken, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    def fail(_: CancelReason) -> None:
        raise OSError("socket already closed")

    def fail_as_cancelled(_: CancelReason) -> None:
        # What `.result()` of a cancelled future raises; no cancel of whoever cancels the token.
        raise asyncio.CancelledError

    turn.on_cancel(fail)
    turn.on_cancel(fail_as_cancelled)
    turn.on_cancel(lambda _: ran.append("turn"))
    call.on_cancel(lambda _: ran.append("call"))
    assert turn.cancel(USER)
    assert ran == ["turn", "call"]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert all("'turn'" in record.getMessage() for record in caplog.records)


@pytest.mark.promise("T6")
@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_an_exit_raised_by_a_callback_comes_after_all_other_callbacks(
    turn: CancelToken, call: CancelToken, stop: type[BaseException]
) -> None:
    ran: list[str] = []

    def leave(_: CancelReason) -> None:
        raise stop

    for begin in (turn.on_cancel, turn.on_force):
        begin(leave)
    for token in (turn, call):
        token.on_cancel(lambda _, name=token.name: ran.append(name))  # type: ignore[misc]
        token.on_force(lambda _, name=token.name: ran.append(f"{name} forced"))  # type: ignore[misc]
    with pytest.raises(stop):
        turn.cancel(USER)
    assert ran == ["turn", "call"]
    with pytest.raises(stop):
        turn.force()
    assert ran == ["turn", "call", "turn forced", "call forced"]
    for begin in (turn.on_cancel, turn.on_force):
        with pytest.raises(stop):
            begin(leave)
    assert not turn.cancel(USER)
    assert turn.forced


@pytest.mark.promise("T1")
def test_a_deep_chain_of_tokens_is_cancelled_and_forced() -> None:
    root = CancelToken("root")
    chain = [root]
    for depth in range(5_000):
        chain.append(chain[-1].child(f"depth {depth}"))
    assert not chain[-1].forced
    assert root.cancel(USER)
    assert root.force()
    assert all(token.cancelled and token.forced for token in (chain[1], chain[2_500], chain[-1]))


@pytest.mark.promise("T6")
def test_callbacks_may_cancel_make_children_and_register() -> None:
    session = CancelToken("session")
    turn, other = session.child("turn"), session.child("other")
    ran: list[str] = []
    firsts: list[bool] = []
    late: list[CancelToken] = []

    def busy(_: CancelReason) -> None:
        ran.append("busy")
        taken_back.close()
        firsts.extend((turn.cancel(QUIT), other.cancel(QUIT), session.cancel(QUIT)))
        late.append(turn.child("late"))
        turn.on_cancel(lambda _: ran.append("registered by a callback"))

    turn.on_cancel(busy)
    taken_back = turn.on_cancel(lambda _: ran.append("taken back"))
    session.on_cancel(lambda _: ran.append("session"))
    other.on_cancel(lambda _: ran.append("other"))
    turn.cancel(USER)
    assert ran == ["busy", "other", "session", "registered by a callback"]
    assert firsts == [False, True, True]
    assert late[0].reason is USER
    assert (turn.reason, other.reason, session.reason) == (USER, QUIT, QUIT)


@pytest.mark.promise("T1", "S11")
def test_a_second_stop_is_told_to_the_subtree_once_and_to_late_ones_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = CancelToken("session")
    turn, other = session.child("turn"), session.child("other")
    call = turn.child("call")
    told: list[str] = []

    def fail(_: CancelReason) -> None:
        raise OSError("process already gone")

    call.on_force(fail)
    for token in (turn, call, other):
        token.on_force(lambda _, name=token.name: told.append(name))  # type: ignore[misc]
    turn.on_force(lambda _: told.append("taken back")).close()
    assert not turn.force()
    turn.cancel(USER)
    assert (told, turn.forced) == ([], False)
    assert turn.force()
    assert turn.force()
    late = call.child("late")
    late.on_force(lambda reason: told.append(reason.source))
    assert told == ["turn", "call", USER.source]
    assert [token.forced for token in (session, other, turn, call, late)] == [False, False, True, True, True]
    assert len(caplog.records) == 1


@pytest.mark.promise("T6")
async def test_a_waiter_of_a_closed_loop_does_no_harm(
    turn: CancelToken, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[CancelReason] = []
    waiter = turn.wait_cancelled()

    async def start() -> None:
        waiter.send(None)

    in_thread(lambda: asyncio.run(start()))
    turn.on_cancel(ran.append)
    started = await block(turn)
    assert turn.cancel(USER)
    assert ran == [USER]
    assert await cancelled_with(started) is USER
    assert caplog.records == []
    waiter.close()


@pytest.mark.promise("T8")
async def test_an_unused_token_changes_no_result(turn: CancelToken) -> None:
    ran: list[CancelReason] = []

    async def result(*, fail: bool) -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(asyncio.sleep, 0)
            await rounds()
        if fail:
            raise LookupError("no such file")
        return "result"

    current = asyncio.current_task()
    assert current is not None
    with turn.bind(), turn.child("call").bind(), turn.on_cancel(ran.append):
        assert await result(fail=False) == "result"
        with pytest.raises(LookupError, match="no such file"):
            await result(fail=True)
    with pytest.raises(LookupError, match="no such file"), turn.bind():
        await result(fail=True)
    turn.cancel(USER)
    await rounds()
    assert ran == []
    assert current.cancelling() == 0


@pytest.mark.promise("T8")
async def test_forgotten_children_blocks_and_waiters_leave_nothing_behind() -> None:
    session = CancelToken("session")
    kept = session.child("kept")
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(10_000):
        session.child("turn").child("call").on_cancel(print).close()
    for _ in range(1_000):
        with session.bind(), kept.bind():
            pass
        waiter = asyncio.create_task(kept.wait_cancelled())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    session.cancel(USER)
    assert kept.cancelled


@pytest.mark.promise("T6", "T8")
def test_a_token_known_only_by_its_callback_is_still_cancelled_and_then_forgotten() -> None:
    session = CancelToken("session")
    ran: list[CancelReason] = []
    call = session.child("turn").child("call")
    call.on_cancel(ran.append)
    gone = weakref.ref(call)
    del call
    gc.collect()
    assert gone() is not None
    session.cancel(USER)
    gc.collect()
    assert ran == [USER]
    assert gone() is None
