"""Which theme is applied: the one a user has chosen, or one that fits the terminal.

There is always one to apply: a missing or broken theme is replaced and the reason shown, so that it never
crashes the application or leaves it without colors. The app passes on what the terminal reports and what the
list of themes posts, and writes down the theme to keep: nothing is saved here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace
from textual.theme import BUILTIN_THEMES, Theme

from tui.terminal.driver import CaesuraDriver
from tui.terminal.looks import Scheme, TerminalLooks
from tui.theme.files import AUTO, BUILTIN, ThemeError, load_all, load_theme, theme_names

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import App

    from tui.theme.files import LoadedThemes

log = logging.getLogger(__name__)

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
"""CSS for an app that has `default_css_variables`. Widgets do not use these variables, so that they also work
in an app without our themes."""


class ChosenTheme(NamedTuple):
    """A theme that can always be applied, and why it is not the requested one."""

    theme: Theme
    error: str | None = None


def auto_theme(looks: TerminalLooks) -> str:
    """The name of the theme that fits the terminal.

    On a light terminal of sixteen colors that is the light theme, whose colors stay legible there: none of
    the sixteen is a green that is legible on white. Of their four grays only the ends are usable for text, so
    if no colors are wanted with sixteen, it is a high-contrast theme.
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

    `own` is the folder of the user's themes, which take precedence over those that ship in `folder`. A broken
    user theme is replaced by ours of the same name, if there is one.
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


class ThemeChoice:
    """The theme of an app. `name` is the set one, `AUTO` for one that fits the terminal; `own` is the folder
    of the user's themes, `looks` what is known of the terminal.

    `start`, `show` and `keep` return why the theme is not the requested one, else None; they read a file.
    """

    def __init__(
        self,
        app: App[Any],
        name: str = AUTO,
        own: Path | None = None,
        looks: TerminalLooks = ANY_TERMINAL,
    ) -> None:
        self._app = app
        self._own = own
        self._name = name
        self._shown = name
        self._looks = looks

    @property
    def name(self) -> str:
        """The name that is set."""
        return self._name

    @property
    def follows(self) -> bool:
        """Whether the shown theme depends on the terminal."""
        return self._shown == AUTO

    @property
    def names(self) -> tuple[str, ...]:
        """The names that can be set; reads two folders."""
        return (AUTO, *theme_names(self._own))

    def start(self) -> str | None:
        """Apply the theme before the first frame, in `App.on_load`."""
        if self._looks.few_colours:
            # Enables `:nocolor` in the CSS, which replaces differences of shade by others.
            self._app.no_color = True
        return self._apply(self._choose(self._shown))

    def show(self, name: str) -> str | None:
        """Show a theme without keeping it. A missing or broken theme changes nothing."""
        chosen = self._choose(name)
        if name not in (AUTO, chosen.theme.name):
            return chosen.error
        before, self._shown = self.follows, name
        if self.follows is not before and isinstance(driver := self._app._driver, CaesuraDriver):
            driver.follow_scheme(follow=self.follows)
        return self._apply(chosen)

    def keep(self, name: str) -> str | None:
        """Show a theme and set it, unless it cannot be used."""
        error = self.show(name)
        if self._shown == name:
            self._name = name
        return error

    def take_scheme(self, scheme: Scheme) -> None:
        """Apply the terminal's scheme, which has changed or was not known until now."""
        if scheme is not self._looks.scheme:
            self._looks = replace(self._looks, scheme=scheme)
            if self.follows:
                self._apply(self._choose(AUTO))

    def load_all(self) -> LoadedThemes:
        """Every theme that can be chosen; reads two folders."""
        return load_all(self._own)

    @property
    def scheme(self) -> Scheme:
        """Whether the terminal is dark or light."""
        return self._looks.scheme

    def _choose(self, name: str) -> ChosenTheme:
        return choose_theme(name, self._own, self._looks)

    def _apply(self, chosen: ChosenTheme) -> str | None:
        self._app.register_theme(chosen.theme)
        self._app.theme = chosen.theme.name
        if chosen.error is not None:
            log.warning("%s", chosen.error)
        return chosen.error
