"""One SQLite file: opened safely, read and written in transactions, set aside when it is damaged.

Blocking and without threads: only `core.store_lane` calls it, each connection from the thread that opened it.
`sqlite3` is imported when a file is opened, not before.

What it must never do: overwrite a file that it cannot read, change one of another program or of a later
version, leave one that others can read, or report as written what is not durable.

Known limits: a page that is damaged and never read is not noticed, for checking all of a large file at every
start would take too long.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from core.errors import CaesuraError
from core.file_locks import PRIVATE_FILE, FileLock, LockHeld
from core.store_schema import APPLICATION_ID, INDEX_ANEW, SCHEMA, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from sqlite3 import Connection

T = TypeVar("T")
Tell: TypeAlias = "Callable[[str], None]"
OnWrite: TypeAlias = "Callable[[], None]"

BUSY_S = 5.0
"""For how long another process may hold the file before an attempt is given up."""

MOST_LOG_BYTES = 16_000_000
"""To this size the write-ahead log is cut back after a large transaction."""

_log = logging.getLogger(__name__)
# Opening, creating and setting aside are one at a time among the threads of this process; among processes
# the lock beside the file sees to it.
_opening = threading.Lock()


class StoreError(CaesuraError):
    """The file of sessions cannot be used, or not for that. The text says why and what to do."""


class UnusableFile(StoreError):
    """The file belongs to a later version or to another program. It is left as it is."""


class FileDamaged(StoreError):
    """The file cannot be read. `Database.set_aside` makes room for a new one."""


class IndexDamaged(StoreError):
    """The index of the search cannot be read; `Database.rebuild_index` makes it anew."""


class Database:
    """One connection. Made by `open_database`."""

    def __init__(self, path: Path, connection: Connection, on_write: OnWrite | None) -> None:
        self._path = path
        self._connection = connection
        self._on_write = on_write
        self._identity = _identity(path)
        self._closed = False

    @property
    def usable(self) -> bool:
        """Whether the file is still the one at its path, and the connection has come well out of the last
        transaction."""
        if self._closed or self._connection.in_transaction:
            return False
        return self._identity == _identity(self._path)

    def read(self, work: Callable[[Connection], T]) -> T:
        """`work` sees the file as it is at one moment. Raises `StoreError`."""
        return self._transaction("BEGIN", work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """All that `work` does is durable after this, or none of it is in the file: then `StoreError`."""

        def begun(connection: Connection) -> T:
            if self._on_write is not None:
                self._on_write()
            return work(connection)

        return self._transaction("BEGIN IMMEDIATE", begun)

    def rebuild_index(self) -> None:
        """Make the index of the search anew from its texts. Raises `StoreError`."""

        def rebuild(connection: Connection) -> None:
            for statement in INDEX_ANEW:
                connection.execute(statement)

        self.write(rebuild)

    def set_aside(self, tell: Tell) -> None:
        """Move a damaged file out of the way, unless somebody has done it already, and close it."""
        with _alone(self._path):
            if self._identity == _identity(self._path):
                tell(_moved(_set_aside(self._path)))
        self.close()

    def close(self) -> None:
        """Idempotent, and never raises."""
        import sqlite3

        self._closed = True
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _transaction(self, begin: str, work: Callable[[Connection], T]) -> T:
        import sqlite3

        try:
            self._connection.execute(begin)
            try:
                value = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has done it by itself after some errors, and where it cannot the connection is not
                # `usable` any more.
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise explained(error, self._path) from error
        return value


def open_database(
    path: Path, *, tell: Tell, on_write: OnWrite | None = None, schema: Schema = SCHEMA
) -> Database:
    """Open the file, create it, or bring one of an earlier version up to date.

    A damaged file is moved aside and a new one begun; `tell` gets a sentence about it, in this thread.
    `on_write` is called in each transaction that writes, before anything is written; what it raises as
    `OSError` is taken for the disk's: a seam for those who must know what happens when a disk fails.
    Raises `UnusableFile` and `StoreError`.
    """
    import sqlite3

    with _alone(path):
        try:
            for attempt in (1, 2):
                _prepare(path, tell)
                connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
                )
                try:
                    _make_ready(connection, path, schema)
                except BaseException as error:
                    # Moved before it is closed: closing would write the log into the damaged file.
                    damaged = _is_damage(error)
                    if damaged:
                        tell(_moved(_set_aside(path)))
                    connection.close()
                    if not damaged or attempt == 2:
                        raise
                else:
                    return Database(path, connection, on_write)
            raise AssertionError("the second attempt returns or raises")
        except (sqlite3.Error, OSError) as error:
            raise explained(error, path) from error


def _prepare(path: Path, tell: Tell) -> None:
    """See to it that there is a file that only its owner can read: SQLite gives its own the same mode."""
    log = _beside(path, "-wal")
    size = path.stat().st_size if path.exists() else 0
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise UnusableFile(f"{path} is no file. Move it away, so that sessions can be saved there.")
    if not size and log.exists() and log.stat().st_size:
        # SQLite would throw such a log away.
        tell(_moved(_set_aside(path)))
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
    for file in (path, log, _beside(path, "-shm")):
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            file.chmod(PRIVATE_FILE)


def _make_ready(connection: Connection, path: Path, schema: Schema) -> None:
    version = _check(connection, path, schema)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute(f"PRAGMA journal_size_limit = {MOST_LOG_BYTES}")
    if version < len(schema.migrations):
        _migrate(connection, version, schema)


def _check(connection: Connection, path: Path, schema: Schema) -> int:
    """The version of the file, 0 for a new one. Changes nothing."""
    application = _number(connection, "application_id")
    version = _number(connection, "user_version")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not (application or version or tables):
        return 0
    if application != APPLICATION_ID:
        raise UnusableFile(
            f"{path} is a database of another program. Move it away, so that sessions can be saved there. "
            "It was left as it is."
        )
    if version > len(schema.migrations):
        raise UnusableFile(
            f"{path} was written by a later version of Caesura (format {version}, this one knows "
            f"{len(schema.migrations)}). Update Caesura to use it. It was left as it is."
        )
    if version == len(schema.migrations) and not schema.tables <= tables:
        raise FileDamaged(f"{path} lacks tables.")
    return version


def _migrate(connection: Connection, version: int, schema: Schema) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in schema.migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(schema.migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _number(connection: Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else opens this file or sets it aside meanwhile."""
    with _opening:
        try:
            lock = FileLock.take(_beside(path, ".lock"), wait_s=BUSY_S)
        except LockHeld as error:
            raise StoreError(f"{error} Look what it waits for, or end it.") from error
        except OSError as error:
            raise explained(error, path) from error
        try:
            yield
        finally:
            lock.release()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _set_aside(path: Path) -> Path:
    """Rename the file and its log to a name that is free."""
    suffixes = ("", "-wal", "-shm")
    stem = _beside(path, f".damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    aside, further = stem, 1
    while any(_beside(aside, suffix).exists() for suffix in suffixes):
        further += 1
        aside = _beside(stem, f"-{further}")
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError):
            _beside(path, suffix).rename(_beside(aside, suffix))
    _log.error("%s was damaged: it is now %s", path, aside)
    return aside


def _moved(aside: Path) -> str:
    return (
        f"The file of sessions was damaged. It was moved to {aside} and a new one was begun, so earlier "
        f"sessions are not listed. `sqlite3 {aside} .recover` may bring back what it holds."
    )


def _is_damage(error: BaseException) -> bool:
    import sqlite3

    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, FileDamaged) or (
        code is not None and (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    )


def explained(error: Exception, path: Path) -> StoreError:
    """What the person is told of an error of SQLite or of the system."""
    import sqlite3

    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_CORRUPT_VTAB:
        return IndexDamaged(f"The index for the search in {path} is damaged.")
    if _is_damage(error):
        return FileDamaged(f"{path} is damaged ({error}).")
    number = error.errno if isinstance(error, OSError) else None
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreError(f"There is no space left for {path}. Free some on that disk.")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"Another program has kept {path} locked for {BUSY_S:g} s. End it, or let it finish."
        )
    if primary in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_AUTH,
    ) or number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"{path} cannot be written ({_reason(error)}). Allow writing to it and its folder, or choose "
            "another folder with XDG_DATA_HOME."
        )
    return StoreError(f"{path} cannot be read or written ({_reason(error)}). Check the disk.")


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
