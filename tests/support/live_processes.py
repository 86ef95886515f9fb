"""Who is still alive: the processes that a program under test has left behind."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The living children of a process, theirs, and so on; those that left the tree are not among them."""
    children: dict[int, list[int]] = {}
    for line in _ps("-A", "-o", "pid=,ppid=,stat="):
        child, parent, state = line.split()[:3]
        if not state.startswith("Z"):
            children.setdefault(int(parent), []).append(int(child))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        next_ones = children.get(waiting.pop(), [])
        found += next_ones
        waiting += next_ones
    return found


def model_processes(pid: int) -> list[int]:
    """The model processes of a program. Linux only."""
    return [child for child in descendants(pid) if _runs(child, b"providers.worker.")]


def streamer_of(pid: int) -> int:
    """The one process of a program that sends requests and reads replies. Linux only."""
    (found,) = (child for child in descendants(pid) if _runs(child, b"providers.worker.streamer"))
    return found


def _runs(pid: int, module: bytes) -> bool:
    # It may have ended since it was listed.
    with contextlib.suppress(OSError):
        return module in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def marked(assignment: str) -> list[int]:
    """Every living process of this user with `NAME=value` in its environment, daemonised ones included."""
    if sys.platform != "linux":
        listing = _ps("-AEww", "-o", "pid=,command=")
        return [int(line.split(None, 1)[0]) for line in listing if assignment in line]
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if assignment.encode() in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by SIGSTOP."""
    return any(state.strip().startswith("T") for state in _ps("-o", "stat=", "-p", str(pid)))


def _ps(*arguments: str) -> list[str]:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()
