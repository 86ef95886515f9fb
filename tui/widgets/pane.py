"""A pane: one session on the screen, from its transcript to its status line.

Everything that belongs to a session is here and nothing of it in the app, so that several panes can stand
side by side, each with a turn of its own. What is running is asked of the session, never remembered (U4).

What its keys do is in `tui.widgets.pane_keys` and `pane_stopping`; here it is put together, sends what is
written, and shows what the session does.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, ClassVar, assert_never

from textual import events, on
from textual.containers import Container
from textual.content import Content
from textual.message import Message
from textual.widgets import Static, TextArea

from core.errors import CaesuraError
from core.events import (
    Event,
    QuestionAsked,
    ReasoningArrived,
    Status,
    TextArrived,
    TurnEnded,
    TurnStarted,
)
from tui.interrupt import BOTH_KEYS, InterruptGate, InterruptKey
from tui.keeping import NO_GREETING, Greeting, Keeping
from tui.key_state import KeyState, esc_action
from tui.keys import KeyScope, bindings, key_name, key_names
from tui.memory import settle_memory
from tui.outbox import Outbox
from tui.pane_state import key_state
from tui.pump import Pump
from tui.queueing import Queueing
from tui.session_view import status_view
from tui.stop_keys import StopKeys
from tui.stops import CallStops
from tui.widgets.dialogs import Dialogs
from tui.widgets.lists import Lists
from tui.widgets.pane_keys import PaneKeys
from tui.widgets.pane_stopping import CLEARED_NOTE_S
from tui.widgets.panel import Panel
from tui.widgets.prompt import Prompt
from tui.widgets.queue_list import QueueList
from tui.widgets.status_line import EscAction, StatusLine
from tui.widgets.transcript import NoticeKind, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.timer import Timer
    from textual.widget import Widget

    from core.loop_lag import LoopLag
    from core.records import LoadedSession
    from core.session import Session
    from core.sessions import Sessions
    from tui.preferences import Preferences
    from tui.theme_choice import ThemeChoice
    from tui.widgets.completion import Completion

SIDE_FROM = 120
"""Columns from which the panel stands beside the transcript, and not below it."""


class NotYet:
    """In the place of the completion until that is there."""

    is_open = False

    def dismiss(self) -> None:
        """Nothing is open."""

    def complete(self) -> bool:
        return False


NOT_YET = NotYet()


class Pane(PaneKeys):
    """Shows `session`. `gate` is armed while its turn runs, so that the input thread can stop it by itself.

    `preferences` and `themes` are what is behind settings, models and colours; `lag` is what has been seen of
    the event loop. A pane that stands alone has none of them.
    `clock` gives seconds as `time.monotonic` does; it decides what "twice within 2 s" means, and how long a
    turn has been running.
    """

    DEFAULT_CSS = """
    Pane {
        layout: vertical;
        & > .pane--title { height: 1; padding: 0 1; color: $text-muted; background: $panel; }
        & > .pane--body { layout: vertical; height: 1fr; layers: default lists; }
        & Transcript {
            width: 1fr;
            height: 1fr;
            padding: 0 0 0 1;
            scrollbar-background: $background;
            scrollbar-background-hover: $background;
            scrollbar-background-active: $background;
        }
        & Panel { width: 100%; height: 40%; min-height: 3; max-height: 14; }
        & > Prompt { max-height: 50%; }
        &.-low > .pane--title { display: none; }
        &.-low > Prompt { border: none; }
        &.-low Approval { border: none; }
        &.-low Panel { border: none; min-height: 2; }
        &.-low WordsLine { border: none; height: 1; }
        &.-wide > .pane--body { layout: horizontal; }
        &.-wide Panel { width: 44; height: 100%; max-height: 100%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.PANE)]

    class QuitRequested(Message):
        """The user asked this pane to end the program."""

    class OpenRequested(Message):
        """Another session is to be shown in the place of this one, a new one if there is no id."""

        def __init__(self, session_id: str | None, greeting: Greeting) -> None:
            super().__init__()
            self.session_id = session_id
            self.greeting = greeting

    def __init__(
        self,
        session: Session,
        gate: InterruptGate,
        sessions: Sessions | None = None,
        *,
        preferences: Preferences | None = None,
        themes: ThemeChoice | None = None,
        lag: LoopLag | None = None,
        greeting: Greeting = NO_GREETING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.session = session
        self._preferences = preferences
        self._themes = themes
        self._lag = lag
        self._gate = gate
        self._greeting = greeting
        self._clock = clock
        self.stop_keys = StopKeys(session, clock)
        self.stops = CallStops(session, self.tell, clock)
        self.keeping = Keeping(session, sessions, self)
        sends, breaks = key_name("prompt.submit"), key_names("prompt.newline", 2)
        self._prompt = Prompt(placeholder=f"Ask anything. {sends} sends, {breaks} breaks the line.")
        self.queueing = Queueing(
            session.steering, say=self._say_briefly, tell=self.tell, give_back=self._prompt.set_text_if_empty
        )
        self.outbox = Outbox(self._deliver)
        self._drafting = False
        self._note: str | None = None
        self._note_timer: Timer | None = None
        self.completion: Completion | NotYet = NOT_YET
        self._pump: Pump | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        title = Content.assemble(
            ("Caesura", "bold $primary"), f" · {key_name('pane.help')} shows keys and commands"
        )
        yield Static(title, classes="pane--title")
        dialogs = Dialogs(self.session, self.stops, self._prompt, clock=self._clock)
        with Container(classes="pane--body"):
            yield Transcript()
            yield Panel(self.session, dialogs.ask_words, clock=self._clock)
            yield Lists(self._prompt, self.tell, clock=self._clock)
        yield dialogs
        yield QueueList(self.session.steering, self._prompt, self._say_briefly, clock=self._clock)
        yield self._prompt
        yield StatusLine(status_view(self.session, EscAction.NOTHING, None), clock=self._clock)

    def on_mount(self) -> None:
        self._pump = Pump(self.transcript, self.prompt.set_text_if_empty)
        self._unsubscribe = self.session.subscribe(self._on_session_event)
        self._greet()
        self._refresh_state()
        self.call_after_refresh(self._complete_commands)

    def _complete_commands(self) -> None:
        """Show what completes a command while it is typed: the first frame can do without."""
        from tui.command_table import COMMANDS
        from tui.completing import offers_for
        from tui.widgets.completion import Completion

        self.completion = Completion(self._prompt, lambda line: offers_for(line, COMMANDS, self))
        self.mount(self.completion, before=self._prompt)
        self._prompt.completer = self.completion

    def _greet(self) -> None:
        """Show what there is of the session, and give back a prompt of which nothing was kept (H1)."""
        session = self.session
        if (loaded := session.record.loaded) is not None:
            self.run_worker(self._replay(loaded), group="replay")
        for note in (*self._greeting.notes, *([session.read_only] if session.read_only else [])):
            self.tell(note)
        draft = self._greeting.draft or session.returned_prompt
        if draft:
            self.prompt.set_text_if_empty(draft)

    async def _replay(self, loaded: LoadedSession) -> None:
        # Only who opens an old session pays for the import.
        from tui.replay import Replay

        await Replay(settle_memory).show(loaded, self.transcript, read_only=bool(self.session.read_only))

    async def on_unmount(self) -> None:
        self._gate.disarm()
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._pump is not None:
            await self._pump.aclose()

    def on_resize(self) -> None:
        # A window of a few lines has room for what is said and what is written, and for nothing else.
        self.set_class(self.size.height < 8, "-low")
        self.set_class(self.size.width >= SIDE_FROM, "-wide")

    # -- sending --

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        message.stop()
        if not self.outbox.keeps(message.text):
            self._obey_or_send(message.text, message.time, self.session.submit)

    def on_prompt_stop_and_send(self, message: Prompt.StopAndSend) -> None:
        message.stop()
        send = partial(self.queueing.stop_and_send, at=message.time)
        if not self.outbox.keeps(message.text):
            self._obey_or_send(message.text, message.time, send)

    def _deliver(self, text: str) -> None:
        self._obey_or_send(text, time.monotonic(), self.session.submit)

    def take_over(self, before: Pane) -> None:
        """Get what was typed and sent in `before` since this one was asked for in its place."""
        if draft := before.prompt.draft:
            self.prompt.insert(draft, self.prompt.document.end if self._greeting.draft else (0, 0))
        self.outbox.post(before.outbox.take_all())
        self._refresh_state()

    def _obey_or_send(self, text: str, sent_at: float, send: Callable[[str], object]) -> None:
        # Imported by now, unless the first thing that happens is an Enter.
        from tui.command_table import read_command
        from tui.commands import obey

        try:
            command = read_command(text)
            if command is not None:
                obey(command, self)
            elif text and self.stop_keys.overtook(sent_at):
                # Sent before the stop, and overtaken by it: the stop was not meant to be followed by this.
                self.session.hold(text)
            else:
                send(text)
        except CaesuraError as error:
            self.transcript.add_notice(str(error), NoticeKind.ERROR)
            self.prompt.set_text_if_empty(text)
        self.dialogs.offer_focus()
        self._refresh_state()

    # -- what commands do here --

    def tell(self, text: str) -> None:
        self.transcript.add_notice(text, NoticeKind.INFO)

    def quit(self) -> None:
        self.post_message(self.QuitRequested())

    def home_of(self, scope: KeyScope) -> Widget:
        match scope:
            case KeyScope.APP | KeyScope.PANE:
                return self
            case KeyScope.PROMPT:
                return self.prompt
            case KeyScope.PANEL:
                return self.panel
            case KeyScope.APPROVAL:
                return self.approval
            case KeyScope.QUEUE:
                return self.queue
            case _:
                assert_never(scope)

    def do_command(self, name: str) -> None:
        self._obey_or_send(f"/{name}", time.monotonic(), self.session.submit)

    def show_running(self) -> None:
        self.panel.open()
        self.tell(self.stops.list_running(self._clock()))

    def open_session(self, session_id: str | None, greeting: Greeting = NO_GREETING) -> None:
        self.outbox.hold()
        self.post_message(self.OpenRequested(session_id, greeting))

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        message.stop()
        # Not with every letter: only the first and the last change what the status line says.
        if self._drafting is self.prompt.is_empty:
            self._drafting = not self._drafting
            self._refresh_state()

    def on_completion_changed(self) -> None:
        self._refresh_state()

    @on(Dialogs.Changed)
    @on(Lists.Changed)
    @on(QueueList.Changed)
    @on(events.DescendantFocus)
    def _on_focus_or_dialog(self) -> None:
        self._refresh_state()

    # -- showing --

    def _on_session_event(self, event: Event) -> None:
        assert self._pump is not None
        self._pump.on_event(event)
        match event:
            case TextArrived() | ReasoningArrived():
                return
            case TurnEnded(proof=proof):
                self.stop_keys.turn_ended()
                if proof is not None:
                    self.stop_keys.turn_stopped()
            case TurnStarted():
                self.stop_keys.turn_started()
                self._forget_note()
                self.stops.forget_list()
            case QuestionAsked():
                # It is told of before it is open.
                self.call_next(self._refresh_state)
            case _:
                pass
        self._refresh_state()
        self.panel.wake()

    def _say(self, note: str, *, for_s: float) -> None:
        """Show a word of the moment in the status line."""
        self._forget_note()
        self._note = note
        self._note_timer = self.set_timer(for_s, self._forget_note)
        self._refresh_state()

    def _say_briefly(self, note: str) -> None:
        self._say(note, for_s=CLEARED_NOTE_S)

    def _forget_note(self) -> None:
        self._note = None
        if self._note_timer is not None:
            self._note_timer.stop()
            self._note_timer = None
        self._refresh_state()

    def _refresh_state(self) -> None:
        """Bring the questions, the gate and the status line in line with the session."""
        if not self.is_attached:
            return
        self.dialogs.update()
        self.queue.set_compact(compact=self.has_class("-low") or self.dialogs.question is not None)
        self.queue.update()
        esc = self._esc()
        if self.session.status is Status.IDLE:
            self._gate.disarm()
        else:
            closes = frozenset({InterruptKey.CTRL_C})
            self._gate.arm(self.stop_keys.interrupt, keys=closes if esc is EscAction.CLOSE else BOTH_KEYS)
        view = status_view(self.session, esc, self._note, drafting=self._drafting)
        self.query_one(StatusLine).show(view)

    def _esc(self) -> EscAction:
        """What Esc does now; `esc_action` says why in this order."""
        return esc_action(self.key_state)

    @property
    def key_state(self) -> KeyState:
        """What keys depend on now, asked of session and widgets anew each time."""
        return key_state(self, self.screen.focused)
