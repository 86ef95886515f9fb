"""Files of settings: read without waiting for one, and replaced as a whole under a lock.

Refused before parsing: what is no regular file, is too large, or would take the parser very long. No file
that cannot be read is ever overwritten. All of it blocks, and is for a thread.
"""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.base.errors import what_to_do
from core.base.regular_file import NotRegularFile, open_regular
from core.config.errors import LARGEST, MOST_DOTS, ConfigError, dotted_line, no_text, no_toml, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.base.atomic_files import Signature
    from core.config.toml_lines import Lines

LOCK_WAIT_S = 5.0
_BOM = "\ufeff"


@dataclass
class Document:
    """A file of settings as it was read. `text` is without its byte order mark, which is in `bom`;
    `signature` identifies the file that was read, None if there was none."""

    path: Path
    text: str = ""
    table: dict[str, Any] = field(default_factory=dict)
    bom: str = ""
    signature: Signature | None = None

    @cached_property
    def lines(self) -> Lines:
        from core.config.toml_lines import Lines

        return Lines(self.text)

    def error_at(self, where: tuple[str | int, ...], complaint: object) -> ConfigError:
        """An error that names the file and the line of a place in the tables."""
        return ConfigError(f"{place(self.path, self.lines.of(where))}: {complaint} Mend or remove it.")


def read_document(path: Path, *, links: bool = True) -> Document:
    """Read a file; one that does not exist is empty. Without `links` a symbolic link is refused, because
    somebody else may have chosen where it leads. Raises `ConfigError`."""
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
    """The content of a regular file, and its signature. Raises `ConfigError`, and `OSError`."""
    from core.base.atomic_files import Signature

    try:
        file = open_regular(path, follow=links)
    except NotRegularFile as error:
        if error.is_link:
            raise ConfigError(
                f"{path} is a symbolic link, which is not followed there. Put the file itself there."
            ) from None
        if stat.S_ISDIR(error.kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
        raise
    with file:
        status = os.fstat(file.fileno())
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(
            f"{path} is larger than {LARGEST // 1024} KB: no file of settings is. Mend or remove it."
        )
    return content, Signature.of(status)


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Hold the lock of a file of settings. Yields the file with its links resolved, so that a link into a
    folder of dotfiles stays a link. Raises `ConfigError`."""
    from core.base.file_locks import FileLock, LockHeld

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
    """Replace `target` by `content` at once. Only its owner can read a new file.

    Raises `ConfigError`, and changes nothing, when that fails or when `target` is no longer the file that
    was `read`.
    """
    from core.base.atomic_files import replace_whole, signature_of
    from core.base.file_locks import PRIVATE_FILE, make_private_folder

    def claim() -> None:
        if signature_of(target) != read.signature:
            raise ConfigError(
                f"{target} was not changed: another program has written it meanwhile. Try again."
            )

    try:
        make_private_folder(target.parent)
        replace_whole(target, content, claim, mode=None if read.signature else PRIVATE_FILE)
    except OSError as error:
        raise _not_written(target, error) from error


def _not_written(target: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{target} was not changed: {error.strerror or error}. {what_to_do(error)}")
