"""The written side of one session in the file: what it hands over is kept in memory until it is durable.

All that waits is one transaction. If that fails everything stays, in its order, and is tried again together
with what comes next, so that the file never has a step without those before it (H3).

Known limits: if the file is replaced under an open session, because it was damaged or deleted, the session
is not in the new one; it goes on and `flush` says that it is not saved.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core import store_rows
from core.database import StoreError
from core.journal import NotSaved
from core.records import Compaction, PreImage, SessionInfo, StoredStep
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from core.file_locks import FileLock
    from core.journal import Piece
    from core.messages import UserMessage
    from core.records import TurnRecord
    from core.store_lane import Lane

CLOSE_S = 5.0
"""How long `aclose` waits for a slow disk."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Begin:
    turn: TurnRecord
    message: UserMessage


@dataclass(frozen=True, slots=True)
class _Draft:
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class _End:
    turn: TurnRecord


@dataclass(frozen=True, slots=True)
class _Queue:
    prompts: tuple[str, ...]
    paused: bool


@dataclass(frozen=True, slots=True)
class _Title:
    title: str


_Change: TypeAlias = _Begin | _Draft | StoredStep | _End | _Queue | Compaction | _Title | PreImage


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is not in the file yet: it gets there with its first turn."""

    session_id: str
    workspace: str
    model: str


class StoreJournal:
    """Made by `Store.create` and `Store.open`; implements `core.journal.Journal`.

    `take_lock` is called in the lane's thread before the first write of a new session; `lock` is that of one
    that was opened.
    """

    def __init__(
        self,
        lane: Lane,
        session: NewSession | str,
        *,
        take_lock: Callable[[], FileLock],
        lock: FileLock | None = None,
    ) -> None:
        self._lane = lane
        self._new = session if isinstance(session, NewSession) else None
        self._session_id = session.session_id if isinstance(session, NewSession) else session
        self._take_lock = take_lock
        self._lock = lock
        # Changes are handed over in the event loop and taken in the lane's thread.
        self._guard = threading.Lock()
        self._pending: list[_Change] = []
        self._begun = self._new is None
        self._scheduled = False
        self._closed = False

    @property
    def session_id(self) -> str:
        return self._session_id

    @property
    def closed(self) -> bool:
        """Whether it takes nothing any more. What it had may still be on its way to the disk."""
        return self._closed

    def begin(self, turn: TurnRecord, message: UserMessage) -> None:
        self._begun = True
        self._hand_over(_Begin(turn, message))

    def draft(self, pieces: tuple[Piece, ...]) -> None:
        if pieces:
            self._hand_over(_Draft(pieces))

    def commit(self, stored: StoredStep) -> None:
        self._hand_over(stored)

    def end(self, turn: TurnRecord) -> None:
        self._hand_over(_End(turn))

    def keep_queue(self, prompts: tuple[str, ...], *, paused: bool) -> None:
        self._hand_over(_Queue(prompts, paused))

    def keep_compaction(self, compaction: Compaction) -> None:
        self._hand_over(compaction)

    def keep_title(self, title: str) -> None:
        self._hand_over(_Title(title))

    def keep_preimage(self, preimage: PreImage) -> None:
        self._hand_over(preimage)

    async def flush(self) -> None:
        if not self._begun:
            return
        try:
            await self._lane.submit(self._write)
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
                await self._lane.submit(self._finish)
        except TimeoutError:
            _log.error("%s was not closed within %g s", self._session_id, CLOSE_S)
        except StoreError:
            _log.error("%s was closed after the file", self._session_id)

    def close_soon(self) -> None:
        """`aclose` for who waits for the lane itself. Raises `StoreError` if it is closed."""
        if not self._closed:
            self._closed = True
            self._lane.post(self._finish)

    def _hand_over(self, change: _Change) -> None:
        if self._closed:
            _log.error("%s was changed after it was closed: %s", self._session_id, type(change).__name__)
            return
        with self._guard:
            self._pending.append(change)
            if self._scheduled or not self._begun:
                return
            self._scheduled = True
        try:
            self._lane.post(self._write_unasked)
        except StoreError as error:
            _log.error("%s is not saved: %s", self._session_id, error)

    def _write_unasked(self) -> None:
        try:
            self._write()
        except StoreError as error:
            # Whoever needs to know asks `flush`, which tries again.
            _log.warning("%s is not saved yet: %s", self._session_id, error)

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
            self._lane.write(lambda connection: self._apply(connection, batch))
        except StoreError:
            raise
        except Exception as error:
            _log.exception("%s cannot be written", self._session_id)
            raise StoreError(f"an internal error came up ({error}); the log has it.") from error
        self._new = None
        with self._guard:
            del self._pending[: len(batch)]

    def _finish(self) -> None:
        self._write_unasked()
        if self._lock is not None:
            self._lock.release()

    def _apply(self, connection: Connection, batch: tuple[_Change, ...]) -> None:
        if self._new is not None:
            number = store_rows.insert_session(connection, _info(self._new, batch))
        else:
            try:
                number = store_rows.number_of(connection, self._session_id)
            except store_rows.NoSuchSession as error:
                raise StoreError(
                    "It is not in the file of sessions any more, which was replaced or changed by somebody "
                    "else. Export it with /export to keep it."
                ) from error
        for change in _without_ended_drafts(batch):
            _apply(connection, number, change)


def _info(new: NewSession, batch: tuple[_Change, ...]) -> SessionInfo:
    """A session is as old as its first turn."""
    at = next(change.turn.at for change in batch if isinstance(change, _Begin))
    return SessionInfo(new.session_id, "", new.workspace, new.model, at, at, steps=0)


def _without_ended_drafts(batch: tuple[_Change, ...]) -> list[_Change]:
    """Drafts that the same transaction would delete again need not be written."""
    kept: list[_Change] = []
    ended = False
    for change in reversed(batch):
        ended = ended or isinstance(change, StoredStep | _Begin | _End)
        if not (ended and isinstance(change, _Draft)):
            kept.append(change)
    return kept[::-1]


def _apply(connection: Connection, number: int, change: _Change) -> None:
    match change:
        case _Begin(turn, message):
            store_rows.put_turn(connection, number, turn, message)
        case _Draft(pieces):
            store_rows.add_pieces(connection, number, pieces)
        case StoredStep():
            store_rows.add_step(connection, number, change)
        case _End(turn):
            store_rows.put_turn(connection, number, turn, None)
        case _Queue(prompts, paused):
            store_rows.put_queue(connection, number, prompts, paused=paused)
        case Compaction():
            store_rows.put_compaction(connection, number, change)
        case _Title(title):
            store_rows.put_title(connection, number, title)
        case PreImage():
            store_rows.add_preimage(connection, number, change)
        case _:
            assert_never(change)
