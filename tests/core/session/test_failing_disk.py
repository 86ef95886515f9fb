"""Nothing is lost when the disk is full from the n-th write on, for a while or for good, also in a stop."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from core.operations.events import Outcome
from core.storage.store import Store
from tests.support.cancel_sweep import Moment, Point, stop_at
from tests.support.long_turn import (
    PROMPT,
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
from tests.support.scripted_models import ESCAPE, USAGE, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


LIMIT = 500


@pytest.fixture(scope="module")
def other() -> Iterator[OtherProcess]:
    with OtherProcess() as process:
        yield process


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


class Disk:
    """A disk that is full from the `first` write on, for `count` writes or until it is mended."""

    def __init__(self, first: int, count: int | None) -> None:
        self._first = first
        self._last = None if count is None else first + count - 1
        self._writes = 0
        self.failed = 0

    def __call__(self) -> None:
        self._writes += 1
        if self._writes >= self._first and (self._last is None or self._writes <= self._last):
            self.failed += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def mend(self) -> None:
        self._last = self._writes


@dataclass
class FailingVisit:
    """The long turn on a disk that fails, and what comes after it."""

    disk: Disk
    folder: Path
    other: OtherProcess
    lasts: bool = field(kw_only=True, default=False)

    async def run(self) -> None:
        kept = Kept(self.folder, LongTurn(), store=Store(file_in(self.folder), on_write=self.disk))
        try:
            await kept.run()
            self.check_end(kept)
            found = self.look(kept)
            assert found.in_use or found.fresh
            self.check_part(kept, found)
            if self.lasts:
                await self.close_and_go_on(kept)
            else:
                await self.go_on(kept)
        finally:
            await kept.aclose()

    def look(self, kept: Kept) -> Found:
        return self.other.look(file_in(self.folder), kept.session.session_id)

    def check_end(self, kept: Kept) -> None:
        """The end of the turn says what is wrong, and what is in memory is whole."""
        assert_told(kept)
        (end,) = kept.ended
        record = kept.session.record
        assert_whole(record.steps, record.turns)
        for said in (end.error, end.unsaved):
            if said is not None:
                assert "not saved" in said
                assert "Free some on that disk." in said
        if end.outcome is Outcome.COMPLETED:
            assert end.error is None
            assert len(record.steps) == 3
            assert len(record.compactions) == 1
        else:
            assert end.outcome is Outcome.ERROR
            assert end.error is not None
            assert record.steps

    def check_part(self, kept: Kept, found: Found) -> None:
        """The file has a beginning of what is in memory, and nothing of it in parts."""
        assert found.sound
        record, (end,) = kept.session.record, kept.ended
        if end.unsaved is None:
            assert_saved(kept, found)
        elif found.fresh:
            return
        assert found.steps == record.steps[: len(found.steps)]
        assert found.compactions == record.compactions[: len(found.compactions)]
        assert [turn.prompt for turn in found.turns] == [PROMPT]
        assert_whole(found.steps, found.turns)
        assert_counted(found)
        assert_compacted(found, steps_before=0)

    async def go_on(self, kept: Kept) -> None:
        """The disk works again, and the next turn saves all that had to wait."""
        assert isinstance(kept.provider, LongTurn)
        self.disk.mend()
        kept.provider.steps = [say("fine")]
        end = await kept.turn("again")
        assert (end.outcome, end.unsaved) == (Outcome.COMPLETED, None)
        assert kept.provider.refusals == []
        assert "again" in sent(kept)
        for found in (self.look(kept), await self.closed(kept)):
            assert_saved(kept, found)
            assert_whole(found.steps, found.turns)
            assert_counted(found, before=USAGE)
            assert_compacted(found, steps_before=0)
            assert_effects(self.folder, found)

    async def closed(self, kept: Kept) -> Found:
        await kept.aclose()
        return self.look(kept)

    async def close_and_go_on(self, kept: Kept) -> None:
        """The disk fails to the end of the program; another one goes on with what had been saved."""
        found = await self.closed(kept)
        self.check_part(kept, found)
        if found.fresh:
            return
        before = found.steps
        again = await reopen(self.folder, kept.session.session_id, say("fine"))
        try:
            steps = again.session.record.steps
            assert steps[: len(before)] == before
            assert_whole(steps, again.session.record.turns)
            assert (await again.turn("again")).outcome is Outcome.COMPLETED
            assert_told(again)
        finally:
            await again.aclose()
        after = self.look(kept)
        assert_saved(again, after)
        assert_whole(after.steps, after.turns)


@pytest.mark.promise("H1", "H2", "H3", "H4", "H6", "C1", "U4", "U6", "S9", "Q2")
@pytest.mark.parametrize("count", [1, 2, None])
def test_a_disk_fails_at_every_write_and_what_was_not_saved_is_saved_later(
    count: int | None, other: OtherProcess, folder: Path
) -> None:
    for n in range(1, LIMIT):
        disk, lasts = Disk(n, count), count is None and n % 2 == 0
        visit = FailingVisit(disk, new_folder(folder / str(n)), other, lasts=lasts)
        try:
            asyncio.run(visit.run())
        except BaseException as error:
            error.add_note(f"the disk fails at write {n}; {visit.folder}")
            raise
        if not disk.failed:
            break
    assert n > 8


@pytest.mark.slow
@pytest.mark.promise("H1", "H2", "H3", "H4", "H6", "C1", "U4", "S9")
@pytest.mark.parametrize("first", [1, 4])
def test_a_turn_is_stopped_at_every_await_while_its_disk_is_full(
    first: int, other: OtherProcess, folder: Path
) -> None:
    for n in range(1, LIMIT):
        visit = FullVisit(Disk(first, None), new_folder(folder / str(n)), other, Point(n, Moment.AWAITING))
        try:
            asyncio.run(visit.run())
        except BaseException as error:
            error.add_note(f"full from write {first} on, {visit.point}")
            raise
        if not visit.stopped:
            break
    assert n > 30


@dataclass
class FullVisit(FailingVisit):
    """The same, stopped on its way."""

    point: Point
    stopped: bool = False

    async def run(self) -> None:
        kept = Kept(self.folder, LongTurn(), store=Store(file_in(self.folder), on_write=self.disk))

        def stop(_: asyncio.Task[Any]) -> None:
            kept.session.stop(ESCAPE)

        try:
            ended = await stop_at(self.point, kept.run, stop)
            self.stopped = ended.stopped
            assert (ended.error, ended.complaints, ended.leftover) == (None, (), ())
            assert_told(kept)
            assert_whole(kept.session.record.steps, kept.session.record.turns)
            (end,) = kept.ended
            assert end.unsaved is not None or not (self.disk.failed and kept.session.record.turns)
            await self.go_on(kept)
        finally:
            await kept.aclose()
