"""Giving the terminal back when the terminal does not help."""

from __future__ import annotations

import os
import pty
import termios
import threading
import tty
from typing import TYPE_CHECKING

import pytest

from tui.terminal.restore import LEAVE, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.promise("Q3")


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    os.close(slave)
    os.close(master)


def test_only_the_first_restore_does_anything(ends: tuple[int, int]) -> None:
    master, slave = ends
    before = termios.tcgetattr(slave)
    terminal = Terminal(slave, slave)
    assert not terminal.restore()
    terminal.take()
    tty.setraw(slave)
    assert terminal.restore()
    assert not terminal.restore()
    assert termios.tcgetattr(slave) == before
    terminal.output.write("a late frame")
    terminal.output.flush()
    assert os.read(master, 4096) == LEAVE.encode()
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 4096)


def test_a_terminal_that_takes_no_output_does_not_hold_anything_up(ends: tuple[int, int]) -> None:
    _, slave = ends
    before = termios.tcgetattr(slave)
    terminal = Terminal(slave, slave)
    terminal.take()
    tty.setraw(slave)
    frame = threading.Thread(target=terminal.output.write, args=("frame " * 100_000,))
    frame.start()
    assert terminal.restore()
    frame.join()
    assert termios.tcgetattr(slave) == before


def test_a_terminal_that_is_gone_does_not_raise() -> None:
    master, slave = pty.openpty()
    terminal = Terminal(slave, slave)
    terminal.take()
    os.close(master)
    terminal.output.write("a frame")
    terminal.output.flush()
    assert terminal.restore()
    os.close(slave)
