"""Themes: the shipped ones are readable, a bad one is explained and never reaches the screen."""

from __future__ import annotations

import os
import re
from itertools import combinations, product
from typing import TYPE_CHECKING

import pytest
from rich.color import ColorSystem
from textual.app import App, ComposeResult
from textual.color import Color
from textual.widgets import Static

from tests.tui.theme.colours import (
    VISIONS,
    Colours,
    Pair,
    contrast,
    distance,
    downgraded,
    focus_borders,
    text_pairs,
)
from tui.terminal.looks import Scheme, TerminalLooks
from tui.theme import files as theme_files
from tui.theme.choose import DARK, LIGHT, SIXTEEN, auto_theme, choose_theme
from tui.theme.files import AUTO, BUILTIN, LONGEST, ThemeError, load_all, load_theme, parse_theme
from tui.theme.palette import CaesuraTheme, default_css_variables

if TYPE_CHECKING:
    from pathlib import Path

GOOD = (BUILTIN / "caesura-dark.toml").read_text("utf-8")
OWN = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith("description"))
OWN = OWN.replace('name = "caesura-dark"', 'name = "mine"')


THEMES = [found.theme for found in load_all().found]
SHIPPED = {theme.name: theme for theme in THEMES}
HIGH_CONTRAST = frozenset({"beacon", "noon"})
SIXTEEN_COLOURS = frozenset({SIXTEEN})
SAFE = "kingfisher"
every_theme = pytest.mark.parametrize("name", SHIPPED)


def colours_of(name: str) -> Colours:
    return Colours(SHIPPED[name].to_textual())


# -- what is to be seen --


def test_the_pairs_of_colours_are_found_in_the_code() -> None:
    found = {(pair.color, pair.background) for pair in text_pairs()}
    assert {
        ("$foreground 70%", "$panel"),
        ("$text-error", "$background"),
        ("$text-secondary", "$surface"),
        ("$accent", "$panel"),
        ("$text-muted", "$panel"),
        ("$warning", "$background"),
    } <= found


@every_theme
def test_every_text_has_contrast_on_each_background_that_it_stands_on(name: str) -> None:
    """WCAG 2: 4.5 is AA and 7 is AAA, for text; 3 is AA for what is no text, such as a frame."""
    colours = colours_of(name)
    wanted = 7.0 if name in HIGH_CONTRAST else 4.5
    low = {pair: ratio for pair in text_pairs() if (ratio := contrast(*colours.text(pair))) < wanted}
    assert low == {}
    for selection in ("$screen-selection-background", "$input-selection-background"):
        assert contrast(*colours.text(Pair("$foreground", selection, ""))) >= wanted
    for drawn in (*focus_borders(), "$foreground 55%"):
        assert contrast(*colours.text(Pair(drawn, "$background", ""))) >= 3


@every_theme
@pytest.mark.parametrize("system", [ColorSystem.STANDARD, ColorSystem.EIGHT_BIT], ids=["16", "256"])
def test_every_text_can_be_read_with_few_colours(name: str, system: ColorSystem) -> None:
    colours = colours_of(name)
    for pair in text_pairs():
        text, background = colours.text(pair)
        assert contrast(downgraded(text, system), downgraded(background, system)) >= 3, pair


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("few_colours", [False, True])
def test_every_text_can_be_read_without_colours(scheme: Scheme, *, few_colours: bool) -> None:
    colours = colours_of(auto_theme(TerminalLooks(scheme, few_colours, no_colours=True)))
    for pair in text_pairs():
        text, background = (color.monochrome for color in colours.text(pair))
        if few_colours:
            text, background = (downgraded(color, ColorSystem.STANDARD) for color in (text, background))
        assert contrast(text, background) >= 4.5, pair


@pytest.mark.parametrize("looks", product(Scheme, [False, True], [False, True]))
def test_a_selection_can_be_seen_whatever_the_terminal(looks: tuple[Scheme, bool, bool]) -> None:
    terminal = TerminalLooks(*looks)
    colours = colours_of(auto_theme(terminal))
    seen = [colours.background(f"${name}") for name in ("screen-selection-background", "background")]
    if terminal.no_colours:
        seen = [color.monochrome for color in seen]
    if terminal.few_colours:
        seen = [downgraded(color, ColorSystem.STANDARD) for color in seen]
    assert contrast(*seen) >= 1.3


def test_the_theme_of_sixteen_colours_has_only_these() -> None:
    theme = SHIPPED[SIXTEEN]
    colors = [getattr(part, name) for part in (theme.colors, theme.roles) for name in part.__struct_fields__]
    assert {color: downgraded(Color.parse(color), ColorSystem.STANDARD).hex.lower() for color in colors} == {
        color: color for color in colors
    }
    shown = {
        key: downgraded(Color.parse(getattr(theme.colors, key)), ColorSystem.STANDARD).hex
        for key in ("primary", "success", "warning", "error", "accent", "foreground", "background", "panel")
    }
    assert len(set(shown.values())) == len(shown)


@pytest.mark.parametrize("vision", VISIONS)
def test_one_theme_is_safe_for_colour_blind_readers(vision: str) -> None:
    colors = SHIPPED[SAFE].colors
    told_apart = [
        Color.parse(color) for color in (colors.success, colors.warning, colors.error, colors.accent)
    ]
    for one, other in combinations([*told_apart, Color.parse(colors.background)], 2):
        assert distance(one, other, VISIONS[vision]) >= 30


def test_that_measure_fails_where_red_and_green_are_the_difference() -> None:
    colors = SHIPPED[DARK].colors
    green, red = Color.parse(colors.success), Color.parse(colors.error)
    assert distance(green, red, VISIONS["normal"]) > 60
    assert distance(green, red, VISIONS["deuteranopia"]) < 30


def test_the_shipped_themes_load_without_error() -> None:
    assert load_all().errors == ()
    assert len(THEMES) >= 8
    assert sum(not theme.dark for theme in THEMES) >= 2
    assert {DARK, LIGHT, SAFE, *HIGH_CONTRAST, *SIXTEEN_COLOURS} <= SHIPPED.keys()
    assert not [theme.name for theme in THEMES if not theme.description]
    assert not SHIPPED[LIGHT].dark
    assert SHIPPED[DARK].dark
    for theme in THEMES:
        brighter = contrast(Color.parse(theme.colors.background), Color(0, 0, 0))
        assert theme.dark is (brighter < 4), theme.name


# -- what a file may say --


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('primary = "#', 'primry = "#', "[colors] primry is unknown (did you mean 'primary'?)"),
        ('primary = "#', 'primry = "#', "[colors] primary is missing"),
        ('muted = "#', 'mutted = "#', "[variables] mutted is unknown (did you mean 'muted'?)"),
        ('error = "#f2857c"', 'error = "redd"', "[colors] error 'redd' is not a colour such as '#1a2b3c'"),
        ('error = "#f2857c"', "error = 3", "[colors] error 3 is not a colour"),
        ("dark = true", 'dark = "yes"', "dark must be true or false"),
        ('name = "mine"', 'name = "mime"', "name 'mime' must be 'mine', as the file is called"),
        ('name = "mine"', "name = 3", "name 3 must be 'mine'"),
        ("dark = true", 'dark = true\ndescription = "a\\nb"', "description must be one line"),
        ("dark = true", f'dark = true\ndescription = "{"x" * 81}"', "of at most 80 characters"),
        ("dark = true", "dark = true\ndescription = 3", "description must be one line"),
        ("[variables]", "[variable]", "variable is unknown (did you mean 'variables'?)"),
        ("dark = true", "dark = true\nvariables = 3\n[x]", "variables must be a table"),
        ("[colors]", "[colors", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_nearest_key(old: str, new: str, said: str) -> None:
    text = OWN.replace(old, new)
    assert text != OWN
    if new.startswith("dark = true\nvariables"):
        text = text.replace("[variables]", "[y]")
    with pytest.raises(ThemeError) as caught:
        parse_theme(text, "mine.toml")
    assert "mine.toml" in str(caught.value)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ThemeError) as caught:
        parse_theme('name = "x"\ndark = true\n[colors]\nprimary = "blue"\n', "mine.toml")
    assert str(caught.value).count("is missing") == 9
    assert "primary 'blue'" in str(caught.value)


def test_the_variables_are_optional() -> None:
    theme = parse_theme(OWN.partition("[variables]")[0].replace('name = "mine"', ""), "mine.toml")
    assert (theme.name, theme.description) == ("mine", "")
    assert theme.roles.notice_stopped == theme.colors.warning
    assert contrast(Color.parse(theme.roles.muted), Color.parse(theme.colors.background)) > 4.5


def test_an_unknown_name_falls_back_to_the_default_and_says_so() -> None:
    chosen = choose_theme("caesura-drak")
    assert chosen.theme.name == DARK
    assert chosen.error is not None
    assert "did you mean 'caesura-dark'?" in chosen.error
    assert choose_theme(LIGHT).error is None


class SampleApp(App[None]):
    CSS = "Static { color: $reasoning; background: $panel; border: round $border-blurred; }"

    def __init__(self, theme: CaesuraTheme | None = None) -> None:
        super().__init__()
        if theme is not None:
            self.register_theme(theme.to_textual())
            self.theme = theme.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return default_css_variables(self.current_theme)

    def compose(self) -> ComposeResult:
        yield Static("text")


@pytest.mark.parametrize("name", [DARK, LIGHT])
async def test_our_variables_reach_the_css(name: str) -> None:
    theme = load_theme(name)
    app = SampleApp(theme)
    async with app.run_test():
        assert app.query_one(Static).styles.color.hex.lower() == theme.roles.reasoning
        assert app.theme_variables["text-error"] == theme.colors.error
        assert app.current_theme.dark is theme.dark


async def test_css_with_our_variables_loads_under_a_foreign_theme() -> None:
    app = SampleApp()
    async with app.run_test() as pilot:
        for foreign in ("textual-dark", "textual-light", "ansi-dark", "nord"):
            app.theme = foreign
            await pilot.pause()
            assert app.query_one(Static).styles.color is not None


def test_a_broken_installation_still_has_a_theme(tmp_path: Path) -> None:
    (tmp_path / "caesura-dark.toml").write_text("name = 3")
    (tmp_path / "caesura-light.toml").write_text(GOOD)
    (tmp_path / "caesura-raw.toml").write_bytes(b"\xff")
    chosen = choose_theme("caesura-raw", folder=tmp_path)
    assert chosen.theme.name == "textual-dark"
    assert chosen.error is not None
    assert "caesura-raw.toml cannot be read" in chosen.error
    assert "caesura-dark.toml: " in chosen.error
    assert chosen.error.endswith("textual-dark is used instead.")
    loaded = load_all(folder=tmp_path)
    assert loaded.found == ()
    assert len(loaded.errors) == 3
    assert "caesura-light.toml: name 'caesura-dark' must be 'caesura-light'" in loaded.errors[1]


# -- the person's own --


def own_theme(folder: Path, name: str, **changes: str) -> Path:
    file = folder / f"{name}.toml"
    text = OWN.replace('name = "mine"', "")
    for old, new in changes.items():
        text = re.sub(rf'^{old} = ".*"$', f'{old} = "{new}"', text, flags=re.MULTILINE)
    file.write_text(text)
    return file


def test_a_theme_of_ones_own_goes_before_one_that_ships(tmp_path: Path) -> None:
    own_theme(tmp_path, DARK, background="#101010")
    own_theme(tmp_path, "mine", background="#202020")
    assert choose_theme("mine", tmp_path).theme.background == "#202020"
    for name in (DARK, AUTO):
        assert choose_theme(name, tmp_path) == choose_theme(DARK, tmp_path)
        assert choose_theme(name, tmp_path).theme.background == "#101010"
    found = {found.theme.name: found for found in load_all(tmp_path).found}
    assert found.keys() == {*SHIPPED, "mine"}
    assert [name for name, one in found.items() if one.own] == [DARK, "mine"]
    assert found[DARK].theme.colors.background == "#101010"


def test_a_broken_one_costs_only_itself(tmp_path: Path) -> None:
    own_theme(tmp_path, DARK, primary="blue")
    own_theme(tmp_path, "mine", primary="blue")
    own_theme(tmp_path, "good")
    chosen = choose_theme(DARK, tmp_path)
    assert chosen.theme == SHIPPED[DARK].to_textual()
    assert chosen.error is not None
    assert "primary 'blue' is not a colour" in chosen.error
    assert chosen.error.endswith(f"{DARK} is used instead.")
    chosen = choose_theme("mine", tmp_path, TerminalLooks(Scheme.LIGHT))
    assert chosen.theme.name == LIGHT
    assert chosen.error is not None
    assert "There is no theme" not in chosen.error
    loaded = load_all(tmp_path)
    assert "good" in {found.theme.name for found in loaded.found}
    assert [error.split(":")[0] for error in loaded.errors] == [f"Theme {DARK}.toml", "Theme mine.toml"]
    # Ours of the same name is still there to be chosen.
    assert DARK in {found.theme.name for found in loaded.found}


def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "huge.toml").write_text(OWN.replace('"mine"', '"huge"') + "#" * LONGEST)
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "deep.toml").write_text("x = " + "[" * 5000)
    (tmp_path / "auto.toml").write_text(OWN)
    (tmp_path / "Mine Own.toml").write_text(OWN)
    (tmp_path / ".hidden.toml").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "linked.toml").symlink_to(own_theme(elsewhere, "linked"))
    loaded = load_all(tmp_path)
    assert [found.theme.name for found in loaded.found if found.own] == ["linked"]
    said = " ".join(loaded.errors)
    for name, why in {
        "pipe": "not a regular file",
        "folder": "",
        "huge": "larger than 64 KiB",
        "gone": "No such file",
        "zero": "not a regular file",
        "deep": "not valid TOML",
        "auto": "give the file another name",
        "Mine Own": "small letters, digits and hyphens",
    }.items():
        assert f"Theme {name}.toml" in said
        assert why in said
    assert len(loaded.errors) == 8
    for name in ("pipe", "gone", "huge"):
        assert name in (choose_theme(name, tmp_path).error or "")
    assert "There is no theme '../mine'" in (choose_theme("../mine", elsewhere).error or "")


def test_a_folder_that_is_not_there_is_no_mistake(tmp_path: Path) -> None:
    assert load_all(tmp_path / "none") == load_all()
    assert choose_theme(DARK, tmp_path / "none").error is None


def test_the_first_frame_reads_one_file_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        own_theme(tmp_path, f"mine-{number}")
    read: list[str] = []
    really_read = theme_files.read_regular

    def note_and_read(file: Path, most: int) -> bytes:
        read.append(file.name)
        return really_read(file, most)

    monkeypatch.setattr(theme_files, "read_regular", note_and_read)
    for name, file in {
        "mine-7": "mine-7.toml",
        AUTO: "caesura-dark.toml",
        LIGHT: "caesura-light.toml",
    }.items():
        assert choose_theme(name, tmp_path).error is None
        assert read.pop() == file
        assert read == []


# -- what fits the terminal --


def test_auto_fits_the_terminal() -> None:
    few = TerminalLooks(few_colours=True)
    assert auto_theme(TerminalLooks()) == DARK
    assert auto_theme(TerminalLooks(Scheme.LIGHT)) == LIGHT
    assert auto_theme(TerminalLooks(no_colours=True)) == DARK
    assert auto_theme(few) == SIXTEEN
    assert auto_theme(TerminalLooks(Scheme.LIGHT, few_colours=True)) == LIGHT
    assert auto_theme(TerminalLooks(few_colours=True, no_colours=True)) == "beacon"
    assert auto_theme(TerminalLooks(Scheme.LIGHT, few_colours=True, no_colours=True)) == "noon"
    assert choose_theme(AUTO, looks=few).theme.name == SIXTEEN
    # A theme that was chosen is never replaced by one that would fit better.
    assert choose_theme("ember", looks=few).theme.name == "ember"


def test_a_theme_called_auto_is_none() -> None:
    with pytest.raises(ThemeError):
        load_theme(AUTO)
