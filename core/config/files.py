"""Files of settings: found, read without ever waiting for one, and replaced whole under a lock.

What is no regular file, is larger than settings ever are, or is written to keep its reader busy is refused
before it is parsed. No file that cannot be read is ever overwritten. All of it blocks, and is for a thread.
"""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config_bounds import LARGEST, MOST_DOTS, dotted_line
from core.config_errors import ConfigError, no_text, no_toml, place, what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.atomic_files import Signature
    from core.config_lines import Lines

LOCK_WAIT_S = 5.0
_BOM = "\ufeff"


@dataclass(slots=True)
class Document:
    """A file of settings as it was read. `text` is without the byte order mark that `bom` may be; `signature`
    is that of the file, None where there is none."""

    path: Path
    text: str = ""
    table: dict[str, Any] = field(default_factory=dict)
    bom: str = ""
    signature: Signature | None = None
    _lines: Lines | None = None

    @property
    def exists(self) -> bool:
        return self.signature is not None

    def line_of(self, where: tuple[str | int, ...]) -> int | None:
        """The line that comes nearest to a place in the tables."""
        from core.config_lines import Lines

        if self._lines is None:
            self._lines = Lines(self.text)
        return self._lines.of(where)

    def place_of(self, where: tuple[str | int, ...]) -> str:
        """The file, and the line where there is one, as errors name them."""
        return place(self.path, self.line_of(where))


def read_document(path: Path, *, links: bool = True) -> Document:
    """Read a file; one that is not there is empty. Without `links` a symbolic link is refused, lest it leads
    to a file of somebody else's choice. Raises `ConfigError`."""
    try:
        content, signature = _read_bounded(path, links=links)
    except FileNotFoundError:
        return Document(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Mend or remove it.") from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise no_text(path, content, error) from error
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    return Document(path, text, parse(path, text), bom, signature)


def parse(path: Path, text: str) -> dict[str, Any]:
    """The tables of a text. Raises `ConfigError`, which names the line."""
    if (line := dotted_line(text)) is not None:
        raise ConfigError(f"{place(path, line)}: more than {MOST_DOTS} dots. Mend or remove it.")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise no_toml(path, text, error) from error


def _read_bounded(path: Path, *, links: bool) -> tuple[bytes, Signature]:
    """The whole of a regular file. Raises `ConfigError` for what is none, and `OSError`."""
    from core.atomic_files import Signature

    # A device may do something when it is opened, and a FIFO waits: looked at first.
    status = path.stat() if links else path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise ConfigError(
            f"{path} is a symbolic link, which is not followed there. Put the file itself there."
        )
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _demand_regular(path, status)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if links else os.O_NOFOLLOW)
    with os.fdopen(os.open(path, flags), "rb") as file:
        # It may have become another one in between; the flags have kept that from blocking.
        status = os.fstat(file.fileno())
        _demand_regular(path, status)
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(
            f"{path} is larger than {LARGEST // 1024} KB: no file of settings is. Mend or remove it."
        )
    return content, Signature.of(status)


def _demand_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} cannot be read: it is no regular file. Mend or remove it.")


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Hold the lock of a file of settings; gives the file itself, behind all links, so that one that leads
    to a folder of dotfiles stays a link. Raises `ConfigError`."""
    from core.file_locks import FileLock, LockHeld

    target = Path(os.path.realpath(path))
    try:
        lock = FileLock.take(target.with_name(f"{target.name}.lock"), wait_s=LOCK_WAIT_S)
    except LockHeld as error:
        raise ConfigError(f"{target} was not changed: {error} Try again when that has ended.") from error
    except OSError as error:
        raise _not_written(target, error) from error
    try:
        yield target
    finally:
        lock.release()


def write_document(target: Path, content: bytes, read: Document) -> None:
    """Replace `target` by `content` at once; a new file is for its owner alone. Raises `ConfigError`, and
    leaves everything as it was, when that fails or the file is not the one any more that was `read`."""
    from core.atomic_files import replace_whole, signature_of
    from core.file_locks import PRIVATE_FILE, make_private_folder

    def claim() -> None:
        if signature_of(target) != read.signature:
            raise ConfigError(
                f"{target} was not changed: another program has written it meanwhile. Try again."
            )

    try:
        make_private_folder(target.parent)
        replace_whole(target, content, claim, mode=None if read.exists else PRIVATE_FILE)
    except OSError as error:
        raise _not_written(target, error) from error


def _not_written(target: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{target} was not changed: {error.strerror or error}. {what_to_do(error)}")
