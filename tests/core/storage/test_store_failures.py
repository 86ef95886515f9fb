"""Kills, full and hanging disks, damage and cancelled calls: no durable change is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.model.messages import Usage, UserMessage
from core.storage.codec import CodecError
from core.storage.database import UnusableFile
from core.storage.journal import BegunTurn, EndedTurn, NotSaved
from core.storage.store import SessionInUse, Store, StoreError, new_id
from tests.support.stored_sessions import converse, ended, made, opened_store, sound, step, turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "caesura.db"


ROOT = Path(__file__).resolve().parents[3]


PROGRAM = (sys.executable, "-m", "tests.support.store_process")


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def add_noise(path: Path) -> int:
    """Overwrite all pages but the first with noise while the file is open. Returns its size."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(os.urandom(size - 4_096))
    return size


@pytest.mark.promise("H8")
async def test_what_another_process_has_open_is_named_and_a_crash_gives_it_free(path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*PROGRAM, "hold", str(path), "s1"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    async with opened_store(path) as store:
        with pytest.raises(SessionInUse, match=f"Another Caesura .process {process.pid}. has this session"):
            await store.open("s1")
        process.kill()
        await process.wait()
        assert not (await store.sessions())[0].in_use
        opened = await store.open("s1")
        assert opened.draft is not None


@pytest.mark.promise("H8")
async def test_two_processes_write_to_one_file_at_once(path: Path) -> None:
    writers = [
        await asyncio.create_subprocess_exec(*PROGRAM, "append", str(path), name, "60", cwd=ROOT)
        for name in ("one", "two")
    ]
    assert [await writer.wait() for writer in writers] == [0, 0]
    async with opened_store(path) as store:
        for name in ("one", "two"):
            loaded = await store.load(name)
            assert [stored.at for stored in loaded.steps] == list(range(60))
    assert sound(path)


@pytest.mark.promise("H3", "H8")
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_kill_at_any_moment_loses_nothing_that_was_durable(path: Path, seed: int) -> None:
    done = await asyncio.create_subprocess_exec(
        *(*PROGRAM, "killed", str(path), "s1", "15", str(seed)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await done.communicate()
    rounds = [line.split() for line in output.decode().splitlines()]
    assert len(rounds) == 15
    durable = -1
    for found, count, *acknowledged in rounds:
        assert found == "found"
        assert int(count) > durable
        durable = max([durable, *map(int, acknowledged[1::2])])
    async with opened_store(path) as store:
        opened = await store.open("s1")
        assert len(opened.loaded.steps) > durable
        assert opened.draft is not None
    assert sound(path)


class FailingDisk:
    """Fails at the writes that `failing` says, counted from 1."""

    def __init__(self, failing: Callable[[int], bool], number: int = errno.ENOSPC) -> None:
        self.failing = failing
        self.number = number
        self.writes = 0

    def __call__(self) -> None:
        self.writes += 1
        if self.failing(self.writes):
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.promise("H3")
@pytest.mark.parametrize("at", range(1, 8))
async def test_what_could_not_be_saved_is_saved_with_what_comes_next(path: Path, at: int) -> None:
    disk = FailingDisk(lambda write: at <= write < at + 3)
    async with opened_store(path, disk) as store:
        journal = store.create("s1", "/w", "m")
        saved = 0
        for number in range(6):
            journal.add(BegunTurn(turn(number + 1), UserMessage("x")))
            journal.add(step(number))
            journal.add(EndedTurn(ended(number + 1)))
            try:
                await journal.flush()
            except NotSaved:
                assert saved == 0 or len((await store.load("s1")).steps) == saved
            else:
                saved = number + 1
                assert (await store.load("s1")).steps == tuple(step(each) for each in range(saved))
        disk.failing = lambda write: False
        await journal.flush()
        loaded = await store.load("s1")
    assert loaded.steps == tuple(step(number) for number in range(6))
    assert loaded.turns == tuple(ended(number + 1) for number in range(6))
    assert loaded.info.usage == Usage(6, 12, 18, 24)


@pytest.mark.promise("H3")
async def test_a_full_disk_that_has_room_again_loses_nothing(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        await converse(journal, "a")
        limit(store, "max_page_count = 1")
        journal.add(step(1, "long " * 10_000))
        with pytest.raises(NotSaved, match="no space left"):
            await journal.flush()
        journal.add(step(2))
        with pytest.raises(NotSaved):
            await journal.flush()
        assert len((await store.load("s1")).steps) == 1
        limit(store, "max_page_count = 100000")
        journal.add(step(3))
        await journal.flush()
        loaded = await store.load("s1")
    assert loaded.steps == (step(0, "a"), step(1, "long " * 10_000), step(2), step(3))
    assert sound(path)


def limit(store: Store, pragma: str) -> None:
    """Said to the connection that writes, in its thread, for the limit is its own."""

    def work() -> None:
        store._writer.read(lambda connection: connection.execute(f"PRAGMA {pragma}"))

    store._writer.post(work)


@pytest.mark.promise("H3")
async def test_who_gives_up_waiting_changes_nothing(path: Path) -> None:
    """The writer stands still in the first transaction while all who wait for it give up."""
    go_on, reached = threading.Event(), threading.Event()

    def on_write() -> None:
        reached.set()
        assert go_on.wait(20)

    async with opened_store(path, on_write) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("x")))
        journal.add(step(0))
        waiting = [
            asyncio.create_task(ask)
            for ask in (journal.flush(), store.open("s1"), store.fork("s1", 1), store.rename("s1", "t"))
        ]
        while not reached.is_set():  # noqa: ASYNC110 - the thread of the writer sets it
            await asyncio.sleep(0.001)
        for task in waiting:
            task.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError)
            for each in await asyncio.gather(*waiting, return_exceptions=True)
        )
        go_on.set()
        await journal.aclose()
        infos = await store.sessions()
        assert [(info.title, info.steps) for info in infos] == [("", 1), ("t", 1)]
        assert not any(info.in_use for info in infos)


async def test_opening_that_nobody_waits_for_leaves_no_lock(path: Path) -> None:
    async with opened_store(path) as store:
        session_id = await made(store, "a")
        for _ in range(20):
            opening = asyncio.create_task(store.open(session_id))
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await (await store.open(session_id)).journal.aclose()


HANGING = """
import asyncio, sys, threading
from pathlib import Path
from core.model.messages import UserMessage
from core.storage.journal import BegunTurn
from core.storage.records import TurnRecord
from core.storage.store import Store
async def main():
    reached = threading.Event()
    store = Store(Path(sys.argv[1]), on_write=lambda: (reached.set(), threading.Event().wait()))
    store.create('a', '/', 'm').add(BegunTurn(TurnRecord(1, 'p', 1.0), UserMessage('p')))
    while not reached.is_set():
        await asyncio.sleep(0.001)
    print("alive", flush=True)
    await store.aclose(0.01)
    print("closed", flush=True)
asyncio.run(main())
"""


@pytest.mark.promise("Q2")
async def test_a_disk_that_hangs_holds_up_neither_the_loop_nor_the_end(path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert output.split() == [b"alive", b"closed"]
    assert process.returncode == 0


async def test_closing_saves_what_is_left_and_takes_nothing_more(path: Path) -> None:
    store = Store(path)
    journal = store.create("s1", "/w", "m")
    journal.add(BegunTurn(turn(1), UserMessage("x")))
    journal.add(step(0))
    await store.aclose()
    await store.aclose()
    await journal.aclose()
    journal.add(step(1))
    with pytest.raises(NotSaved):
        await journal.flush()
    with pytest.raises(StoreError, match="closed"):
        await store.sessions()
    async with opened_store(path) as again:
        assert (await again.load("s1")).steps == (step(0),)
        await (await again.open("s1")).journal.aclose()


@pytest.mark.promise("H8")
async def test_a_damaged_file_is_reported_once_and_a_new_session_is_saved(path: Path) -> None:
    put(path, b"no database" * 1_000)
    messages: list[str] = []
    store = Store(path)
    journal = store.create("s1", "/w", "m")
    await converse(journal, "a")
    store.listen(messages.append)
    assert [info.session_id for info in await store.sessions()] == ["s1"]
    await store.aclose()
    (aside,) = path.parent.glob("*.damaged-*")
    assert len(messages) == 1
    assert str(aside) in messages[0]


@pytest.mark.promise("H8")
async def test_damage_under_an_open_session_is_reported_and_others_go_on(path: Path) -> None:
    """All pages behind the tables' own become noise while two stores have the file open."""
    messages: list[str] = []
    store, other = Store(path), Store(path)
    store.listen(messages.append)
    journal = store.create("s1", "/w", "m")
    await converse(journal, *("word " * 2_000 for _ in range(20)))
    assert len(await other.sessions()) == 1
    # All of it in the file itself, and nothing of it in the memory of the connection.
    for pragma in ("wal_checkpoint(TRUNCATE)", "shrink_memory"):
        statement = f"PRAGMA {pragma}"
        await store._writer.submit(partial(store._writer._open()._connection.execute, statement))
    size = add_noise(path)
    journal.add(step(20))
    with pytest.raises(NotSaved, match="/export"):
        await journal.flush()
    (aside,) = path.parent.glob("*.damaged-*[0-9]")
    assert aside.stat().st_size == size
    assert [str(aside) in sentence for sentence in messages] == [True]
    for each in (other, store):
        await converse(each.create(new_id(), "/w", "m"), "a")
        assert await each.sessions()
    assert len(await store.sessions()) == 2
    await store.aclose()
    await other.aclose()
    assert sound(path)


async def test_a_file_that_cannot_be_used_is_said_to_all_who_ask(path: Path) -> None:
    put(path / "inside", b"")
    async with opened_store(path) as store:
        for ask in (store.sessions, lambda: store.search("x"), lambda: store.open("s1")):
            asked: Callable[[], Awaitable[object]] = ask
            with pytest.raises(UnusableFile, match="Move it away"):
                await asked()
        with pytest.raises(NotSaved, match="Move it away"):
            await converse(store.create("s1", "/w", "m"), "a")


async def test_a_session_whose_data_are_broken_is_said_and_the_others_open(path: Path) -> None:
    async with opened_store(path) as store:
        broken, whole = await made(store, "a"), await made(store, "b")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE steps SET data = '{}' WHERE rowid = 1")
        for ask in (store.load, store.open):
            with pytest.raises(CodecError, match=f"Session {broken} cannot be read"):
                await ask(broken)
        assert (await store.open(whole)).loaded.steps == (step(0, "b"),)
        assert not (await store.load(whole)).info.title
        await store.delete(broken)
