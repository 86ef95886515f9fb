"""The lists under Ctrl+P and F1: what they show, how they are searched, what Enter does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.operations.events import Status
from tests.tui.commands.stage import CommandStage, commanded
from tui.commands.table import COMMANDS
from tui.keys.bindings import KEYS, use_keymap
from tui.keys.state import KeyState, Place
from tui.lists.help_list import HelpList, help_rows
from tui.lists.palette import NOT_OFFERED, palette_rows

WIDE = 100


def chosen(stage: CommandStage) -> str:
    return next((line.strip("│ ") for line in stage.text.split("\n") if "› " in line), "")


def is_open(stage: CommandStage) -> bool:
    return stage.pane.lists.is_open


# -- the palette --


def test_the_palette_has_every_command_and_every_other_thing_that_keys_do_once() -> None:
    rows = palette_rows(COMMANDS, ())
    commands = [row for row in rows if row.key.startswith("/")]
    assert {row.key for row in commands} == {f"/{name}" for name in COMMANDS.by_name}
    bound = {command.key_id for command in COMMANDS.by_name.values()}
    others = {row.key for row in rows} - {row.key for row in commands}
    offered = {key.id for key in KEYS if not key.scope.takes_letters} - NOT_OFFERED
    assert others == offered - bound
    assert len(rows) == len({row.key for row in rows})
    assert next(row for row in rows if row.key == "/sessions").keys == "Ctrl+L"


def test_a_rebound_key_is_shown_beside_its_command() -> None:
    try:
        use_keymap({"pane.sessions": "f8"})
        assert next(row for row in palette_rows(COMMANDS, ["sessions"])).keys == "F8"
    finally:
        use_keymap({})


async def test_what_is_typed_behind_the_key_is_searched_for_and_enter_does_it() -> None:
    async with commanded() as stage:
        await stage.press(*"draft")
        await stage.type_at_once("ctrl+p", *"unfold", "enter")
        assert stage.pane.done == ["toggle_cards"]
        assert stage.pane.prompt.draft == "draft"
        await stage.press("ctrl+p", *"quit", "enter")
        assert stage.pane.played.asked == [("quit",)]


async def test_the_palette_selects_and_says_where_nothing_is_found() -> None:
    async with commanded() as stage:
        await stage.press("ctrl+p")
        assert chosen(stage).startswith("› /stop")
        await stage.press("down", "down")
        assert chosen(stage).startswith("› /kill")
        assert chosen(stage).endswith("F9")
        await stage.press(*"mode")
        assert chosen(stage).startswith("› /mode")
        await stage.press(*"xyz", "enter")
        assert "Nothing found." in stage.text
        assert is_open(stage)
        await stage.press("escape")
        assert not is_open(stage)
        assert stage.app.screen.focused is stage.pane.prompt


@pytest.mark.parametrize("behind", ["budget", ""])
async def test_what_is_typed_behind_enter_goes_to_what_that_opens(behind: str) -> None:
    async with commanded() as stage:
        await stage.type_at_once("ctrl+p", *"help", "enter", *behind)
        await stage.until(lambda: isinstance(stage.pane.lists.opened, HelpList))
        opened = stage.pane.lists.opened
        assert isinstance(opened, HelpList)
        await stage.until(lambda: opened.line.value == behind)
        assert stage.app.screen.focused is opened.line
        await stage.press("escape")
        assert stage.pane.prompt.draft == ""


async def test_what_is_typed_behind_what_opens_nothing_goes_to_the_composer() -> None:
    async with commanded() as stage:
        await stage.type_at_once("ctrl+p", *"doctor", "enter", *"hello", "enter", *"more")
        await stage.until(lambda: stage.pane.prompt.draft == "more")
        assert stage.pane.played.asked == [("show_doctor",)]
        assert stage.pane.sent == ["hello"]


async def test_a_second_click_chooses() -> None:
    async with commanded() as stage:
        await stage.press("ctrl+p", *"doctor")
        region = stage.pane.lists.region
        lines = stage.text.split("\n")
        y = next(at for at, line in enumerate(lines) if "/doctor" in line)
        await stage.pilot.click(offset=(region.x + lines[y].index("/doctor"), region.y + y))
        await stage.pilot.pause()
        assert stage.pane.played.asked == [("show_doctor",)]


# -- the help --


@pytest.mark.parametrize("width", [30, 80, 140])
def test_the_help_tells_of_every_key_and_every_command_and_cuts_no_word(width: int) -> None:
    rows = help_rows(KeyState(), COMMANDS, (), width)
    keys = {row.key for row in rows}
    assert {f"/{name}" for name in COMMANDS.by_name} <= keys
    assert {key.id for key in KEYS} - {"prompt.copy"} <= keys
    for command in COMMANDS.by_name.values():
        told = " ".join(row.words for row in rows if row.key == f"/{command.name}")
        assert command.summary in " ".join(told.split())
        assert " ".join(command.details.split()) in " ".join(told.split())
    painted = ["".join(piece.text for piece in row.line(width, selected=False)) for row in rows if row.words]
    assert [line for line in painted if "…" in line] == []


def test_every_command_has_a_sentence_and_says_how_it_is_typed() -> None:
    for command in COMMANDS.by_name.values():
        assert command.summary[:1].isupper(), command.name
        assert not command.summary.endswith("."), command.name
        assert len(command.summary) <= 80, command.name


def test_what_is_searched_for_keeps_its_heading() -> None:
    rows = help_rows(KeyState(), COMMANDS, ["budget"], WIDE)
    assert [row.name for row in rows if not row.key] == ["Commands: Conversations"]
    assert {row.key for row in rows if row.key} == {"/cost"}
    stop = help_rows(KeyState(Status.RUNNING), COMMANDS, ["esc", "stop"], WIDE)
    assert stop[1].words == "Stop the turn and all its calls"


async def test_f1_shows_the_help_and_it_follows_what_happens() -> None:
    async with commanded() as stage:
        await stage.press("f1")
        assert "Keys, as they are now in the composer" in stage.text
        assert "nothing now: no turn runs" in stage.text
        stage.pane.state = KeyState(Status.RUNNING)
        await stage.until(lambda: "Stop the turn and all its calls" in stage.text)
        await stage.press("ctrl+end")
        assert "/exit" in stage.text
        await stage.press(*"uncompact")
        assert "Send the whole conversation again" in stage.text
        await stage.press("escape")
        assert not is_open(stage)


async def test_help_is_a_command_too_and_shows_rebound_keys() -> None:
    async with commanded(keys={"pane.help": "f8", "pane.send_queued": "f10"}) as stage:
        await stage.type("/help")
        await stage.press("enter")
        await stage.until(lambda: "F10" in stage.text)
        assert "Ctrl+G" not in stage.text
        await stage.press("escape", "f8")
        assert is_open(stage)


@pytest.mark.parametrize("size", [(20, 5), (300, 100)])
@pytest.mark.parametrize("key", ["f1", "ctrl+p"])
async def test_they_work_in_a_terminal_of_any_size(key: str, size: tuple[int, int]) -> None:
    async with commanded(size) as stage:
        await stage.press(key, *"quit")
        assert "› " in stage.text
        await stage.press("pagedown", "pageup", "ctrl+end", "ctrl+home", "escape")
        assert not is_open(stage)


async def test_the_help_is_of_the_place_where_it_was_asked_for() -> None:
    async with commanded() as stage:
        there = (Place.COMPOSER, Place.PANEL)
        stage.pane.state = KeyState(Status.RUNNING, Place.PANEL, there)
        await stage.press("f1")
        assert "Keys, as they are now in the panel" in stage.text
        # As the pane has it from then on: the focus is in the help.
        stage.pane.state = KeyState(Status.IDLE, Place.LIST, (Place.COMPOSER, Place.LIST, Place.PANEL))
        await stage.until(lambda: "Twice in a row: quit" in stage.text)
        assert "Keys, as they are now in the panel" in stage.text
        assert "Close the panel" in stage.text
        stage.pane.state = KeyState(Status.IDLE, Place.LIST, (Place.COMPOSER, Place.LIST))
        await stage.until(lambda: "Keys, as they are now in the composer" in stage.text)
        await stage.press("f1")
        assert "Keys, as they are now in the composer" in stage.text


def test_the_keys_of_another_place_are_told_as_they_are_there() -> None:
    state = KeyState(Status.RUNNING, Place.PANEL, (Place.COMPOSER, Place.PANEL))
    rows = {row.key: row.words for row in help_rows(state, COMMANDS, (), WIDE)}
    assert rows["pane.stop"] == "Close the panel"
    assert rows["prompt.submit"] == "Show or hide the output of the selected row"
    here = help_rows(replace(state, place=Place.COMPOSER), COMMANDS, (), WIDE)
    assert {row.key: row.words for row in here}["pane.stop"] == "Stop the turn and all its calls"
