"""The widgets of one pane, which its controllers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.composer.prompt import Prompt
from tui.composer.queue_list import QueueList
from tui.keys.bindings import key_name, key_names
from tui.keys.state import EscAction, Place
from tui.lists.overlays import Overlays
from tui.lists.running.running_panel import RunningPanel
from tui.pane.status import silence_of, status_view
from tui.pane.status_line import StatusLine
from tui.questions.dialogs import Dialogs
from tui.transcript.plain import NoticeKind
from tui.transcript.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.widget import Widget

    from core.session.session import Session
    from tui.commands.command import StopsCalls


class PaneWidgets:
    """Creates the widgets. `sent` are the prompts that Up recalls, the oldest first. `hint` shows a short
    text in the status line."""

    def __init__(
        self,
        session: Session,
        stops: StopsCalls,
        hint: Callable[[str], object],
        *,
        sent: list[str],
        clock: Callable[[], float],
    ) -> None:
        sends, breaks = key_name("prompt.submit"), key_names("prompt.newline", 2)
        self.transcript = Transcript()
        self.prompt = Prompt(sent=sent, placeholder=f"Ask anything. {sends} sends, {breaks} breaks the line.")
        self.dialogs = Dialogs(session, stops, self.prompt, clock=clock)
        self.panel = RunningPanel(session, self.dialogs.ask_reason, clock=clock)
        self.lists = Overlays(self.prompt, self.notify, clock=clock)
        self.queue = QueueList(session.queue, self.prompt, hint, clock=clock)
        self.status_line = StatusLine(
            status_view(session, EscAction.NOTHING, None), silence=lambda: silence_of(session), clock=clock
        )

    def notify(self, text: str, kind: NoticeKind = NoticeKind.INFO) -> None:
        """Add a sentence to the transcript."""
        self.transcript.add_notice(text, kind)

    @property
    def focused(self) -> Widget | None:
        """The widget that has the focus, in this pane or elsewhere on the screen."""
        return self.prompt.screen.focused

    @property
    def focus_targets(self) -> list[tuple[Place, Widget]]:
        """Where Tab goes, in its order; what is not open is left out."""
        words = [Place.WORDS] if self.dialogs.reason_open else []
        named: tuple[tuple[list[Place], list[Widget]], ...] = (
            ([Place.COMPOSER], [self.prompt]),
            ([Place.LIST], self.lists.focus_targets),
            ([*words, Place.QUESTION], self.dialogs.focus_targets),
            ([Place.QUEUE, Place.QUEUE_EDITOR], self.queue.focus_targets),
            ([Place.PANEL], [self.panel] if self.panel.is_open else []),
        )
        # Each group of places may have fewer widgets.
        return [pair for places, widgets in named for pair in zip(places, widgets, strict=False)]
