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
from tui import theme
from tui.driver import CaesuraDriver, Interrupted
from tui.interrupt import InterruptGate
from tui.keeping import Greeting
from tui.keys import KeyScope, bindings
from tui.memory import settle_memory
from tui.restore import restore_terminal
from tui.signals import install_signals
from tui.stops import background_of
from tui.widgets.pane import Pane
from tui.widgets.transcript import NoticeKind, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from core.session import Session
    from core.sessions import Sessions

log = logging.getLogger(__name__)

QUIT_GRACE_S = 2.0

QUIT_ASKED_S = 10.0
"""How long a question whether to quit stands; to ask for the end again in this time is the answer."""


class CaesuraApp(App[int]):
    """Shows a session that `make_session` makes, and then those that are opened; started by `run_app`.

    `sessions` are those in the file, None where none are kept.
    `log_name` is the log file as messages name it. `after_first_frame` runs in a thread, for what the first
    frame does not need. `welcome` is the first thing a pane says. `clock` is that of the panes.
    `on_idle_session` is called whenever a turn has ended: what a signal has asked for is done then.
    """

    TITLE = "Caesura"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.APP)]
    CSS = """
    Screen { background: $background; }
    """

    def __init__(
        self,
        make_session: Callable[[], Session],
        sessions: Sessions | None = None,
        *,
        theme_name: str = theme.DARK,
        after_first_frame: Callable[[], object] = lambda: None,
        log_name: str = "the log",
        welcome: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interrupt_gate = InterruptGate()
        super().__init__(driver_class=CaesuraDriver)
        self.animation_level = "none"
        self._make_session = make_session
        self._theme_name = theme_name
        self._after_first_frame = after_first_frame
        self._log_name = log_name
        self._welcome = welcome
        self._clock = clock
        self._kept = sessions
        self._sessions: list[Session] = []
        self.on_idle_session: Callable[[], object] = lambda: None
        self._asked_to_quit_at = float("-inf")
        self._quitting: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()

    def compose(self) -> ComposeResult:
        notes = (self._welcome,) if self._welcome else ()
        yield self._pane_of(self._make_session(), Greeting(notes))

    def _pane_of(self, session: Session, greeting: Greeting) -> Pane:
        self._sessions.append(session)
        session.subscribe(self._on_session_event)
        return Pane(session, self.interrupt_gate, self._kept, greeting=greeting, clock=self._clock)

    def on_load(self) -> None:
        self._use_theme(self._theme_name)

    def on_mount(self) -> None:
        self.pane.prompt.focus()
        if self._kept is not None:
            self._kept.listen(lambda text: self.pane.tell(text))
        self.call_after_refresh(self._start_chores)

    @property
    def pane(self) -> Pane:
        """The pane that keys act on."""
        return self.query_one(Pane)

    # -- stopping --

    def on_interrupted(self, _: Interrupted) -> None:
        self.pane.show_interrupted()

    def on_pane_quit_requested(self) -> None:
        self._quit_or_ask(CancelReason(Cause.QUIT, "quit"))

    async def action_quit(self) -> None:
        self._quit_or_ask(CancelReason(Cause.QUIT, "ctrl+q"))

    def _quit_or_ask(self, reason: CancelReason) -> None:
        """A person wants to quit. Asks first if something would be lost by it; signals never do."""
        asked = self._clock() - self._asked_to_quit_at < QUIT_ASKED_S
        lost = "" if asked or self._quitting is not None else self._what_would_be_lost()
        if lost:
            self._asked_to_quit_at = self._clock()
            self.pane.tell(f"{lost} Ctrl+Q or /quit again quits.")
        else:
            self.request_quit(reason, 0)

    def _what_would_be_lost(self) -> str:
        """In sentences; empty if nothing would."""
        count = sum(len(background_of(session)) for session in self._sessions)
        what = "1 background command" if count == 1 else f"{count} background commands"
        sentences = [f"{what} will be stopped. /running shows what runs."] if count else []
        try:
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
        session = self.pane.session
        if number is signal.SIGINT and session.status is not Status.IDLE:
            if count > 1 or not session.stop(reason):
                session.force()
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
        self._own(opened.prepare())
        self._own(opened.describe_model())

    # -- looks --

    def on_pane_theme_requested(self) -> None:
        self._use_theme(theme.LIGHT if self.current_theme.dark else theme.DARK)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.default_css_variables(self.current_theme)

    def _use_theme(self, name: str) -> None:
        chosen = theme.choose_theme(name)
        self.register_theme(chosen.theme)
        self.theme = chosen.theme.name
        if chosen.error is not None:
            log.warning("%s", chosen.error)
            self.call_after_refresh(lambda: self._tell(chosen.error or ""))

    def _tell(self, text: str) -> None:
        self.pane.transcript.add_notice(text, NoticeKind.ERROR)

    # -- the rest --

    def _start_chores(self) -> None:
        """What the first frame did without."""
        settle_memory()
        self._own(self._prepare())
        for session in self._sessions:
            self._own(session.describe_model())

    async def _prepare(self) -> None:
        """One after the other, lest the imports keep the first keys waiting."""
        await asyncio.to_thread(self._warm_up)
        await self.pane.keeping.offer_crashed()
        for session in self._sessions:
            await session.prepare()

    def _warm_up(self) -> None:
        self._after_first_frame()
        warm_up()
        # Else the first turn imports it, on the event loop, between Enter and the request.
        importlib.import_module("anyio._backends._asyncio")
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
