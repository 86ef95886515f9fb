"""The doctor's list: findings as they come, in words, and a report to be copied that tells no secret."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.base.sanitize import printable
from core.frontends.doctor.report import Check, Finding, Redaction, State
from tests.support.snapshots import NARROW, WIDE, looks_right
from tests.support.waiting import GENEROUS_S
from tests.tui.lists.stage import ListApp, ListStage
from tui.lists.doctor_list import DoctorList, doctor_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.snapshots import SnapCompare


FINDINGS = (
    Finding("Terminal", State.GOOD, "TERM is xterm-256color, 16.7 million colours, 140 columns, 45 lines"),
    Finding("Characters", State.GOOD, "LANG is en_GB.UTF-8, the output is utf-8"),
    Finding(
        "Keyboard",
        State.WARNING,
        "keys come through a multiplexer, Esc counts at once, in tmux, which keeps an Esc for 500 ms",
        "Let tmux hand Esc on at once: `set -sg escape-time 10` in ~/.tmux.conf.",
    ),
    Finding(
        "Commands",
        State.GOOD,
        "each command has a PID namespace of its own (by bwrap): whatever it starts ends with it. It does "
        "not see your other processes, and sudo does not work",
    ),
    Finding("Keys", State.GOOD, "in the environment: ANTHROPIC_API_KEY, GEMINI_API_KEY"),
    Finding("Model", State.GOOD, "anthropic/claude-sonnet-4-5 is known, window 200,000 tokens"),
    Finding("Logs", State.GOOD, "/home/ada/.local/state/caesura can be written"),
    Finding(
        "Disk",
        State.BAD,
        "12.1 MB free where sessions are kept",
        "Make room: what cannot be written is lost.",
    ),
    Finding("Event loop", State.GOOD, "late by 0.3 ms (p50), 4.1 ms (p99), 18.0 ms (max) in 2880 samples"),
    Finding("Stops", State.UNKNOWN, "no stop yet"),
)


@dataclass
class Played:
    """Checks that find what they are told to, once the gate is open; those in `held` wait for theirs."""

    held: dict[str, asyncio.Event] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)

    def checks(self) -> tuple[Check, ...]:
        return tuple(Check(finding.title, self._look(finding), GENEROUS_S) for finding in FINDINGS)

    def _look(self, finding: Finding) -> Callable[[], Awaitable[Finding]]:
        async def look() -> Finding:
            self.looks.append(finding.title)
            if (gate := self.held.get(finding.title)) is not None:
                await gate.wait()
            return finding

        return look


class DoctorStage(ListStage):
    def __init__(self, played: Played) -> None:
        super().__init__(ListApp())
        self.played = played

    @property
    def doctor(self) -> DoctorList:
        return self.app.query_one(DoctorList)

    async def open(self) -> None:
        self.app.lists.open(DoctorList(self.played.checks(), Redaction(home="/home/ada")))
        expected = len(FINDINGS) - len(self.played.held)
        await self.until(lambda: self.text.strip() and len(self.doctor.findings) == expected)
        await self.pilot.pause()


@asynccontextmanager
async def opened(
    size: tuple[int, int] = (140, 45), played: Played | None = None
) -> AsyncIterator[DoctorStage]:
    async with DoctorStage(played or Played()).running(size) as stage:
        await stage.open()
        yield stage


@given(title=st.text(min_size=1, max_size=30), words=st.text(max_size=200), width=st.integers(8, 160))
def test_a_row_is_as_wide_as_the_list_whatever_was_found(title: str, words: str, width: int) -> None:
    finding = Finding(title, State.WARNING, words, words)
    found = giving(finding)
    for row in (*doctor_rows((found,), {title: finding}, width), *doctor_rows((found,), {}, width)):
        assert row.key == title
        text = "".join(piece.text for piece in row.line(width, selected=True))
        assert cell_len(text) == width
        assert printable(text) == text
        assert "\n" not in text


def giving(finding: Finding) -> Check:
    async def look() -> Finding:
        return finding

    return Check(finding.title, look)


async def test_findings_come_as_they_are_found() -> None:
    played = Played(held={"Keys": asyncio.Event()})
    async with opened(played=played) as stage:
        keys = next(line for line in stage.text.split("\n") if "Keys" in line)
        assert "… looking" in keys
        assert "1 to come" in stage.text
        played.held["Keys"].set()
        await stage.until(lambda: "ANTHROPIC_API_KEY" in stage.text)
        assert "7 good, 1 warning, 1 bad, 1 unknown" in stage.text


async def test_each_finding_says_how_it_is_in_words_and_what_to_do() -> None:
    async with opened() as stage:
        for words in ("✓ good", "! warning", "✗ bad", "? unknown", "→ Let tmux hand Esc on at once"):
            assert words in stage.text
        assert "~/.local/state/caesura" in stage.text
        assert "/home/ada" not in stage.text


async def test_the_whole_report_is_copied_without_the_home_folder() -> None:
    async with opened(played=Played(held={"Model": asyncio.Event()})) as stage:
        await stage.until(lambda: len(stage.doctor.findings) == len(FINDINGS) - 1)
        await stage.press("c")
        assert "Copied; 1 have not come yet." in stage.text
        copied = stage.app.clipboard
        assert copied.startswith("✓ good     Terminal: TERM is xterm-256color")
        assert "✗ bad      Disk: 12.1 MB free where sessions are kept\n           > Make room" in copied
        assert "~/.local/state" in copied
        assert "/home/ada" not in copied


async def test_it_looks_again_and_gives_up_what_it_was_looking_at() -> None:
    played = Played(held={"Model": asyncio.Event()})
    async with opened(played=played) as stage:
        await stage.press("r")
        await stage.until(lambda: played.looks.count("Model") == 2)
        looking = [one for one in stage.app.workers if one.group == "doctor" and not one.is_cancelled]
        assert len(looking) == 1
        played.held["Model"].set()
        await stage.until(lambda: len(stage.doctor.findings) == len(FINDINGS))
        assert played.looks.count("Model") == 2
        assert played.looks.count("Disk") == 2


async def test_the_foot_can_be_clicked_and_entries_are_selected() -> None:
    async with opened((80, 24)) as stage:
        await stage.press("down", "down")
        assert "Keyboard" in stage.chosen
        await stage.press("end")
        assert stage.doctor.rows.selected == "Stops"
        await stage.click("c copy all of it")
        assert "Copied." in stage.text


async def test_a_closed_list_looks_at_nothing_any_more() -> None:
    played = Played(held={"Model": asyncio.Event()})
    async with opened(played=played) as stage:
        await stage.press("escape")
        assert not stage.app.lists.is_open
        played.held["Model"].set()
        await stage.pilot.pause()


async def test_a_narrow_terminal_shows_words_beneath_titles() -> None:
    async with opened((40, 10)) as stage:
        assert "✓ good    Terminal" in stage.text
        assert "TERM is" in stage.text


# -- pictures --


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "140x45"])
def test_looks(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    async def show(stage: DoctorStage) -> None:
        await stage.open()
        await stage.press("down", "down")

    assert looks_right(snap_compare, DoctorStage(Played(held={"Model": asyncio.Event()})), show, size)
