"""What the file of sessions costs: `python -m tests.benchmarks.store`.

10,000 messages, a prompt and a reply of 150 words in each step, are committed to one session, each step
durable before the next. That session is then opened. 1,000 sessions of 50 messages are searched for words
that are rare, for some that are in each, and for beginnings of words as they are typed. Beside it a task of
the event loop notes how late it was woken. The file lies in the folder for temporary files.

A run takes a minute; `--runs` says how often the session is opened.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, ext4, 2026-11-21, load average up to 3.8, of others):

    commit of a step, durable        median 0.81 ms  p99 13.7 (the last tenth of 5,000: 0.66, 12.3)
    memory while 9,000 are added     0.2 MB more
    open a session of 10,000         median 130 ms   max 196 (the event loop at most 26 ms late)
    search, a rare word              median 3.0 ms   p99 10.4
    search, a word in each session   median 5.1 ms   p99 21.7
    search, two words                median 6.1 ms   p99 16.8
    search, beginning of a word      median 5.0 ms   p99 14.8
    list all 1,000                   25 ms
    the file in the end              136 MB for 60,000 messages
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from core.model.messages import AssistantMessage, Step, Text, Usage, UserMessage
from core.storage.journal import BegunTurn
from core.storage.records import LoadedSession, SessionInfo, StoredStep, TurnRecord
from core.storage.store import Store, new_id
from tests.benchmarks.measure import Figure, Goal, Measure, Unit, progress, read_options, show, show_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

STEPS = 5_000
SESSIONS = 1_000
STEPS_EACH = 25
WORDS = 150
SEARCHES = 400
MS = 1_000
MB = 1_000_000
TICK_S = 0.001

_chance = random.Random(4)
VOCABULARY = [
    "".join(_chance.choices("abcdefghijklmnoprstuvw", k=_chance.randint(2, 9))) for _ in range(20_000)
]
# As in any language: the second word half as often as the first, and so on.
_WEIGHTS = [1 / rank for rank in range(1, len(VOCABULARY) + 1)]


def text(words: int) -> str:
    return " ".join(_chance.choices(VOCABULARY, _WEIGHTS, k=words))


def step(number: int) -> StoredStep:
    reply = AssistantMessage((Text(text(WORDS)),), "openai/gpt-4o")
    return StoredStep(Step((UserMessage(text(12)), reply), Usage(900, 200)), number + 1, float(number), 0.01)


def memory() -> float:
    """Of this process, in MB."""
    return float(psutil.Process().memory_info().rss) / MB


@asynccontextmanager
async def lateness(values: list[float]) -> AsyncIterator[None]:
    """How late the event loop came to its turn meanwhile, in milliseconds."""

    async def tick() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(TICK_S)
            values.append((time.perf_counter() - start - TICK_S) * MS)

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def append(path: Path) -> tuple[str, list[Figure]]:
    """The id of a session of all steps."""
    store = Store(path)
    journal = store.create(new_id(), "/w", "m")
    took: list[float] = []
    after_a_tenth = 0.0
    for number in range(STEPS):
        prepared = step(number)
        start = time.perf_counter()
        journal.add(BegunTurn(TurnRecord(number + 1, "p", float(number)), UserMessage("p")))
        journal.add(prepared)
        await journal.flush()
        took.append((time.perf_counter() - start) * MS)
        if number == STEPS // 10:
            after_a_tenth = memory()
    grown = memory() - after_a_tenth
    await store.aclose()
    tenth = STEPS // 10
    return journal.session_id, [
        Figure("commit of a step, durable", Unit.MS, took),
        Figure("... the first tenth of them", Unit.MS, took[:tenth]),
        Figure("... the last tenth of them", Unit.MS, took[-tenth:]),
        Figure("memory from a tenth to all", Unit.MB, [grown], (Goal(Measure.MAX, 5),)),
    ]


async def load(path: Path, session_id: str, runs: int) -> list[Figure]:
    took: list[float] = []
    late: list[float] = []
    for _ in range(runs):
        store = Store(path)
        async with lateness(late):
            start = time.perf_counter()
            opened = await store.open(session_id)
            took.append((time.perf_counter() - start) * MS)
        assert len(opened.loaded.steps) == STEPS
        await store.aclose()
    return [
        Figure("open a session of 10,000 messages", Unit.MS, took, (Goal(Measure.MEDIAN, 300),)),
        Figure("... the event loop's lateness", Unit.MS, late, (Goal(Measure.MAX, 50),)),
    ]


async def search(path: Path) -> list[Figure]:
    store = Store(path)
    for number in range(SESSIONS):
        steps = tuple(step(each) for each in range(STEPS_EACH))
        info = SessionInfo("", text(5), f"/w{number % 9}", "m", float(number), float(number), 0)
        await store.insert(LoadedSession(info, steps))
    before = memory()
    queries: dict[str, Callable[[], str]] = {
        "a rare word": lambda: VOCABULARY[_chance.randrange(5_000, 20_000)],
        "a word in each session": lambda: VOCABULARY[_chance.randrange(10)],
        "two words": lambda: f"{VOCABULARY[_chance.randrange(200)]} {VOCABULARY[_chance.randrange(2_000)]}",
        "beginning of a word": lambda: _chance.choice(VOCABULARY)[: _chance.randint(1, 3)],
    }
    figures = []
    for name, query in queries.items():
        took: list[float] = []
        for _ in range(SEARCHES // len(queries)):
            start = time.perf_counter()
            await store.search(query())
            took.append((time.perf_counter() - start) * MS)
        goals = (Goal(Measure.MEDIAN, 50), Goal(Measure.P99, 50))
        figures.append(Figure(f"search 1,000 sessions, {name}", Unit.MS, took, goals))
    start = time.perf_counter()
    assert len(await store.sessions(limit=SESSIONS + 1)) == SESSIONS + 1
    listed = (time.perf_counter() - start) * MS
    figures.append(Figure("list them all", Unit.MS, [listed]))
    figures.append(Figure("memory of the searches", Unit.MB, [memory() - before], (Goal(Measure.MAX, 20),)))
    await store.aclose()
    return figures


async def measured(folder: Path, runs: int) -> list[Figure]:
    path = folder / "data" / "caesura.db"
    progress("10,000 messages")
    session_id, figures = await append(path)
    progress("opened")
    figures += await load(path, session_id, runs)
    progress("1,000 sessions")
    return figures + await search(path)


def main() -> None:
    options = read_options("store", __doc__, runs=10)
    show_machine()
    with tempfile.TemporaryDirectory(prefix="caesura-benchmark-") as folder:
        figures = asyncio.run(measured(Path(folder), options.runs))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / MB
    show([*figures, Figure("the file in the end", Unit.MB, [size])])
    show_machine()


if __name__ == "__main__":
    main()
