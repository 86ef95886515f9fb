"""The theme follows the terminal, and nothing that the terminal says of itself is ever a key."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_driver import Running
from tests.support.program import PROGRAM, environment
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until
from tui.theme.choose import DARK, LIGHT, SIXTEEN

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = b"\x1b]11;?"
WHITE = "ffff/ffff/ffff"
REPORTS = 2031
COLOURS = re.compile(rb"\x1b\[([\d;]*)m")


@contextmanager
def themed(
    folder: Path, name: str = "auto", *, background: str = "", env: dict[str, str | None] | None = None
) -> Iterator[Running]:
    argv = [sys.executable, "-m", "tests.e2e.theme_app", str(folder), name]
    with Terminal(argv, env=env or {}, background=background, cwd=Path(__file__).parents[2]) as terminal:
        app = Running(terminal, folder)
        terminal.wait_for("driver app")
        wait_until(lambda: "ready" in app.record, what="the app is ready")
        yield app


def styles(app: Running) -> set[str]:
    """The parameters of every style that was written."""
    return {found.decode() for found in COLOURS.findall(app.terminal.output)}


@pytest.mark.promise("E1", "E5")
def test_a_light_terminal_gets_a_light_theme_and_its_answers_are_no_keys(tmp_path: Path) -> None:
    with themed(tmp_path, background=WHITE) as app:
        app.wait(f"theme {LIGHT}")
        assert app.of("scheme") == ["light"]
        assert app.meaning_of(b"\x1b", presses=["escape"], keys=[]) == (["escape"], [])
        assert REPORTS in app.terminal.modes
        app.terminal.write(b"\x1b[?997;1n")
        app.wait("scheme dark")
        app.wait(f"theme {DARK}", after=app.record.index("scheme dark"))
        # A late answer, cut in two, and a key right behind it.
        start = len(app.record)
        app.terminal.write(b"\x1b]11;rgb:ffff/ff")
        app.terminal.write(b"ff/ffff\x1b\\x")
        app.wait("key x", after=start)
        app.wait("scheme light", after=start)
        assert app.of("key", after=start) == ["x"]
        assert app.of("press", after=start) == []
        # As a person keeps another theme the terminal is left alone.
        app.terminal.press("f3")
        app.wait("key f3")
        wait_until(lambda: REPORTS not in app.terminal.modes, what="no more reports are asked for")
        app.terminal.write(b"\x1b[?997;1n\x1b[?997;2n")
        app.terminal.press("f2")
        app.wait("key f2")
        wait_until(lambda: app.terminal.output.count(QUESTION) == 2, what="the terminal is asked again")
        app.wait(f"theme {LIGHT}", after=app.record.index("key f2"))
        app.terminal.press("f7")
        assert app.terminal.wait_exit() == 0
        assert app.terminal.unrestored() == []


@pytest.mark.promise("E1", "E5")
def test_a_silent_terminal_is_dark_and_escape_waits_for_no_answer(tmp_path: Path) -> None:
    with themed(tmp_path) as app:
        assert app.terminal.output.count(QUESTION) == 1
        app.block()
        # The loop is blocked: who hears the byte is the input thread, and it knows of no clock.
        app.terminal.write(b"\x1b")
        app.wait("press escape")
        app.terminal.write(b"\x1b]11;rgb:ffff/ffff/ffff\x07\x1b")
        wait_until(lambda: app.of("press") == ["escape", "escape"], what="the second press")
        assert "released" not in app.record
        app.release()
        app.wait("scheme light")
        app.wait(f"theme {LIGHT}")
        assert app.of("theme") == [DARK, LIGHT]
        assert app.of("key") == ["f5"]


@pytest.mark.parametrize(
    ("env", "theme", "asked"),
    [
        ({"COLORFGBG": "0;15"}, LIGHT, True),
        ({"COLORFGBG": "15;0"}, DARK, True),
        ({"TERM": "linux", "COLORTERM": None}, SIXTEEN, False),
        ({"TERM": "xterm", "COLORTERM": None}, SIXTEEN, True),
        ({"TERM": "xterm", "COLORTERM": None, "COLORFGBG": "0;15"}, LIGHT, True),
    ],
    ids=lambda value: str(value),
)
def test_what_is_known_before_the_first_frame(
    tmp_path: Path, env: dict[str, str | None], theme: str, *, asked: bool
) -> None:
    with themed(tmp_path, env=env) as app:
        assert app.of("theme") == [theme]
        assert (QUESTION in app.terminal.output) is asked
        few = env.get("TERM") is not None
        assert any(style.startswith(("38;2", "48;2")) for style in styles(app)) is not few


def test_a_theme_that_was_chosen_asks_nothing(tmp_path: Path) -> None:
    with themed(tmp_path, "ember", background=WHITE) as app:
        app.terminal.write(b"\x1b[?997;2n\x1b]11;rgb:ffff/ffff/ffff\x07")
        assert app.meaning_of(b"x", presses=[], keys=["x"]) == ([], ["x"])
        assert app.of("theme") == ["ember"]
        assert app.of("scheme") == []
        assert QUESTION not in app.terminal.output
        assert REPORTS not in app.terminal.modes


def numbers(style: str) -> list[int]:
    return [int(number or 0) for number in style.split(";")]


def is_grey(style: str) -> bool:
    """Whether every colour in it is a shade of grey, written out."""
    return all(len({*found}) == 1 for found in re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", style))


@pytest.mark.parametrize("background", [WHITE, ""], ids=["light", "dark"])
def test_no_color_leaves_shades_of_grey_and_every_attribute(tmp_path: Path, background: str) -> None:
    with themed(tmp_path, background=background, env={"NO_COLOR": "1"}) as app:
        app.wait(f"theme {LIGHT if background else DARK}")
        app.terminal.press("x")
        app.wait("key x")
        assert {style for style in styles(app) if not is_grey(style)} == set()
        assert any("38;2" in style for style in styles(app))
        assert app.terminal.cells[2][0].reverse
        assert not app.terminal.cells[1][0].reverse


@pytest.mark.parametrize("no_color", [None, "1"], ids=["colour", "no colour"])
def test_sixteen_colours_are_named_and_no_shades_are_written(tmp_path: Path, no_color: str | None) -> None:
    env: dict[str, str | None] = {"TERM": "xterm", "COLORTERM": None, "NO_COLOR": no_color}
    with themed(tmp_path, env=env) as app:
        known = {*range(10), *range(21, 30), *range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108)}
        assert {style for style in styles(app) if not known.issuperset(numbers(style))} == set()
        cells = app.terminal.cells
        assert cells[0][0].fg != cells[0][0].bg
        assert cells[1][0].fg == ("white" if no_color else "brightred")
        assert cells[2][0].reverse


@pytest.mark.promise("E1", "E5")
def test_the_program_is_light_on_a_light_terminal_and_tries_themes_on(tmp_path: Path) -> None:
    argv = [*PROGRAM, "--demo", "--theme", "auto"]
    with Terminal(argv, env=environment(tmp_path), background=WHITE) as terminal:

        def shows(background: str) -> bool:
            return bool(terminal.cells[10][78].bg == background)

        terminal.wait_for(lambda screen: "idle" in screen[-1])
        wait_until(lambda: shows("fcfbf8"), what="the light theme")
        # Nothing of the answer has come to the composer.
        terminal.wait_for("Ask anything")
        terminal.type("/theme\n")
        terminal.wait_for("follows the terminal")
        terminal.press("down")
        wait_until(lambda: shows("000000"), what="the next theme is tried on")
        terminal.press("escape")
        terminal.wait_for("Ask anything")
        wait_until(lambda: shows("fcfbf8"), what="the theme from before")
        terminal.write(b"\x1b[?997;1n")
        wait_until(lambda: shows("14171d"), what="the dark theme, as the terminal is dark now")
        terminal.type("/quit\n")
        assert terminal.wait_exit() == 0
        assert terminal.unrestored() == []
