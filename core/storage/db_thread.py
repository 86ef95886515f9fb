"""A thread with a connection of its own: blocking work on the file of sessions, one piece after the other.

The event loop never waits for it, and neither does the end of the program: the thread is a daemon. Work that
was handed over is done whether or not somebody still waits for it, so giving up waiting never leaves half of
it. Nothing is opened before the first piece of work needs the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from typing import TYPE_CHECKING, TypeVar

from core.database import Database, FileDamaged, IndexDamaged, StoreError, open_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from sqlite3 import Connection

    from core.database import OnWrite, Tell

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Lane:
    """`submit` and `post` are for the event loop, `read` and `write` for the work that the thread does."""

    def __init__(self, path: Path, *, name: str, tell: Tell, on_write: OnWrite | None = None) -> None:
        self._path = path
        self._name = name
        self._tell = tell
        self._on_write = on_write
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._database: Database | None = None

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do `work` after all that was handed over before. Raises `StoreError` after `close`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: Callable[[], None]) -> None:
            # A closed loop has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: None if future.done() else result())

        def run() -> None:
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
                failure = error
                settle(lambda: future.set_exception(failure))
            else:
                settle(lambda: future.set_result(value))

        self.post(run)
        return future

    def post(self, work: Callable[[], None]) -> None:
        """Do `work`, which raises nothing, and tell nobody. Raises `StoreError` after `close`."""
        if self._closed:
            raise StoreError("The file of sessions is closed.")
        self._work.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    async def aclose(self, timeout_s: float) -> bool:
        """Take no more work, and close the file after what there is. False if that takes longer."""
        if self._thread is None or self._closed:
            self._closed = True
            return True
        last = self.submit(self._close)
        self._closed = True
        self._work.put(None)
        done, _ = await asyncio.wait([last], timeout=timeout_s)
        return bool(done)

    def read(self, work: Callable[[Connection], T]) -> T:
        """In the thread: `Database.read`, once more if the file had to be mended or replaced."""
        return self._mended(lambda database: database.read(work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """In the thread: `Database.write`, once more if the file had to be mended or replaced."""
        return self._mended(lambda database: database.write(work))

    def _mended(self, work: Callable[[Database], T]) -> T:
        database = self._open()
        try:
            return work(database)
        except IndexDamaged:
            _log.exception("the index is made anew")
            database.rebuild_index()
        except FileDamaged:
            _log.exception("the file is set aside")
            database.set_aside(self._tell)
        return work(self._open())

    def _open(self) -> Database:
        if self._database is not None and not self._database.usable:
            self._close()
        if self._database is None:
            self._database = open_database(self._path, tell=self._tell, on_write=self._on_write)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
