"""A pane: one session on the screen, from its transcript to its status line.

Everything that belongs to a session is here and nothing of it in the app, so that several panes can stand
side by side, each with a turn of its own. What is running is asked of the session, never remembered (U4).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, assert_never

from textual import events, on
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static, TextArea

from tui.base.timers import call_after
from tui.composer.queue import QueueActions
from tui.composer.queue_list import QueueList
from tui.keys.bindings import KeyBinding, KeyScope, bindings, key_name
from tui.keys.stop_keys import StopKeys
from tui.lists.overlays import Overlays
from tui.pane.body import PaneBody
from tui.pane.call_stops import CallStops
from tui.pane.commands import PaneCommands
from tui.pane.focus import PaneFocus
from tui.pane.outbox import Outbox
from tui.pane.sending import PromptSender
from tui.pane.session_feed import SessionFeed
from tui.pane.state import PaneState
from tui.pane.stopping import LateStopKey, StopActions
from tui.pane.widgets import PaneWidgets
from tui.pane.work import PaneWork
from tui.questions.dialogs import Dialogs

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.geometry import Size

    from core.session.session import Session
    from tui.commands.opening import Opening
    from tui.composer.prompt import Prompt
    from tui.keys.state import KeyState
    from tui.lists.palette import Palette
    from tui.pane.commands import PaneServices
    from tui.pane.outbox import Hold
    from tui.terminal.interrupt import InterruptGate

FIRST_KEYS_S = 0.1
"""Seconds after the first frame in which nothing but keys is handled: imports, also those of a thread, would
make each key slower."""

SIDE_FROM = 120
"""Columns from which the panel stands beside the transcript, and not below it."""

LOW_BELOW = 8
"""Rows below which there is room for what is said and what is written, and for nothing else."""


class Pane(Widget):
    """Shows `session`. `gate` is armed while its turn runs, so that the input thread can stop it by itself.

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
        & RunningPanel { width: 100%; height: 40%; min-height: 3; max-height: 14; }
        & > Prompt { max-height: 50%; }
        &.-low > .pane--title { display: none; }
        &.-low > Prompt { border: none; }
        &.-low Approval { border: none; }
        &.-low RunningPanel { border: none; min-height: 2; }
        &.-low ReasonLine { border: none; height: 1; }
        &.-wide > .pane--body { layout: horizontal; }
        &.-wide RunningPanel { width: 44; height: 100%; max-height: 100%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.PANE)]

    class QuitRequested(Message):
        """The person asked this pane to end the program."""

    class OpenRequested(Message):
        """Another session is to be shown in the place of this one, a new one if there is no id.

        `hold` keeps what is sent until then: release it when the session is shown or cannot be opened.
        """

        def __init__(self, session_id: str | None, opening: Opening, hold: Hold) -> None:
            super().__init__()
            self.session_id = session_id
            self.opening = opening
            self.hold = hold

    class TypingHandled(Message):
        """What was typed before this message is handled: `done` can be set."""

        def __init__(self, done: asyncio.Event) -> None:
            super().__init__()
            self.done = done

    def __init__(
        self,
        session: Session,
        gate: InterruptGate,
        services: PaneServices,
        *,
        opening: Opening,
        clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self.session = session
        self._gate, self._services = gate, services
        self._opening = opening
        self.stop_keys = StopKeys(session, clock)
        self.stops = CallStops(session, self.add_notice, clock)
        self.widgets = widgets = PaneWidgets(
            session, self.stops, lambda text: self._state.hint(text), sent=_prompts_of(session), clock=clock
        )
        self.transcript, self.prompt = widgets.transcript, widgets.prompt
        self.lists, self.panel = widgets.lists, widgets.panel
        self.dialogs, self.queue = widgets.dialogs, widgets.queue
        self._state = PaneState(self, session, widgets, self.stop_keys, gate)
        self._focus = PaneFocus(widgets, self._state.refresh)
        self._feed = SessionFeed(self._state, self.stops)
        self.queue_actions = QueueActions(
            session.queue,
            hint=self._state.hint,
            notify=self.add_notice,
            give_back=self.prompt.set_text_if_empty,
        )
        self.outbox = Outbox(lambda text: self._sender.deliver(text))
        self.commands = PaneCommands(
            self,
            session,
            widgets,
            PaneWork(self, self.lists, self.outbox, self._state.refresh),
            services,
            stops=self.stops,
            queue_actions=self.queue_actions,
            clock=clock,
        )
        self._sender = PromptSender(self._state, self.outbox, self.commands)
        self._stopping = StopActions(
            self._state,
            self._focus,
            rewind=lambda: self.commands.try_command(self.commands.show_rewind),
            quit_program=self.request_quit,
        )

    def compose(self) -> ComposeResult:
        # Before there are children, each of which would get its styles a second time.
        self._fit(self.app.size)
        title = Content.assemble(
            ("Caesura", "bold $primary"), f" · {key_name('pane.help')} shows keys and commands"
        )
        yield Static(title, classes="pane--title")
        yield PaneBody(self.widgets, self.commands)
        yield self.dialogs
        yield self.queue
        yield self.prompt
        yield self.widgets.status_line

    def on_mount(self) -> None:
        self._feed.start(self._opening)
        self._state.refresh()
        self.call_after_refresh(call_after, self, FIRST_KEYS_S, self._add_completion)

    def _add_completion(self) -> None:
        """Add what completes a command while it is typed. The first keys do without it."""
        from tui.commands.table import COMMANDS
        from tui.composer.completion import Completion
        from tui.composer.completions import offers_for

        completion = Completion(self.prompt, lambda line: offers_for(line, COMMANDS, self.commands))
        self.mount(completion, before=self.prompt)
        self.prompt.completer = completion

    async def on_unmount(self) -> None:
        self._gate.disarm()
        await self._feed.aclose()

    def on_resize(self) -> None:
        self._fit(self.size)

    def _fit(self, size: Size) -> None:
        self.set_class(size.height < LOW_BELOW, "-low")
        self.set_class(size.width >= SIDE_FROM, "-wide")

    # -- for its owner --

    @property
    def key_state(self) -> KeyState:
        return self._state.key_state

    def add_notice(self, text: str) -> None:
        """Add a sentence to the transcript."""
        self.widgets.notify(text)

    def show_interrupted(self) -> None:
        """Show in this very frame that the input thread has stopped the turn (E6)."""
        self._state.refresh()

    async def handle_typing(self) -> None:
        """Wait until everything that was typed here so far has been handled."""
        done = asyncio.Event()
        self.prompt.call_later(self.prompt.post_message, self.TypingHandled(done))
        await done.wait()

    def on_pane_typing_handled(self, message: TypingHandled) -> None:
        message.stop()
        message.done.set()

    def take_over(self, before: Pane) -> None:
        """Continue with what was typed and sent in `before`, in whose place this pane is shown."""
        self.prompt.take_over(before.prompt, behind=bool(self._opening.draft))
        self.outbox.take_over(before.outbox)
        self._state.refresh()

    # -- sending --

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        message.stop()
        self._sender.submit(message.text, message.time)

    def on_prompt_stop_and_send(self, message: Prompt.StopAndSend) -> None:
        message.stop()
        self._sender.stop_and_send(message.text, message.time, self.queue_actions)

    # -- what commands ask of it --

    def request_session(self, session_id: str | None, opening: Opening) -> None:
        hold = self.outbox.hold()
        if not self.post_message(self.OpenRequested(session_id, opening, hold)):
            # This pane is being replaced, so nobody will hear of it.
            hold.release()

    def request_quit(self) -> None:
        self.post_message(self.QuitRequested())

    # -- what changes its state --

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        message.stop()
        self._services.on_activity()
        self._state.draft_changed()

    def on_completion_changed(self) -> None:
        self._state.refresh()

    @on(Dialogs.Changed)
    @on(Overlays.Changed)
    @on(QueueList.Changed)
    @on(events.DescendantFocus)
    def _on_focus_or_dialog(self) -> None:
        self._state.refresh()

    # -- keys --

    def action_stop(self) -> None:
        self._stopping.escape()

    def action_interrupt(self) -> None:
        self._stopping.ctrl_c()

    @on(LateStopKey)
    def _on_late_stop_key(self, message: LateStopKey) -> None:
        message.stop()
        self._stopping.act_late(message.key)

    def action_toggle_panel(self) -> None:
        self._focus.toggle_panel()

    def action_go_on(self) -> None:
        self._focus.move_to_next()

    def action_show_sessions(self) -> None:
        self.commands.try_command(self.commands.show_sessions)

    def action_show_models(self) -> None:
        self.commands.try_command(self.commands.show_models)

    def action_show_help(self) -> None:
        self.commands.try_command(self.commands.show_help)

    def action_show_palette(self) -> None:
        self.commands.try_command(self.commands.show_palette)

    def action_kill_survivors(self) -> None:
        self.commands.kill_survivors()

    def action_retry_now(self) -> None:
        self.session.backoffs.skip_all()
        self._state.refresh()

    def action_send_queued(self) -> None:
        self.queue_actions.go_on()
        self._state.refresh()

    def action_next_mode(self) -> None:
        self.session.settings.set_mode(self.session.permissions.mode.next)

    def action_transcript_page_up(self) -> None:
        self.transcript.action_page_up()

    def action_transcript_page_down(self) -> None:
        self.transcript.action_page_down()

    def action_transcript_home(self) -> None:
        self.transcript.action_scroll_home()

    def action_transcript_end(self) -> None:
        self.transcript.action_scroll_end()

    def action_toggle_cards(self) -> None:
        self.transcript.toggle_cards()

    def action_toggle_reasoning(self) -> None:
        self.transcript.toggle_reasoning()

    async def on_palette_chosen(self, message: Palette.Chosen) -> None:
        message.stop()
        self.lists.close()
        match message.act:
            case KeyBinding(scope=KeyScope.APP, action=action):
                await self.app.run_action(action)
            case KeyBinding(scope=scope, action=action):
                await self.app.run_action(action, default_namespace=self._owner_of(scope))
            case command:
                self._sender.submit(f"/{command.name}", message.time)

    def _owner_of(self, scope: KeyScope) -> Widget:
        """The widget on which actions of this scope run."""
        match scope:
            case KeyScope.APP | KeyScope.PANE:
                return self
            case KeyScope.PROMPT:
                return self.prompt
            case KeyScope.PANEL:
                return self.panel
            case KeyScope.APPROVAL:
                return self.dialogs.approval
            case KeyScope.QUEUE:
                return self.queue
            case _:
                assert_never(scope)


def _prompts_of(session: Session) -> list[str]:
    """What was sent in a stored session, the oldest first, for Up."""
    loaded = session.record.loaded
    return (
        [] if loaded is None else [turn.prompt for turn in loaded.turns if turn.kept and not turn.continued]
    )
