"""What the commands do in a pane: open lists, change model and theme, begin work."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from core.base.errors import CaesuraError
from core.base.threads import run_in_thread
from tui.commands.opening import NO_OPENING, Opening
from tui.pane.sessions import SessionFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from textual.app import App

    from core.frontends.doctor.loop_lag import LoopLag
    from core.model.provider import Effort
    from core.session.archive import Sessions
    from core.session.session import Session
    from tui.composer.queue import QueueActions
    from tui.keys.state import KeyState
    from tui.pane.call_stops import CallStops
    from tui.pane.preferences import Preferences, SessionModels
    from tui.pane.widgets import PaneWidgets
    from tui.pane.work import PaneWork
    from tui.theme.choose import ThemeChoice


class PaneServices(NamedTuple):
    """What the program gives each pane: the stored `sessions`, settings and models as `preferences`, None
    where there are none, and what was measured of the event loop as `lag`. `on_activity` is called
    for each sign of a person: a changed prompt, a terminal that gets the focus."""

    sessions: Sessions | None
    preferences: Preferences | None
    themes: ThemeChoice
    lag: LoopLag
    on_activity: Callable[[], object]


class CommandHost(Protocol):
    """What commands need of the pane itself: a `tui.pane.pane.Pane`."""

    @property
    def app(self) -> App[object]: ...

    @property
    def key_state(self) -> KeyState: ...

    def request_session(self, session_id: str | None, opening: Opening) -> None: ...

    def request_quit(self) -> None: ...


class PaneCommands:
    """The `tui.commands.command.CommandTarget` of one pane, and the opener of its `SessionFiles`."""

    def __init__(
        self,
        host: CommandHost,
        session: Session,
        widgets: PaneWidgets,
        work: PaneWork,
        services: PaneServices,
        *,
        stops: CallStops,
        queue_actions: QueueActions,
        clock: Callable[[], float],
    ) -> None:
        self.session = session
        self.stops = stops
        self.queue_actions = queue_actions
        self.session_files = SessionFiles(session, services.sessions, self)
        self._host = host
        self._widgets = widgets
        self._work = work
        self._services = services
        self._clock = clock

    def notify(self, text: str) -> None:
        self._widgets.notify(text)

    def do_later(self, work: Coroutine[object, object, None]) -> None:
        self._work.do_later(work)

    def do_first(self, work: Coroutine[object, object, None]) -> None:
        self._work.do_first(work)

    def try_command(self, show: Callable[[], object]) -> None:
        """Do what a key asks for; if that cannot be done, say why."""
        try:
            show()
        except CaesuraError as error:
            self.notify(str(error))

    def open_session(self, session_id: str | None, opening: Opening = NO_OPENING) -> None:
        """Show another session, or a new one for None, in the place of this one."""
        self._host.request_session(session_id, opening)

    def open_listed(self, session_id: str) -> None:
        """Open a session that was chosen in the list."""
        try:
            self.session_files.open(session_id)
        except CaesuraError as error:
            self._widgets.lists.fail(str(error))

    def show_sessions(self) -> None:
        self.session_files.show_list(self._widgets.lists)

    def show_rewind(self) -> None:
        self.session_files.check_idle()
        self._widgets.lists.open_rewind(self.session_files)

    def show_memory(self) -> None:
        self._widgets.lists.open_notes(self.session_files)

    def check_unsaved(self) -> None:
        self._widgets.lists.check_unsaved()

    def check_free(self) -> None:
        self._work.check_free()

    def show_running(self) -> None:
        self._widgets.panel.open()
        self.notify(self.stops.list_running(self._clock()))

    def kill_survivors(self) -> None:
        self.do_later(self.stops.kill_survivors())

    def show_models(self) -> None:
        from tui.lists.models.model_list import ModelList

        self._widgets.lists.open(ModelList(self._models()))

    def use_model(self, name: str) -> None:
        if any(character.isspace() or not character.isprintable() for character in name):
            raise CaesuraError(f"‘{name}’ is no name of a model: it has no blanks. /model lists them.")
        models = self._models()
        self.do_first(self._use_model(name, models.effort))

    def pick_model(self, name: str, effort: Effort | None, *, from_catalog: bool) -> None:
        """Use a model that was chosen in the list."""
        self.do_first(self._use_model(name, effort, from_catalog=from_catalog))
        self._widgets.lists.close()

    async def _use_model(self, name: str, effort: Effort | None, *, from_catalog: bool = False) -> None:
        if told := await self._models().pick(name, effort, from_catalog=from_catalog):
            self.notify(told)

    def set_favourite(self, name: str, *, on: bool) -> None:
        self.do_later(self._preferences.set_favourite(name, on=on))

    def model_names(self) -> Sequence[str]:
        preferences = self._services.preferences
        return () if preferences is None else preferences.model_names

    def _models(self) -> SessionModels:
        from tui.pane.preferences import SessionModels

        return SessionModels(self.session, self._preferences)

    def show_themes(self) -> None:
        from tui.lists.theme_list import ThemeList

        themes = self._services.themes
        self._widgets.lists.open(ThemeList(themes.load_all, themes.name, themes.scheme))

    def use_theme(self, name: str) -> None:
        themes = self._services.themes
        reason = themes.keep(name)
        if themes.name != name:
            raise CaesuraError(reason or f"There is no theme ‘{name}’.")
        if reason is not None:
            self.notify(reason)
        self._save_theme(name)

    def pick_theme(self, name: str) -> None:
        """Use a theme that was chosen in the list."""
        self._services.themes.keep(name)
        self._save_theme(name)

    def theme_names(self) -> Sequence[str]:
        return self._services.themes.names

    def server_names(self) -> Sequence[str]:
        return self.session.tools.server_names

    def _save_theme(self, name: str) -> None:
        if self._services.preferences is not None:
            self.do_later(self._services.preferences.save(("theme",), name))

    def trust_project(self, words: str) -> None:
        self.do_later(self._trust(words))

    async def _trust(self, words: str) -> None:
        self.notify(await self._preferences.trust(words))

    def config_report(self) -> str:
        return "" if self._services.preferences is None else self._services.preferences.files

    async def addresses(self) -> tuple[str, ...]:
        preferences = self._services.preferences
        return () if preferences is None else await preferences.directory.addresses(self.session.model.choice)

    def show_doctor(self) -> None:
        self.do_later(self._show_doctor())

    async def _show_doctor(self) -> None:
        from tui.lists.doctor_list import DoctorList

        preferences, lag = self._preferences, self._services.lag
        width, height = self._host.app.size
        # The first thing that they do is to read settings.
        checks = await run_in_thread(
            partial(preferences.checks, self.session, lag, (width, height)), name="doctor"
        )
        self._widgets.lists.open(DoctorList(checks, preferences.redaction()))

    def show_help(self) -> None:
        from tui.commands.table import COMMANDS
        from tui.lists.help_list import HelpList

        self._widgets.lists.open(HelpList(lambda: self._host.key_state, COMMANDS))

    def show_palette(self) -> None:
        from tui.commands.table import COMMANDS
        from tui.lists.palette import Palette

        self._widgets.lists.open(Palette(COMMANDS))

    def copy_text(self, text: str) -> None:
        self._host.app.copy_to_clipboard(text)

    def quit(self) -> None:
        self._host.request_quit()

    @property
    def _preferences(self) -> Preferences:
        """Raises `CaesuraError`."""
        if self._services.preferences is None:
            raise CaesuraError("There are no settings here.")
        return self._services.preferences
