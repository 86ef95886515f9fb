"""The slices of the processor in which threads run, where Linux lets a thread have its own."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading

import pytest

from core.base.scheduling import _SET_ATTRIBUTES, _SHORT_NS, run_soon
from tests.support.waiting import GENEROUS_S

SIZE = 48


def slice_of(thread: int) -> int:
    """The slice of a thread in nanoseconds; 0 is the one that asks."""
    buffer = ctypes.create_string_buffer(SIZE)
    number = _SET_ATTRIBUTES[os.uname().machine] + 1
    if ctypes.CDLL(None, use_errno=True).syscall(number, thread, buffer, SIZE, 0):
        raise OSError(ctypes.get_errno(), "sched_getattr")
    return int(struct.unpack("IIQiIQQQ", buffer.raw)[5])


def is_short(thread: int) -> bool:
    return slice_of(thread) == _SHORT_NS


def _can_be_short() -> bool:
    """Tried in a thread, whose end takes it back."""
    found: list[bool] = []

    def work() -> None:
        run_soon()
        found.append(is_short(0))

    if sys.platform != "linux" or os.uname().machine not in _SET_ATTRIBUTES:
        return False
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(GENEROUS_S)
    return found == [True]


NEEDS_SLICES = pytest.mark.skipif(not _can_be_short(), reason="the kernel knows no slices of a thread's own")
