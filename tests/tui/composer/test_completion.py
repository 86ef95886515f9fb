"""The list above the composer: what it offers, what its keys do, and that it is in nobody's way."""

from __future__ import annotations

import pytest

from tests.tui.commands.stage import MODELS, PlayedScreen, commanded
from tui.commands.table import COMMANDS
from tui.composer.completions import offers_for

NAMES = PlayedScreen()


def lines(typed: str) -> list[str]:
    return [row.key for row in offers_for(typed, COMMANDS, NAMES).rows]


# -- what is offered --


def test_a_slash_offers_every_command_with_its_help() -> None:
    rows = offers_for("/", COMMANDS, NAMES).rows
    assert [row.key.strip() for row in rows] == sorted(f"/{name}" for name in COMMANDS.by_name)
    assert all(row.words for row in rows)


@pytest.mark.parametrize(
    ("typed", "offered", "whole"),
    [
        ("/mod", ["/mode ", "/model "], False),
        ("/mode", ["/mode ", "/model "], True),
        ("/rename", ["/rename "], False),
        ("/quit", ["/quit"], True),
        ("/mode ", ["/mode ask", "/mode edits", "/mode plan", "/mode auto"], True),
        ("/mode P", ["/mode plan"], False),
        ("/mode plan", ["/mode plan"], True),
        ("/effort m", ["/effort minimal", "/effort medium"], False),
        ("/theme l", ["/theme caesura-light"], False),
        ("/model 5.1", ["/model openai/gpt-5.1", "/model openai/gpt-5.1-mini"], True),
        ("/model my/own", [], True),
        ("/drop ", ["/drop all"], True),
        ("/drop 2", [], True),
    ],
)
def test_what_completes_a_line(typed: str, offered: list[str], whole: bool) -> None:
    offers = offers_for(typed, COMMANDS, NAMES)
    assert [row.key for row in offers.rows] == offered
    assert offers.whole is whole


@pytest.mark.parametrize(
    "typed", ["", "hello", " /mode", "/usr/bin", "/help me", "//", "/Mode", "/mode\n", "/" + "a" * 300]
)
def test_what_is_no_command_is_offered_nothing(typed: str) -> None:
    assert lines(typed) == []


def test_models_are_asked_for_only_where_they_are_wanted() -> None:
    assert lines("/model ") == [f"/model {name}" for name in MODELS]


# -- its keys --


async def test_it_filters_while_one_types_and_goes_with_the_slash() -> None:
    async with commanded() as stage:
        await stage.type("hi /")
        assert stage.offered == []
        await stage.press("ctrl+a", "backspace")
        stage.pane.prompt.clear_undoable()
        await stage.type("/un")
        assert [row.split()[-0] for row in stage.offered] == ["›", "/undo", "/undrop"] or len(
            stage.offered
        ) == 3
        assert "/uncompact" in stage.offered[0]
        await stage.type("d")
        assert [row.lstrip("› ").split()[0] for row in stage.offered] == ["/undo", "/undrop"]
        await stage.press("backspace", "backspace", "backspace", "backspace")
        assert stage.offered == []


async def test_tab_completes_and_enter_obeys_what_is_whole() -> None:
    async with commanded() as stage:
        await stage.type("/mo")
        await stage.press("tab")
        assert stage.pane.prompt.draft == "/mode "
        assert [row.strip("› ") for row in stage.offered] == ["ask", "edits", "plan", "auto"]
        await stage.press("down", "down", "tab")
        assert stage.pane.prompt.draft == "/mode plan"
        await stage.press("ctrl+z")
        assert stage.pane.prompt.draft == "/mode "


async def test_enter_completes_what_is_no_whole_command_and_obeys_it_then() -> None:
    async with commanded() as stage:
        await stage.type("/sess")
        await stage.press("enter")
        assert stage.pane.prompt.draft == "/sessions"
        assert stage.pane.done == []
        await stage.press("enter")
        assert stage.pane.done == ["/sessions"]
        assert stage.offered == []
        await stage.type("/theme")
        await stage.press("enter")
        assert stage.pane.done == ["/sessions", "/theme"]
        await stage.type("/theme d")
        await stage.press("enter", "enter")
        assert stage.pane.played.asked[-1] == ("use_theme", "caesura-dark")


async def test_enter_takes_what_was_selected_in_place_of_what_was_typed() -> None:
    async with commanded() as stage:
        await stage.type("/mode")
        await stage.press("down", "enter")
        assert stage.pane.prompt.draft == "/model "
        assert stage.pane.done == []


async def test_enter_sends_a_name_that_nobody_knows_as_it_was_typed() -> None:
    async with commanded() as stage:
        await stage.type("/model gpt-5")
        assert len(stage.offered) == 2
        await stage.press("enter")
        assert stage.pane.played.asked == [("use_model", "gpt-5")]


@pytest.mark.promise("U1")
async def test_an_enter_typed_fast_obeys_what_was_typed_before_it() -> None:
    async with commanded() as stage:
        await stage.type_at_once(*"/exiz", "backspace", "t", "enter", *"/quit", "enter", *"next")
        assert stage.pane.done == ["/exit", "/quit"]
        assert stage.pane.prompt.draft == "next"
        stage.pane.prompt.clear_undoable()
        # Not whole: it is completed, however fast the Enter came.
        await stage.type_at_once(*"/memo", "enter")
        assert stage.pane.prompt.draft == "/memory"


async def test_a_tab_typed_fast_completes_what_was_typed_before_it() -> None:
    async with commanded() as stage:
        await stage.type_at_once(*"/mem", "tab", *"x")
        assert stage.pane.prompt.draft == "/memoryx"


@pytest.mark.promise("E1")
async def test_esc_closes_it_until_the_text_changes_and_leaves_the_text() -> None:
    async with commanded() as stage:
        await stage.type("/mo")
        await stage.press("escape")
        assert stage.offered == []
        assert stage.pane.prompt.draft == "/mo"
        await stage.press("enter")
        assert stage.pane.played.told == ["There is no command /mo: did you mean /mode?"]
        await stage.type("/mo")
        await stage.press("escape", "d")
        assert len(stage.offered) == 2


async def test_what_comes_back_from_the_history_is_not_completed() -> None:
    async with commanded() as stage:
        await stage.type("first")
        await stage.press("enter")
        await stage.type("/theme")
        await stage.press("enter", "up")
        assert stage.pane.prompt.draft == "/theme"
        assert stage.offered == []
        await stage.press("up")
        assert stage.pane.prompt.draft == "first"


async def test_two_lines_are_never_a_command() -> None:
    async with commanded() as stage:
        await stage.type("/mo")
        await stage.press("ctrl+j")
        assert stage.offered == []
        await stage.type("x")
        await stage.press("enter")
        assert stage.pane.sent == ["/mo\nx"]


async def test_it_moves_nothing_and_lies_above_the_composer() -> None:
    async with commanded() as stage:
        before = stage.pane.prompt.region
        await stage.type("/")
        assert len(stage.offered) == 8
        assert stage.pane.prompt.region == before
        assert stage.pane.completion.region.bottom == before.y


async def test_a_click_completes() -> None:
    async with commanded() as stage:
        await stage.type("/mod")
        await stage.pilot.click(stage.pane.completion, offset=(4, 1))
        await stage.pilot.pause()
        assert stage.pane.prompt.draft == "/model "


@pytest.mark.parametrize("size", [(20, 5), (40, 8), (300, 100)])
async def test_it_works_in_a_terminal_of_any_size(size: tuple[int, int]) -> None:
    async with commanded(size) as stage:
        await stage.type("/mo")
        assert bool(stage.offered) is (size[1] >= 8)
        stage.pane.prompt.clear_undoable()
        await stage.type("/doctor")
        await stage.press("enter")
        assert stage.pane.done == ["/doctor"]


async def test_rebound_keys_complete_too() -> None:
    async with commanded(keys={"pane.next": "f8", "prompt.submit": "ctrl+enter"}) as stage:
        await stage.type("/memo")
        await stage.press("f8")
        assert stage.pane.prompt.draft == "/memory"
        await stage.press("ctrl+enter")
        assert stage.pane.done == ["/memory"]
