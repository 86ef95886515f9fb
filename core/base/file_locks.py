"""Locks between processes that a crash gives free: each is a file that its holder has locked with `flock`.

What it must never do: take a lock that somebody holds, or keep one after the death of its holder. A lock is
not inherited by the programs that are started.

Known limits: `flock` on a network share is what its server makes of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from core.errors import CaesuraError

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PROBES = 5
PROBE_S = 0.01
"""Who looks whether a lock is held has it himself for a moment, so who wants it tries as often as this."""


class LockHeld(CaesuraError):
    """Somebody has the lock; `pid` is the process, if it could be read."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is held by {'another process' if pid is None else f'process {pid}'}.")
        self.pid = pid


class FileLock:
    """A lock that is held. Made by `take`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path, *, wait_s: float = PROBES * PROBE_S) -> FileLock:
        """Blocking, for at most `wait_s` seconds. Raises `LockHeld`, and `OSError` if no file can be made."""
        make_private_folder(path.parent)
        deadline = time.monotonic() + wait_s
        while (descriptor := _try(path)) is None:
            if time.monotonic() >= deadline:
                raise LockHeld(path, _read_pid(path))
            time.sleep(PROBE_S)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        except OSError:
            # It is there for the reader of a message alone; a full disk must not cost the lock.
            pass
        return cls(path, descriptor)

    def release(self) -> None:
        """Idempotent. The file goes first: who opened it before that notices, and tries again."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether somebody, here or in another process, has this lock."""
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
    """With those above it that are missing; what is there stays as it is. Raises `OSError`."""
    if not folder.is_dir():
        make_private_folder(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def _try(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it before may have removed the file after it was opened here: then this is nobody's lock.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
