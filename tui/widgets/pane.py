"""A pane: one session on the screen, from its transcript to its status line.

Everything that belongs to a session is here and nothing of it in the app, so that several panes can stand
side by side, each with a turn of its own. What is running is asked of the session, never remembered (U4).

Esc acts on the innermost visible thing (E1): a line of words closes; else an open question is denied and the
turn stopped; else the panel closes, if it has the focus: one that is merely visible keeps nobody from a stop;
else the turn is stopped. Ctrl+C stops the turn in each of these cases.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.containers import Container
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

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
from tui.commands import obey
from tui.interrupt import BOTH_KEYS, InterruptGate, InterruptKey
from tui.keys import KeyScope, bindings
from tui.pump import Pump
from tui.session_view import plain_esc, status_view
from tui.slash import read_command
from tui.stop_keys import QUIT_WITHIN_S, IdlePress, StopKeys
from tui.stops import CallStops
from tui.widgets.approval import Approval
from tui.widgets.dialogs import Dialogs
from tui.widgets.panel import Panel
from tui.widgets.prompt import Prompt
from tui.widgets.status_line import EscAction, StatusLine
from tui.widgets.transcript import NoticeKind, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.timer import Timer

    from core.session import Session

CLEARED_NOTE_S = 5.0
"""How long the status line says how a cleared composer comes back."""

SIDE_FROM = 120
"""Columns from which the panel stands beside the transcript, and not below it."""


class Pane(Widget):
    """Shows `session`. `gate` is armed while its turn runs, so that the input thread can stop it by itself.

    `clock` gives seconds as `time.monotonic` does; it decides what "twice within 2 s" means, and how long a
    turn has been running.
    """

    DEFAULT_CSS = """
    Pane {
        layout: vertical;
        & > .pane--title { height: 1; padding: 0 1; color: $text-muted; background: $panel; }
        & > .pane--body { layout: vertical; height: 1fr; }
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

    class StopKey(Message):
        """A stop key that has waited for its turn behind what was typed before it."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class QuitRequested(Message):
        """The user asked this pane to end the program."""

    class ThemeRequested(Message):
        """The user asked for other colours."""

    def __init__(
        self,
        session: Session,
        gate: InterruptGate,
        *,
        welcome: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.session = session
        self._gate = gate
        self._welcome = welcome
        self._clock = clock
        self.stop_keys = StopKeys(session, clock)
        self.stops = CallStops(session, self.tell, clock)
        self._note: str | None = None
        self._note_timer: Timer | None = None
        self._pump: Pump | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        title = Content.assemble(("Caesura", "bold $primary"), " · /help shows keys and commands")
        yield Static(title, classes="pane--title")
        prompt = Prompt(placeholder="Ask anything. Enter sends, Shift+Enter or Ctrl+J breaks the line.")
        dialogs = Dialogs(self.session, self.stops, prompt, clock=self._clock)
        with Container(classes="pane--body"):
            yield Transcript()
            yield Panel(self.session, dialogs.ask_words, clock=self._clock)
        yield dialogs
        yield prompt
        yield StatusLine(status_view(self.session, EscAction.NOTHING, None), clock=self._clock)

    def on_mount(self) -> None:
        self._pump = Pump(self.transcript, self.prompt.set_text_if_empty)
        self._unsubscribe = self.session.subscribe(self._on_session_event)
        if self._welcome:
            self.tell(self._welcome)
        self._refresh_state()

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

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)

    @property
    def panel(self) -> Panel:
        return self.query_one(Panel)

    @property
    def dialogs(self) -> Dialogs:
        return self.query_one(Dialogs)

    @property
    def approval(self) -> Approval:
        return self.query_one(Approval)

    # -- stopping --

    def show_interrupted(self) -> None:
        """The input thread has stopped the turn: show it in this very frame (E6)."""
        self._refresh_state()

    def action_stop(self) -> None:
        """Esc that came as an ordinary key: nothing was running when it was read, or it closes something."""
        if self._esc() is EscAction.CLOSE:
            self._close_innermost()
        else:
            self._act_in_order("escape")

    def action_interrupt(self) -> None:
        """Ctrl+C that came as an ordinary key."""
        self._act_in_order("ctrl+c")

    def _act_in_order(self, key: str) -> None:
        """Act on a stop key now if there is something to stop, else behind what was typed before it (U1).

        Textual runs these bindings at once, when the composer may still have an Enter in its queue: the turn
        which that starts is the one that is meant.
        """
        if self.stop_keys.stop_or_force(key):
            self._refresh_state()
        else:
            self.prompt.call_later(self.prompt.post_message, self.StopKey(key))

    def on_pane_stop_key(self, message: StopKey) -> None:
        message.stop()
        if not self.stop_keys.stop_or_force(message.key) and message.key == "ctrl+c":
            self._clear_or_quit()
        self._refresh_state()

    def _clear_or_quit(self) -> None:
        """Ctrl+C while idle: clear; on an empty composer, twice, quit (E2)."""
        if self.stop_keys.aftershock:
            return
        if self.dialogs.words_open:
            self.dialogs.close_words()
        elif self.prompt.clear_undoable():
            self._say("cleared, Ctrl+Z brings it back", for_s=CLEARED_NOTE_S)
        elif self.stop_keys.ctrl_c_while_idle() is IdlePress.QUIT:
            self.quit()
        else:
            self._say("Ctrl+C again quits", for_s=QUIT_WITHIN_S)

    # -- sending --

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        message.stop()
        try:
            command = read_command(message.text)
            if command is None and self.stop_keys.overtook(message.time):
                # Sent before the stop, and overtaken by it: the stop was not meant to be followed by this.
                self.session.hold(message.text)
            elif command is None:
                self.session.submit(message.text)
            else:
                obey(command, self)
        except CaesuraError as error:
            self.transcript.add_notice(str(error), NoticeKind.ERROR)
            self.prompt.set_text_if_empty(message.text)
        self.dialogs.offer_focus()
        self._refresh_state()

    # -- what commands do here --

    def tell(self, text: str) -> None:
        self.transcript.add_notice(text, NoticeKind.INFO)

    def quit(self) -> None:
        self.post_message(self.QuitRequested())

    def change_theme(self) -> None:
        self.post_message(self.ThemeRequested())

    def show_running(self) -> None:
        self.panel.open()
        self.tell(self.stops.list_running(self._clock()))

    def action_kill_survivors(self) -> None:
        self.run_worker(self._kill_survivors(), group="kill")

    async def _kill_survivors(self) -> None:
        await self.stops.kill_survivors()
        self._refresh_state()

    def action_next_mode(self) -> None:
        self.session.set_mode(self.session.mode.next)

    # -- where the keys go --

    def action_toggle_panel(self) -> None:
        """Closed: open it and go there. Open: go there. There: close it."""
        if self.screen.focused is self.panel:
            self._close_panel()
        else:
            self.panel.open()
            self._focus(self.panel)

    def action_go_on(self) -> None:
        """From the composer to the question, the panel, and back; what is not open is left out."""
        stations: list[Widget] = [self.prompt, *self.dialogs.stations]
        if self.panel.is_open:
            stations.append(self.panel)
        focused = self.screen.focused
        at = stations.index(focused) if focused in stations else -1
        self._focus(stations[(at + 1) % len(stations)])

    def _focus(self, widget: Widget) -> None:
        # At once, unlike `Widget.focus`: what is typed behind the key that led here goes to `widget`.
        self.screen.set_focus(widget, scroll_visible=False)
        self._refresh_state()

    def _close_innermost(self) -> None:
        if self.dialogs.words_open:
            self.dialogs.close_words()
        else:
            self._close_panel()

    def _close_panel(self) -> None:
        self.panel.close()
        self._focus(self.prompt)

    # -- single calls --

    def on_panel_stop_requested(self, message: Panel.StopRequested) -> None:
        message.stop()
        self.stops.press(message.call_id, message.button, "the panel")
        self.panel.wake()

    def on_panel_deadline_moved(self, message: Panel.DeadlineMoved) -> None:
        message.stop()
        self.stops.give_time(message.call_id, message.seconds)
        self.panel.wake()

    def on_panel_kill_requested(self, message: Panel.KillRequested) -> None:
        message.stop()
        self.action_kill_survivors()

    @on(Dialogs.Changed)
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
            case TurnEnded(proof=proof) if proof is not None:
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
        esc = self._esc()
        if self.session.status is Status.IDLE:
            self._gate.disarm()
        else:
            closes = frozenset({InterruptKey.CTRL_C})
            self._gate.arm(self.stop_keys.interrupt, keys=closes if esc is EscAction.CLOSE else BOTH_KEYS)
        self.query_one(StatusLine).show(status_view(self.session, esc, self._note))

    def _esc(self) -> EscAction:
        """What Esc does now; the module says why in this order."""
        if self.dialogs.words_open:
            return EscAction.CLOSE
        if self.dialogs.question is not None and self.session.status is Status.RUNNING:
            return EscAction.DENY
        if self.screen.focused is self.panel:
            return EscAction.CLOSE
        return plain_esc(self.session)

    # -- moving --

    def action_transcript_page_up(self) -> None:
        self.transcript.action_page_up()

    def action_transcript_page_down(self) -> None:
        self.transcript.action_page_down()

    def action_transcript_home(self) -> None:
        self.transcript.action_scroll_home()

    def action_transcript_end(self) -> None:
        self.transcript.action_scroll_end()

    def action_toggle_reasoning(self) -> None:
        self.transcript.toggle_reasoning()
