"""How long a request has received nothing, as far as its deltas tell."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.model.provider import (
    AttemptStarted,
    BackingOff,
    Delta,
    FailedOver,
    KeptAlive,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Wait,
)
from core.operations import silence
from core.operations.silence import Silence, SilenceMonitor, latest

STARTED = AttemptStarted(600.0, 60.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands."""
    now = [100.0]
    monkeypatch.setattr(silence, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize(
    "delta",
    [TextDelta("yes"), ReasoningDelta("hm"), ToolCallDelta(0, "{")],
    ids=lambda delta: type(delta).__name__,
)
def test_a_word_ends_a_silence_and_begins_another(clock: list[float], delta: Delta) -> None:
    monitor = SilenceMonitor()
    monitor.take(delta)
    assert monitor.now is None, "nothing is known of how long it may be silent"
    monitor.take(STARTED)
    clock[0] = 110.0
    for no_word in (PhaseChanged(Phase.WAITING_FOR_HEADERS), PhaseChanged(Phase.STREAMING), KeptAlive()):
        monitor.take(no_word)
    assert monitor.now == Silence(100.0, 600.0, is_begun=False)
    monitor.take(delta)
    assert monitor.now == Silence(110.0, 60.0, is_begun=True)
    clock[0] = 120.0
    monitor.take(delta)
    assert monitor.now == Silence(120.0, 60.0, is_begun=True)


def test_a_sign_of_life_is_no_word_and_the_limit_counts_from_it(clock: list[float]) -> None:
    monitor = SilenceMonitor()
    monitor.take(STARTED)
    monitor.take(TextDelta("half of it"))
    clock[0] = 110.0
    monitor.take(KeptAlive())
    assert monitor.now == Silence(100.0, 60.0, is_begun=True, alive_at=110.0)
    monitor.take(TextDelta("the rest"))
    assert monitor.now == Silence(110.0, 60.0, is_begun=True)


def test_a_back_off_is_no_silence_and_the_next_attempt_begins_one(clock: list[float]) -> None:
    monitor = SilenceMonitor()
    monitor.take(STARTED)
    monitor.take(BackingOff(Wait(1_000), 2, 3, "one", "rate limited"))
    assert monitor.now is None
    clock[0] = 130.0
    monitor.take(FailedOver("one", "two", "rate limited"))
    monitor.take(AttemptStarted(30.0, 20.0))
    assert monitor.now == Silence(130.0, 30.0, is_begun=False)


def test_of_several_requests_the_one_counts_that_heard_something_last() -> None:
    assert latest([]) is None
    early, late = Silence(1.0, 600.0, is_begun=False), Silence(2.0, 600.0, is_begun=True)
    assert latest([late, early]) == latest([early, late]) == late
