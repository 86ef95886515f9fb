"""The gate between a press and what it stops."""

from __future__ import annotations

import pytest

from tui.terminal.interrupt import InterruptGate, InterruptKey, Press

ESCAPE, CTRL_C = InterruptKey.ESCAPE, InterruptKey.CTRL_C


@pytest.mark.promise("E1", "E2")
def test_a_dialog_takes_escape_and_leaves_ctrl_c_armed() -> None:
    gate = InterruptGate()
    presses: list[Press] = []
    gate.arm(presses.append, keys=frozenset({CTRL_C}))
    assert gate.press(ESCAPE) is None
    pressed = gate.press(CTRL_C)
    assert presses == [pressed]
    assert gate.armed
    assert not gate.is_armed(ESCAPE)


def test_a_disarmed_gate_presses_nothing() -> None:
    gate = InterruptGate()
    presses: list[Press] = []
    gate.arm(presses.append)
    gate.disarm()
    assert [gate.press(key) for key in InterruptKey] == [None, None]
    assert presses == []
    assert not gate.armed


def test_arming_again_replaces_the_target_and_the_keys() -> None:
    gate = InterruptGate()
    first: list[Press] = []
    second: list[Press] = []
    gate.arm(first.append)
    gate.arm(second.append, keys=frozenset({ESCAPE}))
    gate.press(ESCAPE)
    assert gate.press(CTRL_C) is None
    assert (len(first), len(second)) == (0, 1)


def test_a_target_that_fails_leaves_the_key_to_the_application(caplog: pytest.LogCaptureFixture) -> None:
    def fail(press: Press) -> None:
        raise RuntimeError(press.key.value)

    gate = InterruptGate()
    gate.arm(fail)
    assert gate.press(ESCAPE) is None
    assert "escape" in caplog.text


def test_arming_for_no_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="disarm"):
        InterruptGate().arm(lambda press: None, keys=frozenset())
