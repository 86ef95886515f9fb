"""The sessions of one person in one file: listed, searched, opened for writing, copied, deleted.

Two threads, one that writes and one that reads, so that a list never waits for a commit. Who opens a session
for writing holds its lock until he closes it or dies; everybody may read it meanwhile.

What it must never do: touch the disk in the event loop, hold up the end of the program, or let two write to
one session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from core import store_rows
from core.codec import CodecError
from core.database import StoreError, explained
from core.file_locks import FileLock, LockHeld, is_held
from core.journal import Opened
from core.store_journal import NewSession, StoreJournal
from core.store_lane import Lane
from core.store_rows import NoSuchSession

if TYPE_CHECKING:
    from pathlib import Path

    from core.database import OnWrite, Tell
    from core.journal import Draft
    from core.records import Hit, LoadedSession, PreImage, SessionInfo

__all__ = ["NoSuchSession", "SessionInUse", "Store", "StoreError", "new_id"]

CLOSE_S = 5.0
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_log = logging.getLogger(__name__)


class SessionInUse(StoreError):
    """A Caesura has this session open for writing. `pid` is its process, if that is known."""

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
    """An id for a session, which no other has."""
    return os.urandom(8).hex()


class Store:
    """The file at `path`; nothing is opened before the first use.

    `on_write` is for tests: called in each transaction that writes, in the writing thread; what it raises as
    `OSError` is taken for an error of the disk.

    Everything raises `StoreError` where the file cannot be used. Whoever is cancelled while waiting is rid of
    the answer; what was asked for happens all the same, as a whole.
    """

    def __init__(self, path: Path, *, on_write: OnWrite | None = None) -> None:
        self._locks = path.with_name("locks")
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener: tuple[Tell, asyncio.AbstractEventLoop] | None = None
        self._writer = Lane(path, name="store-writer", tell=self._tell, on_write=on_write)
        self._reader = Lane(path, name="store-reader", tell=self._tell)
        self._journals: list[StoreJournal] = []

    def listen(self, tell: Tell) -> None:
        """Call `tell` in this event loop with each sentence for the person about the file itself, those that
        have come before included: that it was damaged, and where it is now."""
        self._listener = (tell, asyncio.get_running_loop())
        self._pass_on(tell)

    def create(self, session_id: str, workspace: str, model: str) -> StoreJournal:
        """A new session, which gets into the file with its first turn.

        Raises `ValueError` for an id that is no name of a file.
        """
        if not _ID.fullmatch(session_id):
            raise ValueError(f"no id for a session: {session_id!r}")
        return self._journal(NewSession(session_id, workspace, model), None)

    async def sessions(self, *, workspace: str | None = None, limit: int = 500) -> tuple[SessionInfo, ...]:
        """Those that changed last come first; with `workspace` only those of that folder."""

        def listed() -> tuple[SessionInfo, ...]:
            infos = self._reader.read(lambda connection: store_rows.list_infos(connection, workspace, limit))
            return tuple(map(self._with_use, infos))

        return await self._reader.submit(listed)

    async def search(self, text: str, *, limit: int = 50) -> tuple[Hit, ...]:
        """The newest place of each session that has all words of `text`, the last as a beginning of one."""

        def found() -> tuple[Hit, ...]:
            hits = self._reader.read(lambda connection: store_rows.search(connection, text, limit))
            return tuple(replace(hit, info=self._with_use(hit.info)) for hit in hits)

        return await self._reader.submit(found)

    async def load(self, session_id: str) -> LoadedSession:
        """All of a session, whoever has it open. Raises `NoSuchSession`, and `CodecError` for broken data."""
        return await self._reader.submit(lambda: self._load(self._reader, session_id))

    async def open(self, session_id: str) -> Opened:
        """A session for writing, until its journal is closed.

        Raises `NoSuchSession`, `SessionInUse`, and `CodecError` for broken data.
        """
        taken: list[FileLock] = []

        def opened() -> tuple[FileLock, LoadedSession, Draft | None]:
            self._writer.read(lambda connection: store_rows.number_of(connection, session_id))
            lock = self._take_lock(session_id)
            taken.append(lock)
            try:
                loaded = self._load(self._writer, session_id)
                draft = self._writer.read(lambda connection: store_rows.load_draft(connection, session_id))
            except BaseException:
                lock.release()
                raise
            return lock, loaded, draft

        def given_back() -> None:
            for lock in taken:
                lock.release()

        try:
            lock, loaded, draft = await self._writer.submit(opened)
        except asyncio.CancelledError:
            # It is opened all the same, after this, and nobody would ever close it.
            with contextlib.suppress(StoreError):
                self._writer.post(given_back)
            raise
        return Opened(self._journal(session_id, lock), loaded, draft)

    async def rename(self, session_id: str, title: str) -> None:
        """Raises `NoSuchSession`. A session that is open may be renamed."""
        await self._writer.submit(
            lambda: self._writer.write(
                lambda connection: store_rows.put_title(
                    connection, store_rows.number_of(connection, session_id), title
                )
            ),
        )

    async def delete(self, session_id: str) -> None:
        """Raises `NoSuchSession` and `SessionInUse`."""

        def deleted() -> None:
            self._writer.read(lambda connection: store_rows.number_of(connection, session_id))
            lock = self._take_lock(session_id)
            try:
                self._writer.write(
                    lambda connection: store_rows.delete(
                        connection, store_rows.number_of(connection, session_id)
                    )
                )
            finally:
                lock.release()

        await self._writer.submit(deleted)

    async def fork(self, session_id: str, steps: int) -> str:
        """Copy the first `steps` steps, with their turns, compactions and pre-images; returns the new id.

        Raises `NoSuchSession`. What the copied steps have cost counts in both sessions.
        """
        copy_id = new_id()

        def forked() -> str:
            self._writer.write(
                lambda connection: store_rows.fork(connection, session_id, steps, copy_id, time.time())
            )
            return copy_id

        return await self._writer.submit(forked)

    async def insert(self, loaded: LoadedSession) -> str:
        """An imported session, under a new id, which is returned. Its totals are counted anew."""
        info = replace(loaded.info, session_id=new_id(), parent=None, updated_at=time.time())

        def inserted() -> str:
            self._writer.write(
                lambda connection: store_rows.insert_loaded(connection, replace(loaded, info=info))
            )
            return info.session_id

        return await self._writer.submit(inserted)

    async def preimages(self, session_id: str, from_turn: int) -> tuple[PreImage, ...]:
        """Those of turn `from_turn` and all that follow, in the order in which they were taken.

        Raises `NoSuchSession`. Asks the writing thread, so that what was handed over before is in it.
        """
        return await self._writer.submit(
            lambda: self._writer.read(
                lambda connection: store_rows.load_preimages(
                    connection, store_rows.number_of(connection, session_id), from_turn
                )
            ),
        )

    async def aclose(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is left, give all sessions free and close the file, for at most `timeout_s` seconds.

        A disk that hangs for longer is left to its thread. Never raises.
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

    def _load(self, lane: Lane, session_id: str) -> LoadedSession:
        try:
            loaded = lane.read(lambda connection: store_rows.load(connection, session_id))
        except CodecError as error:
            raise CodecError(f"Session {session_id} cannot be read: {error}") from error
        return replace(loaded, info=self._with_use(loaded.info))

    def _with_use(self, info: SessionInfo) -> SessionInfo:
        held = is_held(self._lock_path(info.session_id))
        # Its last turn has not ended because it is running.
        return replace(info, in_use=True, crashed=False) if held else info

    def _take_lock(self, session_id: str) -> FileLock:
        path = self._lock_path(session_id)
        try:
            return FileLock.take(path)
        except LockHeld as error:
            raise SessionInUse(error.pid) from error
        except OSError as error:
            raise explained(error, path) from error

    def _lock_path(self, session_id: str) -> Path:
        return self._locks / f"{session_id}.lock"

    def _tell(self, sentence: str) -> None:
        """In a thread of the store."""
        self._told.put(sentence)
        if self._listener is not None:
            listener, loop = self._listener
            # A closed loop has nobody left who listens; the log has it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._pass_on, listener)

    def _pass_on(self, listener: Tell) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                listener(self._told.get_nowait())
