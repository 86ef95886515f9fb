"""What a pane does for commands that have nothing to do with the turn: models, themes, doctor, help, trust.

The part of `tui.widgets.pane.Pane` that opens their lists and does what is chosen in them. What is behind the
lists comes from `tui.preferences`; where that is missing, in a pane that stands alone, commands say so.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.errors import CaesuraError
from core.threads import run_in_thread
from tui.keys import KeyBinding, KeyScope
from tui.widgets.pane_parts import PaneParts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.widget import Widget

    from core.loop_lag import LoopLag
    from tui.preferences import Preferences
    from tui.theme_choice import ThemeChoice
    from tui.widgets.model_list import ModelList
    from tui.widgets.palette import Palette
    from tui.widgets.theme_list import ThemeList


class NotHere(CaesuraError):
    """The pane stands alone: there are no settings behind it."""


class PaneCommands(PaneParts):
    """See the module."""

    _preferences: Preferences | None
    _themes: ThemeChoice | None
    _lag: LoopLag | None

    # -- what the pane has --

    def do_command(self, name: str) -> None:
        """Do what `/name` alone does."""
        raise NotImplementedError

    @property
    def preferences(self) -> Preferences:
        """Raises `NotHere`."""
        if self._preferences is None:
            raise NotHere("There are no settings here.")
        return self._preferences

    @property
    def themes(self) -> ThemeChoice:
        """Raises `NotHere`."""
        if self._themes is None:
            raise NotHere("There are no themes here.")
        return self._themes

    # -- models --

    def show_models(self) -> None:
        from tui.preferences import SessionModels
        from tui.widgets.model_list import ModelList

        self.lists.open(ModelList(SessionModels(self.session, self.preferences)))

    def use_model(self, name: str) -> None:
        from tui.preferences import SessionModels

        if any(character.isspace() or not character.isprintable() for character in name):
            raise CaesuraError(f"‘{name}’ is no name of a model: it has no blanks. /model lists them.")
        models = SessionModels(self.session, self.preferences)
        if not models.pick(name, models.effort):
            self.tell(f"{name} answers already.")

    def model_names(self) -> Sequence[str]:
        return () if self._preferences is None else self._preferences.model_names

    def on_model_list_picked(self, message: ModelList.Picked) -> None:
        from tui.preferences import SessionModels

        message.stop()
        SessionModels(self.session, self.preferences).pick(message.name, message.effort)
        self.lists.close()

    def on_model_list_favourite_toggled(self, message: ModelList.FavouriteToggled) -> None:
        message.stop()
        self.do_later(self.preferences.set_favourite(message.name, on=message.on))

    # -- themes --

    def show_themes(self) -> None:
        self.lists.open(self.themes.make_list())

    def use_theme(self, name: str) -> None:
        reason = self.themes.keep(name)
        if self.themes.name != name:
            raise CaesuraError(reason or f"There is no theme ‘{name}’.")
        if reason is not None:
            self.tell(reason)
        self._save_theme(name)

    def theme_names(self) -> Sequence[str]:
        return () if self._themes is None else self._themes.names

    def on_theme_list_picked(self, message: ThemeList.Picked) -> None:
        message.stop()
        self.themes.keep(message.name)
        self._save_theme(message.name)

    def _save_theme(self, name: str) -> None:
        if self._preferences is not None:
            self.do_later(self._preferences.save(("theme",), name))

    # -- settings --

    def trust_project(self, words: str) -> None:
        self.do_later(self._trust(words))

    async def _trust(self, words: str) -> None:
        self.tell(await self.preferences.trust(words))

    def config_report(self) -> str:
        return "" if self._preferences is None else self._preferences.files

    # -- doctor, help, palette --

    def show_doctor(self) -> None:
        self.do_later(self._show_doctor())

    async def _show_doctor(self) -> None:
        from tui.widgets.doctor_list import DoctorList

        preferences = self.preferences
        if self._lag is None:
            raise NotHere("Nothing watches the event loop here.")
        width, height = self.app.size
        # They begin with reading settings.
        checks = await run_in_thread(
            partial(preferences.checks, self.session, self._lag, (width, height)), name="doctor"
        )
        self.lists.open(DoctorList(checks, preferences.redaction()))

    def show_help(self) -> None:
        from tui.command_table import COMMANDS
        from tui.widgets.help_list import HelpList

        self.lists.open(HelpList(lambda: self.key_state, COMMANDS))

    def show_palette(self) -> None:
        from tui.command_table import COMMANDS
        from tui.widgets.palette import Palette

        self.lists.open(Palette(COMMANDS))

    async def on_palette_chosen(self, message: Palette.Chosen) -> None:
        message.stop()
        self.lists.close()
        match message.act:
            case KeyBinding(scope=KeyScope.APP, action=action):
                await self.app.run_action(action)
            case KeyBinding(scope=scope, action=action):
                await self.app.run_action(action, default_namespace=self.home_of(scope))
            case command:
                self.do_command(command.name)

    def home_of(self, scope: KeyScope) -> Widget:
        """The widget on which actions of this scope run."""
        raise NotImplementedError

    def copy_text(self, text: str) -> None:
        self.app.copy_to_clipboard(text)
