"""A thread that has its own connection to the session file and does blocking work in order.

The event loop never waits for it, and neither does the end of the program, because the thread is a daemon.
Submitted work is done even if its caller no longer waits, so cancelling a wait leaves no work half done. The
file is opened when work first needs it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import TYPE_CHECKING, TypeVar

from core.base.threads import with_future
from core.storage.database import Database, FileDamaged, IndexDamaged, StoreError, open_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from sqlite3 import Connection

    from core.storage.database import Notify

T = TypeVar("T")

_log = logging.getLogger(__name__)


class DatabaseThread:
    """Runs work in order. Only `read` and `write` are called in the thread, by the work itself.

    `on_write` is called in each write transaction before anything is written. Tests raise an `OSError` in it
    to simulate a failing disk.
    """

    def __init__(
        self, path: Path, *, name: str, notify: Notify, on_write: Callable[[], None] | None = None
    ) -> None:
        self._path = path
        self._name = name
        self._notify = notify
        self._on_write = on_write
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._database: Database | None = None

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do `work` after all earlier work and return its future. Raises `StoreError` after `aclose`."""
        run, future = with_future(work)
        self.post(run)
        return future

    def submit_read(self, work: Callable[[Connection], T]) -> asyncio.Future[T]:
        return self.submit(lambda: self.read(work))

    def submit_write(self, work: Callable[[Connection], T]) -> asyncio.Future[T]:
        return self.submit(lambda: self.write(work))

    def post(self, work: Callable[[], None]) -> None:
        """Do `work`, which must not raise, after all earlier work. Raises `StoreError` after `aclose`."""
        if self._closed:
            raise StoreError("The file of sessions is closed.")
        self._work.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    async def aclose(self, timeout_s: float) -> bool:
        """Accept no more work, finish what there is and close the file.

        Returns false if that takes longer than `timeout_s` seconds; the thread then goes on alone.
        """
        if self._thread is None or self._closed:
            self._closed = True
            return True
        last = self.submit(self._close)
        self._closed = True
        self._work.put(None)
        done, _ = await asyncio.wait([last], timeout=timeout_s)
        return bool(done)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Call `Database.read`, and again if the file had to be repaired or replaced."""
        return self._repairing(lambda database: database.read(work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Call `Database.write`, and again if the file had to be repaired or replaced."""

        def begun(connection: Connection) -> T:
            if self._on_write is not None:
                self._on_write()
            return work(connection)

        return self._repairing(lambda database: database.write(begun))

    def _repairing(self, work: Callable[[Database], T]) -> T:
        database = self._open()
        try:
            return work(database)
        except IndexDamaged:
            _log.exception("the search index is rebuilt")
            database.rebuild_index()
        except FileDamaged:
            _log.exception("the file is set aside")
            database.set_aside(self._notify)
        return work(self._open())

    def _open(self) -> Database:
        if self._database is not None and not self._database.usable:
            self._close()
        if self._database is None:
            self._database = open_database(self._path, notify=self._notify)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
