"""Which theme an app shows: the one that is set, one that is tried on, and what the terminal wants.

It belongs to the app, which hands on to it what the terminal reports and what the list of themes posts. It
saves nothing: that a theme is kept is for the app to write down.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tui import theme
from tui.driver import CaesuraDriver
from tui.theme import AUTO

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import App

    from tui.theme_terminal import Scheme, TerminalLooks
    from tui.widgets.theme_list import ThemeList

log = logging.getLogger(__name__)


class ThemeChoice:
    """See the module. `name` is the one that is set, `AUTO` for what fits the terminal; `own` is the folder
    of the person's themes, `looks` what is known of the terminal.

    What `start`, `show` and `keep` give is why the theme is not the one asked for, else None; they read a
    file.
    """

    def __init__(
        self,
        app: App[Any],
        name: str = AUTO,
        own: Path | None = None,
        looks: TerminalLooks = theme.ANY_TERMINAL,
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
        """Whether what is shown depends on the terminal."""
        return self._shown == AUTO

    @property
    def names(self) -> tuple[str, ...]:
        """What may be set; looks into two folders."""
        return (AUTO, *theme.theme_names(self._own))

    def start(self) -> str | None:
        """Before the first frame, in `App.on_load`."""
        if self._looks.few_colours:
            # For the CSS, `:nocolor`: what is told apart by a shade must also be by something else.
            self._app.no_color = True
        return self._apply(self._choose(self._shown))

    def show(self, name: str) -> str | None:
        """Show a theme without keeping it. One that there is not, or that is broken, changes nothing."""
        chosen = self._choose(name)
        if name not in (AUTO, chosen.theme.name):
            return chosen.error
        before, self._shown = self.follows, name
        if self.follows is not before and isinstance(driver := self._app._driver, CaesuraDriver):
            driver.follow_scheme(follow=self.follows)
        return self._apply(chosen)

    def keep(self, name: str) -> str | None:
        """This is the one that is set now, unless it cannot be used."""
        error = self.show(name)
        if self._shown == name:
            self._name = name
        return error

    def take_scheme(self, scheme: Scheme) -> None:
        """The terminal is dark, or light: now, or all the time and has only said so now."""
        if scheme is not self._looks.scheme:
            self._looks = replace(self._looks, scheme=scheme)
            if self.follows:
                self._apply(self._choose(AUTO))

    def make_list(self) -> ThemeList:
        """For `Lists.open`."""
        from tui.widgets.theme_list import ThemeList

        return ThemeList(lambda: theme.load_all(self._own), self._name, self._looks.scheme)

    def _choose(self, name: str) -> theme.ChosenTheme:
        return theme.choose_theme(name, self._own, self._looks)

    def _apply(self, chosen: theme.ChosenTheme) -> str | None:
        self._app.register_theme(chosen.theme)
        self._app.theme = chosen.theme.name
        if chosen.error is not None:
            log.warning("%s", chosen.error)
        return chosen.error
