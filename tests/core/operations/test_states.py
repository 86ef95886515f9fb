"""S6, S10 and T9: the states of an operation, how it ends, and the record that a stop leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from core.base.errors import CaesuraError
from core.cancel import Cancelled, CancelToken
from core.model.provider import Phase
from core.operations.operation import OperationError, OperationKind, OperationState
from core.operations.registry import Registry
from core.operations.session_operations import SessionOperations
from tests.core.operations.test_registry import AGAIN, ENDS, ids, opened
from tests.support.bound_tasks import USER

LIVE = [state for state in OperationState if state.live]


# ---- states


@pytest.mark.promise("S10")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("second", list(OperationState))
def test_an_operation_ends_once(registry: Registry, end: OperationState, second: OperationState) -> None:
    operation = opened(registry, "a")
    operation.end(end)
    with pytest.raises(OperationError, match="cannot end"):
        operation.end(second)
    assert operation.state is end


@pytest.mark.promise("S10")
@pytest.mark.parametrize("state", LIVE)
def test_a_live_state_is_no_end(registry: Registry, state: OperationState) -> None:
    operation = opened(registry, "a")
    with pytest.raises(OperationError, match="cannot end"):
        operation.end(state)
    assert ids(registry) == [("s", "a")]


@pytest.mark.promise("S10")
def test_the_states_on_the_way(registry: Registry) -> None:
    operation = opened(registry, "a")
    states = [operation.state]
    operation.start(Phase.IN_CALL)
    states.append(operation.state)
    operation.token.cancel(USER)
    states.append(operation.state)
    operation.end(OperationState.CANCELLED)
    states.append(operation.state)
    assert states == [
        OperationState.SCHEDULED,
        OperationState.RUNNING,
        OperationState.STOPPING,
        OperationState.CANCELLED,
    ]


@pytest.mark.promise("S10", "T3")
def test_a_stopped_operation_does_not_start(registry: Registry) -> None:
    parent = CancelToken("turn")
    before = opened(registry, "a", parent=parent)
    parent.cancel(USER)
    after = opened(registry, "b", parent=parent)
    for operation in (before, after):
        with pytest.raises(Cancelled), operation:
            operation.start(Phase.IN_CALL)
        assert operation.state is OperationState.CANCELLED
    assert [record.phase for record in registry.records] == [Phase.BEFORE_REQUEST] * 2


class _Fatal(BaseException):
    pass


ENDINGS: list[tuple[BaseException | None, bool, OperationState]] = [
    (None, False, OperationState.READY),
    (Cancelled(USER), False, OperationState.CANCELLED),
    (asyncio.CancelledError(), False, OperationState.CANCELLED),
    (CaesuraError("no"), False, OperationState.ERROR),
    (LookupError("bug"), False, OperationState.INTERNAL_ERROR),
    (_Fatal("bug"), False, OperationState.INTERNAL_ERROR),
    # S6: it ended by itself in the same tick, so its real result counts.
    (None, True, OperationState.READY),
    (Cancelled(USER), True, OperationState.CANCELLED),
    (asyncio.CancelledError(), True, OperationState.CANCELLED),
    (CaesuraError("no"), True, OperationState.CANCELLED),
    (LookupError("bug"), True, OperationState.CANCELLED),
    (_Fatal("bug"), True, OperationState.INTERNAL_ERROR),
]


@pytest.mark.promise("S6", "S9", "S10", "T9", "U7")
@pytest.mark.parametrize(("error", "stopped", "end"), ENDINGS)
def test_leaving_the_block_is_the_end(
    error: BaseException | None, stopped: bool, end: OperationState, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    registry = Registry()
    caught: BaseException | None = None
    operation = opened(registry, "a")
    try:
        with operation:
            operation.start(Phase.IN_CALL)
            if stopped:
                operation.token.cancel(USER)
            if error is not None:
                raise error
    except BaseException as raised:  # noqa: BLE001 - told apart below
        caught = raised
    assert caught is error, "what ended the block passes through"
    assert operation.state is end
    assert ids(registry) == []
    assert [record.state for record in registry.records] == ([end] if stopped else [])
    if "bug" in str(error):
        assert any(record.exc_info and record.exc_info[1] is error for record in caplog.records)


# ---- the record of a stop


@pytest.mark.promise("T9")
@pytest.mark.parametrize("phase", list(Phase))
def test_a_stop_leaves_one_record_of_who_what_and_where(
    phase: Phase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "caesura.stops")
    registry = Registry()
    turn = CancelToken("turn")
    with contextlib.suppress(Cancelled), opened(registry, "a", parent=turn) as operation:
        operation.start(phase)
        turn.cancel(USER)
        SessionOperations(registry, "s").cancel("a", AGAIN)
        operation.phase = Phase.IN_CALL
        operation.token.check()
    (record,) = registry.records
    assert (record.session_id, record.call_id, record.kind, record.title) == (
        "s",
        "a",
        OperationKind.CALL,
        "shell",
    )
    assert (record.reason, record.phase, record.state, record.forced) == (
        USER,
        phase,
        OperationState.CANCELLED,
        True,
    )
    assert record.confirmed_after_s >= 0
    (line,) = [record.getMessage() for record in caplog.records if record.name == "caesura.stops"]
    for part in ("'shell'", "s/a", phase, "user (escape)", "forced", "cancelled after"):
        assert part in line


@pytest.mark.promise("T9")
def test_without_a_stop_there_is_no_record_and_there_is_a_limit(registry: Registry) -> None:
    with opened(registry):
        pass
    assert not registry.records
    for _ in range(1_001):
        operation = opened(registry)
        operation.token.cancel(USER)
        operation.end(OperationState.CANCELLED)
    assert len(registry.records) == 1_000


@pytest.mark.promise("T9")
@pytest.mark.parametrize("forced", [False, True])
def test_a_stop_in_the_instant_after_the_end_is_recorded_by_who_still_waited(
    registry: Registry, forced: bool
) -> None:
    with opened(registry) as operation:
        operation.settle()
    operation.settle()
    assert not registry.records
    operation.token.cancel(USER)
    if forced:
        operation.token.force()
    operation.settle()
    operation.settle()
    assert [(record.state, record.forced) for record in registry.records] == [(OperationState.READY, forced)]
