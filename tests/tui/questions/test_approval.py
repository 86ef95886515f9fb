"""The question before a call: what answers it and what never does, where the focus is, and what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.base.sanitize import printable
from core.cancel import CancelReason, Cause
from core.model.messages import ResultStatus, ToolResults
from core.operations.events import Question, Shown, ShownKind, Status
from tests.tui.stage import Stage, staged
from tui.composer.reason import DenyReason
from tui.composer.reason_line import ReasonLine
from tui.questions.approval import GRACE_S
from tui.questions.question_rows import PREVIEW_LINES, Tint, question_rows
from tui.terminal.interrupt import InterruptKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.messages import ToolResult

ESCAPE, CTRL_C = InterruptKey.ESCAPE, InterruptKey.CTRL_C


async def focused(stage: Stage) -> None:
    await stage.until(lambda: stage.focused() is stage.pane.dialogs.approval)


async def open_focused(stage: Stage) -> None:
    await stage.open_question()
    await focused(stage)


async def told(stage: Stage) -> ToolResult:
    """What the model is told about the call."""
    await stage.model.asked()
    last = stage.model.requests[-1].messages[-1]
    assert isinstance(last, ToolResults)
    return last.results[-1]


# -- answers --


@pytest.mark.promise("E3")
async def test_y_allows_once_and_the_next_call_asks_again(stage: Stage) -> None:
    await open_focused(stage)
    await stage.press("y")
    assert (await told(stage)).status is ResultStatus.COMPLETED
    assert stage.edit.begun == ["core/cancel.py"]
    assert not stage.pane.dialogs.approval.display
    assert stage.focused() is stage.pane.prompt
    stage.model.call(("again", "edit_file", {"say": "core/cancel.py"}))
    await stage.until(lambda: stage.pane.dialogs.approval.question is not None)


@pytest.mark.promise("E3")
@pytest.mark.parametrize("key", ["s", "a"])
async def test_s_and_a_allow_the_next_ones_too(stage: Stage, key: str) -> None:
    await open_focused(stage)
    assert "s and a would allow edit_file(" in stage.question
    await stage.press(key)
    await told(stage)
    stage.model.call(("again", "edit_file", {"say": "core/cancel.py"}))
    assert (await told(stage)).status is ResultStatus.COMPLETED
    assert len(stage.edit.begun) == 2


@pytest.mark.promise("E3", "S5")
async def test_n_denies_only_that_call(stage: Stage) -> None:
    await open_focused(stage)
    await stage.press("n")
    assert (await told(stage)).status is ResultStatus.DENIED
    assert stage.does(Status.RUNNING)
    assert stage.edit.begun == []


@pytest.mark.promise("E3")
async def test_r_denies_with_words_however_fast_they_come(stage: Stage) -> None:
    await open_focused(stage)
    # Each of these letters would be an answer, if it were not behind an `r`.
    await stage.type_at_once("rysanx\n")
    result = await told(stage)
    assert result.status is ResultStatus.DENIED
    assert "ysanx" in result.text
    assert stage.does(Status.RUNNING)


@pytest.mark.promise("E1", "E3")
async def test_esc_in_the_line_of_words_goes_back_to_the_question(stage: Stage) -> None:
    await open_focused(stage)
    await stage.press("r", "n", "o")
    assert "Esc closes" in stage.status
    assert not stage.app.interrupt_gate.is_armed(ESCAPE)
    await stage.press("escape")
    assert stage.focused() is stage.pane.dialogs.approval
    assert "Esc denies and stops" in stage.status
    assert stage.session.questions.open
    # It never clears what was written.
    await stage.press("r", "t", "enter")
    assert "not" in (await told(stage)).text


@pytest.mark.promise("S4", "E4")
async def test_x_stops_the_call_which_is_no_denial(stage: Stage) -> None:
    await open_focused(stage)
    await stage.press("x")
    assert (await told(stage)).status in (ResultStatus.STOPPED, ResultStatus.NOT_STARTED)
    assert stage.does(Status.RUNNING)
    assert stage.edit.begun == []


@pytest.mark.promise("E3")
async def test_enter_gives_only_an_answer_that_was_marked(stage: Stage) -> None:
    await open_focused(stage)
    await stage.press("enter", "enter")
    assert stage.session.questions.open
    await stage.press("right", "enter")
    assert (await told(stage)).status is ResultStatus.COMPLETED


@pytest.mark.promise("E3")
async def test_a_click_answers_after_the_grace_only(stage: Stage) -> None:
    await stage.open_question(aged=False)
    approval = stage.pane.dialogs.approval
    row = next(at for at, text in enumerate(stage.question.split("\n")) if "[y]" in text)
    await stage.pilot.click(approval, offset=(4, row + 1))
    assert stage.session.questions.open
    stage.later += GRACE_S * 2
    await stage.pilot.click(approval, offset=(4, row + 1))
    assert (await told(stage)).status is ResultStatus.COMPLETED


# -- stops --


@pytest.mark.promise("E3", "E4")
@pytest.mark.parametrize("key", [ESCAPE, CTRL_C])
async def test_a_stop_key_stops_the_turn_from_the_first_frame_on(stage: Stage, key: InterruptKey) -> None:
    await stage.open_question(aged=False)
    assert "Esc denies and stops" in stage.status
    assert await stage.press_at_once(key)
    assert not stage.pane.dialogs.approval.display
    await stage.until_said("Stopped by")
    assert stage.edit.begun == []
    assert stage.session.questions.open == ()
    assert len(stage.model.requests) == 1


@pytest.mark.promise("E4")
async def test_a_stop_by_anybody_closes_the_question_and_keeps_what_was_written(stage: Stage) -> None:
    await open_focused(stage)
    await stage.press("r", *"why")
    stage.session.stop(CancelReason(Cause.CLIENT, "caesura stop"))
    await stage.until(lambda: not stage.pane.dialogs.approval.display)
    await stage.until_said("Stopped by caesura stop")
    assert stage.focused() is stage.pane.prompt
    assert stage.pane.prompt.draft == "why"


@pytest.mark.promise("E4", "Q1")
async def test_the_end_of_a_question_starts_a_timer_that_knows_its_app(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tasks of a session that was made before the app do not."""
    monkeypatch.setattr("tui.questions.approval.GRACE_S", 0.001)
    async with staged() as stage:
        await stage.open_question()
        stage.session.stop(CancelReason(Cause.SIGNAL, "SIGTERM"))
        await stage.until_said("Stopped by SIGTERM")
        # The end of the app raises what has become of a timer.
        timers = list(stage.pane.dialogs.approval._timers)
        await stage.until(lambda: all(timer._task is None or timer._task.done() for timer in timers))


# -- who types --


@pytest.mark.promise("E3")
async def test_what_is_typed_as_it_appears_answers_nothing_and_is_kept(stage: Stage) -> None:
    await stage.open_question(aged=False)
    await stage.press(*"yes")
    assert stage.pane.prompt.draft == "yes"
    stage.later += 10
    stage.pane.dialogs.offer_focus()
    # Nor later, for somebody is writing.
    await stage.until(lambda: stage.pane.dialogs.approval.takes_answers)
    await stage.pilot.pause(GRACE_S * 1.5)
    await stage.press("a")
    assert stage.pane.prompt.draft == "yesa"
    assert stage.session.questions.open
    await stage.press("tab", "n")
    assert (await told(stage)).status is ResultStatus.DENIED
    assert stage.pane.prompt.draft == "yesa"


@pytest.mark.promise("E3")
async def test_keys_in_the_grace_of_a_focused_question_are_ignored(stage: Stage) -> None:
    await stage.open_question(aged=False)
    await stage.press("tab", "y", "right", "enter")
    assert stage.session.questions.open
    stage.later += GRACE_S * 2
    await stage.press("y")
    assert (await told(stage)).status is ResultStatus.COMPLETED


async def test_tab_goes_round_and_letters_behind_it_go_where_it_went(stage: Stage) -> None:
    await open_focused(stage)
    await stage.type_at_once("\tsays")
    assert stage.pane.prompt.draft == "says"
    assert stage.session.questions.open
    await stage.press("ctrl+t")
    assert stage.focused() is stage.pane.panel
    await stage.press("tab")
    assert stage.focused() is stage.pane.prompt


async def test_one_question_at_a_time_and_each_has_its_grace(stage: Stage) -> None:
    stage.edit._changing = False
    await stage.ask_for(*[(f"c{n}", "edit_file", dict[str, object](say=f"file {n}")) for n in range(3)])
    await stage.until(lambda: len(stage.session.questions.open) == 3)
    stage.later += 1
    await stage.until(lambda: "1 of 3" in str(stage.pane.dialogs.approval.border_title))
    await focused(stage)
    # Nobody who presses twice answers the second one.
    await stage.press("n", "n", "n")
    assert len(stage.session.questions.open) == 2
    for _ in range(2):
        stage.later += GRACE_S * 2
        await stage.press("n")
    assert (await told(stage)).status is ResultStatus.DENIED


# -- modes --


async def test_shift_tab_goes_through_the_modes_and_the_status_line_says_which(stage: Stage) -> None:
    for mode in ("edits", "plan", "auto", "ask"):
        await stage.press("shift+tab")
        assert stage.session.permissions.mode == mode
        assert f" {mode} · openai/demo" in stage.status


async def test_a_mode_that_allows_it_answers_an_open_question(stage: Stage) -> None:
    await stage.open_question(aged=False)
    await stage.send("/mode auto")
    await told(stage)
    assert not stage.pane.dialogs.approval.display


# -- what is shown --


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (300, 100)])
async def test_question_and_answers_are_there_in_a_terminal_of_any_size(size: tuple[int, int]) -> None:
    async with staged(size) as stage:
        await stage.open_question()
        assert "edit_file" in stage.question
        for key in "ysanrx":
            assert f"[{key}]" in stage.question
        assert "Esc denies" in stage.status
        await focused(stage)
        await stage.press("n")
        assert (await told(stage)).status is ResultStatus.DENIED


async def test_the_end_of_a_long_preview_can_be_scrolled_to(stage: Stage) -> None:
    await open_focused(stage)
    assert "5 more" in stage.question
    await stage.press(*["down"] * 9)
    assert "self._wake()" in stage.question
    assert "↑" in stage.question


async def test_a_name_is_never_markup(stage: Stage) -> None:
    question = Question("ask", "call", "[b]tool[/b] [@click=app.quit]x[/]", "[b]do[/b]", "[i]why[/i]")
    stage.pane.dialogs.approval.show((question, question))
    await stage.pilot.pause()
    approval = stage.pane.dialogs.approval
    assert str(approval._border_title) == "May [b]tool[/b] [@click=app.quit]x[/] do this? · 1 of 2"
    assert "[b]do[/b]" in stage.question
    stage.pane.dialogs.ask_reason(DenyReason("ask", question.tool))
    words = stage.pane.dialogs.query_one(ReasonLine)
    assert "Deny [b]tool[/b] [@click=app.quit]x[/]" in str(words._border_title)


def asked(title: str, preview: Shown | None = None) -> Question:
    return Question("ask", "call", "shell", title, "because", "shell(git *)", preview)


def joined(rows: Iterable[str]) -> str:
    return "".join("".join(rows).split())


@given(title=st.text(), width=st.integers(8, 120))
def test_nothing_of_what_is_asked_is_hidden(title: str, width: int) -> None:
    rows = question_rows(asked(title), width)
    assert all(cell_len(row.text) <= width for row in rows)
    assert all(printable(row.text) == row.text for row in rows)
    shown = joined(row.text for row in rows if row.tint is Tint.TITLE)
    assert shown == joined([f"shell {printable(title)}"])


@given(
    st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=60)),
    st.integers(12, 60),
)
def test_each_row_of_a_diff_has_its_sign(words: list[str], width: int) -> None:
    diff = "\n".join(f"{'+' if number % 2 else '-'} {word}" for number, word in enumerate(words))
    rows = question_rows(asked("edit", Shown(diff, ShownKind.DIFF)), width)
    for row in rows:
        assert cell_len(row.text) <= width
        if row.tint in (Tint.ADDED, Tint.REMOVED):
            assert row.text.startswith("+" if row.tint is Tint.ADDED else "-")


def test_a_huge_preview_is_bounded_and_says_so() -> None:
    rows = question_rows(asked("edit", Shown("x\n" * 1_000_000)), 80)
    assert len(rows) < PREVIEW_LINES + 20
    assert "more" in rows[-1].text
