"""The stored sessions of a user: list, search, open for writing, fork and delete.

All are in one file. One thread writes and another one reads, so that a list never waits for a commit. A
session that is open for writing is locked until it is closed or its process ends; others may still read it.

It must never use the disk in the event loop, delay the end of the program, or let two writers into a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import re
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.base.file_locks import FileLock, LockHeld, is_held
from core.storage import rows
from core.storage.codec import CodecError
from core.storage.database import StoreError, store_error
from core.storage.db_thread import DatabaseThread
from core.storage.journal import OpenedSession
from core.storage.rows import NoSuchSession
from core.storage.store_journal import NewSession, StoreJournal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.storage.database import Notify
    from core.storage.journal import Draft
    from core.storage.records import LoadedSession, PreImage, SearchMatch, SessionInfo

__all__ = ["NoSuchSession", "SessionInUse", "Store", "StoreError", "new_id"]

CLOSE_S = 5.0
"""How long `aclose` waits for a slow disk, in seconds."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_log = logging.getLogger(__name__)


class SessionInUse(StoreError):
    """The session is open for writing already. `pid` is the process that has it, None if unknown."""

    def __init__(self, pid: int | None) -> None:
        if pid == os.getpid():
            sentence = "This session is open here already, in another pane."
        else:
            other = "" if pid is None else f" (process {pid})"
            sentence = (
                f"Another Caesura{other} has this session open. Close it there, or open it here for reading."
            )
        super().__init__(sentence)
        self.pid = pid


def new_id() -> str:
    """A unique id for a session."""
    return os.urandom(8).hex()


class Store:
    """The session file at `path`, which is opened at the first use.

    `on_write` is for tests; see `core.storage.db_thread.DatabaseThread`.

    Every coroutine raises `StoreError` where the file cannot be used. Cancelling one gives up its result; its
    work is done nevertheless, as a whole.
    """

    def __init__(self, path: Path, *, on_write: Callable[[], None] | None = None) -> None:
        self._locks = path.with_name("locks")
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener: tuple[Notify, asyncio.AbstractEventLoop] | None = None
        self._writer = DatabaseThread(path, name="store-writer", notify=self._notify, on_write=on_write)
        self._reader = DatabaseThread(path, name="store-reader", notify=self._notify)
        self._journals: list[StoreJournal] = []

    def listen(self, notify: Notify) -> None:
        """Call `notify` in this event loop with each message for the user about the file itself, for instance
        that it was damaged. Earlier messages are included."""
        self._listener = (notify, asyncio.get_running_loop())
        self._pass_on(notify)

    def create(self, session_id: str, workspace: str, model: str) -> StoreJournal:
        """Return the journal of a new session, which is stored with its first turn.

        Raises `ValueError` for an id that cannot be the name of a file.
        """
        if not _ID.fullmatch(session_id):
            raise ValueError(f"no id for a session: {session_id!r}")
        return self._journal(NewSession(session_id, workspace, model), None)

    async def sessions(self, *, workspace: str | None = None, limit: int = 500) -> tuple[SessionInfo, ...]:
        """List sessions, the last changed first; with `workspace` only those of that folder."""

        def read() -> tuple[SessionInfo, ...]:
            infos = self._reader.read(lambda connection: rows.list_infos(connection, workspace, limit))
            return tuple(map(self._with_use, infos))

        return await self._reader.submit(read)

    async def search(self, text: str, *, limit: int = 50) -> tuple[SearchMatch, ...]:
        """Find the newest place in each session that has all words of `text`, the last one as a prefix."""

        def read() -> tuple[SearchMatch, ...]:
            matches = self._reader.read(lambda connection: rows.search(connection, text, limit))
            return tuple(replace(match, info=self._with_use(match.info)) for match in matches)

        return await self._reader.submit(read)

    async def load(self, session_id: str) -> LoadedSession:
        """Read a session, even one that is open for writing. Raises `NoSuchSession` and `CodecError`."""
        return await self._reader.submit(lambda: self._load(self._reader, session_id))

    async def open(self, session_id: str) -> OpenedSession:
        """Open a session for writing, until its journal is closed.

        Raises `NoSuchSession`, `SessionInUse`, and `CodecError` for broken data.
        """
        taken: list[FileLock] = []

        def read() -> tuple[FileLock, LoadedSession, Draft | None]:
            self._writer.read(lambda connection: rows.number_of(connection, session_id))
            lock = self._take_lock(session_id)
            taken.append(lock)
            try:
                loaded = self._load(self._writer, session_id)
                draft = self._writer.read(lambda connection: rows.load_draft(connection, session_id))
            except BaseException:
                lock.release()
                raise
            return lock, loaded, draft

        def release() -> None:
            for lock in taken:
                lock.release()

        try:
            lock, loaded, draft = await self._writer.submit(read)
        except asyncio.CancelledError:
            # The thread opens the session nevertheless, and nothing else would release its lock.
            with contextlib.suppress(StoreError):
                self._writer.post(release)
            raise
        return OpenedSession(self._journal(session_id, lock), loaded, draft)

    async def rename(self, session_id: str, title: str) -> None:
        """Change the title of a session, which may be open. Raises `NoSuchSession`."""
        await self._writer.submit_write(
            lambda connection: rows.put_title(connection, rows.number_of(connection, session_id), title)
        )

    async def delete(self, session_id: str) -> None:
        """Delete a session. Raises `NoSuchSession` and `SessionInUse`."""

        def delete() -> None:
            self._writer.read(lambda connection: rows.number_of(connection, session_id))
            lock = self._take_lock(session_id)
            try:
                self._writer.write(
                    lambda connection: rows.delete(connection, rows.number_of(connection, session_id))
                )
            finally:
                lock.release()

        await self._writer.submit(delete)

    async def fork(self, session_id: str, steps: int) -> str:
        """Copy the first `steps` steps, with their turns, compactions and pre-images; returns the new id.

        Raises `NoSuchSession`. The cost of the copied steps counts in both sessions.
        """
        copy_id = new_id()
        await self._writer.submit_write(
            lambda connection: rows.fork(connection, session_id, steps, copy_id, time.time())
        )
        return copy_id

    async def insert(self, loaded: LoadedSession) -> str:
        """Store an imported session under a new id, which is returned. Its totals are computed again."""
        info = replace(loaded.info, session_id=new_id(), parent=None, updated_at=time.time())
        copy = replace(loaded, info=info)
        await self._writer.submit_write(lambda connection: rows.insert_loaded(connection, copy))
        return info.session_id

    async def preimages(self, session_id: str, from_turn: int) -> tuple[PreImage, ...]:
        """Return the pre-images of turn `from_turn` and all later turns, in the order they were taken.

        Raises `NoSuchSession`. The writing thread reads them, so that earlier writes are included.
        """
        return await self._writer.submit_read(
            lambda connection: rows.load_preimages(
                connection, rows.number_of(connection, session_id), from_turn
            )
        )

    async def aclose(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is pending, release all sessions and close the file, within `timeout_s` seconds.

        If the disk takes longer, the threads go on alone. Never raises.
        """
        with contextlib.suppress(StoreError):
            for journal in self._journals:
                journal.close_soon()
        if not all(await asyncio.gather(self._writer.aclose(timeout_s), self._reader.aclose(timeout_s))):
            _log.error("the file of sessions was not closed within %g s", timeout_s)

    def _journal(self, session: NewSession | str, lock: FileLock | None) -> StoreJournal:
        session_id = session if isinstance(session, str) else session.session_id
        self._journals = [journal for journal in self._journals if not journal.closed]
        journal = StoreJournal(
            self._writer, session, take_lock=lambda: self._take_lock(session_id), lock=lock
        )
        self._journals.append(journal)
        return journal

    def _load(self, thread: DatabaseThread, session_id: str) -> LoadedSession:
        try:
            loaded = thread.read(lambda connection: rows.load(connection, session_id))
        except CodecError as error:
            raise CodecError(f"Session {session_id} cannot be read: {error}") from error
        return replace(loaded, info=self._with_use(loaded.info))

    def _with_use(self, info: SessionInfo) -> SessionInfo:
        is_in_use = is_held(self._lock_path(info.session_id))
        # A turn that is still running has not ended either, but is no crash.
        return replace(info, in_use=True, crashed=False) if is_in_use else info

    def _take_lock(self, session_id: str) -> FileLock:
        path = self._lock_path(session_id)
        try:
            return FileLock.take(path)
        except LockHeld as error:
            raise SessionInUse(error.pid) from error
        except OSError as error:
            raise store_error(error, path) from error

    def _lock_path(self, session_id: str) -> Path:
        return self._locks / f"{session_id}.lock"

    def _notify(self, message: str) -> None:
        """Pass a message to the listener; called in a thread of the store."""
        self._messages.put(message)
        if self._listener is not None:
            listener, loop = self._listener
            # If the loop is closed nothing listens; the event is in the log.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._pass_on, listener)

    def _pass_on(self, listener: Notify) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                listener(self._messages.get_nowait())
