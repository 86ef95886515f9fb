"""Files that are replaced whole or left as they were, by one rename, whoever does it: a tool, or a put-back.

All of it blocks. It must never leave a file half written, nor anything beside it when it fails.

Not solved: a rename gives up hard links, access lists and extended attributes of the old file, and somebody
else's write in the instant between the last look and the rename is lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
from typing import TYPE_CHECKING

from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Signature:
    """By what a file is known to be the one that was read."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def signature_of(path: Path) -> Signature | None:
    """That of what is at `path`, a link itself included; None for nothing."""
    try:
        return Signature.of(path.lstat())
    except FileNotFoundError:
        return None


def replace_whole(
    target: Path, content: bytes, claim: Callable[[], None], *, mode: int | None = None
) -> None:
    """Make `content` the whole content of `target`, at once. Links in `target` are resolved already.

    `claim` is called when only the rename is left: what it raises leaves everything as it was. The file gets
    the permission bits `mode`, or keeps its own; its owner is kept as far as that is allowed. Missing folders
    are made. Raises `OSError`.
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
    """Make the folders that are missing and note them in `made`, outermost first."""
    missing = list(itertools.takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        made.append(each)


def _write_new(temporary: Path, content: bytes, like: Path, mode: int | None) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
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
        # Else a crash of the machine could leave an empty file where a full one was.
        os.fsync(descriptor)
