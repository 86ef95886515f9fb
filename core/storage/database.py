"""The session file, a SQLite database: safe opening, transactions, and moving a damaged file aside.

All calls block. Only `core.storage.db_thread` makes them, for each connection in the thread that opened it.
`sqlite3` is imported when a file is opened, because the first frame does not need it.

It must never overwrite a file that it cannot read, change a file of another program or of a later version,
leave a file that other users can read, or report a write that is not durable.

Not solved: a damaged page that is never read goes unnoticed. Checking a large file at every start would take
too long.
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

from core.base.errors import CaesuraError
from core.base.file_locks import PRIVATE_FILE, FileLock, LockHeld
from core.storage.schema import APPLICATION_ID, REBUILD_INDEX, SCHEMA, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from sqlite3 import Connection

T = TypeVar("T")
Notify: TypeAlias = "Callable[[str], None]"
"""Called with a sentence for the user."""

BUSY_S = 5.0
"""How long to wait for another process that holds the file, in seconds."""

MOST_LOG_BYTES = 16_000_000
"""The write-ahead log is truncated to this size after a large transaction."""

_log = logging.getLogger(__name__)
# One thread of this process at a time opens, creates or moves a file; a lock file keeps out other processes.
_opening = threading.Lock()


class StoreError(CaesuraError):
    """The session file cannot be used. The text says why, and what the user can do."""


class UnusableFile(StoreError):
    """The file belongs to a later version or to another program. It is not changed."""


class FileDamaged(StoreError):
    """The file is corrupt. `Database.set_aside` moves it away."""


class IndexDamaged(StoreError):
    """The search index is corrupt. `Database.rebuild_index` repairs it."""


class Database:
    """A connection to the session file. Use `open_database` to make one."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection
        self._identity = _identity(path)
        self._closed = False

    @property
    def usable(self) -> bool:
        """Whether the same file is still at its path, and the last transaction has ended."""
        if self._closed or self._connection.in_transaction:
            return False
        return self._identity == _identity(self._path)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Call `work` in a read transaction, which sees one state of the file. Raises `StoreError`."""
        return self._transaction("BEGIN", work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Call `work` in a write transaction. Its changes are durable when this returns.

        Raises `StoreError`; then the file is unchanged.
        """
        return self._transaction("BEGIN IMMEDIATE", work)

    def rebuild_index(self) -> None:
        """Rebuild the search index from the stored texts. Raises `StoreError`."""

        def rebuild(connection: Connection) -> None:
            for statement in REBUILD_INDEX:
                connection.execute(statement)

        self.write(rebuild)

    def set_aside(self, notify: Notify) -> None:
        """Move the damaged file aside, unless that has been done already, and close the connection."""
        with _opening_lock(self._path):
            if self._identity == _identity(self._path):
                _set_aside(self._path, notify)
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent; never raises."""
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
                # After some errors SQLite has rolled back already. If it cannot, `usable` becomes false.
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise store_error(error, self._path) from error
        return value


def open_database(path: Path, *, notify: Notify, schema: Schema = SCHEMA) -> Database:
    """Open the file, create it, or migrate one of an earlier version.

    A damaged file is moved aside and a new one created; `notify` is called about that in this thread. Raises
    `UnusableFile` and `StoreError`.
    """
    import sqlite3

    with _opening_lock(path):
        try:
            for attempt in (1, 2):
                _prepare(path, notify)
                connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
                )
                try:
                    _make_ready(connection, path, schema)
                except BaseException as error:
                    # Move the file first: closing would write the log into it.
                    damaged = _is_damage(error)
                    if damaged:
                        _set_aside(path, notify)
                    connection.close()
                    if not damaged or attempt == 2:
                        raise
                else:
                    return Database(path, connection)
            raise AssertionError("the second attempt returns or raises")
        except (sqlite3.Error, OSError) as error:
            raise store_error(error, path) from error


def _prepare(path: Path, notify: Notify) -> None:
    """Make sure that the file exists and only its owner can read it. SQLite's own files get the same mode."""
    log = _sibling(path, "-wal")
    size = path.stat().st_size if path.exists() else 0
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise UnusableFile(f"{path} is no file. Move it away, so that sessions can be saved there.")
    if not size and log.exists() and log.stat().st_size:
        # SQLite would delete a log that has no database.
        _set_aside(path, notify)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
    for file in (path, log, _sibling(path, "-shm")):
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
    """Return the format version of the file, 0 for a new one. Raises `UnusableFile` and `FileDamaged`."""
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
def _opening_lock(path: Path) -> Iterator[None]:
    """Keep other threads and processes from opening the file or moving it aside."""
    with _opening:
        try:
            lock = FileLock.take(_sibling(path, ".lock"), wait_s=BUSY_S)
        except LockHeld as error:
            raise StoreError(f"{error} Look what it waits for, or end it.") from error
        except OSError as error:
            raise store_error(error, path) from error
        try:
            yield
        finally:
            lock.release()


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _set_aside(path: Path, notify: Notify) -> None:
    """Rename the damaged file and its log to an unused name."""
    suffixes = ("", "-wal", "-shm")
    stem = _sibling(path, f".damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    aside, further = stem, 1
    while any(_sibling(aside, suffix).exists() for suffix in suffixes):
        further += 1
        aside = _sibling(stem, f"-{further}")
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError):
            _sibling(path, suffix).rename(_sibling(aside, suffix))
    _log.error("%s was damaged: it is now %s", path, aside)
    notify(
        f"The file of sessions was damaged. It was moved to {aside} and a new one was begun, so earlier "
        f"sessions are not listed. `sqlite3 {aside} .recover` may bring back what it holds."
    )


def _is_damage(error: BaseException) -> bool:
    import sqlite3

    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, FileDamaged) or (
        code is not None and (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    )


def store_error(error: Exception, path: Path) -> StoreError:
    """Convert an error of SQLite or of the operating system to one that the user understands."""
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
