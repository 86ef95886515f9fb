"""The journal of one session in the session file. Changes are kept in memory until they are durable.

All pending changes are written in one transaction. If it fails they stay pending, in order, and are written
with the next change, so that the file never has a step without the steps before it (H3).

Not solved: if the file is replaced while a session is open, because it was damaged or deleted, the new file
does not have the session. The session goes on, and `flush` raises that it is not saved.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, assert_never

from core.base.values import Value
from core.storage import rows
from core.storage.database import StoreError
from core.storage.journal import BegunTurn, DraftEntries, EndedTurn, NewTitle, NotSaved, QueuedPrompts
from core.storage.records import Compaction, PreImage, SessionInfo, StoredStep

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from core.base.file_locks import FileLock
    from core.storage.db_thread import DatabaseThread
    from core.storage.journal import Change

CLOSE_S = 5.0
"""How long `aclose` waits for a slow disk, in seconds."""

_log = logging.getLogger(__name__)


class NewSession(Value):
    """A session that is not in the file yet. It is inserted with its first turn."""

    session_id: str
    workspace: str
    model: str


class StoreJournal:
    """Implements `core.storage.journal.Journal`. Use `Store.create` and `Store.open` to make one.

    `take_lock` is called in the database thread before the first write of a new session; `lock` is the lock
    of a session that was opened.
    """

    def __init__(
        self,
        thread: DatabaseThread,
        session: NewSession | str,
        *,
        take_lock: Callable[[], FileLock],
        lock: FileLock | None = None,
    ) -> None:
        self._thread = thread
        self._new = session if isinstance(session, NewSession) else None
        self.session_id = session.session_id if isinstance(session, NewSession) else session
        self._take_lock = take_lock
        self._lock = lock
        # Changes are added in the event loop and taken in the database thread.
        self._guard = threading.Lock()
        self._pending: list[Change] = []
        self._begun = self._new is None
        self._scheduled = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether no more changes are accepted. Earlier ones may not be written yet."""
        return self._closed

    def add(self, change: Change) -> None:
        if self._closed:
            _log.error("%s was changed after it was closed: %s", self.session_id, type(change).__name__)
            return
        self._begun = self._begun or isinstance(change, BegunTurn)
        with self._guard:
            self._pending.append(change)
            if self._scheduled or not self._begun:
                return
            self._scheduled = True
        try:
            self._thread.post(self._write_in_background)
        except StoreError as error:
            _log.error("%s is not saved: %s", self.session_id, error)

    async def flush(self) -> None:
        if not self._begun:
            return
        try:
            await self._thread.submit(self._write)
        except StoreError as error:
            raise NotSaved(
                f"This conversation is not saved: {error} It is kept in memory until then, and saved with "
                "what comes next."
            ) from error

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._thread.submit(self._finish)
        except TimeoutError:
            _log.error("%s was not closed within %g s", self.session_id, CLOSE_S)
        except StoreError:
            _log.error("%s was closed after the file", self.session_id)

    def close_soon(self) -> None:
        """Close without waiting, for a caller that waits for the database thread itself.

        Raises `StoreError` if that thread is closed.
        """
        if not self._closed:
            self._closed = True
            self._thread.post(self._finish)

    def _write_in_background(self) -> None:
        try:
            self._write()
        except StoreError as error:
            # `flush` tries again and raises.
            _log.warning("%s is not saved yet: %s", self.session_id, error)

    def _write(self) -> None:
        with self._guard:
            self._scheduled = False
            if not self._begun:
                return
            batch = tuple(self._pending)
        if not batch:
            return
        try:
            if self._lock is None:
                self._lock = self._take_lock()
            self._thread.write(lambda connection: self._apply(connection, batch))
        except StoreError:
            raise
        except Exception as error:
            _log.exception("%s cannot be written", self.session_id)
            raise StoreError(f"an internal error came up ({error}); the log has it.") from error
        self._new = None
        with self._guard:
            del self._pending[: len(batch)]

    def _finish(self) -> None:
        self._write_in_background()
        if self._lock is not None:
            self._lock.release()

    def _apply(self, connection: Connection, batch: tuple[Change, ...]) -> None:
        if self._new is not None:
            number = rows.insert_session(connection, _info(self._new, batch))
        else:
            try:
                number = rows.number_of(connection, self.session_id)
            except rows.NoSuchSession as error:
                raise StoreError(
                    "It is not in the file of sessions any more, which was replaced or changed by somebody "
                    "else. Export it with /export to keep it."
                ) from error
        for change in _without_ended_drafts(batch):
            _apply(connection, number, change)


def _info(new: NewSession, batch: tuple[Change, ...]) -> SessionInfo:
    """Describe a new session. It was created when its first turn began."""
    at = next(change.turn.at for change in batch if isinstance(change, BegunTurn))
    return SessionInfo(new.session_id, "", new.workspace, new.model, at, at, steps=0)


def _without_ended_drafts(batch: tuple[Change, ...]) -> list[Change]:
    """Leave out draft entries that the same transaction would delete again."""
    kept: list[Change] = []
    ended = False
    for change in reversed(batch):
        ended = ended or isinstance(change, StoredStep | BegunTurn | EndedTurn)
        if not (ended and isinstance(change, DraftEntries)):
            kept.append(change)
    return kept[::-1]


def _apply(connection: Connection, number: int, change: Change) -> None:
    match change:
        case BegunTurn(turn, message):
            rows.put_turn(connection, number, turn, message)
        case DraftEntries(entries):
            rows.add_to_draft(connection, number, entries)
        case StoredStep():
            rows.add_step(connection, number, change)
        case EndedTurn(turn):
            rows.put_turn(connection, number, turn, None)
        case QueuedPrompts(prompts, paused):
            rows.put_queue(connection, number, prompts, paused=paused)
        case Compaction():
            rows.put_compaction(connection, number, change)
        case NewTitle(title):
            rows.put_title(connection, number, title)
        case PreImage():
            rows.add_preimage(connection, number, change)
        case _:
            assert_never(change)
