"""Nothing is lost: a long turn that is stopped at every await.

After each visit another process opens the file; what it finds there is judged, and then the session is opened
again and must go on.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

import pytest

from core.cancel import END_OF_PROGRAM
from core.model.messages import ToolResults
from core.model.provider import Phase
from core.operations.events import CompactionEnded, Outcome
from core.storage.records import NOTHING_USED
from core.storage.store import Store
from tests.support.cancel_sweep import Ended, Moment, Point, in_thread, stop_at
from tests.support.long_turn import (
    BEFORE_USED,
    FILE,
    PROMPT,
    SUMMARY,
    Kept,
    LongTurn,
    file_in,
    new_folder,
    quick_folder,
    reopen,
    sent,
)
from tests.support.long_turn_found import (
    Found,
    OtherProcess,
    assert_compacted,
    assert_counted,
    assert_effects,
    assert_saved,
    assert_told,
    assert_whole,
)
from tests.support.scripted_models import ESCAPE, QUIT, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.storage.records import StoredStep

LIMIT = 500
STOPPED_IN = {
    Phase.BEFORE_REQUEST,
    Phase.STREAMING,
    Phase.COMPACTION,
    Phase.WAITING_FOR_APPROVAL,
    Phase.BEFORE_CALL,
    Phase.IN_CALL,
}
"""Where a stop must have met the turn at least once, or the sweep is not one."""
EARLIER = "earlier"


class By(StrEnum):
    LOOP = "session.stop in the loop"
    THREAD = "session.stop in a thread"
    TWICE = "a stop and a second one at once"
    OUTER = "the cancel of the turn's task"
    QUIT = "the end of the program"


@pytest.fixture(scope="module")
def other() -> Iterator[OtherProcess]:
    with OtherProcess() as process:
        yield process


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@dataclass(frozen=True)
class Template:
    """A file with a session that has had a turn already."""

    file: Path
    session_id: str

    def copy_to(self, folder: Path) -> None:
        shutil.copy(self.file, file_in(folder))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = new_folder(tmp_path_factory.mktemp("template"))

    async def write() -> str:
        kept = Kept(folder, LongTurn([say("before", usage=BEFORE_USED)]))
        assert (await kept.turn(EARLIER)).outcome is Outcome.COMPLETED
        await kept.aclose()
        return kept.session.session_id

    return Template(file_in(folder), asyncio.run(write()))


@dataclass
class Visit:
    """One run of the long turn that is stopped at `point`, and what is left of it."""

    by: By
    point: Point
    folder: Path
    template: Template | None
    kept: Kept = field(init=False)
    ended: Ended = field(init=False)
    asked: bool = False
    """Whether the stop was told that it stops this turn."""
    heard: int = 0
    """How many events had been told when the stop came."""
    closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        if self.template is None:
            self.kept = Kept(self.folder, LongTurn())
        else:
            self.template.copy_to(self.folder)
            store = Store(file_in(self.folder))
            opened = await store.open(self.template.session_id)
            self.kept = Kept(self.folder, LongTurn(), store=store, opened=opened)
        try:
            self.ended = await stop_at(self.point, self.work, self.stop)
        finally:
            await self.kept.aclose()

    async def work(self) -> None:
        await self.kept.run()
        if self.closing is not None:
            await self.closing

    def stop(self, _: asyncio.Task[Any]) -> None:
        session = self.kept.session
        self.heard = len(self.kept.events)
        match self.by:
            case By.LOOP:
                self.asked = session.stop(ESCAPE)
            case By.THREAD:
                in_thread(lambda: self.note(session.stop(ESCAPE)))
            case By.TWICE:
                self.asked = session.stop(ESCAPE)
                session.force()
            case By.OUTER:
                tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("turn ")]
                for task in tasks:
                    task.cancel()
            case By.QUIT:
                self.closing = asyncio.get_running_loop().create_task(session.aclose(QUIT))
            case _:
                assert_never(self.by)

    def note(self, asked: bool) -> None:
        self.asked = asked

    # ---- what must hold at every point

    def check(self, other: OtherProcess) -> None:
        assert self.ended.error is None
        assert self.ended.complaints == ()
        # A task that is cancelled from outside waits for nobody; who runs it is over, not what it started.
        assert self.ended.leftover == () or self.by is By.OUTER
        assert_told(self.kept)
        found = other.look(file_in(self.folder), self.kept.session.session_id)
        if found.fresh:
            self.check_nothing()
            return
        self.check_file(found)
        self.check_end(found)
        asyncio.run(self.go_on(found))

    def check_nothing(self) -> None:
        """The stop came before the first request of a new session: there is none, and the prompt is back."""
        (end,) = self.kept.ended
        assert self.template is None
        assert (end.outcome, end.returned_prompt) == (Outcome.CANCELLED, PROMPT)
        assert self.kept.session.record.plain_steps == ()
        assert self.kept.provider.requests == []

    def check_file(self, found: Found) -> None:
        """All that was told is there and is whole, and nothing half done is."""
        assert_saved(self.kept, found)
        assert_whole(found.steps, found.turns)
        assert_counted(found, before=BEFORE_USED if self.template else NOTHING_USED)
        assert_compacted(found, steps_before=len(self.kept.entry))
        assert_effects(self.folder, found)
        made = [isinstance(event, CompactionEnded) and event.number is not None for event in self.kept.events]
        assert sum(made) == len(found.compactions)
        assert not (self.asked and any(made[self.heard :])), "a compaction was kept after the stop"
        assert sorted(path.name for path in self.folder.iterdir()) in (["data"], ["data", FILE])

    def check_end(self, found: Found) -> None:
        (end,) = self.kept.ended
        assert end.unsaved is None
        assert end.error is None
        begun = found.turns[-1].prompt == PROMPT
        assert begun or not self.kept.provider.requests
        assert not begun or found.turns[-1].outcome is end.outcome
        assert found.steps[: len(self.kept.entry)] == self.kept.entry
        added = len(found.steps) - len(self.kept.entry)
        if end.outcome is Outcome.COMPLETED:
            assert added == 3
            assert len(found.compactions) == 1
            assert not self.asked, "stop() had said that it stops this turn"
        else:
            assert end.outcome is Outcome.CANCELLED
            assert end.proof is not None
            sources = {By.OUTER: END_OF_PROGRAM, By.QUIT: QUIT.source}
            assert end.proof.source == sources.get(self.by, ESCAPE.source)
        assert self.kept.shown is bool(added)
        if not added:
            assert end.returned_prompt == PROMPT
            assert found.usage == (BEFORE_USED if self.template else NOTHING_USED)
            assert not (self.folder / FILE).exists()

    async def go_on(self, found: Found) -> None:
        """The session is opened again, and the next turn, or the same one anew, comes to its end."""
        kept = await reopen(self.folder, self.kept.session.session_id, say("fine"))
        try:
            assert kept.session.record.steps == found.steps
            assert kept.session.record.turns == found.turns
            assert kept.session.record.usage == found.usage
            unfinished = found.turns[-1].outcome is not Outcome.COMPLETED
            assert kept.session.continuation.returned_prompt == (None if found.turns[-1].kept else PROMPT)
            resumed = unfinished and self.point.n % 2 == 0
            end = await kept.turn(None if resumed else "again")
            assert (end.outcome, end.text) == (Outcome.COMPLETED, "fine")
            assert_told(kept)
            said = sent(kept)
            assert ("again" in said) is not resumed
            kept_texts = (SUMMARY,) if found.compactions else tuple(texts_of(found.steps))
            assert all(text in said for text in kept_texts)
        finally:
            await kept.aclose()


def texts_of(steps: Sequence[StoredStep]) -> Iterator[str]:
    for stored in steps:
        for message in stored.step.messages:
            if not isinstance(message, ToolResults):
                yield message.text


def sweep(by: By, other: OtherProcess, template: Template, folder: Path) -> tuple[int, set[Phase]]:
    """Visit every point, with a new session and with one that was there before in turns; how many there are,
    and what was stopped."""
    visits, phases = 0, set[Phase]()
    for moment in Moment:
        for n in range(1, LIMIT):
            visit = Visit(
                by,
                Point(n, moment),
                new_folder(folder / f"{moment}-{n}"),
                template if (n // 2) % 2 else None,
            )
            try:
                asyncio.run(visit.run())
                visit.check(other)
            except BaseException as error:
                error.add_note(f"{visit.point}, by {by}; {visit.template}")
                raise
            phases.update(record.phase for record in visit.kept.registry.records)
            if not visit.ended.stopped:
                break
            visits += 1
            shutil.rmtree(visit.folder)
        else:
            raise AssertionError(f"more than {LIMIT} awaits: raise the limit or look for a loop")
    return visits, phases


@pytest.mark.promise("H1", "H2", "H3", "H4", "H5", "H6", "H9", "C1", "C3", "U6", "U8", "S9", "Q2")
@pytest.mark.parametrize("by", By)
def test_a_long_turn_is_stopped_at_every_await_and_nothing_is_lost(
    by: By, other: OtherProcess, template: Template, folder: Path
) -> None:
    visits, phases = sweep(by, other, template, folder)
    assert visits >= 90
    # A turn whose task is cancelled before its request has nothing to record.
    assert phases >= STOPPED_IN - ({Phase.BEFORE_REQUEST} if by is By.OUTER else set())
