"""What the parts of a pane know of each other: its widgets, its session, and how something is said in it.

The pane is put together from a few classes, each for one thing that a person does in it; this is their base.
It does nothing by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widget import Widget

from tui.widgets.approval import Approval
from tui.widgets.dialogs import Dialogs
from tui.widgets.lists import Lists
from tui.widgets.panel import Panel
from tui.widgets.queue_list import QueueList
from tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Protocol

    from core.session import Session
    from tui.keeping import Keeping
    from tui.key_state import KeyState
    from tui.outbox import Outbox
    from tui.queueing import Queueing
    from tui.stop_keys import StopKeys
    from tui.stops import CallStops
    from tui.widgets.prompt import Prompt
    from tui.widgets.status_line import EscAction

    class Completing(Protocol):
        """`tui.widgets.completion.Completion`, or what is in its place until that is there."""

        @property
        def is_open(self) -> bool: ...

        def dismiss(self) -> None: ...

        def complete(self) -> bool: ...


class PaneParts(Widget):
    """See the module."""

    session: Session
    stop_keys: StopKeys
    stops: CallStops
    keeping: Keeping
    queueing: Queueing
    outbox: Outbox
    completion: Completing
    _prompt: Prompt
    _clock: Callable[[], float]

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        return self._prompt

    @property
    def lists(self) -> Lists:
        return self.query_one(Lists)

    @property
    def panel(self) -> Panel:
        return self.query_one(Panel)

    @property
    def queue(self) -> QueueList:
        return self.query_one(QueueList)

    @property
    def dialogs(self) -> Dialogs:
        return self.query_one(Dialogs)

    @property
    def approval(self) -> Approval:
        return self.query_one(Approval)

    @property
    def key_state(self) -> KeyState:
        """What keys depend on now."""
        raise NotImplementedError

    def tell(self, text: str) -> None:
        """Say a sentence in the transcript."""
        raise NotImplementedError

    def quit(self) -> None:
        raise NotImplementedError

    def do_later(self, work: Coroutine[object, object, None]) -> None:
        """Do it beside the keys; what it cannot do is told."""
        raise NotImplementedError

    def _say(self, note: str, *, for_s: float) -> None:
        """Show a word of the moment in the status line."""
        raise NotImplementedError

    def _refresh_state(self) -> None:
        """Bring the questions, the gate and the status line in line with the session."""
        raise NotImplementedError

    def _esc(self) -> EscAction:
        """What Esc does now."""
        raise NotImplementedError

    def _focus(self, widget: Widget) -> None:
        # At once, unlike `Widget.focus`: what is typed behind the key that led here goes to `widget`.
        self.screen.set_focus(widget, scroll_visible=False)
        self._refresh_state()
