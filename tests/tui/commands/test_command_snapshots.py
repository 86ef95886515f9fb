"""Completion, palette and help, as pictures that a person has looked at.

`pytest tests/tui/test_command_snapshots.py --snapshot-update` makes them anew; look at each
before it is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.operations.events import Status
from tests.support.snapshots import looks_right, pictures
from tests.tui.commands.stage import CommandApp, CommandStage
from tui.keys.state import KeyState, Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.snapshots import SnapCompare


async def show_completion(stage: CommandStage) -> None:
    await stage.type("/")
    await stage.press("down", "down")


async def show_choices(stage: CommandStage) -> None:
    await stage.type("/effort m")


async def show_palette(stage: CommandStage) -> None:
    await stage.press("ctrl+p", *"queue", "down")


async def show_help(stage: CommandStage) -> None:
    stage.pane.state = KeyState(Status.RUNNING, focus_targets=(Place.COMPOSER, Place.QUEUE), queued=2)
    await stage.press("f1", "down")


async def show_help_of_commands(stage: CommandStage) -> None:
    await stage.press("f1", "ctrl+end")


SCENES = {
    "completion": show_completion,
    "choices": show_choices,
    "palette": show_palette,
    "help": show_help,
    "help of commands": show_help_of_commands,
}


@pictures(SCENES, wide=("help", "palette"))
def test_commands(
    snap_compare: SnapCompare, show: Callable[[CommandStage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, CommandStage(CommandApp()), show, size)
