"""What the tests of the store share: conversations that are saved, and what SQLite says of the file."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.model.messages import AssistantMessage, Step, Text, Usage, UserMessage
from core.operations.events import Outcome
from core.storage.journal import BegunTurn, EndedTurn
from core.storage.records import StoredStep, TurnRecord
from core.storage.store import Store, new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from core.storage.journal import Journal

ROOT = Path(__file__).resolve().parent.parent.parent


@asynccontextmanager
async def opened_store(path: Path, on_write: Callable[[], None] | None = None) -> AsyncIterator[Store]:
    store = Store(path, on_write=on_write)
    try:
        yield store
    finally:
        await store.aclose()


def step(number: int, text: str = "", *, turn: int | None = None, cost: float | None = 0.5) -> StoredStep:
    reply = AssistantMessage((Text(text or f"reply {number}"),), "m")
    messages = (UserMessage(f"prompt {number}"), reply)
    return StoredStep(Step(messages, Usage(1, 2, 3, 4)), turn or number + 1, float(number), cost)


def turn(number: int) -> TurnRecord:
    return TurnRecord(number, f"prompt {number - 1}", float(number))


def ended(number: int) -> TurnRecord:
    return replace(turn(number), outcome=Outcome.COMPLETED, kept=True)


async def converse(journal: Journal, *texts: str) -> None:
    """A turn of one step for each of `texts`, saved."""
    for number, text in enumerate(texts):
        journal.add(BegunTurn(turn(number + 1), UserMessage(f"prompt {number}")))
        journal.add(step(number, text))
        journal.add(EndedTurn(ended(number + 1)))
    await journal.flush()


async def made(store: Store, *texts: str, workspace: str = "/w") -> str:
    """A session with these replies that nobody has open."""
    journal = store.create(new_id(), workspace, "m")
    await converse(journal, *texts)
    await journal.aclose()
    return journal.session_id


def sound(path: Path) -> bool:
    """What SQLite says of the whole file, in a connection of its own."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
        connection.rollback()
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
