"""Threads of ours run soon, and the programs that they start run as usual."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from core.base.scheduling import _SET_ATTRIBUTES, run_as_usual, run_soon
from tests.support.commands import Run
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 48


def slice_of(thread: int) -> int:
    """The slice of a thread in nanoseconds."""
    buffer = ctypes.create_string_buffer(SIZE)
    number = _SET_ATTRIBUTES[os.uname().machine] + 1
    if ctypes.CDLL(None, use_errno=True).syscall(number, thread, buffer, SIZE, 0):
        raise OSError(ctypes.get_errno(), "sched_getattr")
    return int(struct.unpack("IIQiIQQQ", buffer.raw)[5])


def can_be_short() -> bool:
    """Tried in a thread, whose end takes it back."""
    found: list[int] = []

    def work() -> None:
        run_soon()
        found.append(slice_of(0))

    if sys.platform != "linux" or os.uname().machine not in _SET_ATTRIBUTES:
        return False
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(GENEROUS_S)
    return found == [100_000]


pytestmark = pytest.mark.skipif(not can_be_short(), reason="the kernel knows no slices of a thread's own")


@pytest.fixture
def soon() -> Iterator[None]:
    run_soon()
    yield
    run_as_usual()


def test_a_thread_runs_soon_until_it_runs_as_usual_and_its_niceness_stays() -> None:
    usual, nice = slice_of(0), os.getpriority(os.PRIO_PROCESS, 0)
    run_soon()
    assert slice_of(0) < usual
    run_as_usual()
    assert slice_of(0) == usual
    assert os.getpriority(os.PRIO_PROCESS, 0) == nice


@pytest.mark.usefixtures("soon")
async def test_a_command_runs_as_usual() -> None:
    run = Run(("sh", "-c", "echo ready; sleep 600")).start()
    try:
        await run.up("ready")
        assert run.living
        assert all(slice_of(pid) > slice_of(0) for pid in run.living)
    finally:
        run.stop()
        await until(run.task.done)
