"""S1 to S3, S7, S9 and S11: what is alive is listed and can be stopped, by its id and from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.model.provider import Phase
from core.operations.operation import (
    CancelAnswer,
    CancelResult,
    OperationError,
    OperationKind,
    OperationState,
    OperationView,
)
from core.operations.session_operations import SessionOperations
from tests.support.bound_tasks import USER
from tests.support.cancel_sweep import in_thread
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from core.operations.registry import Operation, Registry

AGAIN = CancelReason(Cause.SIGNAL, "SIGTERM")
ENDS = [state for state in OperationState if not state.live]


def opened(
    registry: Registry, call_id: str = "", *, session_id: str = "s", parent: CancelToken | None = None
) -> Operation:
    parent = parent or CancelToken("turn")
    return registry.open(session_id, OperationKind.CALL, "shell", parent, call_id=call_id)


def ids(registry: Registry) -> list[tuple[str, str]]:
    return [(view.session_id, view.call_id) for view in registry.snapshot()]


# ---- listed under an id, as long as it is alive


@pytest.mark.promise("S1", "S9")
@pytest.mark.parametrize("end", ENDS)
def test_an_operation_is_listed_from_its_name_to_its_end(registry: Registry, end: OperationState) -> None:
    operation = opened(registry, "a")
    assert ids(registry) == [("s", "a")]
    operation.start(Phase.IN_CALL)
    operation.token.cancel(USER)
    assert ids(registry) == [("s", "a")]
    operation.end(end)
    assert ids(registry) == []
    assert opened(registry, "a").call_id == "a"


@pytest.mark.promise("S3")
def test_a_live_id_is_never_taken_over(registry: Registry) -> None:
    # The numbered ids that would come next are taken as well.
    operations = [opened(registry, call_id) for call_id in ("a", "a#1", "a#2", "a", "call-4", "", "")]
    elsewhere = opened(registry, "a", session_id="other")
    assert elsewhere.call_id == "a"
    assert len(set(ids(registry))) == 8
    assert all(operation.call_id for operation in operations)
    for operation in operations:
        assert (
            SessionOperations(registry, "s").cancel(operation.call_id, USER).answer is CancelAnswer.CANCELLED
        )
        assert operation.token.cancelled
    assert not elsewhere.token.cancelled
    for operation in (*operations, elsewhere):
        operation.end(OperationState.CANCELLED)
    assert ids(registry) == []


def test_a_view_tells_what_is_known(registry: Registry) -> None:
    parent = CancelToken("turn")
    operation = registry.open("s", OperationKind.STREAM, "model", parent, call_id="a", parent_id="p")
    operation.start(Phase.CONNECTING)
    operation.phase = Phase.STREAMING
    assert registry.snapshot("s") == (
        OperationView(
            "s",
            "a",
            "p",
            OperationKind.STREAM,
            "model",
            OperationState.RUNNING,
            Phase.STREAMING,
            operation.view().opened_at,
        ),
    )
    assert registry.snapshot("another") == ()


# ---- stopping one


@pytest.mark.promise("S2", "S11")
def test_the_answers_to_a_stop(registry: Registry) -> None:
    forced: list[CancelReason] = []
    operation = opened(registry, "a")
    operation.token.on_force(forced.append)
    assert SessionOperations(registry, "s").cancel("never", USER) == CancelResult(CancelAnswer.NOT_FOUND)
    assert SessionOperations(registry, "never").cancel("a", USER) == CancelResult(CancelAnswer.NOT_FOUND)
    assert SessionOperations(registry, "s").cancel("a", USER) == CancelResult(CancelAnswer.CANCELLED, "shell")
    assert forced == []
    assert SessionOperations(registry, "s").cancel("a", AGAIN) == CancelResult(
        CancelAnswer.ALREADY_CANCELLED, "shell"
    )
    assert forced == [USER]
    operation.end(OperationState.CANCELLED)
    assert SessionOperations(registry, "s").cancel("a", AGAIN) == CancelResult(CancelAnswer.NOT_FOUND)
    assert [(record.reason, record.forced) for record in registry.records] == [(USER, True)]


@pytest.mark.promise("S2")
@pytest.mark.parametrize(("session_id", "call_id"), [("", "a"), ("s", ""), ("", "")])
async def test_an_empty_id_is_an_error(registry: Registry, session_id: str, call_id: str) -> None:
    operation = opened(registry, "a")
    with pytest.raises(OperationError, match="empty"):
        SessionOperations(registry, session_id).cancel(call_id, USER)
    with pytest.raises(OperationError, match="empty"):
        await SessionOperations(registry, session_id).cancel_and_wait(call_id, USER, wait=0)
    assert not operation.token.cancelled


@pytest.mark.promise("S11")
def test_a_stop_of_the_turn_is_a_first_stop_of_its_calls(registry: Registry) -> None:
    turn = CancelToken("turn")
    operation = opened(registry, "a", parent=turn)
    turn.cancel(USER)
    forced = [operation.token.forced]
    assert SessionOperations(registry, "s").cancel("a", AGAIN).answer is CancelAnswer.ALREADY_CANCELLED
    forced += [operation.token.forced, turn.forced]
    assert forced == [False, True, False]


@pytest.mark.promise("S2", "U5")
def test_a_stop_needs_no_lock_that_others_hold(registry: Registry) -> None:
    """The stopping threads come to their end while the registry's lock is held; else this test hangs."""
    one, two = opened(registry, "a"), opened(registry, "b")
    one.start(Phase.IN_CALL)
    answers: list[CancelAnswer] = []
    with registry.lock:
        in_thread(lambda: answers.append(SessionOperations(registry, "s").cancel("a", USER).answer))
        in_thread(lambda: two.token.cancel(AGAIN))
    assert answers == [CancelAnswer.CANCELLED]
    assert two.token.reason is AGAIN
    assert one.view().state is OperationState.STOPPING


# ---- waiting for the real end


@pytest.mark.promise("S7")
async def test_waiting_for_the_end(registry: Registry) -> None:
    operation = opened(registry, "a")
    operation.start(Phase.IN_CALL)
    result = await SessionOperations(registry, "s").cancel_and_wait("a", USER, wait=0)
    assert result == CancelResult(CancelAnswer.CANCELLED, "shell")
    result = await SessionOperations(registry, "s").cancel_and_wait("a", USER, wait=0.001)
    assert result == CancelResult(CancelAnswer.TIMEOUT, "shell")
    assert [view.state for view in registry.snapshot()] == [OperationState.STOPPING]

    waits = [
        asyncio.create_task(SessionOperations(registry, "s").cancel_and_wait("a", USER, wait=GENEROUS_S))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    in_thread(lambda: operation.end(OperationState.CANCELLED))
    assert {result.answer for result in await asyncio.gather(*waits)} == {CancelAnswer.ALREADY_CANCELLED}
    result = await SessionOperations(registry, "s").cancel_and_wait("a", USER, wait=GENEROUS_S)
    assert result.answer is CancelAnswer.NOT_FOUND


@pytest.mark.promise("S7")
@pytest.mark.parametrize("wait", [-1.0, -0.001, float("inf"), float("nan")])
async def test_a_wait_without_bound_is_an_error_and_stops_nothing(registry: Registry, wait: float) -> None:
    operation = opened(registry, "a")
    with pytest.raises(OperationError, match="cannot be waited"):
        await SessionOperations(registry, "s").cancel_and_wait("a", USER, wait=wait)
    assert not operation.token.cancelled


@pytest.mark.promise("S7", "S10", "T9")
def test_a_waiter_that_has_given_up_does_not_disturb_the_end(registry: Registry) -> None:
    """Its event loop is gone by then, as that of a command from another terminal would be."""
    with opened(registry, "a") as operation:
        operation.start(Phase.IN_CALL)
        answers = [
            asyncio.run(SessionOperations(registry, "s").cancel_and_wait("a", USER, wait=0.001)).answer
        ]

        async def leave_behind() -> None:
            waiter = asyncio.create_task(operation.wait_ended(GENEROUS_S))
            await asyncio.sleep(0)
            waiter.cancel()

        asyncio.run(leave_behind())
        loop = asyncio.new_event_loop()
        never_woken = loop.create_task(operation.wait_ended(GENEROUS_S))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert answers == [CancelAnswer.TIMEOUT]
    assert not never_woken.done()
    assert operation.state is OperationState.READY
    assert len(registry.records) == 1


# ---- many threads


@pytest.mark.promise("S1", "S2", "S3", "S10", "T9")
def test_threads_may_open_stop_and_end_at_once(registry: Registry) -> None:
    turn = CancelToken("turn")
    answers: list[CancelAnswer] = []
    failed: list[BaseException] = []
    barrier = threading.Barrier(4)

    def step(call_id: str) -> None:
        with contextlib.suppress(Cancelled), opened(registry, call_id, parent=turn) as operation:
            operation.start(Phase.IN_CALL)
            others = [view.call_id for view in registry.snapshot() if view.call_id != operation.call_id]
            answers.extend(
                SessionOperations(registry, "s").cancel(call_id, USER).answer for call_id in others
            )
            operation.token.check()

    def work() -> None:
        try:
            barrier.wait(GENEROUS_S)
            for number in range(100):
                step(f"call-{number % 3}")
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_S)
    assert failed == []
    assert registry.snapshot() == ()
    assert answers.count(CancelAnswer.CANCELLED) >= len(registry.records)
