"""A program that writes sessions, to be run twice at once and to be killed.

`append FILE ID COUNT` commits steps and ends. `hold FILE ID` begins a turn and stays. `killed FILE ID ROUNDS
SEED` forks one writer after the other on one session and kills each with SIGKILL at a random moment of its
writing; each line is what such a writer could still say: how many steps it found, and the number of the last
that it was told to be durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from core.model.messages import AssistantMessage, Step, Text, UserMessage
from core.model.provider import TextDelta
from core.storage.journal import BegunTurn, DraftEntries, NotSaved
from core.storage.records import StoredStep, TurnRecord
from core.storage.store import NoSuchSession, Store
from core.storage.store_journal import StoreJournal

WORDS = "and so it goes on " * 40


def step(number: int) -> StoredStep:
    reply = AssistantMessage((Text(f"reply {number} {WORDS}"),), "m")
    return StoredStep(Step((UserMessage(f"prompt {number}"), reply)), turn=number + 1, at=float(number))


async def write(journal: StoreJournal, number: int) -> None:
    turn = TurnRecord(number + 1, f"prompt {number}", float(number))
    journal.add(BegunTurn(turn, UserMessage(turn.prompt)))
    for piece in range(3):
        journal.add(DraftEntries((TextDelta(f"piece {piece} of {number}"),)))
        with contextlib.suppress(NotSaved):
            await journal.flush()
    journal.add(step(number))
    await journal.flush()


async def append(path: Path, session_id: str, count: int) -> None:
    store = Store(path)
    journal = store.create(session_id, "/w", "m")
    for number in range(count):
        await write(journal, number)
    await store.aclose()


async def hold(path: Path, session_id: str) -> None:
    journal = Store(path).create(session_id, "/w", "m")
    journal.add(BegunTurn(TurnRecord(1, "p", 1.0), UserMessage("p")))
    await journal.flush()
    print("open", flush=True)
    await asyncio.Event().wait()


async def append_for_ever(path: Path, session_id: str, said: int) -> None:
    store = Store(path)
    try:
        opened = await store.open(session_id)
    except NoSuchSession:
        journal, number = store.create(session_id, "/w", "m"), 0
    else:
        assert isinstance(opened.journal, StoreJournal)
        assert opened.loaded.steps == tuple(step(number) for number in range(len(opened.loaded.steps)))
        journal, number = opened.journal, len(opened.loaded.steps)
    os.write(said, b"found %d\n" % number)
    while True:
        await write(journal, number)
        os.write(said, b"durable %d\n" % number)
        number += 1


def killed(path: Path, session_id: str, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        heard, said = os.pipe()
        if not (writer := os.fork()):
            try:
                asyncio.run(append_for_ever(path, session_id, said))
            finally:
                os._exit(1)
        os.close(said)
        lines, text = chance.randrange(1, 6), ""
        while text.count("\n") < lines and (more := os.read(heard, 4_096)):
            text += more.decode()
        time.sleep(chance.random() * 0.004)
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        while select.select([heard], [], [], 0)[0] and (more := os.read(heard, 4_096)):
            text += more.decode()
        os.close(heard)
        print(" ".join(text.split()), flush=True)


def main() -> None:
    how, path, session_id, *rest = sys.argv[1:]
    if how == "append":
        asyncio.run(append(Path(path), session_id, int(rest[0])))
    elif how == "hold":
        asyncio.run(hold(Path(path), session_id))
    else:
        killed(Path(path), session_id, int(rest[0]), int(rest[1]))


if __name__ == "__main__":
    main()
