"""The panel of everything alive: what its rows say, what buttons and keys stop, and what Esc does there."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult

from core.base.sanitize import printable
from core.cancel import CancelReason, Cause
from core.model.messages import ResultStatus, ToolResults
from core.model.provider import Phase
from core.operations.events import Status
from core.operations.operation import OperationKind, OperationState, OperationView
from core.operations.registry import Registry
from core.operations.session_operations import SessionOperations
from core.operations.unkilled import UnkilledProcesses
from core.process.command import Survivor
from tests.tui.stage import Stage, staged
from tui.base.row_list import MOVED_S
from tui.lists.running.operation_rows import (
    Button,
    OperationRow,
    TreeRow,
    in_tree_order,
    listing,
    rows_each,
    state_words,
)
from tui.lists.running.running_panel import RunningPanel, panel_rows
from tui.pane.call_stops import SAME_PRESS_S
from tui.terminal.interrupt import InterruptKey

if TYPE_CHECKING:
    from core.model.messages import ToolResult

ESCAPE, CTRL_C = InterruptKey.ESCAPE, InterruptKey.CTRL_C


def view(
    call_id: str,
    parent_id: str | None = None,
    *,
    title: str = "shell",
    detail: str = "",
    kind: OperationKind = OperationKind.CALL,
    state: OperationState = OperationState.RUNNING,
    phase: Phase = Phase.IN_CALL,
    deadline_at: float | None = None,
    processes: int = 0,
    unconfirmed: tuple[str, ...] = (),
    late: str = "",
) -> OperationView:
    return OperationView(
        "s",
        call_id,
        parent_id,
        kind,
        title,
        state,
        phase,
        100.0,
        detail,
        deadline_at,
        processes,
        unconfirmed=unconfirmed,
        late=late,
    )


# -- rows --

names = st.sampled_from("abcdef")


@given(st.lists(st.tuples(names, st.none() | names), unique_by=lambda pair: pair[0]))
def test_everything_alive_is_listed_once_and_beneath_its_parent(pairs: list[tuple[str, str | None]]) -> None:
    placed = in_tree_order(view(call_id, parent_id) for call_id, parent_id in pairs)
    order = [one.view.call_id for one in placed]
    assert sorted(order) == sorted(call_id for call_id, _ in pairs)
    for at, one in enumerate(placed):
        if one.depth:
            above = next(row for row in reversed(placed[:at]) if row.depth < one.depth)
            assert above.view.call_id == one.view.parent_id


@pytest.mark.promise("E6", "S11")
@given(
    title=st.text(max_size=40),
    detail=st.text(max_size=80),
    state=st.sampled_from([state for state in OperationState if state.live]),
    kind=st.sampled_from(OperationKind),
    depth=st.integers(0, 6),
    deadline_at=st.none() | st.floats(0, 1e5),
    processes=st.integers(0, 500),
    width=st.integers(36, 200),
)
def test_a_row_says_its_state_and_ends_with_its_button(
    title: str,
    detail: str,
    state: OperationState,
    kind: OperationKind,
    depth: int,
    deadline_at: float | None,
    processes: int,
    width: int,
) -> None:
    one = view("c", title=title, detail=detail, kind=kind, state=state, deadline_at=deadline_at)
    placed = TreeRow(one, depth)
    rows = [OperationRow(placed, part, 161.0, unfolded=False) for part in range(rows_each(width))]
    lines = [row.line(width, selected=False) for row in rows]
    texts = ["".join(piece.text for piece in line) for line in lines]
    for text in texts:
        assert cell_len(text) == width
        assert printable(text) == text
        assert "\n" not in text
    wanted = Button.KILL if state is OperationState.STOPPING else Button.STOP
    assert texts[0].endswith(wanted.value)
    assert state_words(one)[1] in texts[0]
    assert texts[-1].find("1m 01s") >= 0


def test_every_state_has_a_word_of_its_own() -> None:
    asking = view("c", phase=Phase.WAITING_FOR_APPROVAL)
    waiting = view("c", phase=Phase.BACK_OFF)
    live = [view("c", state=state) for state in OperationState if state.live]
    assert len({state_words(one)[1] for one in (asking, waiting, *live)}) == 5


def test_facts_leave_room_for_what_tells_commands_apart() -> None:
    one = view("c", detail="sleep 30; make everything", deadline_at=400.0, processes=12)
    second = OperationRow(TreeRow(one, 1), 1, 205.0, False).line(42, selected=False)[0].text
    assert second == "      sleep 30; mak…  3m 15s left · 1m 45s"
    short = OperationRow(TreeRow(view("c", detail="a", processes=12), 0), 1, 105.0, False)
    assert short.line(42, selected=False)[0].text.endswith("  12 proc · 5.0s")
    bare = OperationRow(TreeRow(one, 0), 1, 205.0, False).line(24, selected=False)[0].text
    assert bare == "    sleep 30; m…  1m 45s"
    whole = OperationRow(TreeRow(one, 1), 0, 205.0, False).line(72, selected=False)
    assert "".join(piece.text for piece in whole) == (
        " ▸   ● running  shell sleep 30; make every…  3m 15s left · 1m 45s [stop]"
    )


def test_deadline_and_processes_are_shown() -> None:
    one = view("c", detail="make", deadline_at=148.0, processes=3)
    line = OperationRow(TreeRow(one, 0), 0, 100.0, unfolded=False).line(80, selected=False)
    text = "".join(piece.text for piece in line)
    assert "shell make" in text
    assert "3 proc · 48s left · 0.0s [stop]" in text


@pytest.mark.promise("S12", "E6")
@pytest.mark.parametrize("width", [36, 140])
@pytest.mark.parametrize("late", ["", "2/3 half\nway"])
def test_who_has_not_confirmed_a_stop_is_named_and_what_came_since(late: str, width: int) -> None:
    one = view(
        "c",
        title="mcp__far__sum",
        detail="a=1",
        state=OperationState.STOPPING,
        unconfirmed=("MCP server far",),
        late=late,
    )
    words = "asked to stop, not confirmed: MCP server far" + ("; it goes on: 2/3 half ↵ way" if late else "")
    rows = panel_rows([TreeRow(one, 1)], {}, (), width, 100.0)
    assert {row.key for row in rows} == {"c"}
    texts = ["".join(piece.text for piece in row.line(width, selected=False)) for row in rows]
    assert all(cell_len(text) == width for text in texts)
    beneath = [text[6:].strip() for text in texts[rows_each(width) :]]
    assert " ".join(beneath) == words
    told = listing((TreeRow(one, 0),), 100.0)
    assert told == f"1. mcp__far__sum a=1 (stopping, for 0.0s, {words})"


# -- in the application --


async def stopped_result(stage: Stage, call_id: str) -> ToolResult:
    """Let the other calls end; what the model is then told about this one."""
    for operation in stage.session.operations.snapshot():
        if operation.kind is OperationKind.CALL:
            stage.session.operations.cancel(operation.call_id, CancelReason(Cause.CLIENT, "the test"))
    await stage.model.asked()
    last = stage.model.requests[-1].messages[-1]
    assert isinstance(last, ToolResults)
    return next(result for result in last.results if result.call_id == call_id)


@pytest.mark.parametrize(("size", "beside"), [((80, 24), False), ((119, 40), False), ((120, 40), True)])
async def test_ctrl_t_opens_it_beside_the_transcript_or_below(size: tuple[int, int], beside: bool) -> None:
    async with staged(size) as stage:
        panel, transcript = stage.pane.panel, stage.pane.transcript
        assert not panel.display
        await stage.press("ctrl+t")
        assert stage.focused() is panel
        assert (panel.region.x >= transcript.region.right) is beside
        assert (panel.region.y >= transcript.region.bottom) is not beside
        assert panel.region.height <= size[1] * (1 if beside else 0.4)
        assert "Nothing is running." in " ".join(stage.panel)
        await stage.press("ctrl+t")
        assert not panel.display
        assert stage.focused() is stage.pane.prompt


@pytest.mark.promise("S5", "S8")
@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
async def test_a_click_on_a_button_stops_that_call_alone(size: tuple[int, int]) -> None:
    async with staged(size) as stage:
        await stage.press("ctrl+t", "ctrl+t")
        await stage.run_three()
        await stage.send("/running")
        panel = stage.pane.panel
        await stage.until(lambda: panel.region.height and any("make test" in text for text in stage.panel))
        below = next(at for at, text in enumerate(stage.panel) if "make test" in text)
        row = next(at for at in (below, below - 1) if "[stop]" in stage.panel[at])
        column = panel.scrollable_content_region.width - 2
        panel._replaced_at.clear()  # as after a moment: a reply stood there before
        await stage.pilot.click(panel, offset=(column + 1, row + 1))
        await stage.until(lambda: set(stage.shell.running) == {"sleep 100", "find / -name core"})
        assert stage.does(Status.RUNNING)
        # The focus is where it was: who types goes on typing, and Esc still stops the turn.
        assert stage.focused() is stage.pane.prompt
        assert "Esc stops" in stage.status
        result = await stopped_result(stage, "two")
        assert result.status is ResultStatus.STOPPED


@pytest.mark.promise("S5")
async def test_x_stops_the_selected_call(stage: Stage) -> None:
    await stage.run_three()
    await stage.press("ctrl+t", "down", "x")
    await stage.until(lambda: set(stage.shell.running) == {"sleep 100", "find / -name core"})
    await stage.until(lambda: not any("make test" in row for row in stage.panel))
    # A key that comes late was meant for the row that has gone, and not for the one in its place.
    await stage.press("x")
    await stage.pilot.pause()
    assert set(stage.shell.running) == {"sleep 100", "find / -name core"}
    assert OperationState.STOPPING not in {one.state for one in stage.session.operations.snapshot()}
    stage.later += 2 * MOVED_S
    await stage.press("x")
    await stage.until(lambda: stage.shell.running == ["sleep 100"])
    assert stage.does(Status.RUNNING)


@pytest.mark.promise("E6", "S11")
async def test_while_it_is_stopping_the_button_kills(stage: Stage) -> None:
    await stage.ask_for(("one", "shell", {"do": "deaf", "say": "sleep 100"}))
    await stage.until(lambda: stage.shell.running)
    await stage.press("ctrl+t", "x")
    assert "■ stopping" in stage.panel[0]
    assert "[kill]" in stage.panel[0]
    # A bounce is no second press.
    stage.later += SAME_PRESS_S / 2
    await stage.press("x")
    assert "■ stopping" in stage.panel[0]
    stage.later += SAME_PRESS_S * 2
    await stage.press("x")
    await stage.until(lambda: "■ killing" in stage.panel[0])
    stage.shell.released.set()


async def test_a_button_that_read_stop_never_kills(stage: Stage) -> None:
    await stage.ask_for(("one", "shell", {"do": "deaf", "say": "sleep 100"}))
    await stage.until(lambda: stage.shell.running)
    await stage.press("ctrl+t")
    # Somebody else has stopped it, and the press was on its way.
    stage.session.operations.cancel("one", CancelReason(Cause.CLIENT, "caesura stop"))
    stage.pane.post_message(RunningPanel.StopRequested("one", Button.STOP))
    await stage.pilot.pause()
    assert [one.forced for one in stage.session.operations.snapshot()] == [False]
    stage.shell.released.set()


@pytest.mark.promise("S5", "S8")
async def test_words_of_a_stop_reach_the_model(stage: Stage) -> None:
    await stage.run_three()
    await stage.press("ctrl+t")
    # What is typed behind `w` are words, not keys of the panel.
    await stage.type_at_once("jwxkjslow\n")
    await stage.until(lambda: set(stage.shell.running) == {"sleep 100", "find / -name core"})
    assert stage.focused() is stage.pane.panel
    result = await stopped_result(stage, "two")
    assert "xkjslow" in result.text


@pytest.mark.promise("E1", "E2")
async def test_esc_closes_the_line_then_the_panel_then_stops_the_turn(stage: Stage) -> None:
    gate = stage.app.interrupt_gate
    await stage.run_three()
    await stage.press("ctrl+t", "w", "a")
    for _ in ("the line of words", "the panel"):
        assert "Esc closes" in stage.status
        assert not gate.is_armed(ESCAPE)
        assert gate.is_armed(CTRL_C)
        await stage.press("escape")
        assert len(stage.shell.running) == 3
    assert stage.focused() is stage.pane.prompt
    assert not stage.pane.panel.display
    assert "Esc stops" in stage.status
    assert await stage.press_at_once(ESCAPE)
    await stage.until_said("Stopped by Esc")


@pytest.mark.promise("E1")
async def test_a_panel_that_is_merely_visible_keeps_nobody_from_a_stop(stage: Stage) -> None:
    await stage.run_three()
    await stage.press("ctrl+t", "tab")
    assert stage.pane.panel.display
    assert stage.focused() is stage.pane.prompt
    assert "Esc stops" in stage.status
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")


@pytest.mark.promise("E2")
@pytest.mark.parametrize("keys", [("ctrl+t",), ("ctrl+t", "w")])
async def test_ctrl_c_stops_the_turn_from_the_panel_and_from_its_line(
    stage: Stage, keys: tuple[str, ...]
) -> None:
    await stage.run_three()
    await stage.press(*keys)
    assert await stage.press_at_once(CTRL_C)
    await stage.until_said("Stopped by Ctrl+C")


async def test_a_row_unfolds_to_what_it_has_written(stage: Stage) -> None:
    await stage.run_three()
    await stage.press("ctrl+t", "enter")
    assert "│ sleep 100 so far" in stage.panel[1]
    await stage.pilot.click(stage.pane.panel, offset=(10, 1))
    assert "make test" in stage.panel[1]


async def test_the_deadline_moves(stage: Stage) -> None:
    await stage.ask_for(("one", "shell", {"do": "hold", "say": "make", "seconds": 600}))
    await stage.until(lambda: stage.shell.running)

    def left() -> float:
        deadline = stage.session.operations.snapshot()[0].deadline_at
        assert deadline is not None
        return deadline - time.monotonic()

    await stage.press("ctrl+t", "plus")
    assert 610 < left() < 630
    await stage.press("minus", "minus")
    assert 550 < left() < 570


async def test_sub_agents_have_their_calls_beneath_them(stage: Stage) -> None:
    turn = CancelReason(Cause.USER, "the test")
    for call_id, parent_id in (("agent", None), ("other", None), ("beneath", "agent")):
        stage.registry.open(
            stage.session.session_id,
            OperationKind.CALL,
            call_id,
            stage.session.token,
            call_id=call_id,
            parent_id=parent_id,
        )
    await stage.press("ctrl+t")
    assert [row.split()[3] for row in stage.panel[:3]] == ["agent", "beneath", "other"]
    assert stage.panel[1].index("beneath") == stage.panel[0].index("agent") + 2
    for operation in stage.session.operations.snapshot():
        stage.session.operations.cancel(operation.call_id, turn)


# -- what it costs --


class CountedRegistry(Registry):
    """The operations that a test names, and how often they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.views: tuple[OperationView, ...] = ()
        self.asked = 0

    def snapshot(self, session_id: str | None = None) -> tuple[OperationView, ...]:
        self.asked += 1
        return self.views

    def find(self, session_id: str, call_id: str) -> Any:
        return SimpleNamespace(progress=SimpleNamespace(tail="\x1b[31mred\x1b[0m\n".__mul__))


class PlayedSource:
    """An idle session over a `CountedRegistry`."""

    def __init__(self) -> None:
        self.status = Status.IDLE
        self.registry = CountedRegistry()
        self.operations = SessionOperations(self.registry, "session")
        self.unkilled = UnkilledProcesses()


class PanelApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.living = PlayedSource()
        self.words: list[object] = []
        self.messages: list[object] = []
        self.now = 100.0
        self.panel = RunningPanel(self.living, self.words.append, clock=lambda: self.now)

    def compose(self) -> ComposeResult:
        yield self.panel

    def on_running_panel_stop_requested(self, message: RunningPanel.StopRequested) -> None:
        self.messages.append(message.call_id)

    def on_running_panel_kill_requested(self) -> None:
        self.messages.append("kill")

    def row(self, number: int) -> str:
        return self.panel.render_line(number).text.rstrip()


async def test_it_looks_only_while_it_is_open_and_something_is_alive() -> None:
    app = PanelApp()
    async with app.run_test() as pilot:
        app.living.registry.views = (view("c"),)
        app.panel.wake()
        assert app.living.registry.asked == 0
        app.panel.open()
        while app.living.registry.asked < 4:
            await pilot.pause()
        app.living.registry.views = ()
        while not app.row(0).startswith(" Nothing is running"):
            await pilot.pause()
        asked = app.living.registry.asked
        assert not app.panel._timer._active.is_set()  # type: ignore[union-attr]
        await pilot.pause()
        assert app.living.registry.asked == asked


async def test_nothing_that_a_command_writes_reaches_the_terminal_as_a_sequence() -> None:
    app = PanelApp()
    async with app.run_test() as pilot:
        app.living.registry.views = (view("c", title="sh\x1b[2Jell", detail="echo \x1b]0;title\x07 \u202e"),)
        app.panel.open()
        app.panel.action_unfold()
        await pilot.pause()
        rows = [app.row(number) for number in range(3)]
        assert "│ red" in rows[1]
        assert all(printable(row) == row for row in rows)


@pytest.mark.promise("S5")
async def test_a_list_that_moves_under_the_mouse_stops_nothing() -> None:
    app = PanelApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.living.registry.views = (view("one"), view("two"), view("three"))
        app.panel.open()
        await pilot.pause()
        button = (app.panel.scrollable_content_region.width - 1, 2)
        await pilot.mouse_down(app.panel, offset=button)
        app.living.registry.views = app.living.registry.views[1:]
        app.panel.look()
        await pilot._post_mouse_events([events.MouseUp, events.Click], app.panel, offset=button, button=1)
        # One that was aimed before the list moved.
        await pilot.click(app.panel, offset=button)
        await pilot.pause()
        assert app.messages == []
        app.now += 2 * MOVED_S
        await pilot.click(app.panel, offset=button)
        await pilot.pause()
        # Only the click of its own, which meant what stood there then.
        assert app.messages == ["three"]


@pytest.mark.promise("S5")
async def test_a_click_counts_on_what_has_stood_there_whatever_happens_below() -> None:
    app = PanelApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.living.registry.views = (view("one"), view("two"))
        app.panel.open()
        await pilot.pause()
        app.living.registry.views = (view("one"), view("three"), view("four"))
        app.panel.look()
        await pilot.click(app.panel, offset=(app.panel.scrollable_content_region.width - 1, 1))
        await pilot.pause()
        assert app.messages == ["one"]


@pytest.mark.promise("E6")
async def test_what_refused_to_end_is_named_and_can_be_killed() -> None:
    app = PanelApp()
    async with app.run_test() as pilot:
        app.living.unkilled.add((Survivor(4711, "stubborn"),))
        app.panel.open()
        app.panel.focus()
        await pilot.pause()
        assert "4711 stubborn refused to end" in app.row(0)
        assert app.row(0).endswith("[kill]")
        await pilot.press("x")
        assert app.messages == ["kill"]


async def test_fifty_rows_are_one_widget_and_only_those_in_sight_are_made() -> None:
    app = PanelApp()
    async with app.run_test(size=(44, 20)) as pilot:
        app.living.registry.views = tuple(view(f"c{number}", detail=f"job {number}") for number in range(50))
        app.panel.open()
        await pilot.pause()
        assert len(app.panel._rows) == 100
        assert len(app.panel._painted) <= 20
        assert list(app.panel.children) == []
        app.panel.focus()
        await pilot.press(*["down"] * 30)
        assert any("job 30" in app.row(number) for number in range(18))
