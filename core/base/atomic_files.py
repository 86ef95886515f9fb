"""Replace files as a whole, by one rename, or leave them as they were.

All of it blocks. A failure leaves no half-written file and no temporary file.

Not solved: a rename loses hard links, access lists and extended attributes of the old file. A write by
another program in the instant between the last check and the rename is lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
from typing import TYPE_CHECKING

from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Signature(Value):
    """Identifies a file and its state, to tell whether it is still the one that was read."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def signature_of(path: Path) -> Signature | None:
    """The signature of what is at `path`, without following a link; None if there is nothing."""
    try:
        return Signature.of(path.lstat())
    except FileNotFoundError:
        return None


def replace_whole(
    target: Path, content: bytes, claim: Callable[[], None], *, mode: int | None = None
) -> None:
    """Replace the content of `target`, whose links are resolved already.

    `claim` is called just before the rename: if it raises, nothing is changed. The file gets the permission
    bits `mode`, or keeps its own; its owner is kept as far as that is allowed. Missing folders are made.
    Raises `OSError`.
    """
    made: list[Path] = []
    temporary = target.parent / f".caesura-{secrets.token_hex(8)}.tmp"
    try:
        _make_folders(target.parent, made)
        _write_new(temporary, content, target, mode)
        claim()
        temporary.replace(target)
        made.clear()
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make the missing folders and add them to `made`, outermost first."""
    missing = list(itertools.takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        made.append(each)


def _write_new(temporary: Path, content: bytes, like: Path, mode: int | None) -> None:
    created = 0o666 if mode is None else mode
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, created)
    with os.fdopen(descriptor, "wb") as file:
        with contextlib.suppress(FileNotFoundError):
            old = like.stat()
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        if mode is not None:
            os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        # Without it a crash of the machine could leave an empty file.
        os.fsync(descriptor)
