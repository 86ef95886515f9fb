"""Themes: the shipped ones are readable, a bad one is explained and never reaches the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static

from tui.theme import (
    BUILTIN,
    DARK,
    LIGHT,
    CaesuraTheme,
    ThemeError,
    choose_theme,
    default_css_variables,
    load_all,
    load_builtin,
    parse_theme,
)

if TYPE_CHECKING:
    from pathlib import Path

GOOD = (BUILTIN / "caesura-dark.toml").read_text("utf-8")


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2, 1 to 21."""

    def luminance(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", [DARK, LIGHT])
def test_every_text_colour_has_contrast_aa_on_every_background(name: str) -> None:
    theme = load_builtin(name)
    colors, roles = theme.colors, theme.roles
    texts = {
        "foreground": colors.foreground,
        "primary": colors.primary,
        "secondary": colors.secondary,
        "accent": colors.accent,
        "success": colors.success,
        "warning": colors.warning,
        "error": colors.error,
        "muted": roles.muted,
        "reasoning": roles.reasoning,
        "user_prompt": roles.user_prompt,
        "notice_stopped": roles.notice_stopped,
    }
    for background in (colors.background, colors.surface, colors.panel):
        low = {word: contrast(color, background) for word, color in texts.items()}
        assert min(low.values()) >= 4.5, (background, low)
    assert contrast(colors.foreground, roles.selection) >= 4.5


def test_the_shipped_themes_load_without_error() -> None:
    loaded = load_all()
    assert loaded.errors == ()
    assert {theme.name: theme.dark for theme in loaded.themes} == {DARK: True, LIGHT: False}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('primary = "#', 'primry = "#', "[colors] primry is unknown (did you mean 'primary'?)"),
        ('primary = "#', 'primry = "#', "[colors] primary is missing"),
        ('muted = "#', 'mutted = "#', "[variables] mutted is unknown (did you mean 'muted'?)"),
        ('error = "#f2857c"', 'error = "redd"', "[colors] error 'redd' is not a colour such as '#1a2b3c'"),
        ('error = "#f2857c"', "error = 3", "[colors] error 3 is not a colour"),
        ("dark = true", 'dark = "yes"', "dark must be true or false"),
        ('name = "caesura-dark"', "", "name must be"),
        ("[variables]", "[variable]", "variable is unknown (did you mean 'variables'?)"),
        ("dark = true", "dark = true\nvariables = 3\n[x]", "variables must be a table"),
        ("[colors]", "[colors", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_nearest_key(old: str, new: str, said: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
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
    theme = parse_theme(GOOD.partition("[variables]")[0], "mine.toml")
    assert theme.roles.notice_stopped == theme.colors.warning
    assert contrast(theme.roles.muted, theme.colors.background) > 4.5


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
    theme = load_builtin(name)
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
    (tmp_path / "caesura-other.toml").write_text(GOOD)
    (tmp_path / "caesura-raw.toml").write_bytes(b"\xff")
    chosen = choose_theme("caesura-raw", tmp_path)
    assert chosen.theme.name == "textual-dark"
    assert chosen.error is not None
    assert "caesura-raw.toml cannot be read" in chosen.error
    assert "caesura-dark.toml: " in chosen.error
    loaded = load_all(tmp_path)
    assert [theme.name for theme in loaded.themes] == [DARK]
    assert len(loaded.errors) == 3
    assert "caesura-other.toml: the name 'caesura-dark' is taken" in loaded.errors[1]
