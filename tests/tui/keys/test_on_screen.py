"""The screen names the keys that are in force, also where the person has given other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.widgets import Static

from core.base.errors import CaesuraError
from core.cancel import CancelReason, Cause
from core.operations.events import Status
from tests.tui.stage import Stage, staged
from tui.cli.main import demo_welcome
from tui.keys.bindings import KEYS, key_name, use_keymap
from tui.lists.base.overlay import Overlay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.widget import Widget

OTHERS = {
    "app.quit": "f10",
    "pane.toggle_panel": "f3",
    "pane.next": "f4",
    "pane.send_queued": "f13",
    "pane.help": "f14",
    "prompt.stop_and_send": "f8",
    "prompt.submit": "f11",
    "prompt.newline": "f12,enter,ctrl+j",
}


@pytest.fixture(autouse=True)
def _default_keys() -> Iterator[None]:
    yield
    use_keymap({})


class NullJournal(Overlay):
    """A list in which something is written."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Static("written")

    @property
    def focus_target(self) -> Widget:
        return self.line

    def assemble(self) -> None:
        self.mount(self.line)

    def check_unsaved(self) -> None:
        raise CaesuraError("This would be lost.")


def screen_of(stage: Stage) -> str:
    rows = stage.app.screen._compositor.render_strips()
    return "\n".join(row.text.rstrip() for row in rows)


async def send(stage: Stage, text: str) -> None:
    stage.pane.prompt.insert(text)
    await stage.press("f11")


async def test_the_first_frame_names_them() -> None:
    async with staged(keys=OTHERS) as stage:
        seen = screen_of(stage)
        assert "F14 shows keys and commands" in seen
        assert "F11 sends, F12 or Enter breaks the line." in seen
        assert "(F3 shows them)" in demo_welcome()
        assert "Ctrl+" not in seen + demo_welcome()


@pytest.mark.promise("E8")
async def test_panel_queue_and_stop_and_send_name_them() -> None:
    async with staged((100, 30), keys=OTHERS) as stage:
        await send(stage, "hello")
        await stage.model.asked()
        await stage.say("half of it")
        stage.pane.commands.show_running()
        await stage.press("f8")
        assert "write first: F8 stops and sends it" in stage.status
        await send(stage, "second")
        seen = screen_of(stage)
        assert "F3 goes here" in seen
        assert "F4 edit, remove" in seen
        await stage.press("f4", "enter")
        assert "F11 keep  F8 send now" in screen_of(stage)
        await stage.press("escape", "escape", *"now", "f8")
        await stage.model.asked()
        await stage.until_said("Stopped by F8")
        stage.session.stop(CancelReason(Cause.USER, "the test"))
        await stage.until(lambda: stage.does(Status.IDLE))
        await stage.pilot.pause()
        seen = screen_of(stage)
        assert "F13 send" in seen
        assert "Ctrl+" not in seen


@pytest.mark.promise("E3")
async def test_a_question_names_the_key_that_leads_to_it() -> None:
    async with staged(keys=OTHERS) as stage:
        await send(stage, "hello")
        await stage.model.asked()
        stage.pane.prompt.insert("a draft")
        stage.model.call(("edit", "edit_file", {"say": "core/cancel.py"}))
        await stage.until(lambda: "May edit_file do this?" in screen_of(stage))
        assert "F4 or a click answers" in screen_of(stage)
        await stage.press("f4")
        assert "Esc denies and stops the turn" in screen_of(stage)


async def test_the_question_before_the_end_names_them() -> None:
    async with staged(keys=OTHERS) as stage:
        stage.pane.lists.open(NullJournal())
        await stage.press("f10")
        await stage.until_said("This would be lost. F10 or /quit again quits.")
        await stage.press("f10")
        await stage.until(lambda: stage.exit_code() == 0)


@pytest.mark.promise("E9")
async def test_bad_keys_are_told_and_all_others_count() -> None:
    bad = {"pane.stop": "f2", "pane.interrupt": "f3", "app.quit": "escape", "pane.hlep": "f4"}
    async with staged((100, 30), keys={**bad, "pane.help": "f14"}) as stage:
        await stage.until_said("Key map:", times=4)
        for said in (
            "pane.stop stays on escape and cannot be rebound",
            "pane.interrupt stays on ctrl+c and cannot be rebound",
            "app.quit cannot use escape",
            "Did you mean pane.help?",
        ):
            assert said in " ".join(stage.transcript.split())
        assert "F14 shows keys and commands" in screen_of(stage)
        assert {key.id for key in KEYS if key_name(key.id) == "F14"} == {"pane.help"}
        await send_with_enter(stage, "hello")
        await stage.press("escape")
        await stage.until_said("Stopped by Esc")


async def send_with_enter(stage: Stage, text: str) -> None:
    await stage.ask(text)
    await stage.say("half of it")
