"""The application: one screen of panes, the theme, and the ways out. It holds no state of any session.

Whatever ends the program comes through `request_quit`: a key, a signal, a closed terminal. Nothing here may
wait for a turn without a bound, and no traceback may reach the screen.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import time
from typing import TYPE_CHECKING, ClassVar

from textual.app import App

from core.cancel import CancelReason, Cause
from core.errors import CaesuraError
from core.events import Event, Status, TurnEnded
from core.loop_lag import LoopLag
from core.values import dataclass
from tui import theme
from tui.driver import CaesuraDriver, Interrupted
from tui.interrupt import InterruptGate
from tui.keeping import Greeting
from tui.keys import KeyScope, bindings, key_name, use_keymap
from tui.memory import settle_memory
from tui.restore import restore_terminal
from tui.signals import install_signals
from tui.stops import background_of
from tui.theme_choice import ThemeChoice
from tui.widgets.pane import Pane
from tui.widgets.transcript import NoticeKind, warm_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from core.model import ModelChoice
    from core.session import Session
    from core.sessions import Sessions
    from core.setup import Chosen, Setup
    from tui.driver import SchemeReported
    from tui.preferences import Preferences
    from tui.theme_terminal import TerminalLooks
    from tui.widgets.first_start import FirstStart
    from tui.widgets.theme_list import ThemeList

log = logging.getLogger(__name__)

QUIT_GRACE_S = 2.0

QUIT_ASKED_S = 10.0
"""How long a question whether to quit stands; to ask for the end again in this time is the answer."""


@dataclass(frozen=True, slots=True)
class FirstStartPlan:
    """What is done when nobody has ever said which model is to answer: `settle` gives the model for what was
    chosen, `open_session` the session to begin with; `demo_welcome` gives what a pane says with the demo."""

    setup: Setup
    settle: Callable[[Chosen], Awaitable[ModelChoice]]
    open_session: Callable[[], Awaitable[Session]]
    demo_welcome: Callable[[], str] | None = None


class CaesuraApp(App[int]):
    """Shows a session that `make_session` makes, and then those that are opened; started by `run_app`.

    Without `make_session` the screen of the first start comes before, as `first_start` has it. `sessions` are
    those in the file, None where none are kept. `preferences` is what is behind settings and models, None
    where there is nothing. `own_themes` is the folder of the person's themes, `looks` what is known of the
    terminal, `keymap` are the person's own keys by the ids of bindings, unchecked.
    `log_name` is the log file as messages name it. `after_first_frame` runs in a thread, for what the first
    frame does not need. `welcome` gives the first thing a pane says. `clock` is that of the panes.
    `on_idle_session` is called whenever a turn has ended: what a signal has asked for is done then.
    """

    TITLE = "Caesura"
    ENABLE_COMMAND_PALETTE = False
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
        log_name: str = "the log",
        welcome: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interrupt_gate = InterruptGate()
        super().__init__(driver_class=CaesuraDriver)
        self.animation_level = "none"
        self._make_session = make_session
        self._preferences = preferences
        self._first_start = first_start
        self.themes = ThemeChoice(self, theme_name, own_themes, looks)
        self._keymap_asked = keymap or {}
        self._after_first_frame = after_first_frame
        self._log_name = log_name
        self._welcome = welcome
        self._clock = clock
        self._kept = sessions
        self._sessions: list[Session] = []
        self.loop_lag = LoopLag()
        self._early_notes: list[str] = []
        """What is to be told as soon as there is a pane."""
        self.on_idle_session: Callable[[], object] = lambda: None
        self._asked_to_quit_at = float("-inf")
        self._quitting: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()

    def compose(self) -> ComposeResult:
        if self._make_session is None:
            assert self._first_start is not None
            # Only who needs it pays for the import.
            from tui.widgets.first_start import FirstStart

            yield FirstStart(self._first_start.setup, self.interrupt_gate, clock=self._clock)
        else:
            notes = () if self._welcome is None else (self._welcome(),)
            yield self._pane_of(self._make_session(), Greeting(notes))

    def _pane_of(self, session: Session, greeting: Greeting) -> Pane:
        self._sessions.append(session)
        session.subscribe(self._on_session_event)
        return Pane(
            session,
            self.interrupt_gate,
            self._kept,
            preferences=self._preferences,
            themes=self.themes,
            lag=self.loop_lag,
            greeting=greeting,
            clock=self._clock,
        )

    def on_load(self) -> None:
        self._tell_early(self.themes.start())
        if self._keymap_asked:
            keymap = use_keymap(self._keymap_asked)
            self.set_keymap(dict(keymap.entries))
            for error in keymap.errors:
                self._tell_early(str(error))

    def on_mount(self) -> None:
        if self._sessions:
            self.pane.prompt.focus()
        if self._kept is not None:
            self._kept.listen(self._tell_or_keep)
        self.call_after_refresh(self._start_chores)

    @property
    def pane(self) -> Pane:
        """The pane that keys act on. There is none before the first start is over."""
        return self.query_one(Pane)

    @property
    def _start_screen(self) -> FirstStart | None:
        """The screen of the first start, as long as that lasts."""
        if self._first_start is None or self._sessions:
            return None
        from tui.widgets.first_start import FirstStart

        return self.query_one(FirstStart)

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
        from core.setup import DemoChosen

        assert self._first_start is not None
        assert self._preferences is not None
        self._preferences.choice = await self._first_start.settle(chosen)
        try:
            session = await self._first_start.open_session()
        except CaesuraError as error:
            # The session that the command line names cannot be opened: a new one can.
            assert self._kept is not None
            session = self._kept.new()
            notes = (*notes, str(error))
        greet = self._first_start.demo_welcome
        welcome = () if greet is None or not isinstance(chosen, DemoChosen) else (greet(),)
        pane = self._pane_of(session, Greeting((*notes, *self._early_notes, *welcome)))
        self._early_notes.clear()
        before = self.screen.children
        with self.batch_update():
            await self.mount(pane)
            self.screen.set_focus(pane.prompt)
            for widget in tuple(before):
                if widget is not pane:
                    await widget.remove()
        self._own(self._prepare_session(session))

    # -- stopping --

    def on_interrupted(self, _: Interrupted) -> None:
        if self._sessions:
            self.pane.show_interrupted()
        elif (start := self._start_screen) is not None:
            start.show_interrupted()

    def on_pane_quit_requested(self) -> None:
        self._quit_or_ask(CancelReason(Cause.QUIT, "quit"))

    async def action_quit(self) -> None:
        self._quit_or_ask(CancelReason(Cause.QUIT, key_name("app.quit")))

    def _quit_or_ask(self, reason: CancelReason) -> None:
        """A person wants to quit. Asks first if something would be lost by it; signals never do."""
        asked = self._clock() - self._asked_to_quit_at < QUIT_ASKED_S
        lost = "" if asked or self._quitting is not None else self._what_would_be_lost()
        if lost:
            self._asked_to_quit_at = self._clock()
            self.pane.tell(f"{lost} {key_name('app.quit')} or /quit again quits.")
        else:
            self.request_quit(reason, 0)

    def _what_would_be_lost(self) -> str:
        """In sentences; empty if nothing would."""
        count = sum(len(background_of(session)) for session in self._sessions)
        what = "1 background command" if count == 1 else f"{count} background commands"
        sentences = [f"{what} will be stopped. /running shows what runs."] if count else []
        try:
            if self._sessions:
                self.pane.check_unsaved()
        except CaesuraError as error:
            sentences.append(str(error))
        return " ".join(sentences)

    def request_quit(self, reason: CancelReason, exit_code: int) -> None:
        """Stop what runs, wait for it within a bound, give the terminal back, end. Asked again: at once."""
        if self._quitting is None:
            self._quitting = asyncio.create_task(self._quit(reason, exit_code), name="quit")
        else:
            for session in self._sessions:
                session.force()
            self.exit(exit_code)

    async def _quit(self, reason: CancelReason, exit_code: int) -> None:
        closing = [session.aclose(reason, grace_s=QUIT_GRACE_S) for session in self._sessions]
        await asyncio.gather(*closing)
        self.exit(exit_code)

    def on_signal(self, number: signal.Signals, count: int) -> None:
        """Q1: a signal takes the way of the key. SIGINT stops a turn, if there is one; the others quit."""
        reason = CancelReason(Cause.SIGNAL, number.name)
        session = self.pane.session if self._sessions else None
        start = self._start_screen
        if number is signal.SIGINT and session is not None and session.status is not Status.IDLE:
            if count > 1 or not session.stop(reason):
                session.force()
        elif number is signal.SIGINT and start is not None and start.stop(reason):
            return
        else:
            self.request_quit(reason, 128 + number)

    def _on_session_event(self, event: Event) -> None:
        if isinstance(event, TurnEnded):
            self.on_idle_session()

    # -- other sessions --

    def on_pane_open_requested(self, message: Pane.OpenRequested) -> None:
        self.run_worker(self._open(message.session_id, message.greeting), group="open", exclusive=True)

    async def _open(self, session_id: str | None, greeting: Greeting) -> None:
        """Show another session, or a new one, in the place of this, which is closed."""
        assert self._kept is not None
        before = self.pane
        try:
            opened = self._kept.new() if session_id is None else await self._kept.open(session_id)
        except CaesuraError as error:
            before.lists.fail(str(error))
            before.outbox.release()
            return
        pane = self._pane_of(opened, greeting)
        with self.batch_update():
            # First there, then here: no key falls between the two.
            await self.mount(pane)
            self.screen.set_focus(pane.prompt)
            await before.remove()
        pane.take_over(before)
        self._sessions.remove(before.session)
        self._own(before.session.aclose(CancelReason(Cause.QUIT, "another session was opened")))
        self._own(self._prepare_session(opened))

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
        return theme.default_css_variables(self.current_theme)

    def _tell_early(self, text: str | None) -> None:
        """Say it when the first frame is on the screen, and there is a pane."""
        if text is not None:
            self._early_notes.append(text)

    def _tell_or_keep(self, text: str) -> None:
        if self._sessions:
            self.pane.tell(text)
        else:
            self._early_notes.append(text)

    # -- the rest --

    def _start_chores(self) -> None:
        """What the first frame did without."""
        settle_memory()
        self.loop_lag.start()
        if self._sessions:
            for text in self._early_notes:
                self.pane.transcript.add_notice(text, NoticeKind.ERROR)
            self._early_notes.clear()
        self._own(self._prepare())

    async def _prepare(self) -> None:
        """One after the other, lest the imports keep the first keys waiting."""
        await asyncio.to_thread(self._warm_up)
        if self._sessions:
            await self.pane.keeping.offer_crashed()
        for session in tuple(self._sessions):
            await self._prepare_session(session)

    async def _prepare_session(self, session: Session) -> None:
        """What a turn would have to wait for else, and what the status line wants to know."""
        await session.prepare()
        if self._preferences is not None:
            await self._preferences.read()
        await session.describe_model()

    def _warm_up(self) -> None:
        self._after_first_frame()
        warm_up()
        # Else the first turn imports them, on the event loop, between Enter and the request.
        for name in ("anyio._backends._asyncio", "core.engine", "core.compaction", "tui.command_table"):
            importlib.import_module(name)
        settle_memory()

    def _own(self, chore: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._end_chore)

    def _end_chore(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task in the background failed", exc_info=error)

    def _handle_exception(self, error: Exception) -> None:
        """An error nobody expected: it goes to the log, the screen gets a sentence."""
        log.critical("the application failed", exc_info=error)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        # One sentence, whatever else fails because of the first failure.
        self._exit_renderables[:] = [
            f"Caesura failed and had to close; {self._log_name} has the details. Start it again to go on."
        ]
        self._close_messages_no_wait()

    async def on_unmount(self) -> None:
        reason = CancelReason(Cause.QUIT, "end of the program")
        await asyncio.gather(*(session.aclose(reason, grace_s=QUIT_GRACE_S) for session in self._sessions))
        self.loop_lag.stop()
        for chore in self._chores:
            chore.cancel()


async def run_app(app: CaesuraApp, last_resort: Callable[[], object]) -> int:
    """Run `app` in this terminal until it ends; the exit code.

    `last_resort` is called when the event loop is blocked for good and a signal must end the process: it ends
    what the process has started.
    """
    watch = install_signals(
        app.on_signal,
        loop=asyncio.get_running_loop(),
        restore=restore_terminal,
        last_resort=last_resort,
    )
    with watch:
        app.on_idle_session = watch.settle
        code = await app.run_async()
    return (app.return_code or 0) if code is None else code
