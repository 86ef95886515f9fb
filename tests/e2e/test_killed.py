"""SIGKILL at hundreds of points of a turn: what was committed is there, and the session goes on (H8).

The statements in the file are sampled; `CAESURA_KILLS=all` visits each of them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.model.messages import ResultStatus
from core.operations.events import Outcome
from core.storage.records import NOTHING_USED
from tests.e2e.killed import PIECE, Acknowledged, At, Death, Undertaker
from tests.support.long_turn import BEFORE_USED, FILE, PROMPT, SAID, Kept, LongTurn, file_in, quick_folder
from tests.support.long_turn_found import (
    Found,
    assert_compacted,
    assert_counted,
    assert_effects,
    assert_whole,
    reply_of,
    results_of,
)
from tests.support.scripted_models import USAGE, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.messages import Usage
    from core.storage.records import StoredStep
    from tests.e2e.killed import Left, Memory

EARLIER = "earlier"
MOST = 500
_STRIDES = {At.AWAITING: 1, At.RESUMING: 1, At.STATEMENT: 3, At.WRITE: 1}
"""Every how many points a program is killed, where they are sampled."""
ALL = os.environ.get("CAESURA_KILLS") == "all"
DELAYS_US = (0, 100, 300, 700, 1_500, 3_000) if ALL else (100, 700)
"""How far into its transaction a child lives."""
LOST_S = 1.0
"""Of the text that streams, so much may be lost."""
KILLED = "Stopped: Caesura itself was killed while this ran."
NEVER_BEGAN = "Not started: Caesura itself was killed before it began, as far as could be written down."


@pytest.fixture(scope="module")
def undertakers() -> Iterator[tuple[Undertaker, Undertaker]]:
    """Two, for there are two cores."""
    with Undertaker() as one, Undertaker() as other:
        yield one, other


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@dataclass(frozen=True)
class Template:
    """A file with a session that has had a turn; `session_id` None is an empty one."""

    file: Path
    session_id: str | None


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Template, Template]:
    folder = tmp_path_factory.mktemp("template")
    file_in(folder).parent.mkdir()

    async def write() -> str:
        kept = Kept(folder, LongTurn([say("before", usage=BEFORE_USED)]))
        assert (await kept.turn(EARLIER)).outcome is Outcome.COMPLETED
        await kept.aclose()
        return kept.session.session_id

    return Template(file_in(folder), None), Template(file_in(folder), asyncio.run(write()))


@dataclass
class StreamSummary:
    """What the children were killed in, so that a sweep that misses it all is seen."""

    kills: int = 0
    kinds: set[str] = field(default_factory=set)

    def add(self, left: Left) -> None:
        self.kills += left.died
        if left.found.fresh or left.memory is None:
            self.kinds.add("before the first write")
            return
        if len(left.memory.steps) > len(left.found.steps):
            self.kinds.update(f"{result.status}" for result in results_of(left.memory.steps[-1]))
            self.kinds.add("recovered")
        if left.memory.returned_prompt is not None:
            self.kinds.add("given back")
        if left.died and left.found.compactions:
            self.kinds.add("behind the compaction")


class Judge:
    """What must hold after one death."""

    def __init__(self, death: Death, left: Left, folder: Path) -> None:
        self.left = left
        self.folder = folder
        self.seeded = death.session_id is not None
        self.entry = 1 if self.seeded else 0

    def check(self) -> None:
        left = self.left
        assert left.found.sound
        assert left.shown is None or left.shown == left.durable.outcome, "told before it was durable"
        if left.found.fresh:
            assert left.durable == Acknowledged()
            assert not (self.folder / FILE).exists()
            return
        assert left.memory is not None
        assert left.after is not None
        self.check_found(left.found, left.durable)
        self.check_recovered(left.found, left.memory)
        self.check_next(left.memory, left.after)
        names = {path.name for path in self.folder.iterdir()} - {"data", FILE}
        assert all(name.startswith(".caesura-") and name.endswith(".tmp") for name in names), names

    def check_found(self, found: Found, durable: Acknowledged) -> None:
        """All that was acknowledged is in the file, and no step in parts."""
        assert len(found.steps) - self.entry >= max(durable.steps, self.left.asked - 1)
        assert len(found.compactions) >= durable.compactions
        if durable.outcome is not None:
            assert found.turns[-1].outcome == durable.outcome
            assert found.drafts == 0
        assert_whole(found.steps, found.turns)
        assert_counted(found, before=self.before)
        assert_compacted(found, steps_before=self.entry)

    @property
    def before(self) -> Usage:
        return BEFORE_USED if self.seeded else NOTHING_USED

    def check_recovered(self, found: Found, memory: Memory) -> None:
        """The next program has it all, and tells the truth about what was under way."""
        assert memory.steps[: len(found.steps)] == found.steps
        assert_whole(memory.steps, memory.turns)
        assert_effects(self.folder, replace(found, steps=memory.steps))
        last = memory.turns[-1]
        assert last.kept is any(stored.turn == last.turn for stored in memory.steps)
        assert memory.returned_prompt == (None if last.kept else PROMPT)
        durable = self.left.durable
        if len(memory.steps) > len(found.steps):
            (recovered,) = memory.steps[len(found.steps) :]
            self.check_step(recovered, len(found.steps) - self.entry)
        elif len(found.steps) - self.entry == durable.steps:
            assert not durable.draft, "text was acknowledged, and is gone"
            assert not durable.begun

    def check_step(self, recovered: StoredStep, number: int) -> None:
        durable = self.left.durable
        text = reply_of(recovered).text
        assert recovered.step.usage is None
        assert SAID[number].startswith(text)
        results = {result.call_id: result for result in results_of(recovered)}
        for result in results.values():
            if result.status is ResultStatus.STOPPED:
                assert result.text.startswith(KILLED)
            elif result.status is ResultStatus.NOT_STARTED:
                assert result.text == NEVER_BEGAN
            else:
                assert result.status is ResultStatus.COMPLETED
        if number == durable.steps:
            assert len(text) >= durable.draft
            assert all(results[begun].status is not ResultStatus.NOT_STARTED for begun in durable.begun)
            assert all(results[ended].status is ResultStatus.COMPLETED for ended in durable.ended_calls)

    def check_next(self, memory: Memory, after: Found) -> None:
        """A turn, new or continued, comes to its end and is kept behind all the others."""
        assert (memory.outcome, memory.text, memory.refusals) == ("completed", "fine", ())
        assert ("again" in memory.sent) is not memory.resumed
        if not after.compactions:
            assert all(reply_of(stored).text in memory.sent for stored in memory.steps)
        assert after.sound
        assert after.drafts == 0
        assert after.steps[:-1] == memory.steps
        assert after.turns[:-1] == memory.turns
        assert after.turns[-1].outcome is Outcome.COMPLETED
        assert_whole(after.steps, after.turns)
        assert after.usage == self.left.found.usage + USAGE


def visit(undertaker: Undertaker, death: Death, template: Template, tally: StreamSummary) -> Left:
    folder = Path(death.folder)
    file_in(folder).parent.mkdir(parents=True)
    if template.session_id is not None:
        shutil.copy(template.file, file_in(folder))
    try:
        left = undertaker.visit(death)
        Judge(death, left, folder).check()
    except BaseException as error:
        error.add_note(str(death))
        raise
    tally.add(left)
    shutil.rmtree(folder)
    return left


def series(
    undertaker: Undertaker, at: At, template: Template, folder: Path, tally: StreamSummary, delay_us: int = 0
) -> None:
    """Each point of one kind, until the turn ends before it."""
    stride = 1 if ALL else _STRIDES[at]
    for n in range(1 if template.session_id is None else stride, MOST, stride):
        name = f"{delay_us}-{n}-{template.session_id or 'new'}"
        resumes = (n // stride) % 2 == 0
        death = Death(str(folder / name), at, n, delay_us, template.session_id, resumes)
        if not visit(undertaker, death, template, tally).died:
            return
    raise AssertionError(f"more than {MOST} {at}: raise the limit or look for a loop")


@pytest.mark.promise("H1", "H2", "H3", "H4", "H5", "H6", "H8", "H9", "C1")
@pytest.mark.parametrize(
    ("at", "least", "met"),
    [
        (At.AWAITING, 90, {"recovered", "given back", "behind the compaction", "stopped", "not started"}),
        (At.RESUMING, 90, {"recovered", "behind the compaction", "stopped", "not started", "completed"}),
        (At.STATEMENT, 50, {"before the first write", "recovered", "stopped"}),
    ],
)
def test_a_program_is_killed_at_every_point_and_no_committed_step_is_lost(
    at: At,
    least: int,
    met: set[str],
    undertakers: tuple[Undertaker, Undertaker],
    templates: tuple[Template, Template],
    folder: Path,
) -> None:
    tally = StreamSummary()
    with ThreadPoolExecutor(2) as pool:
        done = [
            pool.submit(series, undertaker, at, template, folder, tally)
            for undertaker, template in zip(undertakers, templates, strict=True)
        ]
        for each in done:
            each.result()
    assert tally.kills >= least
    assert tally.kinds >= met


@pytest.mark.promise("H3", "H8")
def test_a_program_is_killed_in_the_middle_of_its_writing(
    undertakers: tuple[Undertaker, Undertaker], templates: tuple[Template, Template], folder: Path
) -> None:
    tally = StreamSummary()

    def half(which: int) -> None:
        for delay_us in DELAYS_US[which::2]:
            series(undertakers[which], At.WRITE, templates[which], folder, tally, delay_us)

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(half, which) for which in (0, 1)]:
            each.result()
    assert tally.kills >= 12


@pytest.mark.promise("H3", "H4", "H5", "H8")
def test_the_program_that_goes_on_is_killed_too(
    undertakers: tuple[Undertaker, Undertaker], folder: Path
) -> None:
    def series_of(undertaker: Undertaker, n: int) -> int:
        stride = 1 if ALL else 2
        for kills, again in enumerate(range(1, MOST, stride)):
            name = folder / f"{n}-{again}"
            death = Death(str(name), At.RESUMING, n, resumes=kills % 2 == 0, again=again)
            file_in(name).parent.mkdir(parents=True)
            left = undertaker.visit(death)
            try:
                check_twice(left, name)
            except BaseException as error:
                error.add_note(str(death))
                raise
            shutil.rmtree(name)
            if not left.died:
                return kills
        raise AssertionError(f"more than {MOST} statements: raise the limit or look for a loop")

    # Both in a call, before and behind the writing of its file.
    with ThreadPoolExecutor(2) as pool:
        kills = sum(pool.map(series_of, undertakers, (30, 34)))
    assert kills >= 25


def check_twice(left: Left, folder: Path) -> None:
    """What the first has left is a step once, however often its making is interrupted."""
    assert left.memory is not None
    assert left.after is not None
    found, memory = left.found, left.memory
    assert found.sound
    assert_whole(found.steps, found.turns)
    assert memory.steps[: len(found.steps)] == found.steps
    assert_whole(memory.steps, memory.turns)
    mine = [stored for stored in memory.steps if stored.turn == 1]
    assert len(mine) == 1
    assert reply_of(mine[0]).text == SAID[0]
    assert_effects(folder, replace(found, steps=memory.steps))
    results = {result.call_id: result.status for result in results_of(mine[0])}
    assert all(results[begun] is not ResultStatus.NOT_STARTED for begun in left.durable.begun)
    assert (memory.outcome, memory.text, memory.refusals) == ("completed", "fine", ())
    assert left.after.drafts == 0
    assert left.after.steps[:-1] == memory.steps
    assert_whole(left.after.steps, left.after.turns)
    counted = [stored.step.usage for stored in left.after.steps if stored.step.usage is not None]
    assert left.after.usage == sum(counted, NOTHING_USED)


@pytest.mark.promise("H8")
def test_of_a_text_that_streams_at_most_a_second_is_lost(
    undertakers: tuple[Undertaker, Undertaker], templates: tuple[Template, Template], folder: Path
) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = [
            pool.submit(undertaker.visit, death(folder / str(n), n))
            for undertaker, n in zip(undertakers, (110, 160), strict=True)
        ]
    for left in (each.result() for each in done):
        assert left.died
        assert left.memory is not None
        (recovered,) = left.memory.steps
        kept = len(reply_of(recovered).text)
        due = max(count for at, count in left.arrived if at <= left.lost_at - LOST_S)
        assert kept >= due > 0
        assert reply_of(recovered).text == PIECE * (kept // len(PIECE))
        assert left.memory.outcome == "completed"


def death(folder: Path, n: int) -> Death:
    file_in(folder).parent.mkdir(parents=True)
    return Death(str(folder), At.PIECE, n)
