"""Locks between processes: files that are locked with `flock`, so that a crash frees them.

A lock names its holder, and child processes do not inherit it. On a network share `flock` depends on the
server.

Why not the library `filelock` (measured with 3.32.7): the pid could be written only through a private
attribute; it cannot tell whether a lock is held without taking it; where `flock` is missing it falls back to
a lock that survives a crash; and its import takes 80 ms instead of 12.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PROBES = 5
PROBE_S = 0.01
"""Attempts to take a lock. `is_held` takes it for a moment, so that one attempt may fail for no reason."""


class LockHeld(CaesuraError):
    """Another process holds the lock; `pid` is its id, None if it could not be read."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is held by {'another process' if pid is None else f'process {pid}'}.")
        self.pid = pid


class FileLock:
    """A lock that this process holds. Made by `take`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path, *, wait_s: float = PROBES * PROBE_S) -> FileLock:
        """Take the lock; blocks for at most `wait_s` seconds. Raises `LockHeld`, and `OSError` if the file
        cannot be made."""
        make_private_folder(path.parent)
        deadline = time.monotonic() + wait_s
        while (descriptor := _try(path)) is None:
            if time.monotonic() >= deadline:
                raise LockHeld(path, _read_pid(path))
            time.sleep(PROBE_S)
        # The pid is only for messages; a full disk must not cost the lock.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        return cls(path, descriptor)

    def release(self) -> None:
        """Release the lock; idempotent. The file is removed first: a process that has opened it before sees
        that, and tries again."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether this or another process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents, each for its owner alone. Raises `OSError`."""
    if not folder.is_dir():
        make_private_folder(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def _try(path: Path) -> int | None:
    with contextlib.ExitStack() as undo:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        undo.callback(os.close, descriptor)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have removed the file after it was opened here: then the lock means nothing.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                undo.pop_all()
                return descriptor
    return None


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
