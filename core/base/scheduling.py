"""How soon a thread runs that has something to do, beside other programs that compute."""

from __future__ import annotations

import os
import struct
import sys

_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""The number of Linux' `sched_setattr`, for which not every C library has a function."""
_KEEP_POLICY = 0x08
_SHORT_NS = 100_000
_USUAL = 0


def run_soon() -> None:
    """Have this thread run in short slices, so that it need not wait for the end of another program's.

    On Linux 6.12 and newer a thread that wakes up takes the place of one whose slice is longer. Its share of
    the processor stays the same. Elsewhere nothing changes. Threads and processes that it starts inherit it.
    """
    _set_slice(_SHORT_NS)


def run_as_usual() -> None:
    """Take `run_soon` back for this thread: before it starts a program of somebody else's, or computes."""
    _set_slice(_USUAL)


def _set_slice(nanoseconds: int) -> None:
    number = _SET_ATTRIBUTES.get(os.uname().machine) if sys.platform == "linux" else None
    if number is None:
        return
    import ctypes

    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = struct.pack("IIQiIQQQ", 48, 0, _KEEP_POLICY, nice, 0, nanoseconds, 0, 0)
    # Where the kernel refuses it, as in some sandboxes, everything works as well, a little later.
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)
