"""The prompts to go back to: what is said of each, what is picked, and how two presses of Esc are told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.base.sanitize import printable
from core.operations.events import Outcome, Status
from tests.support.snapshots import looks_right, pictures
from tests.tui.lists.stage import NOW, POINTS, ListApp, ListStage, PlayedPoints, SessionInUse, listed
from tests.tui.stage import Stage, staged
from tui.keys.stop_keys import AFTERSHOCK_S, REWIND_WITHIN_S, IdleEsc, StopKeys
from tui.lists.base.sources import FileChange, RewindPoint
from tui.lists.rewind_list import OUTCOME_WORDS, FileRow, PromptRow, PutBackRow, RewindList, rewind_rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.snapshots import SnapCompare


def picked(stage: ListStage) -> list[tuple[int, bool]]:
    return [(one.turn, one.put_files_back) for one in stage.app.posted if isinstance(one, RewindList.Picked)]


# -- rows --


@given(
    prompt=st.text(max_size=80),
    paths=st.lists(st.tuples(st.text(max_size=60), st.booleans()), max_size=3),
    outcome=st.none() | st.sampled_from(Outcome),
    width=st.integers(8, 200),
)
def test_a_row_is_as_wide_as_the_list_whatever_stands_in_it(
    prompt: str, paths: list[tuple[str, bool]], outcome: Outcome | None, width: int
) -> None:
    point = RewindPoint(7, prompt, outcome, NOW - 60, tuple(FileChange(*one) for one in paths))
    for row in rewind_rows([point], "7", NOW, put_back=True):
        line = row.line(width, selected=True)
        text = "".join(piece.text for piece in line)
        assert cell_len(text) == width
        assert printable(text) == text
        assert "\n" not in text


def test_only_the_selected_prompt_names_its_files() -> None:
    rows = rewind_rows(POINTS, "3", NOW, put_back=False)
    assert [type(row) for row in rows] == [
        PromptRow,
        PromptRow,
        PromptRow,
        PutBackRow,
        FileRow,
        FileRow,
        PromptRow,
    ]


def test_how_a_turn_went_is_told_in_words() -> None:
    assert len({OUTCOME_WORDS[outcome][0].split()[1] for outcome in (*Outcome, None)}) >= 6


# -- what is seen, and picked --


async def test_the_newest_prompt_is_selected_and_what_changed_since_is_named() -> None:
    async with listed((140, 45)) as stage:
        await stage.open_rewind()
        assert "And update the notes" in stage.chosen
        assert "unknown" in stage.chosen
        assert "No file can be put back" in stage.text
        await stage.press("up")
        assert "also put back 1 file changed since" in stage.text
        conflict = next(row for row in stage.text.split("\n") if "test_index.py" in row)
        assert "! changed by someone else since: kept as it is" in conflict
        await stage.press("up")
        assert "Write a test that shows it. ↵ One is enough." in stage.chosen
        assert "stopped" in stage.chosen
        assert "put back" not in stage.text


async def test_keys_pick_once_and_files_only_if_it_was_said_of_this_prompt() -> None:
    async with listed() as stage:
        await stage.open_rewind()
        await stage.press("home", "space")
        assert "[x] also put back 3 files changed since" in stage.text
        # Another prompt has other files.
        await stage.press("j", "j")
        assert "[ ] also put back 1 file changed since" in stage.text
        await stage.press("enter", "enter")
        assert picked(stage) == [(3, False)]
        stage.app.lists.fail("This session is open elsewhere: fork it there.")
        await stage.pilot.pause()
        assert "! This session is open elsewhere" in stage.text
        await stage.press("space", "enter")
        assert picked(stage)[1:] == [(3, True)]


async def test_there_is_nothing_to_say_where_no_file_can_be_put_back() -> None:
    async with listed() as stage:
        await stage.open_rewind()
        await stage.press("space", "enter")
        assert picked(stage) == [(4, False)]


async def test_keys_in_one_read_act_in_their_order() -> None:
    async with listed() as stage:
        await stage.open_rewind()
        await stage.type_at_once("up", "space", "enter", "home")
        assert picked(stage) == [(3, True)]


async def test_the_mouse_selects_toggles_and_picks() -> None:
    async with listed() as stage:
        await stage.open_rewind()
        await stage.click("Now mend it")
        await stage.click("also put back")
        assert "[x]" in stage.text
        await stage.click("core/index.py")
        assert picked(stage) == [(3, True)]
        stage.app.lists.fail("no")
        await stage.click("put files back too")
        assert "[ ]" in stage.text
        await stage.click("Enter edit and send")
        assert picked(stage)[1:] == [(3, False)]


@pytest.mark.promise("E1")
async def test_one_esc_closes_it_and_leaves_the_draft() -> None:
    async with listed() as stage:
        stage.app.prompt.set_text_if_empty("a draft")
        await stage.open_rewind()
        await stage.press("space", "escape")
        assert not stage.app.lists.is_open
        assert stage.app.prompt.draft == "a draft"
        assert stage.app.screen.focused is stage.app.prompt


async def test_an_empty_session_and_one_that_cannot_be_read() -> None:
    async with listed(points=PlayedPoints(())) as stage:
        await stage.open_rewind()
        await stage.press("enter", "space", "up", "end")
        assert "No prompt was sent yet" in stage.text
        stage.app.points.failure = SessionInUse("The file of sessions is damaged.")
        await stage.open_rewind()
        await stage.until(lambda: "! The file of sessions is damaged." in stage.text)
        assert picked(stage) == []


async def test_an_answer_that_comes_when_it_is_closed_does_nothing() -> None:
    points = PlayedPoints(gate=asyncio.Event())
    async with listed(points=points) as stage:
        assert points.gate is not None
        stage.app.lists.open_rewind(points)
        await stage.until(lambda: "Reading…" in stage.text)
        await stage.press("enter", "escape")
        points.gate.set()
        await stage.pilot.pause()
        await stage.open_rewind()
        assert "And update the notes" in stage.chosen
        assert picked(stage) == []


@pytest.mark.parametrize("size", [(20, 5), (10, 3)])
async def test_it_works_in_a_window_of_any_size(size: tuple[int, int]) -> None:
    files = tuple(FileChange(f"core/file_{number}.py") for number in range(9))
    points = PlayedPoints((POINTS[1], RewindPoint(3, "last", Outcome.COMPLETED, NOW, files)))
    async with listed(size, points=points) as stage:
        await stage.open_rewind()
        await stage.until(lambda: stage.chosen.startswith("› last"))
        # All names can be seen, one page after the other.
        seen = ""
        for _ in range(20):
            await stage.press("down")
            seen += stage.text
        if size[0] >= 20:
            assert all(f"file_{number}.py" in seen for number in range(9))
        await stage.press("space", "enter")
        assert picked(stage) == [(3, True)]
        for _ in range(20):
            await stage.press("up")
        assert stage.rewind.rows.selected == "2"


# -- Esc twice --


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def idle_keys(clock: Clock) -> StopKeys:
    return StopKeys(Stage()._make_session(), clock)


async def test_the_second_esc_in_time_rewinds_and_a_third_is_a_first() -> None:
    clock = Clock()
    keys = idle_keys(clock)
    armed = [keys.esc_rewinds]
    assert keys.esc_while_idle() is IdleEsc.FIRST
    clock.now += REWIND_WITHIN_S * 0.9
    armed.append(keys.esc_rewinds)
    assert armed == [False, True]
    assert keys.esc_while_idle() is IdleEsc.REWIND
    assert keys.esc_while_idle() is IdleEsc.FIRST
    clock.now += REWIND_WITHIN_S * 1.1
    assert not keys.esc_rewinds
    assert keys.esc_while_idle() is IdleEsc.FIRST


async def test_a_turn_between_two_presses_makes_the_second_a_first() -> None:
    clock = Clock()
    keys = idle_keys(clock)
    assert keys.esc_while_idle() is IdleEsc.FIRST
    keys.turn_started()
    assert keys.esc_while_idle() is IdleEsc.FIRST


@pytest.mark.promise("E1", "U2")
async def test_whoever_hammers_on_esc_means_the_turn_that_has_ended() -> None:
    clock = Clock()
    keys = idle_keys(clock)
    keys.turn_ended(stopped=False)
    for _ in range(10):
        clock.now += AFTERSHOCK_S * 0.9
        assert keys.esc_while_idle() is IdleEsc.AFTERSHOCK
    clock.now += AFTERSHOCK_S * 1.1
    assert keys.esc_while_idle() is IdleEsc.FIRST


@pytest.mark.promise("E1")
async def test_while_a_turn_runs_each_esc_is_a_stop_whatever_came_before() -> None:
    async with staged() as stage:
        assert stage.pane.stop_keys.esc_while_idle() is IdleEsc.FIRST
        await stage.ask("hello")
        await stage.press("escape")
        await stage.until(lambda: stage.does(Status.IDLE))
        assert not stage.pane.stop_keys.esc_rewinds


# -- pictures --


async def show_prompts(stage: ListStage) -> None:
    await stage.open_rewind()
    await stage.press("home")


async def show_put_back(stage: ListStage) -> None:
    await stage.open_rewind()
    await stage.press("up", "space")


SCENES = {"prompts": show_prompts, "put-back": show_put_back}


@pictures(SCENES, wide=("prompts",))
def test_looks(
    snap_compare: SnapCompare, show: Callable[[ListStage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, ListStage(ListApp()), show, size)
