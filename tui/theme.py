"""Which theme is applied: the one a person has chosen, or what fits the terminal.

There is always one to apply: a theme that is missing or broken is replaced and the reason told, so that it
never crashes the application or leaves it without colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.theme import BUILTIN_THEMES, Theme

from tui.theme_files import (
    AUTO,
    BUILTIN,
    FoundTheme,
    LoadedThemes,
    ThemeError,
    load_all,
    load_builtin,
    load_theme,
    parse_theme,
    theme_names,
)
from tui.theme_palette import CaesuraTheme, Palette, Roles, default_css_variables
from tui.theme_terminal import Scheme, TerminalLooks

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "AUTO",
    "BUILTIN",
    "DARK",
    "LIGHT",
    "ROLES_CSS",
    "SIXTEEN",
    "CaesuraTheme",
    "ChosenTheme",
    "FoundTheme",
    "LoadedThemes",
    "Palette",
    "Roles",
    "ThemeError",
    "auto_theme",
    "choose_theme",
    "default_css_variables",
    "load_all",
    "load_builtin",
    "load_theme",
    "parse_theme",
    "theme_names",
]

DARK = "caesura-dark"
LIGHT = "caesura-light"
SIXTEEN = "sixteen"
STARK_DARK = "beacon"
STARK_LIGHT = "noon"

ANY_TERMINAL = TerminalLooks()


ROLES_CSS = """
Transcript {
    & .transcript--prompt-mark { color: $user-prompt; }
    & .transcript--reasoning { color: $reasoning; }
    & .transcript--stopped { color: $notice-stopped; }
}
"""
"""For the CSS of an app that has `default_css_variables`. Widgets do not name these, so that they can also be
shown in an app that knows nothing of our themes."""


class ChosenTheme(NamedTuple):
    """A theme that can be applied in any case, and why it is not the one asked for."""

    theme: Theme
    error: str | None = None


def auto_theme(looks: TerminalLooks) -> str:
    """The name of the theme that fits the terminal.

    On a light terminal of sixteen colours that is the light theme, whose colours stay legible there: none of
    the sixteen is a green that could be read on white. Of their four greys text can only be one end, so
    where no colours are wanted of the sixteen it is a theme of high contrast.
    """
    light = looks.scheme is Scheme.LIGHT
    if looks.few_colours and looks.no_colours:
        return STARK_LIGHT if light else STARK_DARK
    if light:
        return LIGHT
    return SIXTEEN if looks.few_colours else DARK


def choose_theme(
    name: str,
    own: Path | None = None,
    looks: TerminalLooks = ANY_TERMINAL,
    folder: Path = BUILTIN,
) -> ChosenTheme:
    """The theme of this name, or `AUTO`; else the one that fits the terminal; else Textual's own.

    `own` is the folder of the person's themes, which go before those that ship in `folder`. A broken one of
    them is replaced by ours of the same name, if there is one.
    """
    fitting = auto_theme(looks)
    wanted = fitting if name == AUTO else name
    errors: list[str] = []

    def made_of(theme: Theme) -> ChosenTheme:
        told = [*errors, f"{theme.name} is used instead."] if errors else []
        return ChosenTheme(theme, " ".join(told) or None)

    for candidate, place in dict.fromkeys(((wanted, own), (wanted, None), (fitting, None), (DARK, None))):
        if errors and candidate == wanted and not (folder / f"{wanted}.toml").is_file():
            continue
        try:
            return made_of(load_theme(candidate, place, folder).to_textual())
        except ThemeError as error:
            errors.append(str(error))
    return made_of(BUILTIN_THEMES["textual-dark"])
