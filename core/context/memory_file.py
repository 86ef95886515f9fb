"""The notes of a workspace on disk: `memory.md`, which a user may edit and several Caesuras add to.

All functions block: call them in a thread. A file that was changed since it was read is never overwritten,
and nothing is ever read or written through a link. Not solved: an editor takes no lock, so a file that it
writes in the microseconds between the last check and the replacement is replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.base.atomic_files import replace_whole
from core.base.errors import CaesuraError
from core.base.file_locks import FileLock, LockHeld
from core.base.folders import data_folder
from core.base.regular_file import FileTooLarge, NotRegularFile, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from core.context.memory_notes import Changes

NAME = "memory.md"
BACKUP = "memory.md.bak"
MOST_BYTES = 512_000
TRIES = 3
LOCK_WAIT_S = 5.0


class MemoryFileError(CaesuraError):
    """The notes cannot be read or written; the text names the file, the reason, and what to do."""


class MemoryChanged(MemoryFileError):
    """The file has changed since it was read; it was left unchanged."""


def memory_folder(workspace: Path) -> Path:
    """The data folder of a workspace; links to the same workspace give the same folder. It need not exist."""
    real = os.path.realpath(workspace)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(real)).strip("._")[:40]  # noqa: PTH119 - a str
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    return data_folder() / "workspaces" / "-".join(part for part in (name, digest) if part)


def load_memory(folder: Path) -> str:
    """The notes in `folder`; empty if there are none. Raises `MemoryFileError`."""
    path = folder / NAME
    with _told(path, "read"):
        if folder.is_symlink():
            raise MemoryFileError(f"{folder} is a link, so {NAME} is not read: put a folder in its place.")
        try:
            content = read_regular(path, MOST_BYTES, follow=False)
        except FileNotFoundError:
            return ""
        except NotRegularFile as error:
            if error.is_link:
                raise MemoryFileError(f"{path} is a link, so it is not read: put a file there.") from None
            raise MemoryFileError(f"{path} is no ordinary file: remove it.") from None
        except FileTooLarge:
            raise MemoryFileError(f"{path} is larger than {MOST_BYTES // 1000} kB: shorten it.") from None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise MemoryFileError(f"{path} is not UTF-8 text (byte {error.start}): mend or remove it.") from None


def save_memory(folder: Path, text: str, *, read: str) -> None:
    """Write the notes as the user wants them; `read` is the text that `load_memory` returned before.

    Raises `MemoryChanged` if the file has changed since, `MemoryFileError` when it cannot be written.
    """
    if len(text.encode()) > MOST_BYTES:
        raise MemoryFileError(f"The notes are larger than {MOST_BYTES // 1000} kB: shorten them.")
    with _alone(folder):
        _replace(folder, text, read, lambda: None)


def merge_memory(folder: Path, changes: Changes, *, read: str, check: Callable[[], None]) -> str:
    """Apply `changes`, which were made for the text `read`. Returns the notes as they are then.

    If the file has changed meanwhile, additions are applied and nothing is replaced. `check` is called at the
    last moment, and what it raises leaves the file unchanged. Raises `MemoryFileError`.
    """
    with _alone(folder):
        for left in reversed(range(TRIES)):
            now = load_memory(folder)
            text = changes.applied(now) if now == read else changes.appended(now)
            if text == now:
                return now
            try:
                _replace(folder, text, now, check)
            except MemoryChanged:
                if not left:
                    raise
            else:
                return text
    raise AssertionError("the last try returns or raises")


def shorten_memory(folder: Path, text: str, *, read: str, check: Callable[[], None]) -> None:
    """Replace `read` by `text`, and keep `read` as `memory.md.bak`.

    Raises `MemoryChanged` if the file has changed since, whatever `check` raises, and `MemoryFileError`.
    """
    with _alone(folder):
        if load_memory(folder) != read:
            raise _changed(folder)
        with _told(folder / BACKUP, "written"):
            replace_whole(folder / BACKUP, read.encode(), check, mode=0o600)
        _replace(folder, text, read, check)


def _replace(folder: Path, text: str, expected: str, check: Callable[[], None]) -> None:
    def still_expected() -> None:
        if load_memory(folder) != expected:
            raise _changed(folder)
        check()

    still_expected()
    with _told(folder / NAME, "written"):
        replace_whole(folder / NAME, text.encode(), still_expected, mode=0o600)


def _changed(folder: Path) -> MemoryChanged:
    return MemoryChanged(f"{folder / NAME} was changed meanwhile, so it was left as it is: look at it again.")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder, which must exist and be no link, against other Caesuras."""
    with _told(folder / NAME, "written"):
        if folder.is_symlink():
            raise MemoryFileError(f"{folder} is a link, so {NAME} is not written: put a folder in its place.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (path := folder / f"{NAME}.lock").is_symlink():
            raise MemoryFileError(f"{path} is a link, so {NAME} is not written: remove it.")
        lock = FileLock.take(path, wait_s=LOCK_WAIT_S)
        try:
            yield
        finally:
            lock.release()


@contextmanager
def _told(path: Path, done: str) -> Iterator[None]:
    """Turn errors of the system into a sentence."""
    try:
        yield
    except (OSError, UnicodeEncodeError, LockHeld) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error).rstrip(".")
        raise MemoryFileError(f"{path} cannot be {done}: {why}. Mend that, or try again.") from error
