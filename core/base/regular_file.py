"""Open and read regular files only, without ever waiting for one.

A path may lead to a FIFO, a device, a link or an endless file that somebody else put there. The file type is
checked before opening, because opening a device can have an effect, and again after opening without blocking,
because the file may have been replaced in between.

Not solved: on a file system that hangs, such as a dead network share, these calls hang too.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class NotRegularFile(OSError):
    """There is something else at the path. `kind` is its file type, as `stat.S_IFMT` gives it."""

    def __init__(self, path: str | os.PathLike[str], kind: int) -> None:
        super().__init__(errno.EINVAL, "it is no regular file", os.fspath(path))
        self.kind = kind

    @property
    def is_link(self) -> bool:
        """A symbolic link, where links are not followed."""
        return stat.S_ISLNK(self.kind)


class FileTooLarge(OSError):
    """The file has more bytes than may be read."""

    def __init__(self, path: str | os.PathLike[str], limit: int) -> None:
        super().__init__(errno.EFBIG, f"it is larger than {limit} bytes", os.fspath(path))


def open_regular(path: str | os.PathLike[str], *, follow: bool = True) -> BufferedReader:
    """Open a regular file to read. Without `follow` a symbolic link at `path` is refused.

    Raises `NotRegularFile`, and other `OSError`s.
    """
    _demand_regular(path, os.stat(path, follow_symlinks=follow))  # noqa: PTH116 - also for a str
    descriptor = os.open(path, _FLAGS | (0 if follow else os.O_NOFOLLOW))
    try:
        _demand_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: str | os.PathLike[str], limit: int, *, follow: bool = True) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises as `open_regular` does, and `FileTooLarge`.
    """
    with open_regular(path, follow=follow) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise FileTooLarge(path, limit)
    return content


def _demand_regular(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularFile(path, stat.S_IFMT(status.st_mode))
