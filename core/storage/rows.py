"""Read and write the rows of the session file.

Each function gets a connection that is in a transaction, and neither begins nor ends one. The totals of a
session are stored with it and are always the sums of its steps and compactions.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from core.model.messages import Usage, UserMessage
from core.storage import search as store_search
from core.storage.codec import draft_from_text, draft_to_text, from_text, to_text
from core.storage.database import StoreError
from core.storage.journal import Draft
from core.storage.records import (
    Compaction,
    LoadedSession,
    PreImage,
    SearchMatch,
    SessionInfo,
    StoredStep,
    TurnRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Connection

    from core.storage.journal import DraftEntry

LARGEST = 2**63 - 1
_SURROGATES = re.compile("[\ud800-\udfff]")


class NoSuchSession(StoreError):
    """No session has this id."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"There is no session {clean(session_id)!r} any more; /sessions lists all.")


T = TypeVar("T")


def clean(text: str) -> str:
    """Replace lone surrogates, which SQLite refuses."""
    return _SURROGATES.sub("\ufffd", text)


def as_bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogatepass")


def as_path(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


_INFO = """
    SELECT id, title, workspace, model, created_at, updated_at, steps, parent,
        input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost, cost_unknown,
        COALESCE((
            SELECT message IS NOT NULL FROM turns WHERE session = sessions.number ORDER BY turn DESC LIMIT 1
        ), 0)
    FROM sessions
"""
"""The last column says whether the last turn has not ended: such a turn has a message."""


def _info(row: tuple[Any, ...]) -> SessionInfo:
    session_id, title, workspace, model, created_at, updated_at, steps, parent, *rest = row
    *used, cost, unknown, unended = rest
    return SessionInfo(
        session_id=session_id,
        title=title,
        workspace=as_path(workspace),
        model=model,
        created_at=created_at,
        updated_at=updated_at,
        steps=steps,
        parent=parent,
        usage=Usage(*(int(count) for count in used)),
        cost=None if unknown else cost,
        crashed=bool(unended),
    )


def list_infos(connection: Connection, workspace: str | None, limit: int) -> tuple[SessionInfo, ...]:
    """The sessions, the last changed first."""
    where, given = ("", ()) if workspace is None else ("WHERE workspace = ?", (as_bytes(workspace),))
    query = f"{_INFO} {where} ORDER BY updated_at DESC, number DESC LIMIT ?"
    return tuple(_info(row) for row in connection.execute(query, (*given, limit)))


def info_of(connection: Connection, number: int) -> SessionInfo:
    return _info(connection.execute(f"{_INFO} WHERE number = ?", (number,)).fetchone())


def search(connection: Connection, text: str, limit: int) -> tuple[SearchMatch, ...]:
    """Find one match in each session, the newest first. No `text` is an error."""
    return tuple(
        SearchMatch(info_of(connection, place.session), place.step or 0, place.snippet, place.marks)
        for place in store_search.find(connection, text, limit)
    )


def number_of(connection: Connection, session_id: str) -> int:
    """Return the number of a session, which its rows refer to. Raises `NoSuchSession`."""
    row = connection.execute("SELECT number FROM sessions WHERE id = ?", (clean(session_id),)).fetchone()
    if row is None:
        raise NoSuchSession(session_id)
    return int(row[0])


def load(connection: Connection, session_id: str) -> LoadedSession:
    """Read a session. Raises `NoSuchSession` and `CodecError`."""
    number = number_of(connection, session_id)
    info = info_of(connection, number)
    queue, paused = connection.execute(
        "SELECT queue, queue_paused FROM sessions WHERE number = ?", (number,)
    ).fetchone()

    def each(kind: type[T], query: str) -> tuple[T, ...]:
        return tuple(from_text(text, kind) for (text,) in connection.execute(query, (number,)))

    return LoadedSession(
        info=info,
        steps=each(StoredStep, "SELECT data FROM steps WHERE session = ? ORDER BY seq"),
        turns=each(TurnRecord, "SELECT data FROM turns WHERE session = ? ORDER BY turn"),
        compactions=each(Compaction, "SELECT data FROM compactions WHERE session = ? ORDER BY number"),
        queue=from_text(queue, tuple[str, ...]),
        queue_paused=bool(paused),
    )


def load_draft(connection: Connection, session_id: str) -> Draft | None:
    """Read the draft of the last turn; None if that turn has an outcome."""
    number = number_of(connection, session_id)
    row = connection.execute(
        "SELECT data, message FROM turns WHERE session = ? ORDER BY turn DESC LIMIT 1", (number,)
    ).fetchone()
    if row is None or row[1] is None:
        return None
    entries: list[DraftEntry] = []
    for (data,) in connection.execute("SELECT data FROM drafts WHERE session = ? ORDER BY id", (number,)):
        entries += draft_from_text(data)
    turn, message = row
    return Draft(from_text(turn, TurnRecord), from_text(message, UserMessage), tuple(entries))


def insert_session(connection: Connection, info: SessionInfo) -> int:
    """Insert a session without steps; the totals of `info` are not used. Returns its number."""
    cursor = connection.execute(
        """
        INSERT INTO sessions (id, title, workspace, model, parent, created_at, updated_at)
        VALUES (?, '', ?, ?, ?, ?, ?)
        """,
        (
            info.session_id,
            as_bytes(info.workspace),
            clean(info.model),
            info.parent,
            info.created_at,
            info.updated_at,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def put_turn(connection: Connection, number: int, turn: TurnRecord, message: UserMessage | None) -> None:
    """Insert or replace a turn and delete drafts of earlier ones. `message` is None if the turn has ended."""
    connection.execute("DELETE FROM drafts WHERE session = ?", (number,))
    connection.execute(
        "INSERT OR REPLACE INTO turns (session, turn, data, message) VALUES (?, ?, ?, ?)",
        (number, turn.turn, to_text(turn), None if message is None else to_text(message)),
    )
    connection.execute(
        "UPDATE sessions SET updated_at = max(updated_at, ?) WHERE number = ?", (turn.at, number)
    )


def add_to_draft(connection: Connection, number: int, entries: Iterable[DraftEntry]) -> None:
    connection.execute("INSERT INTO drafts (session, data) VALUES (?, ?)", (number, draft_to_text(entries)))


def add_step(connection: Connection, number: int, stored: StoredStep) -> None:
    """Add a step after the last one, index its texts for the search, and delete its draft."""
    (seq,) = connection.execute("SELECT steps FROM sessions WHERE number = ?", (number,)).fetchone()
    connection.execute(
        "INSERT INTO steps (session, seq, turn, data) VALUES (?, ?, ?, ?)",
        (number, seq, stored.turn, to_text(stored)),
    )
    connection.execute("DELETE FROM drafts WHERE session = ?", (number,))
    connection.execute(
        "UPDATE sessions SET steps = steps + 1, updated_at = max(updated_at, ?) WHERE number = ?",
        (stored.at, number),
    )
    add_usage(connection, number, stored.usage, stored.cost)
    texts = store_search.texts_of(stored.step, _prompt(connection, number, stored.turn))
    store_search.add_texts(connection, number, seq, texts)


def _prompt(connection: Connection, number: int, turn: int) -> str:
    row = connection.execute(
        "SELECT data FROM turns WHERE session = ? AND turn = ?", (number, turn)
    ).fetchone()
    return "" if row is None else from_text(row[0], TurnRecord).prompt


def add_usage(connection: Connection, number: int, usage: Usage | None, cost: float | None) -> None:
    used = usage or Usage(0, 0)
    known = cost is not None and math.isfinite(cost)
    counts = (used.input_tokens, used.output_tokens, used.cached_tokens, used.reasoning_tokens)
    connection.execute(
        """
        UPDATE sessions SET
            input_tokens = input_tokens + ?, output_tokens = output_tokens + ?,
            cached_tokens = cached_tokens + ?, reasoning_tokens = reasoning_tokens + ?,
            cost = cost + ?, cost_unknown = max(cost_unknown, ?)
        WHERE number = ?
        """,
        (*(min(count, LARGEST) for count in counts), cost if known else 0.0, not known, number),
    )


def put_compaction(connection: Connection, number: int, compaction: Compaction) -> None:
    known = connection.execute(
        "SELECT 1 FROM compactions WHERE session = ? AND number = ?", (number, compaction.number)
    ).fetchone()
    connection.execute(
        "INSERT OR REPLACE INTO compactions (session, number, upto, data) VALUES (?, ?, ?, ?)",
        (number, compaction.number, compaction.upto, to_text(compaction)),
    )
    if known is None:
        add_usage(connection, number, compaction.usage, compaction.cost)


def put_title(connection: Connection, number: int, title: str) -> None:
    connection.execute("UPDATE sessions SET title = ? WHERE number = ?", (clean(title), number))
    store_search.put_title(connection, number, title)


def put_queue(connection: Connection, number: int, prompts: Iterable[str], *, paused: bool) -> None:
    connection.execute(
        "UPDATE sessions SET queue = ?, queue_paused = ? WHERE number = ?",
        (to_text(list(prompts)), paused, number),
    )


def add_preimage(connection: Connection, number: int, preimage: PreImage) -> None:
    before = None
    if preimage.before is not None:
        before = hashlib.sha256(preimage.before).hexdigest()
        known = connection.execute("SELECT 1 FROM blobs WHERE sha256 = ?", (before,)).fetchone()
        if known is None:
            connection.execute(
                "INSERT INTO blobs (sha256, data) VALUES (?, ?)", (before, zlib.compress(preimage.before, 1))
            )
    connection.execute(
        "INSERT INTO preimages (session, turn, path, before, after, mode) VALUES (?, ?, ?, ?, ?, ?)",
        (number, preimage.turn, as_bytes(preimage.path), before, clean(preimage.after), preimage.mode),
    )


def load_preimages(connection: Connection, number: int, from_turn: int) -> tuple[PreImage, ...]:
    """Read the pre-images from turn `from_turn` on, in the order they were taken."""
    rows = connection.execute(
        """
        SELECT turn, path, data, after, mode FROM preimages LEFT JOIN blobs ON sha256 = before
        WHERE session = ? AND turn >= ? ORDER BY id
        """,
        (number, from_turn),
    )
    return tuple(
        PreImage(turn, as_path(path), None if data is None else zlib.decompress(data), after, mode)
        for turn, path, data, after, mode in rows
    )


def delete(connection: Connection, number: int) -> None:
    """Delete a session and the blobs that no other session uses."""
    store_search.remove_texts(connection, number)
    connection.execute("DELETE FROM sessions WHERE number = ?", (number,))
    connection.execute(
        "DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM preimages WHERE before = blobs.sha256)"
    )


def insert_loaded(connection: Connection, loaded: LoadedSession) -> int:
    """Insert a whole session under the id in its info and compute its totals. Returns its number."""
    number = insert_session(connection, loaded.info)
    put_title(connection, number, loaded.info.title)
    for turn in loaded.turns:
        put_turn(connection, number, turn, None)
    for stored in loaded.steps:
        add_step(connection, number, stored)
    for compaction in loaded.compactions:
        put_compaction(connection, number, compaction)
    put_queue(connection, number, loaded.queue, paused=loaded.queue_paused)
    return number


def fork(connection: Connection, session_id: str, steps: int, copy_id: str, now: float) -> None:
    """Copy the first `steps` steps of a session to a new session `copy_id`. Raises `NoSuchSession`."""
    number = number_of(connection, session_id)
    loaded = load(connection, session_id)
    kept = loaded.steps[: max(0, steps)]
    turns = {stored.turn for stored in kept}
    copy = insert_loaded(
        connection,
        LoadedSession(
            info=replace(loaded.info, session_id=copy_id, parent=session_id, created_at=now, updated_at=now),
            steps=kept,
            turns=tuple(turn for turn in loaded.turns if turn.turn in turns),
            compactions=tuple(
                replace(
                    each, trimmed=min(each.trimmed, len(kept)), made_after=min(each.made_after, len(kept))
                )
                for each in loaded.compactions
                if each.upto <= len(kept)
            ),
        ),
    )
    connection.execute(
        """
        INSERT INTO preimages (session, turn, path, before, after, mode)
        SELECT ?, turn, path, before, after, mode FROM preimages WHERE session = ? AND turn <= ? ORDER BY id
        """,
        (copy, number, max(turns, default=0)),
    )
