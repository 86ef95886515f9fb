"""A lock has one holder, whoever comes and goes, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from core.base.file_locks import FileLock, LockHeld, is_held

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.promise("H8")
def test_an_error_names_the_holder_of_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = FileLock.take(path)
    assert is_held(path)
    with pytest.raises(LockHeld) as caught:
        FileLock.take(path, wait_s=0)
    assert caught.value.pid == os.getpid()
    lock.release()
    lock.release()
    assert not is_held(path)
    assert not path.exists()


@pytest.mark.promise("H8")
def test_a_file_that_its_holder_has_removed_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it the holder goes, with the file, and somebody else comes."""
    path = tmp_path / "x.lock"
    first = FileLock.take(path)
    others: list[FileLock] = []
    flock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        monkeypatch.undo()
        first.release()
        others.append(FileLock.take(path))
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(LockHeld):
        FileLock.take(path, wait_s=0)
    assert is_held(path)
    others[0].release()
    FileLock.take(path).release()


def test_a_lock_is_private_and_no_program_that_is_started_inherits_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.lock"
    before = os.umask(0)
    try:
        lock = FileLock.take(path)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent)] == [
        0o600,
        0o700,
        0o700,
    ]
    assert lock._descriptor is not None
    assert not os.get_inheritable(lock._descriptor)
    lock.release()


def test_who_looks_does_not_keep_others_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_held(path)
            time.sleep(0.001)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(30):
            FileLock.take(path).release()
    finally:
        stop.set()
        looking.join()
