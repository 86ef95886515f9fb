"""The lists over the transcript in a real pane: what Esc and Ctrl+C do there (E1, E2), and the double Esc."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.operations.events import Answer, AnswerKind, Status
from tests.tui.lists.stage import HERE, PlayedPoints, PlayedShelf
from tui.keys.stop_keys import AFTERSHOCK_S, REWIND_WITHIN_S
from tui.lists.rewind_list import RewindList
from tui.lists.sessions.session_list import SessionList
from tui.terminal.interrupt import InterruptKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tui.stage import Stage
    from tui.pane.pane import Pane

ESCAPE, CTRL_C = InterruptKey.ESCAPE, InterruptKey.CTRL_C


def open_sessions(pane: Pane) -> None:
    pane.lists.open_sessions(PlayedShelf(), HERE)


def open_rewind(pane: Pane) -> None:
    pane.lists.open_rewind(PlayedPoints())


BOTH = pytest.mark.parametrize("open_list", [open_sessions, open_rewind])


async def opened(stage: Stage, open_list: Callable[[Pane], None]) -> None:
    open_list(stage.pane)
    await stage.until(lambda: stage.pane.lists.region.height)


def is_open(stage: Stage) -> bool:
    return stage.pane.lists.is_open


@pytest.mark.promise("E1", "E2")
@BOTH
async def test_one_esc_closes_it_and_the_next_stops_the_turn(
    stage: Stage, open_list: Callable[[Pane], None]
) -> None:
    gate = stage.app.interrupt_gate
    await stage.ask("hello")
    await stage.press(*"draft")
    await opened(stage, open_list)
    assert "Esc closes" in stage.status
    assert not gate.is_armed(ESCAPE)
    assert gate.is_armed(CTRL_C)
    await stage.press("escape")
    assert not stage.pane.lists.is_open
    assert stage.focused() is stage.pane.prompt
    assert stage.pane.prompt.draft == "draft"
    assert stage.does(Status.RUNNING)
    assert "Esc stops" in stage.status
    assert await stage.press_at_once(ESCAPE)
    await stage.until_said("Stopped by Esc")


@pytest.mark.promise("E2")
@BOTH
async def test_ctrl_c_stops_the_turn_and_leaves_the_list(
    stage: Stage, open_list: Callable[[Pane], None]
) -> None:
    await stage.ask("hello")
    await opened(stage, open_list)
    assert await stage.press_at_once(CTRL_C)
    await stage.until_said("Stopped by Ctrl+C")
    assert is_open(stage)
    # Idle it closes the list, and clears nothing.
    stage.later += 10
    stage.pane.prompt.set_text_if_empty("draft")
    await stage.press("ctrl+c")
    assert not is_open(stage)
    assert stage.pane.prompt.draft in ("draft", "hello")


@pytest.mark.promise("E1")
@BOTH
async def test_esc_right_behind_what_opens_it_is_not_lost(
    stage: Stage, open_list: Callable[[Pane], None]
) -> None:
    open_list(stage.pane)
    await stage.press("escape")
    assert not stage.pane.lists.is_open


@pytest.mark.promise("E1")
async def test_esc_closes_a_question_in_the_list_before_the_list(stage: Stage) -> None:
    await opened(stage, open_sessions)
    await stage.until(lambda: stage.pane.query_one(SessionList)._selected)
    await stage.press("down", "ctrl+d", "escape")
    assert stage.pane.lists.is_open
    await stage.press("ctrl+r", "escape")
    assert stage.pane.lists.is_open
    await stage.press("escape")
    assert not stage.pane.lists.is_open


@pytest.mark.promise("E1", "E3")
async def test_a_question_that_comes_meanwhile_is_seen_and_esc_still_closes_the_list(stage: Stage) -> None:
    await opened(stage, open_sessions)
    stage.pane.prompt.set_text_if_empty("hello")
    stage.session.submit("hello")
    await stage.model.asked()
    stage.model.call(("edit", "edit_file", {"say": "core/cancel.py"}))
    await stage.until(
        lambda: stage.pane.dialogs.approval.question is not None and stage.pane.dialogs.approval.region.height
    )
    assert "Esc closes" in stage.status
    await stage.press("escape")
    assert stage.does(Status.RUNNING)
    assert "Esc denies" in stage.status
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")


# -- where the focus goes --


async def test_the_focus_goes_back_to_the_panel(stage: Stage) -> None:
    await stage.press("ctrl+t", "f1")
    assert is_open(stage)
    # One list in the place of another.
    await stage.press("ctrl+p", "escape")
    assert stage.focused() is stage.pane.panel
    assert "Esc closes" in stage.status
    await stage.press("escape")
    assert not stage.pane.panel.is_open
    assert stage.focused() is stage.pane.prompt
    # What was remembered is of that time only.
    await stage.press("f1", "escape")
    assert stage.focused() is stage.pane.prompt


async def test_the_focus_goes_home_if_where_it_came_from_is_gone(stage: Stage) -> None:
    await stage.press("ctrl+t", "f1")
    stage.pane.panel.close()
    await stage.press("escape")
    assert stage.focused() is stage.pane.prompt
    await stage.ask("hello")
    await stage.send("second")
    await stage.press("tab")
    rows = stage.focused()
    assert rows in stage.pane.queue.focus_targets
    await stage.press("f1", "escape")
    assert stage.focused() is rows
    await stage.press("f1")
    stage.session.queue.take_all()
    await stage.until(lambda: not stage.pane.queue.display)
    await stage.press("escape")
    assert stage.focused() is stage.pane.prompt


@pytest.mark.promise("E3")
async def test_the_focus_goes_back_to_the_question(stage: Stage) -> None:
    await stage.open_question()
    # Not with Tab: the question takes the focus by itself, and sooner than the key on a slow machine.
    stage.pane.dialogs.approval.focus()
    await stage.until(lambda: stage.focused() is stage.pane.dialogs.approval)
    await stage.press("f1", "escape")
    assert stage.focused() is stage.pane.dialogs.approval
    assert "Esc denies" in stage.status
    await stage.press("f1")
    stage.session.questions.answer(stage.session.questions.open[0].ask_id, Answer(AnswerKind.DENY))
    await stage.until(lambda: stage.pane.dialogs.approval.question is None)
    await stage.press("escape")
    assert stage.focused() is stage.pane.prompt


async def test_the_focus_stays_where_it_has_gone_meanwhile(stage: Stage) -> None:
    await stage.press("f1", "ctrl+t")
    assert stage.focused() is stage.pane.panel
    await stage.press("escape")
    assert not is_open(stage)
    assert stage.focused() is stage.pane.panel


# -- Tab in the same read --


async def test_a_tab_in_the_same_read_completes(stage: Stage) -> None:
    await stage.type_at_once("/mo\tplan\t")
    await stage.until(lambda: stage.pane.prompt.draft == "/mode plan")
    assert stage.focused() is stage.pane.prompt


# -- Esc Esc --


async def test_esc_twice_opens_the_prompts_to_go_back_to(stage: Stage) -> None:
    await stage.press("escape")
    assert "Esc rewinds" in stage.status
    assert not stage.pane.lists.is_open
    stage.later += REWIND_WITHIN_S / 2
    await stage.press("escape")
    assert stage.pane.query(RewindList)
    assert "Esc closes" in stage.status
    await stage.press("escape")
    assert "Esc unused" in stage.status


async def test_slow_presses_and_a_draft_open_nothing(stage: Stage) -> None:
    await stage.press("escape")
    stage.later += REWIND_WITHIN_S * 2
    stage.pane._state.refresh()
    assert "Esc unused" in stage.status
    await stage.press("escape", "a", "escape", "escape")
    assert not stage.pane.lists.is_open


@pytest.mark.promise("E1", "U2")
async def test_hammering_on_esc_stops_the_turn_and_opens_nothing(stage: Stage) -> None:
    await stage.ask("hello")
    await stage.say("some of it")
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")
    for _ in range(6):
        stage.later += AFTERSHOCK_S / 2
        await stage.press("escape")
        assert not stage.pane.lists.is_open
