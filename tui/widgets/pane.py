"""A pane: one session on the screen, with its transcript, its composer and its status line.

Everything that belongs to a session is here and nothing of it in the app, so that several panes can stand
side by side, each with a turn of its own. What is running is asked of the session, never remembered (U4).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from core.cancel import CancelReason, Cause
from core.errors import CaesuraError
from core.events import Event, ReasoningArrived, Status, TextArrived, TurnEnded, TurnStarted
from tui.interrupt import BOTH_KEYS, InterruptGate, Press
from tui.keys import KeyScope, bindings
from tui.pump import Pump
from tui.slash import HELP, SlashCommand, read_command
from tui.widgets.prompt import Prompt
from tui.widgets.status_line import EscAction, StatusLine, StatusView, TurnState
from tui.widgets.transcript import NoticeKind, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.timer import Timer

    from core.session import Session

QUIT_WITHIN_S = 2.0
"""Ctrl+C twice within this time quits, idle and with an empty composer (E2)."""

AFTERSHOCK_S = 0.5
"""A Ctrl+C this soon after the end of a stopped turn was meant for that turn: it does nothing."""

CLEARED_NOTE_S = 5.0
"""How long the status line says how a cleared composer comes back."""

KEY_REPEAT_S = 0.15
"""A stop key this soon after the one that stopped is the same press: a bounce, or a nervous double tap."""

_ESC = {Status.IDLE: EscAction.NOTHING, Status.RUNNING: EscAction.STOP, Status.STOPPING: EscAction.FORCE}
_STATE = {Status.IDLE: TurnState.IDLE, Status.RUNNING: TurnState.RUNNING, Status.STOPPING: TurnState.STOPPING}


class Pane(Widget):
    """Shows `session`. `gate` is armed while its turn runs, so that the input thread can stop it by itself.

    `clock` gives seconds as `time.monotonic` does; it decides what "twice within 2 s" means, and how long a
    turn has been running.
    """

    DEFAULT_CSS = """
    Pane {
        layout: vertical;
        & > .pane--title { height: 1; padding: 0 1; color: $text-muted; background: $panel; }
        & > Transcript {
            height: 1fr;
            padding: 0 0 0 1;
            scrollbar-background: $background;
            scrollbar-background-hover: $background;
            scrollbar-background-active: $background;
        }
        & > Prompt { max-height: 50%; }
        &.-low > .pane--title { display: none; }
        &.-low > Prompt { border: none; }
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
        self._first_ctrl_c = float("-inf")
        self._stopped_at = float("-inf")
        # Written by the input thread: when the last stop key that stopped something was read.
        self._pressed_at = float("-inf")
        self._note: str | None = None
        self._note_timer: Timer | None = None
        self._pump: Pump | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        title = Content.assemble(("Caesura", "bold $primary"), " · /help shows keys and commands")
        yield Static(title, classes="pane--title")
        yield Transcript()
        yield Prompt(placeholder="Ask anything. Enter sends, Shift+Enter or Ctrl+J breaks the line.")
        yield StatusLine(self._view(), clock=self._clock)

    def on_mount(self) -> None:
        self._pump = Pump(self.transcript, self.prompt.set_text_if_empty)
        self._unsubscribe = self.session.subscribe(self._on_session_event)
        if self._welcome:
            self._tell(self._welcome)
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

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)

    # -- stopping --

    def interrupt(self, press: Press) -> None:
        """A press of a stop key: the first stops, the next forces. Runs in the input thread, too."""
        if self.session.stop(CancelReason(Cause.USER, press.key.value, press.at)):
            self._pressed_at = press.at
        elif press.at - self._pressed_at > KEY_REPEAT_S:
            self.session.force()

    def show_interrupted(self) -> None:
        """The input thread has stopped the turn: show it in this very frame (E6)."""
        self._refresh_state()

    def action_stop(self) -> None:
        """Esc that came as an ordinary key, because nothing was running when it was read."""
        self._act_in_order("escape")

    def action_interrupt(self) -> None:
        """Ctrl+C that came as an ordinary key."""
        self._act_in_order("ctrl+c")

    def _act_in_order(self, key: str) -> None:
        """Act on a stop key now if there is something to stop, else behind what was typed before it (U1).

        Textual runs these bindings at once, when the composer may still have an Enter in its queue: the turn
        which that starts is the one that is meant.
        """
        if self._stop_or_force(key):
            self._refresh_state()
        else:
            self.prompt.call_later(self.prompt.post_message, self.StopKey(key))

    def on_pane_stop_key(self, message: StopKey) -> None:
        message.stop()
        if not self._stop_or_force(message.key) and message.key == "ctrl+c":
            self._clear_or_quit()
        self._refresh_state()

    def _clear_or_quit(self) -> None:
        """Ctrl+C while idle: clear; on an empty composer, twice, quit (E2)."""
        now = self._clock()
        if now - self._stopped_at < AFTERSHOCK_S:
            return
        if self.prompt.clear_undoable():
            self._say("cleared, Ctrl+Z brings it back", for_s=CLEARED_NOTE_S)
        elif now - self._first_ctrl_c <= QUIT_WITHIN_S:
            self.post_message(self.QuitRequested())
        else:
            self._first_ctrl_c = now
            self._say("Ctrl+C again quits", for_s=QUIT_WITHIN_S)

    def _stop_or_force(self, source: str) -> bool:
        return self.session.stop(CancelReason(Cause.USER, source)) or self.session.force()

    # -- sending --

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        message.stop()
        try:
            command = read_command(message.text)
            if command is None and message.time < self._pressed_at:
                # Sent before the stop, and overtaken by it: the stop was not meant to be followed by this.
                self.session.hold(message.text)
            elif command is None:
                self.session.submit(message.text)
            else:
                self._obey(command)
        except CaesuraError as error:
            self.transcript.add_notice(str(error), NoticeKind.ERROR)
            self.prompt.set_text_if_empty(message.text)
        self._refresh_state()

    def _obey(self, command: SlashCommand) -> None:
        match command:
            case SlashCommand.CONTINUE:
                self.session.resume()
            case SlashCommand.SEND:
                if not self.session.send_queued():
                    self._tell("Nothing was sent: no prompt is queued, or a turn is still running.")
            case SlashCommand.DROP:
                if not self.session.take_queue():
                    self._tell("No prompt is queued: there is nothing to drop.")
            case SlashCommand.HELP:
                self._tell(HELP)
            case SlashCommand.QUIT:
                self.post_message(self.QuitRequested())

    def _tell(self, text: str) -> None:
        self.transcript.add_notice(text, NoticeKind.INFO)

    # -- showing --

    def _on_session_event(self, event: Event) -> None:
        assert self._pump is not None
        self._pump.on_event(event)
        match event:
            case TextArrived() | ReasoningArrived():
                return
            case TurnEnded(proof=proof) if proof is not None:
                self._stopped_at = self._clock()
            case TurnStarted():
                # Ctrl+C has another meaning now, and so would a second one have.
                self._first_ctrl_c = float("-inf")
                self._forget_note()
            case _:
                pass
        self._refresh_state()

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
        """Bring the gate and the status line in line with the session."""
        if self.session.status is Status.IDLE:
            self._gate.disarm()
        else:
            self._gate.arm(self.interrupt, keys=BOTH_KEYS)
        self.query_one(StatusLine).show(self._view())

    def _view(self) -> StatusView:
        session, status = self.session, self.session.status
        return StatusView(
            state=_STATE[status],
            esc=_ESC[status],
            model=session.choice.model,
            context_used=session.context_used,
            context_window=session.info.context_window,
            started_at=session.started_at,
            note=self._note or self._queue_note(),
        )

    def _queue_note(self) -> str | None:
        if not (waiting := len(self.session.queued)):
            return None
        return f"{waiting} queued: /send or /drop" if self.session.queue_paused else f"{waiting} queued"

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
