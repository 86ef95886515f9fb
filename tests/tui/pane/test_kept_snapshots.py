"""Compactions, summaries, the offers after a stop and after a crash, as pictures that a person has looked at.

`pytest tests/tui/test_kept_snapshots.py --snapshot-update` makes them anew; look at each before it is kept.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.storage.records import PreImage
from tests.support.snapshots import NARROW, looks_right, pictures
from tests.tui.pane.test_sessions import KeptStage, crash
from tests.tui.stage import ELAPSED_S, Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.support.snapshots import SnapCompare

NOW = 1_000.0
"""A standing clock, for the spinner too."""

LONG = "The token is marked first, then the request is cancelled, and the server sees its socket close. "

SUMMARY = """\
## Goal
Understand how a stop travels through Caesura.
## Decisions
- The *token* is marked first; nothing waits for it.
- A model process that does not obey within 250 ms is killed.
## Open
Write the benchmark.
"""


async def talk_long(stage: Stage) -> None:
    for number in range(1, 5):
        await stage.ask(f"What is step {number}?")
        stage.model.say(f"Step {number}. " + LONG * 8)
        stage.model.finish()
        await stage.until_said(f"Step {number}. The token")
        await stage.until(lambda: "idle" in stage.status)


async def show_compaction(stage: Stage) -> None:
    await talk_long(stage)
    await stage.send("/compact the figures")
    await stage.model.asked()
    stage.model.say("## Goal")
    stage.now = NOW
    for operation in stage.registry._live.values():
        operation._view = replace(operation._view, opened_at=NOW - ELAPSED_S)
    await stage.press("ctrl+t")


async def show_summary(stage: Stage) -> None:
    await talk_long(stage)
    await stage.send("/compact")
    await stage.model.asked()
    stage.model.say(SUMMARY)
    stage.model.finish()
    await stage.until_said("Summary of the first")
    await stage.until(lambda: "idle" in stage.status)


async def show_summary_unfolded(stage: Stage) -> None:
    await show_summary(stage)
    await stage.press("ctrl+r", "ctrl+end")
    await stage.until_said("Write the benchmark.")


async def show_offers(stage: Stage) -> None:
    await stage.ask("How does a stop travel through Caesura?")
    stage.model.say("It begins with a token, which")
    await stage.until_said("It begins with a token")
    path = str(stage.session.workspace.root / "core" / "cancel.py")
    await stage.session.record.keep_preimage(PreImage(1, path, b"before", ""))
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")


SCENES = {
    "compaction": show_compaction,
    "summary": show_summary,
    "summary-unfolded": show_summary_unfolded,
    "offers": show_offers,
}


@pictures(SCENES, wide=("compaction",))
def test_looks(
    snap_compare: SnapCompare, show: Callable[[Stage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, Stage(), show, size)


def test_crash(snap_compare: SnapCompare, tmp_path: Path) -> None:
    asyncio.run(crash(tmp_path, title="How a stop travels"))
    stage = KeptStage(tmp_path)

    async def show(shown: Stage) -> None:
        await shown.until_said("Caesura died in it.")
        await stage.sessions.aclose()

    assert looks_right(snap_compare, stage, show, NARROW)
