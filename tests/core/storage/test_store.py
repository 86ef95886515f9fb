"""Sessions are read back unchanged, and each has one writer at a time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.model.messages import Usage, UserMessage
from core.model.provider import TextDelta
from core.operations.events import Outcome
from core.storage.journal import BegunTurn, CallBegun, Draft, DraftEntries, EndedTurn, NewTitle, QueuedPrompts
from core.storage.records import Compaction, LoadedSession, PreImage, SessionInfo, StoredStep, TurnRecord
from core.storage.schema import SCHEMA
from core.storage.store import NoSuchSession, SessionInUse, new_id
from tests.core.storage import random_records as records_made
from tests.support.stored_sessions import converse, ended, made, opened_store, sound, step, turn

if TYPE_CHECKING:
    from collections.abc import Awaitable

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "caesura.db"


ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.promise("H3")
async def test_a_session_comes_back_as_it_was(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/home/\udcff", "openai/gpt-4o")
        await converse(journal, "a", "b")
        journal.add(NewTitle("A title"))
        journal.add(QueuedPrompts(("next", "then\ud800"), paused=True))
        journal.add(first := Compaction(1, 1, "sum", 3.0, Usage(10, 20), 0.25))
        journal.add(undone := replace(first, undone=True))
        await journal.flush()
        await journal.aclose()
    async with opened_store(path) as store:
        loaded = await store.load("s1")
        (info,) = await store.sessions()
    assert info == loaded.info
    assert (info.title, info.workspace, info.model, info.steps) == (
        "A title",
        "/home/\udcff",
        "openai/gpt-4o",
        2,
    )
    assert loaded.steps == (step(0, "a"), step(1, "b"))
    assert loaded.turns == (ended(1), ended(2))
    assert loaded.compactions == (undone,)
    assert (loaded.queue, loaded.queue_paused) == (("next", "then\ud800"), True)
    # Each request once: two steps and one compaction, which counts although it was undone.
    assert (info.usage, info.cost) == (Usage(12, 24, 6, 8), 1.25)


@pytest.mark.promise("H6")
async def test_a_cost_that_is_not_known_is_never_made_up(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("x")))
        journal.add(replace(step(0), subagent_usage=Usage(100, 200)))
        journal.add(Compaction(1, 0, "", 3.0, Usage(0, 0), 0.0, trimmed=1))
        await journal.flush()
        assert (await store.load("s1")).info.cost == 0.5
        assert (await store.load("s1")).info.usage == Usage(101, 202, 3, 4)
        journal.add(step(1, cost=None))
        await journal.flush()
        assert (await store.load("s1")).info.cost is None


@pytest.mark.promise("H6")
async def test_a_summary_whose_usage_is_unknown_makes_the_cost_unknown(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("x")))
        journal.add(step(0))
        journal.add(Compaction(1, 1, "summary", 3.0))
        await journal.flush()
        assert (await store.load("s1")).info.cost is None
        assert (await store.load("s1")).info.usage == Usage(1, 2, 3, 4)


async def test_a_session_without_a_turn_leaves_no_trace(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(NewTitle("nothing yet"))
        journal.add(QueuedPrompts(("later",), paused=False))
        await journal.flush()
        assert await store.sessions() == ()
        await journal.aclose()
        assert await store.sessions() == ()
    assert not list(path.parent.glob("locks/*"))


async def test_nothing_is_opened_before_it_is_needed(path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from core.storage.store import Store\n"
        "async def main():\n"
        "    store = Store(Path(sys.argv[1]))\n"
        "    await store.create('a', '/', 'm').flush()\n"
        "    await store.aclose()\n"
        "asyncio.run(main()); assert 'sqlite3' not in sys.modules"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(path), cwd=ROOT)
    assert await process.wait() == 0
    assert not path.parent.exists()


@pytest.mark.promise("H8")
async def test_a_running_turn_is_kept_as_a_draft_until_its_step_is_over(path: Path) -> None:
    message = UserMessage("notes\n\nprompt 0")
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), message))
        journal.add(DraftEntries((TextDelta("so "), TextDelta("far"))))
        await journal.flush()
        journal.add(DraftEntries((CallBegun("c1"),)))
        await journal.aclose()
        opened = await store.open("s1")
        assert opened.draft == Draft(turn(1), message, (TextDelta("so "), TextDelta("far"), CallBegun("c1")))
        opened.journal.add(step(0))
        await opened.journal.aclose()
        opened = await store.open("s1")
        assert opened.draft == Draft(turn(1), message, ())
        opened.journal.add(DraftEntries((TextDelta("more"),)))
        opened.journal.add(EndedTurn(ended(1)))
        await opened.journal.aclose()
        opened = await store.open("s1")
        assert opened.draft is None
        assert opened.loaded.steps == (step(0),)


@pytest.mark.promise("H1")
async def test_a_turn_of_which_nothing_was_kept_gives_its_prompt_back(path: Path) -> None:
    rolled_back = replace(turn(1), outcome=Outcome.CANCELLED, kept=False)
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("x")))
        journal.add(DraftEntries((TextDelta("gone"),)))
        await journal.flush()
        journal.add(EndedTurn(rolled_back))
        await journal.aclose()
        opened = await store.open("s1")
        assert (opened.loaded.turns, opened.loaded.steps, opened.draft) == ((rolled_back,), (), None)


@pytest.mark.promise("H8")
async def test_a_session_is_written_by_one_at_a_time(path: Path) -> None:
    async with opened_store(path) as store, opened_store(path) as other:
        journal = store.create("s1", "/w", "m")
        await converse(journal, "a")
        for asked in (store, other):
            with pytest.raises(SessionInUse, match="open here already") as caught:
                await asked.open("s1")
            assert caught.value.pid == os.getpid()
            with pytest.raises(SessionInUse):
                await asked.delete("s1")
            assert (await asked.sessions())[0].in_use
            # Reading it is everybody's.
            assert (await asked.load("s1")).info.in_use
        await journal.aclose()
        assert not (await other.sessions())[0].in_use
        await (await other.open("s1")).journal.aclose()


async def test_a_session_that_is_not_there(path: Path) -> None:
    async with opened_store(path) as store:
        asks: list[Awaitable[object]] = [
            *(store.load("x"), store.open("x"), store.delete("x"), store.fork("x", 1)),
            *(store.rename("x", "t"), store.preimages("x", 1), store.open("../x\ud800")),
        ]
        for ask in asks:
            with pytest.raises(NoSuchSession):
                await ask
        with pytest.raises(ValueError, match="no id"):
            store.create("../x", "/w", "m")
    assert not list(path.parent.glob("locks/*"))


async def test_sessions_are_listed_by_their_last_change(path: Path) -> None:
    async with opened_store(path) as store:
        first, second = await made(store, "a", "b"), await made(store, "a", workspace="/other\udcff")
        third = await made(store, "a")
        opened = await store.open(first)
        opened.journal.add(replace(step(2), at=1e12))
        await opened.journal.aclose()
        assert [info.session_id for info in await store.sessions()] == [first, third, second]
        assert [info.session_id for info in await store.sessions(limit=1)] == [first]
        assert [info.session_id for info in await store.sessions(workspace="/other\udcff")] == [second]


async def test_a_fork_has_the_first_steps_and_all_that_belongs_to_them(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        await converse(journal, "a", "b", "c")
        journal.add(NewTitle("Title"))
        journal.add(QueuedPrompts(("waiting",), paused=True))
        journal.add(early := Compaction(1, 2, "early", 1.0, Usage(0, 0), 0.0))
        journal.add(Compaction(2, 3, "late", 1.0, Usage(0, 0), 0.0))
        for number in (1, 2, 3):
            journal.add(PreImage(number, "/f", b"%d" % number, "f" * 64))
        await journal.flush()
        fork = await store.fork("s1", 2)
        opened = await store.open(fork)
        loaded = opened.loaded
        assert (loaded.info.parent, loaded.info.title, loaded.info.workspace) == ("s1", "Title", "/w")
        assert loaded.steps == (step(0, "a"), step(1, "b"))
        assert loaded.turns == (ended(1), ended(2))
        assert loaded.compactions == (early,)
        assert loaded.queue == ()
        assert (loaded.info.usage, loaded.info.cost) == (Usage(2, 4, 6, 8), 1.0)
        assert [image.before for image in await store.preimages(fork, 1)] == [b"1", b"2"]
        opened.journal.add(step(7))
        await opened.journal.aclose()
        assert len((await store.load("s1")).steps) == 3
        assert len((await store.load(await store.fork("s1", 99))).steps) == 3
        assert (await store.load(await store.fork("s1", 0))).steps == ()
        await journal.aclose()
        # What the other session still needs stays.
        await store.delete("s1")
        assert [image.before for image in await store.preimages(fork, 2)] == [b"2"]
        assert len((await store.load(fork)).steps) == 3


async def test_a_deleted_session_is_gone_with_all_that_was_its_own(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        await converse(journal, "needle")
        journal.add(PreImage(1, "/f", b"secret", "f" * 64))
        journal.add(DraftEntries((TextDelta("x"),)))
        await journal.aclose()
        await store.rename("s1", "needle")
        await store.delete("s1")
        assert await store.sessions() == ()
        assert await store.search("needle") == ()
    with closing(sqlite3.connect(path)) as connection:
        for name in SCHEMA.tables:
            assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,), name
    assert sound(path)


async def test_what_a_file_was_is_kept_once(path: Path) -> None:
    content = os.urandom(1_000) * 100
    images = [PreImage(number, "/a\udcff", content, "f" * 64, 0o755) for number in (1, 2, 2)]
    images.append(PreImage(3, "/new", None, "f" * 64))
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("x")))
        for image in images:
            journal.add(image)
        assert await store.preimages("s1", 2) == tuple(images[1:])
        assert await store.preimages("s1", 9) == ()
    with closing(sqlite3.connect(path)) as connection:
        ((size,),) = connection.execute("SELECT sum(length(data)) FROM blobs").fetchall()
    assert size < 10_000


async def test_what_a_draft_costs_does_not_grow_with_it(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("x")))
        for number in range(50):
            journal.add(DraftEntries((TextDelta(f"piece {number}"),)))
            await journal.flush()
        with closing(sqlite3.connect(path)) as connection:
            lengths = [length for (length,) in connection.execute("SELECT length(data) FROM drafts")]
        assert len(lengths) == 50
        assert max(lengths) < 60


_now = 1_000.0


@pytest.mark.promise("H3")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(records_made.stored_steps, max_size=4).map(tuple),
    turns=st.lists(records_made.turns, max_size=3, unique_by=lambda each: each.turn),
    compactions=st.lists(records_made.compactions, max_size=3, unique_by=lambda each: each.number),
    queue=st.lists(records_made.texts, max_size=2).map(tuple),
    title=records_made.texts,
    workspace=records_made.texts,
)
async def test_any_session_that_is_imported_is_the_same(
    path: Path,
    steps: tuple[StoredStep, ...],
    turns: list[TurnRecord],
    compactions: list[Compaction],
    queue: tuple[str, ...],
    title: str,
    workspace: str,
) -> None:
    info = SessionInfo("ignored", title, workspace, "m", _now, _now, 99, parent="gone", in_use=True)
    given = LoadedSession(
        info,
        steps,
        tuple(sorted(turns, key=lambda each: each.turn)),
        tuple(sorted(compactions, key=lambda each: each.number)),
        queue,
        queue_paused=True,
    )
    async with opened_store(path) as store:
        loaded = await store.load(await store.insert(given))
        assert await store.search(title) is not None
        assert replace(loaded, info=info) == given
        assert (loaded.info.workspace, loaded.info.steps, loaded.info.parent) == (workspace, len(steps), None)
        assert (loaded.info.created_at, loaded.info.in_use) == (_now, False)
        await store.delete(loaded.info.session_id)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    pieces=st.lists(st.lists(records_made.pieces, max_size=3).map(tuple), max_size=4),
    images=st.lists(records_made.preimages, max_size=3).map(tuple),
    prompt=records_made.texts,
)
async def test_any_draft_comes_back(
    path: Path, pieces: list[tuple[object, ...]], images: tuple[PreImage, ...], prompt: str
) -> None:
    async with opened_store(path) as store:
        journal = store.create(new_id(), "/w", "m")
        journal.add(BegunTurn(replace(turn(1), prompt=prompt), UserMessage(prompt)))
        for some in pieces:
            journal.add(DraftEntries(some))  # type: ignore[arg-type]
        for image in images:
            journal.add(image)
        await journal.aclose()
        opened = await store.open(journal.session_id)
        assert opened.draft is not None
        assert opened.draft.message == UserMessage(prompt)
        assert opened.draft.entries == tuple(piece for some in pieces for piece in some)
        assert await store.preimages(journal.session_id, 0) == images
