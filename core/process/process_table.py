"""The kernel's process table: one process, the descendants of a process, marked processes.

The supervisor of every command imports this module, so it imports only `os` and `sys`, and `subprocess` for
`ps` where there is no /proc. Nothing here waits, sends a signal, or raises for a process that has ended in
the meantime.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

TERM = 15
"""SIGTERM by number: importing `signal` would take a third of the supervisor's start."""

_HAS_PROC = sys.platform == "linux"
_HAS_CHILDREN = _HAS_PROC and os.access(f"/proc/self/task/{os.getpid()}/children", os.R_OK)


class Process:
    """One process. `started` is in clock ticks since boot; pid and `started` together are never used again.

    Without /proc `started` is 0.
    """

    __slots__ = ("group", "name", "parent", "pid", "started", "state")

    def __init__(self, pid: int, name: str, state: str, parent: int, group: int, started: int) -> None:
        self.pid = pid
        self.name = name
        self.state = state
        self.parent = parent
        self.group = group
        self.started = started

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.started

    @property
    def alive(self) -> bool:
        """Whether it has not ended; a zombie has."""
        return self.state not in ("Z", "X")


def look_up(pid: int) -> Process | None:
    """The process with this pid, None if there is none."""
    if not _HAS_PROC:
        return next((process for process in _listed() if process.pid == pid), None)
    stat = _read(f"/proc/{pid}/stat")
    # The name is in brackets and may itself contain brackets and spaces.
    end = stat.rfind(b")")
    if end < 0:
        return None
    fields = stat[end + 2 :].split(b" ", 20)
    name = stat[stat.index(b"(") + 1 : end].decode("utf-8", "replace")
    return Process(pid, name, fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[19]))


def descendants(pid: int) -> list[Process]:
    """Children, grandchildren and so on, parents before children, zombies included.

    A process that forks at the same time may have a child that is missing, so a caller that needs all of them
    looks again.
    """
    return _descendants_by_children(pid) if _HAS_CHILDREN else relatives(pid, ())


def relatives(pid: int, groups: Collection[int]) -> list[Process]:
    """Descendants, the members of these process groups, and their descendants.

    An approximation of the tree where orphans become children of another process.
    """
    children: dict[int, list[Process]] = {}
    found: dict[int, Process] = {}
    for process in everyone():
        children.setdefault(process.parent, []).append(process)
        if process.group in groups and process.pid != pid:
            found[process.pid] = process
    waiting = [pid, *found]
    for parent in waiting:  # the loop appends to it
        fresh = [child for child in children.get(parent, ()) if child.pid not in found]
        found.update((child.pid, child) for child in fresh)
        waiting += [child.pid for child in fresh]
    return list(found.values())


def everyone() -> list[Process]:
    """All processes that this process can see."""
    if not _HAS_PROC:
        return _listed()
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    return [process for pid in pids if (process := look_up(pid)) is not None]


def marked(assignment: str) -> list[Process]:
    """Living processes of this user that were started with `NAME=value` in their environment."""
    if not _HAS_PROC:
        return _listed("-E", mark=assignment)
    mark = assignment.encode()
    return [
        process
        for process in everyone()
        if process.alive and mark in _read(f"/proc/{process.pid}/environ").split(b"\0")
    ]


class SignalDisposition:
    """How a process would react to SIGTERM.

    `ignored`: it ignores the signal, or it is the first process of its own namespace and has no handler.
    `blocked`: it blocks the signal; a thread may still wait for it. `pending`: a SIGTERM was sent, not taken.
    """

    __slots__ = ("blocked", "ignored", "pending")

    def __init__(self, *, ignored: bool, blocked: bool, pending: bool) -> None:
        self.ignored = ignored
        self.blocked = blocked
        self.pending = pending


def signal_disposition(pid: int) -> SignalDisposition:
    """Look up how a process would react to SIGTERM; without /proc all three are false."""
    fields = dict.fromkeys((b"SigIgn", b"SigBlk", b"SigCgt", b"SigPnd", b"ShdPnd"), False)
    inner_first = False
    for line in _read(f"/proc/{pid}/status").split(b"\n"):
        name, _, value = line.partition(b":")
        if name in fields:
            fields[name] = bool(int(value, 16) >> (TERM - 1) & 1)
        elif name == b"NSpid":
            inner_first = value.split()[-1] == b"1"
    return SignalDisposition(
        ignored=fields[b"SigIgn"] or (inner_first and not fields[b"SigCgt"]),
        blocked=fields[b"SigBlk"],
        pending=fields[b"SigPnd"] or fields[b"ShdPnd"],
    )


def _descendants_by_children(pid: int) -> list[Process]:
    found: list[Process] = []
    waiting = [pid]
    for parent in waiting:  # the loop appends to it
        for child in _children(parent):
            process = look_up(child)
            if process is not None:
                found.append(process)
                waiting.append(child)
    return found


def _children(pid: int) -> list[int]:
    try:
        with os.scandir(f"/proc/{pid}/task") as entries:
            threads = [entry.name for entry in entries]
    except OSError:
        return []
    return [
        int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()
    ]


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        # It has ended, or belongs to another user.
        return b""
    finally:
        os.close(fd)


def _listed(*options: str, mark: str = "") -> list[Process]:
    """The table as `ps` prints it, for macOS; only lines that contain `mark`."""
    import subprocess

    columns = "pid=,ppid=,pgid=,stat=,comm=" if not mark else "pid=,ppid=,pgid=,stat=,command="
    argv = ["ps", "-A", "-ww", *options, "-o", columns]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as ps:
        listing, _ = ps.communicate()
    found = []
    for line in listing.splitlines():
        pid, parent, group, state, command = (*line.split(None, 4), "?")[:5]
        if mark in command and int(pid) != ps.pid:
            found.append(Process(int(pid), command.rpartition("/")[2], state[0], int(parent), int(group), 0))
    return found
