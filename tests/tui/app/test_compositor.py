"""What is drawn while a reply streams: all that changes, and no more."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from textual._compositor import LayoutUpdate
from textual.widgets import TextArea

from tests.servers.script import prose
from tests.support.waiting import until
from tests.tui.stage import Stage, staged
from tui.app.compositor import LineCompositor, PiecesUpdate
from tui.base.wrap import graphemes
from tui.pane.status_line import StatusLine
from tui.transcript.paint import Painter

if TYPE_CHECKING:
    from textual.geometry import Region
    from textual.strip import Strip
    from textual.widget import Widget

    from tui.transcript.markdown.blocks import Line

LAST = "the last word of all"


class WatchedCompositor(LineCompositor):
    """Draws on a screen of its own whatever the terminal is sent; `pieces` counts what was drawn in parts."""

    cells: list[list[Any]] = []  # noqa: RUF012 - of the one screen of a test
    pieces = 0

    def render_update(self, *args: Any, **kwargs: Any) -> Any:
        update = super().render_update(*args, **kwargs)
        cls = type(self)
        match update:
            case LayoutUpdate(strips=lines):
                cls.cells = [cells_of(*line) for line in lines]
            case PiecesUpdate(pieces=pieces):
                for y, x, strip in pieces:
                    cells = cells_of(strip)
                    cls.cells[y][x : x + len(cells)] = cells
                cls.pieces += len(pieces)
        return update


def cells_of(*strips: Strip) -> list[Any]:
    """Grapheme and style of each cell; the second cell of a wide one has none."""
    found: list[Any] = []
    for strip in strips:
        for text, style, _ in strip:
            for start, end, width in graphemes(text):
                found += [(text[start:end], str(style)), *[None] * (width - 1)]
    return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[WatchedCompositor]:
    monkeypatch.setattr("tui.app.screen.LineCompositor", WatchedCompositor)
    monkeypatch.setattr(WatchedCompositor, "pieces", 0)
    return WatchedCompositor


def is_as_fresh(stage: Stage, watched: type[WatchedCompositor]) -> bool:
    """Whether the terminal shows what it would if no widget had kept anything of what it has drawn."""
    compositor = stage.app.screen._compositor
    stage.pane.transcript._painter.forget()
    for widget in compositor.visible_widgets:
        due = widget._repaint_regions.copy()
        widget._layout_cache.clear()  # with the picture of a scroll bar
        widget._set_dirty()
        widget._repaint_regions = due
    return watched.cells == [cells_of(strip) for strip in compositor.render_strips()]


def change_view(stage: Stage, chance: random.Random) -> None:
    """Scroll, fold, open or close something, or type a letter."""
    pane = stage.pane
    chance.choice(
        (
            pane.transcript.action_page_up,
            pane.transcript.action_page_down,
            pane.transcript.action_scroll_home,
            pane.transcript.action_scroll_end,
            pane.transcript.toggle_reasoning,
            pane.action_toggle_panel,
            pane.lists.close if pane.lists.is_open else pane.action_show_help,
            lambda: pane.prompt.insert("letters "),
        )
    )()


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_drawn_in_parts_is_the_whole_screen(
    seed: int, watched: type[WatchedCompositor]
) -> None:
    chance = random.Random(seed)
    words = (*prose().text, "漢字", "👩‍🚀", "\n", "- ")
    async with staged((90, 30)) as stage:
        await stage.ask("hello")
        stage.model.think("*Why* not? ", "Let me see.\n\n")
        for _ in range(60):
            stage.model.say(*chance.choices(words, k=8))
            if chance.random() < 0.5:
                change_view(stage, chance)
            await stage.pilot.pause()
            assert is_as_fresh(stage, watched)
        stage.pane.lists.close()
        stage.pane.transcript.action_scroll_end()
        stage.model.say(f"\n\n{LAST}")
        await stage.finish()
        await stage.until_said(LAST)
        await stage.pilot.pause()
        assert is_as_fresh(stage, watched)
        assert LAST in shown(watched)
        assert watched.pieces


def shown(watched: type[WatchedCompositor]) -> str:
    return "".join(cell[0] for row in watched.cells for cell in row if cell)


async def test_a_place_that_is_asked_for_before_the_layout_hides_no_change_of_size(
    watched: type[WatchedCompositor],
) -> None:
    async with staged((80, 24)) as stage:
        await stage.ask("hello")
        stage.model.say(*(f"item {number}\n\n" for number in range(30)))
        await stage.until_said("item 29")
        height = stage.pane.transcript.region.height
        stage.pane.prompt.styles.height = 9
        compositor: Any = stage.app.screen._compositor
        # As with a widget that is new.
        compositor._full_map_invalidated = True
        for widget in stage.app.screen.walk_children(with_self=True):
            widget._clear_arrangement_cache()
        assert stage.pane.transcript.region.height < height
        await stage.pilot.pause()
        assert any("item 29" in row for row in stage.rows)
        assert is_as_fresh(stage, watched)


async def test_what_changes_after_a_pause_waits_for_no_timer(
    watched: type[WatchedCompositor], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged((80, 24)) as stage:
        stage.pane.prompt.insert("letters")
        await stage.until(lambda: "letters" in shown(watched))
        await stage.pilot.pause()
        timer = stage.app.screen._update_timer
        monkeypatch.setattr(timer, "resume", lambda: None)
        timer.pause()
        monkeypatch.setattr("tui.app.screen.UPDATE_PERIOD", 0.0)
        stage.pane.prompt.insert(" more")
        # Not that of the pilot, which draws by itself.
        await until(lambda: "letters more" in shown(watched))


async def test_a_batch_does_not_end_a_beat_that_has_begun(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would draw what had changed before it."""
    await stage.pilot.pause()
    screen = stage.app.screen
    ended: list[bool] = []
    monkeypatch.setattr(screen._update_timer, "pause", lambda: ended.append(True))
    monkeypatch.setattr("tui.app.screen.UPDATE_PERIOD", 0.0)
    with stage.app.batch_update():
        stage.pane.prompt.insert("letters")
        await until(lambda: screen._dirty_widgets)
        for _ in range(50):  # in which the screen would be idle
            await asyncio.sleep(0)
        assert screen._dirty_widgets
        assert not ended


async def test_only_the_row_that_grows_is_drawn_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.ask("hello")
    stage.model.say(*(f"item {number}\n\n" for number in range(100)), "it grows")
    await stage.until(lambda: "it grows" in "\n".join(stage.rows))
    await stage.pilot.pause()
    painted: list[str] = []
    paint = Painter._paint

    def count_paint(self: Painter, line: Line, width: int, selected: tuple[int, int] | None) -> Strip:
        painted.append(line.text)
        return paint(self, line, width, selected)

    monkeypatch.setattr(Painter, "_paint", count_paint)
    asked = watch_widgets(stage, monkeypatch)
    # The status line, which shows the time, and the cursor, which blinks, are drawn at times of their own.
    stage.pane.widgets.status_line.auto_refresh = None
    for number in range(3):
        await stage.say(f" and {number}")
        await stage.pilot.pause()
    assert painted == ["it grows and 0", "it grows and 0 and 1", "it grows and 0 and 1 and 2"]
    shown = [(widget, crop.height) for widget, crop in asked if not isinstance(widget, TextArea | StatusLine)]
    assert shown == [(stage.pane.transcript, 1)] * 3


async def test_rows_that_move_are_not_painted_again(stage: Stage) -> None:
    await stage.ask("hello")
    stage.model.say(*(f"item {number}\n\n" for number in range(100)))
    await stage.until(lambda: "item 99" in "\n".join(stage.rows))
    await stage.pilot.pause()
    before = {row: strip for row, strip in zip(stage.rows, strips_of(stage), strict=True) if row}
    stage.model.say("item 100\n\nitem 101\n\n")
    await stage.until(lambda: "item 101" in "\n".join(stage.rows))
    after = dict(zip(stage.rows, strips_of(stage), strict=True))
    moved = before.keys() & after.keys()
    assert len(moved) > 5
    assert all(after[row] is before[row] for row in moved)


def strips_of(stage: Stage) -> list[Strip]:
    transcript = stage.pane.transcript
    return transcript.render_lines(transcript.size.region)


async def test_what_a_list_hides_is_not_drawn(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.ask("hello")
    await stage.say("seen")
    stage.pane.action_show_help()
    await stage.until(lambda: stage.pane.lists.is_open)
    await stage.pilot.pause()
    asked = watch_widgets(stage, monkeypatch)
    await stage.say("hidden")
    await stage.pilot.pause()
    assert stage.pane.transcript not in [widget for widget, _ in asked]


def watch_widgets(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Widget, Region]]:
    """What the widgets of the screen are asked to draw from now on."""
    asked: list[tuple[Widget, Region]] = []

    def watch(widget: Widget) -> None:
        render = widget.render_lines

        def record(crop: Region) -> list[Strip]:
            asked.append((widget, crop))
            return render(crop)

        monkeypatch.setattr(widget, "render_lines", record)

    for widget in stage.app.screen._compositor.visible_widgets:
        watch(widget)
    return asked
