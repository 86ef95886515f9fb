"""The application: the screen, its pane, the theme, and the ways out. It holds no state of any session.

Whatever ends the program comes through `request_quit`: a key, a signal, a closed terminal. Nothing here may
wait for a turn without a bound, and no traceback may reach the screen.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING, ClassVar

from textual.app import App

from core.base.errors import CaesuraError
from core.cancel import CancelReason, Cause
from core.frontends.doctor.loop_lag import LoopLag
from core.operations.events import Event, TurnEnded
from tui.app.chores import Chores, close_replaced, import_early, prepare_session
from tui.app.quitting import QuitControl
from tui.app.screen import MainScreen
from tui.base.timers import call_after
from tui.commands.opening import Opening
from tui.keys.bindings import KeyScope, bindings, key_name, use_keymap
from tui.pane.commands import PaneServices
from tui.pane.garbage import forget_removed_widgets, freeze_started_objects
from tui.pane.pane import FIRST_KEYS_S, Pane
from tui.terminal.driver import CaesuraDriver, Interrupted
from tui.terminal.interrupt import InterruptGate
from tui.terminal.restore import restore_terminal
from tui.terminal.signals import SignalWatch
from tui.theme import choose as theme
from tui.theme.choose import ThemeChoice
from tui.theme.palette import default_css_variables
from tui.transcript.plain import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from core.model.setup import Chosen
    from core.session.archive import Sessions
    from core.session.session import Session
    from tui.app.first_start.plan import FirstStartPlan
    from tui.app.first_start.screen import FirstStart
    from tui.lists.theme_list import ThemeList
    from tui.pane.preferences import Preferences
    from tui.terminal.driver import SchemeReported
    from tui.terminal.looks import TerminalLooks

log = logging.getLogger(__name__)


class CaesuraApp(App[int]):
    """Shows a session that `make_session` makes, and then those that are opened; started by `run_app`.

    Without `make_session` the screen of the first start comes before, as `first_start` has it. `sessions` are
    the stored ones, None where none are stored. `preferences` gives settings and models, None where there are
    none. `own_themes` is the folder of the person's themes, `looks` what is known of the terminal, `keymap`
    are the person's own keys by the ids of bindings, unchecked. `after_first_frame` runs in a thread, for
    what the first frame does not need. `welcome` gives the first text of a pane. `clock` is that of the
    panes. `on_idle_session` is called whenever a turn has ended.
    """

    TITLE = "Caesura"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # whatever is shown takes the focus where it should be
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.APP)]
    CSS = f"""
    Screen {{ background: $background; }}
    {theme.ROLES_CSS}
    """

    def __init__(
        self,
        make_session: Callable[[], Session] | None,
        sessions: Sessions | None = None,
        *,
        preferences: Preferences | None = None,
        first_start: FirstStartPlan | None = None,
        theme_name: str = theme.DARK,
        own_themes: Path | None = None,
        looks: TerminalLooks = theme.ANY_TERMINAL,
        keymap: Mapping[str, str] | None = None,
        after_first_frame: Callable[[], object] = lambda: None,
        welcome: Callable[[], str] | None = None,
        on_activity: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interrupt_gate = InterruptGate()
        super().__init__(driver_class=CaesuraDriver)
        self.animation_level = "none"
        self._make_session = make_session
        self._stored = sessions
        self._preferences = preferences
        self._first_start = first_start
        self.themes = ThemeChoice(self, theme_name, own_themes, looks)
        self._keymap_asked = keymap or {}
        self._after_first_frame = after_first_frame
        self._welcome = welcome
        self._clock = clock
        self.loop_lag = LoopLag()
        self._services = PaneServices(sessions, preferences, self.themes, self.loop_lag, on_activity)
        self._panes: list[Pane] = []
        self._start_screen: FirstStart | None = None
        self._early_notes: list[str] = []
        """Texts to show as soon as there is a pane."""
        self.on_idle_session: Callable[[], object] = lambda: None
        self._quit_control = QuitControl(self._panes, self.exit, clock)
        self._chores = Chores()
        self._opening = asyncio.Lock()

    def compose(self) -> ComposeResult:
        if self._make_session is None:
            from tui.app.first_start.screen import FirstStart

            assert self._first_start is not None
            self._start_screen = FirstStart(self._first_start.setup, self.interrupt_gate, clock=self._clock)
            yield self._start_screen
        else:
            notes = () if self._welcome is None else (self._welcome(),)
            yield self._add_pane(self._make_session(), Opening(notes))

    def _add_pane(self, session: Session, opening: Opening) -> Pane:
        session.subscribe(self._on_session_event)
        pane = Pane(session, self.interrupt_gate, self._services, opening=opening, clock=self._clock)
        self._panes.append(pane)
        return pane

    def get_default_screen(self) -> MainScreen:
        return MainScreen()

    def on_load(self) -> None:
        if (failure := self.themes.start()) is not None:
            self._early_notes.append(failure)
        if self._keymap_asked:
            keymap = use_keymap(self._keymap_asked)
            self.set_keymap(dict(keymap.entries))
            self._early_notes += map(str, keymap.errors)

    def on_mount(self) -> None:
        if self._panes:
            self.pane.prompt.focus()
        if self._stored is not None:
            self._stored.listen(self._notify)
        self.call_after_refresh(call_after, self, FIRST_KEYS_S, self._start_chores)

    @property
    def pane(self) -> Pane:
        """The pane that keys act on. There is none before the first start is over."""
        return self._panes[-1]

    @property
    def follows_scheme(self) -> bool:
        """Whether the driver is to ask the terminal if it is dark or light, and to report it."""
        return self.themes.follows

    # -- the first start --

    def on_first_start_chosen(self, message: FirstStart.Chosen) -> None:
        message.stop()
        self.run_worker(self._begin(message.chosen, message.notes), group="open", exclusive=True)

    def on_first_start_quit_requested(self) -> None:
        self.request_quit(CancelReason(Cause.QUIT, "quit"), 0)

    async def _begin(self, chosen: Chosen, notes: tuple[str, ...]) -> None:
        """Go on from the first start with the conversation."""
        assert self._first_start is not None
        assert self._preferences is not None
        assert self._stored is not None
        session, more = await self._first_start.first_session(chosen, self._preferences, self._stored)
        early = tuple(self._early_notes)
        self._early_notes.clear()
        pane = self._add_pane(session, Opening((*notes, *early, *more)))
        start, self._start_screen = self._start_screen, None
        with self.batch_update():
            await self._mount_focused(pane)
            if start is not None:
                await start.remove()
        self._chores.begin(prepare_session(session, self._preferences))

    # -- stopping --

    def on_app_focus(self) -> None:
        self._services.on_activity()

    def on_interrupted(self, _: Interrupted) -> None:
        if self._panes:
            self.pane.show_interrupted()
        elif self._start_screen is not None:
            self._start_screen.show_interrupted()

    def on_pane_quit_requested(self) -> None:
        self._quit_control.ask(CancelReason(Cause.QUIT, "quit"))

    async def action_quit(self) -> None:
        self._quit_control.ask(CancelReason(Cause.QUIT, key_name("app.quit")))

    def request_quit(self, reason: CancelReason, exit_code: int) -> None:
        """Stop what runs, wait for it within a bound, give the terminal back, end. Asked again: at once."""
        self._quit_control.quit(reason, exit_code)

    def on_signal(self, number: signal.Signals, count: int) -> None:
        """Act on a signal as on the key for it (Q1)."""
        reason, start = CancelReason(Cause.SIGNAL, number.name), self._start_screen
        if start is None or number is not signal.SIGINT or not start.stop(reason):
            self._quit_control.signal(number, count)

    def _on_session_event(self, event: Event) -> None:
        if isinstance(event, TurnEnded):
            self.on_idle_session()

    # -- other sessions --

    def on_pane_open_requested(self, message: Pane.OpenRequested) -> None:
        assert self._stored is not None
        self.run_worker(self._open(message, self._stored), group="open")

    async def _open(self, request: Pane.OpenRequested, sessions: Sessions) -> None:
        """Show a session, after those that were asked for before it; if it cannot be opened, say so and stay.

        An opening is never cut short: a session that was opened is shown, so that it is closed too.
        """
        try:
            async with self._opening:
                if request.session_id is None:
                    await self._replace(sessions.new(), request)
                elif request.session_id != self.pane.session.session_id:
                    await self._replace(await sessions.open(request.session_id), request)
        except CaesuraError as error:
            self.pane.lists.fail(str(error))
        finally:
            # Only now is it clear where what was sent meanwhile goes.
            request.hold.release()

    async def _replace(self, session: Session, request: Pane.OpenRequested) -> None:
        """Show `session` in the place of the one that is shown, which is closed."""
        before = self.pane
        pane = self._add_pane(session, request.opening)
        arriving = pane.outbox.hold()
        with self.batch_update():
            await self._mount_focused(pane)
            # What was typed before the focus moved is still on its way there.
            await before.handle_typing()
            await before.remove()
        if not pane.is_attached:
            return  # The screen was taken down meanwhile: quitting closes the sessions of both panes.
        forget_removed_widgets(self)
        self._panes.remove(before)
        pane.take_over(before)
        arriving.release()
        reason = CancelReason(Cause.QUIT, "another session was opened")
        self._chores.begin(close_replaced(before.session, reason))
        self._chores.begin(prepare_session(session, self._preferences))

    async def _mount_focused(self, pane: Pane) -> None:
        """Mount a pane and give it the focus, before what it replaces is removed: no key is lost between."""
        await self.mount(pane)
        self.screen.set_focus(pane.prompt)

    # -- looks --

    def on_scheme_reported(self, message: SchemeReported) -> None:
        self.themes.take_scheme(message.scheme)

    def on_theme_list_previewed(self, message: ThemeList.Previewed) -> None:
        message.stop()
        self.themes.show(message.name)

    def on_theme_list_dismissed(self, message: ThemeList.Dismissed) -> None:
        message.stop()
        self.themes.show(message.name)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return default_css_variables(self.current_theme)

    # -- the rest --

    def _notify(self, text: str) -> None:
        if self._panes:
            self.pane.add_notice(text)
        else:
            self._early_notes.append(text)

    def _start_chores(self) -> None:
        """Begin what the first frame did without."""
        freeze_started_objects()
        self.loop_lag.start()
        if self._panes:
            for text in self._early_notes:
                self.pane.transcript.add_notice(text, NoticeKind.ERROR)
            self._early_notes.clear()
        self._chores.begin(self._prepare())

    async def _prepare(self) -> None:
        """One after the other, so that imports do not delay the first keys."""
        await import_early(self._after_first_frame)
        if self._panes:
            await self.pane.commands.session_files.offer_crashed()
        for pane in tuple(self._panes):
            await prepare_session(pane.session, self._preferences)

    def _handle_exception(self, error: Exception) -> None:
        """An error nobody expected: it goes to the log, the screen gets a sentence."""
        log.critical("the application failed", exc_info=error)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        # One sentence, whatever else fails because of the first failure.
        self._exit_renderables[:] = [
            "Caesura failed and had to close; caesura.log in the state folder has the details. Start it "
            "again to go on."
        ]
        self._close_messages_no_wait()

    async def on_unmount(self) -> None:
        await self._quit_control.close_sessions(CancelReason(Cause.QUIT, "end of the program"))
        self.loop_lag.stop()
        self._chores.cancel()


async def run_app(app: CaesuraApp, last_resort: Callable[[], object]) -> int:
    """Run `app` in this terminal until it ends; the exit code.

    `last_resort` is called when the event loop is blocked for good and a signal must end the process: it ends
    what the process has started.
    """
    with SignalWatch(
        app.on_signal,
        loop=asyncio.get_running_loop(),
        restore=restore_terminal,
        last_resort=last_resort,
    ) as watch:
        app.on_idle_session = watch.settle
        code = await app.run_async()
    return (app.return_code or 0) if code is None else code
