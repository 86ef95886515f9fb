"""S1 to S3, S7, S9 and S11: what is alive is listed and can be stopped, by its id and from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.model import Phase
from core.operations import (
    CancelAnswer,
    CancelResult,
    Operation,
    OperationError,
    OperationKind,
    OperationState,
    OperationView,
    Registry,
)
from tests.core.blocks import BOUND, USER
from tests.core.sweep import in_thread

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
def test_an_operation_is_listed_from_its_name_to_its_end(end: OperationState) -> None:
    registry = Registry()
    operation = opened(registry, "a")
    assert ids(registry) == [("s", "a")]
    operation.start(Phase.IN_CALL)
    operation.token.cancel(USER)
    assert ids(registry) == [("s", "a")]
    operation.end(end)
    assert ids(registry) == []
    assert opened(registry, "a").call_id == "a"


@pytest.mark.promise("S3")
def test_a_live_id_is_never_taken_over() -> None:
    registry = Registry()
    # The numbered ids that would come next are taken as well.
    operations = [opened(registry, call_id) for call_id in ("a", "a#1", "a#2", "a", "call-4", "", "")]
    elsewhere = opened(registry, "a", session_id="other")
    assert elsewhere.call_id == "a"
    assert len(set(ids(registry))) == 8
    assert all(operation.call_id for operation in operations)
    for operation in operations:
        assert registry.cancel("s", operation.call_id, USER).answer is CancelAnswer.CANCELLED
        assert operation.token.cancelled
    assert not elsewhere.token.cancelled
    for operation in (*operations, elsewhere):
        operation.end(OperationState.CANCELLED)
    assert ids(registry) == []


def test_a_view_tells_what_is_known() -> None:
    registry = Registry()
    parent = CancelToken("turn")
    operation = registry.open("s", OperationKind.STREAM, "model", parent, call_id="a", parent_id="p")
    operation.start(Phase.CONNECTING)
    operation.enter(Phase.STREAMING)
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
def test_the_answers_to_a_stop() -> None:
    registry = Registry()
    forced: list[CancelReason] = []
    operation = opened(registry, "a")
    operation.token.on_force(forced.append)
    assert registry.cancel("s", "never", USER) == CancelResult(CancelAnswer.NOT_FOUND)
    assert registry.cancel("never", "a", USER) == CancelResult(CancelAnswer.NOT_FOUND)
    assert registry.cancel("s", "a", USER) == CancelResult(CancelAnswer.CANCELLED, "shell")
    assert forced == []
    assert registry.cancel("s", "a", AGAIN) == CancelResult(CancelAnswer.ALREADY_CANCELLED, "shell")
    assert forced == [USER]
    operation.end(OperationState.CANCELLED)
    assert registry.cancel("s", "a", AGAIN) == CancelResult(CancelAnswer.NOT_FOUND)
    assert [(record.reason, record.forced) for record in registry.records] == [(USER, True)]


@pytest.mark.promise("S2")
@pytest.mark.parametrize(("session_id", "call_id"), [("", "a"), ("s", ""), ("", "")])
async def test_an_empty_id_is_an_error(session_id: str, call_id: str) -> None:
    registry = Registry()
    operation = opened(registry, "a")
    with pytest.raises(OperationError, match="empty"):
        registry.cancel(session_id, call_id, USER)
    with pytest.raises(OperationError, match="empty"):
        await registry.cancel_and_wait(session_id, call_id, USER, wait=0)
    assert not operation.token.cancelled


@pytest.mark.promise("S11")
def test_a_stop_of_the_turn_is_a_first_stop_of_its_calls() -> None:
    registry = Registry()
    turn = CancelToken("turn")
    operation = opened(registry, "a", parent=turn)
    turn.cancel(USER)
    forced = [operation.token.forced]
    assert registry.cancel("s", "a", AGAIN).answer is CancelAnswer.ALREADY_CANCELLED
    forced += [operation.token.forced, turn.forced]
    assert forced == [False, True, False]


def test_all_of_one_session_are_stopped_and_counted() -> None:
    registry = Registry()
    first, second, other = (opened(registry, session_id=name) for name in ("s", "s", "other"))
    first.token.cancel(USER)
    assert registry.cancel_all("s", AGAIN) == 1
    assert (first.token.reason, second.token.reason, other.token.reason) == (USER, AGAIN, None)


@pytest.mark.promise("S2", "U5")
def test_a_stop_needs_no_lock_that_others_hold() -> None:
    """The stopping threads come to their end while the registry's lock is held; else this test hangs."""
    registry = Registry()
    one, two = opened(registry, "a"), opened(registry, "b")
    one.start(Phase.IN_CALL)
    answers: list[CancelAnswer] = []
    with registry.lock:
        in_thread(lambda: answers.append(registry.cancel("s", "a", USER).answer))
        in_thread(lambda: registry.cancel_all("s", AGAIN))
    assert answers == [CancelAnswer.CANCELLED]
    assert two.token.reason is AGAIN
    assert one.view().state is OperationState.STOPPING


# ---- waiting for the real end


@pytest.mark.promise("S7")
async def test_waiting_for_the_end() -> None:
    registry = Registry()
    operation = opened(registry, "a")
    operation.start(Phase.IN_CALL)
    result = await registry.cancel_and_wait("s", "a", USER, wait=0)
    assert result == CancelResult(CancelAnswer.CANCELLED, "shell")
    result = await registry.cancel_and_wait("s", "a", USER, wait=0.001)
    assert result == CancelResult(CancelAnswer.TIMEOUT, "shell")
    assert [view.state for view in registry.snapshot()] == [OperationState.STOPPING]

    waits = [asyncio.create_task(registry.cancel_and_wait("s", "a", USER, wait=BOUND)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    in_thread(lambda: operation.end(OperationState.CANCELLED))
    assert {result.answer for result in await asyncio.gather(*waits)} == {CancelAnswer.ALREADY_CANCELLED}
    result = await registry.cancel_and_wait("s", "a", USER, wait=BOUND)
    assert result.answer is CancelAnswer.NOT_FOUND


@pytest.mark.promise("S7")
@pytest.mark.parametrize("wait", [-1.0, -0.001, float("inf"), float("nan")])
async def test_a_wait_without_bound_is_an_error_and_stops_nothing(wait: float) -> None:
    registry = Registry()
    operation = opened(registry, "a")
    with pytest.raises(OperationError, match="cannot be waited"):
        await registry.cancel_and_wait("s", "a", USER, wait=wait)
    assert not operation.token.cancelled


@pytest.mark.promise("S7", "S10", "T9")
def test_a_waiter_that_has_given_up_does_not_disturb_the_end() -> None:
    """Its event loop is gone by then, as that of a command from another terminal would be."""
    registry = Registry()
    with opened(registry, "a") as operation:
        operation.start(Phase.IN_CALL)
        answers = [asyncio.run(registry.cancel_and_wait("s", "a", USER, wait=0.001)).answer]

        async def leave_behind() -> None:
            waiter = asyncio.create_task(operation.wait_ended(BOUND))
            await asyncio.sleep(0)
            waiter.cancel()

        asyncio.run(leave_behind())
        loop = asyncio.new_event_loop()
        never_woken = loop.create_task(operation.wait_ended(BOUND))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert answers == [CancelAnswer.TIMEOUT]
    assert not never_woken.done()
    assert operation.state is OperationState.READY
    assert len(registry.records) == 1


# ---- who is told


def test_every_change_is_told_and_told_outside_the_lock() -> None:
    """A listener that waits for another thread which reads the registry must not stop the world."""
    pictures: list[list[tuple[OperationState, Phase]]] = []

    def look() -> None:
        pictures.append([(view.state, view.phase) for view in registry.snapshot()])

    registry = Registry(lambda: in_thread(look))
    born_stopped = CancelToken("turn")
    operation = opened(registry)
    operation.start(Phase.CONNECTING)
    operation.enter(Phase.STREAMING)
    operation.token.cancel(USER)
    operation.end(OperationState.CANCELLED)
    assert pictures == [
        [(OperationState.SCHEDULED, Phase.BEFORE_REQUEST)],
        [(OperationState.RUNNING, Phase.CONNECTING)],
        [(OperationState.RUNNING, Phase.STREAMING)],
        [(OperationState.STOPPING, Phase.STREAMING)],
        [],
    ]
    born_stopped.cancel(USER)
    opened(registry, parent=born_stopped).end(OperationState.CANCELLED)
    assert pictures[-1] == []


def test_a_listener_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("listener")

    registry = Registry(fail)
    with opened(registry) as operation:
        operation.start(Phase.IN_CALL)
        operation.enter(Phase.BACK_OFF)
        operation.token.cancel(USER)
    assert operation.state is OperationState.READY
    assert [record.phase for record in registry.records] == [Phase.BACK_OFF]
    assert "listener" in caplog.text


# ---- many threads


@pytest.mark.promise("S1", "S2", "S3", "S10", "T9")
def test_threads_may_open_stop_and_end_at_once() -> None:
    registry = Registry()
    turn = CancelToken("turn")
    answers: list[CancelAnswer] = []
    failed: list[BaseException] = []
    barrier = threading.Barrier(4)

    def step(call_id: str) -> None:
        with contextlib.suppress(Cancelled), opened(registry, call_id, parent=turn) as operation:
            operation.start(Phase.IN_CALL)
            others = [view.call_id for view in registry.snapshot() if view.call_id != operation.call_id]
            answers.extend(registry.cancel("s", call_id, USER).answer for call_id in others)
            operation.token.check()

    def work() -> None:
        try:
            barrier.wait(BOUND)
            for number in range(100):
                step(f"call-{number % 3}")
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert failed == []
    assert registry.snapshot() == ()
    assert answers.count(CancelAnswer.CANCELLED) >= len(registry.records)
