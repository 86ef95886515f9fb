"""Every theme on one screen with a bit of everything, as pictures that a person has looked at; and the same
screen without colours.

`pytest tests/tui/test_theme_screens.py --snapshot-update` makes the pictures anew; look at each.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from rich.color import ColorSystem
from textual.color import Color

from core.model.messages import ResultStatus
from core.operations.events import StopReport
from tests.support.snapshots import looks_right
from tests.tui.stage import Stage, staged
from tests.tui.theme.colours import contrast, downgraded
from tests.tui.transcript.test_cards import card_of, ended
from tui.theme.files import load_all
from tui.transcript.markdown.highlight import is_loaded
from tui.transcript.plain import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.style import Style

    from tests.support.snapshots import SnapCompare

SIZE = (80, 64)
"""As high as a bit of everything."""

THEMES = {found.theme.name: found.theme for found in load_all().found}
HIGH_CONTRAST = frozenset({"beacon", "noon"})
DRAWN = frozenset("─│╭╮╰╯━┃┏┓┗┛▁▂▃▄▅▆▇█▔▕▏▊▎▌▐▸▾ ")
"""Frames, bars and marks to fold by, which are no text."""

REPLY = """\
## What *stops*
See `cancel.py` and the [contract](https://example.org):
```python
def stop(self) -> int:  # at once
    return self.end("now", 7)
```
```diff
@@ -1 +1 @@
-old line
+new line
```
"""


async def show_a_bit_of_everything(stage: Stage) -> None:
    await stage.until(lambda: is_loaded("python"))
    await stage.ask("How does a stop travel?")
    stage.model.think("A thought.")
    stage.model.say(REPLY)
    await stage.until_said("+new line")
    for status, title, shown in (
        (ResultStatus.COMPLETED, "make lint", "clean"),
        (ResultStatus.FAILED, "make test", "exit code 1"),
        (ResultStatus.DENIED, "rm -rf /", "denied"),
    ):
        stage.pane.transcript.feed.add_card(card_of(ended(status, shown, title=title)))
    proof = StopReport("click", 0.02, None, processes=4)
    stopped = ended(ResultStatus.STOPPED, "so far", title="sleep 100", proof=proof)
    stage.pane.transcript.feed.add_card(card_of(stopped))
    stage.pane.transcript.add_notice("Stopped by Esc after 3 ms.", NoticeKind.STOPPED)
    stage.pane.transcript.add_notice("The key was not accepted (401).", NoticeKind.ERROR)
    stage.model.call(("edit", "edit_file", {"say": "core/cancel.py"}))
    await stage.until(
        lambda: stage.pane.dialogs.approval.question is not None and stage.pane.dialogs.approval.display
    )
    stage.same_age()
    await stage.until(lambda: stage.focused() is stage.pane.dialogs.approval)
    await stage.press("ctrl+t", "ctrl+r")
    await stage.until(lambda: stage.focused() is stage.pane.panel)
    stage.app.screen.set_focus(stage.pane.dialogs.approval)
    stage.later += 1
    stage.pane.dialogs.approval.refresh()
    await stage.until(lambda: "running 4.4s" in stage.status and "4.4s" in stage.panel[0])
    await stage.until(lambda: any("[y]" in text and style.bold for text, style in painted(stage)))


@pytest.mark.parametrize("name", THEMES)
def test_looks(snap_compare: SnapCompare, name: str) -> None:
    assert looks_right(snap_compare, Stage(theme_name=name), show_a_bit_of_everything, SIZE)


def painted(stage: Stage) -> Iterator[tuple[str, Style]]:
    """Every piece of text on the screen as it is painted."""
    for strip in stage.app.screen._compositor.render_strips():
        for segment in strip:
            if segment.style is not None and set(segment.text) - DRAWN:
                yield segment.text, segment.style


def colours(style: Style) -> tuple[Color, Color]:
    assert style.color is not None
    assert style.bgcolor is not None
    text, background = Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor)
    return (background, text) if style.reverse else (text, background)


def is_painted_on(stage: Stage, background: Color) -> bool:
    return stage.app.screen.styles.background == background


async def test_every_text_that_is_painted_has_contrast() -> None:
    """What no reading of the CSS can tell: which colours really meet on the screen."""
    async with staged(SIZE) as stage:
        await show_a_bit_of_everything(stage)
        for name, shown in THEMES.items():
            stage.app.register_theme(shown.to_textual())
            stage.app.theme = name
            background = Color.parse(shown.colors.background)
            await stage.until(partial(is_painted_on, stage, background))
            await stage.pilot.pause()
            met = {colours(style): text for text, style in painted(stage)}
            assert len(met) > 10
            wanted = 7.0 if name in HIGH_CONTRAST else 4.5
            assert {text: pair for pair, text in met.items() if contrast(*pair) < wanted} == {}, name
            for system in (ColorSystem.STANDARD, ColorSystem.EIGHT_BIT):
                few = {text: [downgraded(color, system) for color in pair] for pair, text in met.items()}
                assert {text: pair for text, pair in few.items() if contrast(*pair) < 3} == {}, (name, system)


async def test_nothing_is_told_by_colour_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with staged(SIZE) as stage:
        await show_a_bit_of_everything(stage)
        shades = [color for _, style in painted(stage) for color in colours(style)]
        assert all(color.r == color.g == color.b for color in shades)
        assert all(contrast(*colours(style)) >= 4.5 for _, style in painted(stage))
        rows = [strip.text for strip in stage.app.screen._compositor.render_strips()]
        screen = "\n".join(rows)
        for told in (
            "✓ shell  make lint",
            "✗ shell  make test  exit code 1",
            "⊘ shell  rm -rf /  denied",
            "■ shell  sleep 100  stopped by click",
            "? edit_file  core/cancel.py  waits for your answer",
            "■ Stopped by Esc",
            "✗ The key was not accepted",
            "❯ How does a stop travel?",
            "-old line",
            "+new line",
            "-        self.reason = reason",
            "[y] allow once",
            "▸ ? asking",
            "[stop]",
            "running 4.4s",
            "Esc denies and stops",
        ):
            assert told in screen
        # What has the focus has a frame of its own.
        assert stage.focused() is stage.pane.dialogs.approval
        assert rows[stage.pane.dialogs.approval.region.y].startswith("┏")
        assert rows[stage.pane.panel.region.y].startswith("╭")
        looks = {text.strip(): style for text, style in painted(stage)}
        assert looks["What"].bold
        assert looks["contract"].underline
