"""The list of themes: what is selected is tried on, and only Enter keeps it."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from textual import events

from tests.support.snapshots import NARROW, looks_right
from tests.tui.lists.stage import ListApp, ListStage
from tests.tui.theme.test_theme import own_theme
from tui.lists.theme_list import ThemeList, theme_rows
from tui.terminal.looks import Scheme, TerminalLooks
from tui.theme.choose import DARK, LIGHT, SIXTEEN, ThemeChoice
from tui.theme.files import AUTO, load_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.snapshots import SnapCompare
    from tui.theme.files import LoadedThemes

ANY_TERMINAL = TerminalLooks()


class ThemesApp(ListApp):
    """Keeps what is picked, and writes nothing down."""

    def __init__(self, own: Path, name: str, looks: TerminalLooks = ANY_TERMINAL) -> None:
        super().__init__()
        self.choice = ThemeChoice(self, name, own, looks)

    def on_load(self) -> None:
        self.choice.start()

    def on_theme_list_previewed(self, message: ThemeList.Previewed) -> None:
        self.posted.append(message)
        self.choice.show(message.name)

    def on_theme_list_picked(self, message: ThemeList.Picked) -> None:
        self.posted.append(message)
        self.choice.keep(message.name)

    def on_theme_list_dismissed(self, message: ThemeList.Dismissed) -> None:
        self.posted.append(message)
        self.choice.show(message.name)


class ThemesStage(ListStage):
    app: ThemesApp

    @property
    def rows(self) -> list[str]:
        """What the list shows."""
        return [line.strip("│ ") for line in self.lines_of(self.app.lists)]

    @property
    def colours(self) -> tuple[str, str]:
        """The theme, and the background that is really painted."""
        return self.app.theme, self.app.screen.styles.background.hex.lower()

    async def open(self) -> ThemeList:
        choice = self.app.choice
        self.app.lists.open(opened := ThemeList(choice.load_all, choice.name, choice.scheme))
        await self.until(lambda: self.chosen)
        return opened


@asynccontextmanager
async def staged(own: Path, name: str = DARK, size: tuple[int, int] = (80, 24)) -> AsyncIterator[ThemesStage]:
    async with ThemesStage(ThemesApp(own, name)).running(size) as stage:
        yield stage


async def test_what_is_selected_is_tried_on_and_escape_goes_back(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        before = stage.colours
        await stage.open()
        assert stage.chosen.startswith(f"› ● {DARK}")
        await stage.press("down")
        assert stage.chosen.startswith(f"›   {LIGHT}")
        assert stage.colours == (LIGHT, "#fcfbf8")
        # What is kept stays marked.
        assert any(row.startswith(f"● {DARK}") for row in stage.rows)
        await stage.press("down", "k", "down")
        assert stage.app.theme == "ember"
        await stage.press("escape")
        await stage.until(lambda: not stage.app.lists.is_open and stage.colours == before)
        assert isinstance(stage.app.posted[-1], ThemeList.Dismissed)
        assert stage.app.choice.name == DARK
        assert stage.app.screen.focused is stage.app.prompt


async def test_enter_keeps_it(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.open()
        await stage.press("down", "enter")
        await stage.until(lambda: not stage.app.lists.is_open)
        await stage.pilot.pause()
        assert stage.colours == (LIGHT, "#fcfbf8")
        assert stage.app.choice.name == LIGHT
        assert [type(message) for message in stage.app.posted] == [ThemeList.Previewed, ThemeList.Picked]
        # The next time it is the one that Escape goes back to.
        await stage.open()
        assert stage.chosen.startswith(f"› ● {LIGHT}")
        await stage.press("up", "up", "escape")
        await stage.until(lambda: stage.colours == (LIGHT, "#fcfbf8"))


async def test_enter_and_escape_without_a_change_change_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.open()
        await stage.press("escape")
        await stage.until(lambda: not stage.app.lists.is_open)
        await stage.open()
        await stage.press("down", "up")
        for _ in range(2):
            # Both in one read of the terminal.
            stage.app.post_message(events.Key("enter", "\r"))
        await stage.until(lambda: not stage.app.lists.is_open)
        assert stage.app.theme == DARK
        assert sum(isinstance(message, ThemeList.Picked) for message in stage.app.posted) == 1
        assert not any(isinstance(message, ThemeList.Dismissed) for message in stage.app.posted)


async def test_another_list_in_its_place_ends_the_preview(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.open()
        await stage.press("down")
        assert stage.app.theme == LIGHT
        await stage.open()
        await stage.until(lambda: stage.app.theme == DARK)


async def test_auto_is_the_first_row_and_follows_the_terminal_while_it_is_tried_on(tmp_path: Path) -> None:
    async with staged(tmp_path, LIGHT) as stage:
        await stage.open()
        await stage.press("home")
        assert stage.chosen.startswith("›   auto")
        assert stage.app.theme == DARK
        stage.app.choice.take_scheme(Scheme.LIGHT)
        assert stage.app.theme == LIGHT
        await stage.press("enter")
        await stage.until(lambda: not stage.app.lists.is_open)
        assert stage.app.choice.name == AUTO
        stage.app.choice.take_scheme(Scheme.DARK)
        assert stage.app.theme == DARK
        stage.app.choice.keep("ember")
        stage.app.choice.take_scheme(Scheme.LIGHT)
        assert stage.app.theme == "ember"


async def test_with_few_colours_the_styles_are_those_for_no_colours(tmp_path: Path) -> None:
    app = ThemesApp(tmp_path, AUTO, TerminalLooks(few_colours=True))
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.theme == SIXTEEN
        assert "nocolor" in app.prompt.get_pseudo_classes()
        app.choice.take_scheme(Scheme.LIGHT)
        assert app.theme == LIGHT


async def test_one_that_cannot_be_used_is_not_kept(tmp_path: Path) -> None:
    own_theme(tmp_path, "wrong", primary="blue")
    own_theme(tmp_path, DARK, primary="blue")
    async with staged(tmp_path, "ember") as stage:
        choice = stage.app.choice
        assert {AUTO, "wrong", DARK, "ember"} <= {*choice.names}
        assert "did you mean 'ember'" in (choice.keep("embers") or "")
        assert "primary 'blue'" in (choice.keep("wrong") or "")
        assert (choice.name, stage.app.theme) == ("ember", "ember")
        # Ours of the same name is used, and why it is not the person's own is told.
        assert "primary 'blue'" in (choice.keep(DARK) or "")
        assert (choice.name, stage.app.theme) == (DARK, DARK)
        assert choice.keep("ember") is None
        assert "primary 'blue'" in (choice.keep(AUTO) or "")
        assert (choice.name, stage.app.theme) == (AUTO, DARK)


async def test_what_is_broken_says_why_and_cannot_be_kept(tmp_path: Path) -> None:
    own_theme(tmp_path, "mine")
    own_theme(tmp_path, "wrong", primary="blue", accent="red")
    async with staged(tmp_path) as stage:
        await stage.open()
        assert any("mine" in row and "yours" in row for row in stage.rows)
        await stage.press("end")
        assert stage.chosen.startswith("› ! Theme wrong.toml: ")
        # In full, above the rows.
        assert "accent 'red' is not a colour" in " ".join(stage.rows[:4])
        await stage.press("enter")
        assert stage.app.lists.is_open
        assert stage.app.theme == DARK
        assert stage.app.posted == []
        await stage.press("up")
        assert "! Theme" not in " ".join(stage.rows[:4])


async def test_a_click_tries_on_and_another_one_keeps(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        opened = await stage.open()
        row = next(number for number, text in enumerate(stage.rows) if "fathom" in text)
        y = stage.app.lists.region.y + row - opened.rows.region.y
        await stage.pilot.click(opened.rows, offset=(6, y))
        await stage.pilot.pause()
        assert stage.app.theme == "fathom"
        assert stage.app.lists.is_open
        await stage.pilot.click(opened.rows, offset=(6, y))
        await stage.until(lambda: not stage.app.lists.is_open)
        assert stage.app.choice.name == "fathom"


async def test_keys_before_the_themes_are_read_do_nothing(tmp_path: Path) -> None:
    gate = threading.Event()

    def load() -> LoadedThemes:
        gate.wait(20)
        return load_all(tmp_path)

    async with staged(tmp_path) as stage:
        stage.app.lists.open(ThemeList(load, DARK, Scheme.DARK))
        await stage.press("down", "enter", "end")
        assert any("Reading…" in row for row in stage.rows)
        assert stage.app.posted == []
        gate.set()
        await stage.until(lambda: stage.chosen.startswith(f"› ● {DARK}"))
        await stage.press("escape")
        await stage.until(lambda: not stage.app.lists.is_open)


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (24, 8), (12, 6)])
async def test_it_fits_whatever_the_size(tmp_path: Path, size: tuple[int, int]) -> None:
    own_theme(tmp_path, "wrong", primary="blue")
    async with staged(tmp_path, size=size) as stage:
        await stage.open()
        await stage.press("down", "end", "home", "pagedown")
        assert stage.chosen
        assert all(len(row) <= size[0] for row in stage.rows)


@pytest.mark.parametrize("width", [0, 1, 10, 40, 200])
def test_a_row_is_as_wide_as_asked_for(tmp_path: Path, width: int) -> None:
    own_theme(tmp_path, "wrong", primary="blue")
    for row in theme_rows(load_all(tmp_path), Scheme.LIGHT, AUTO):
        assert sum(len(piece.text) for piece in row.line(width, selected=True)) == width


async def show_tried_on(stage: ThemesStage) -> None:
    await stage.open()
    await stage.press("down")


def test_looks(snap_compare: SnapCompare, tmp_path: Path) -> None:
    own_theme(tmp_path, "mine")
    own_theme(tmp_path, "wrong", primary="blue")
    assert looks_right(snap_compare, ThemesStage(ThemesApp(tmp_path, DARK)), show_tried_on, NARROW)
