"""What is above the composer and wants an answer: the open question, and the line for a reason.

The focus moves here by itself only from an empty composer, and only when a question has been visible for as
long as it takes no answers: typing is not interrupted, and Tab or a click goes to the question.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, assert_never

from textual.message import Message
from textual.widget import Widget

from core.operations.events import Answer, AnswerKind
from tui.base.timers import call_after
from tui.composer.reason import DenyReason, ReasonFor, StopReason
from tui.questions.approval import GRACE_S, Approval

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from core.operations.events import Question
    from core.session.session import Session
    from tui.commands.command import StopsCalls
    from tui.composer.prompt import Prompt
    from tui.composer.reason_line import ReasonLine


class Dialogs(Widget):
    """The dialogs of one pane. `prompt` gets the focus back. `clock` gives seconds."""

    DEFAULT_CSS = """
    Dialogs { height: auto; layout: vertical; }
    """

    class Changed(Message):
        """A dialog was opened, closed or answered: Esc may mean something else now."""

    def __init__(
        self,
        session: Session,
        stops: StopsCalls,
        prompt: Prompt,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._session = session
        self._stops = stops
        self._prompt = prompt
        self.approval = Approval(self.ask_reason, clock=clock)
        self._reason_line: ReasonLine | None = None
        self._draft: tuple[ReasonFor, str] | None = None
        self._came_from: Widget | None = None

    def compose(self) -> ComposeResult:
        yield self.approval

    @property
    def question(self) -> Question | None:
        """The question that is shown."""
        return self.approval.question

    @property
    def reason_open(self) -> bool:
        return self._reason_line is not None

    @property
    def focus_targets(self) -> list[Widget]:
        """The widgets that Tab reaches here."""
        question = [self.approval] if self.question is not None else []
        return [*([] if self._reason_line is None else [self._reason_line]), *question]

    def update(self) -> None:
        """Show the oldest open question, or none."""
        before = self.question
        self.approval.show(self._session.questions.open)
        question = self.question
        if question is before:
            return
        reason_line = self._reason_line
        if reason_line is not None and isinstance(reason_line.reason_for, DenyReason):
            # Its question is gone; what the person wrote is kept.
            self._prompt.set_text_if_empty(reason_line.value)
            self.close_reason()
        if question is not None:
            self.offer_focus()
        elif self.screen.focused is self.approval:
            self._focus(self._prompt)

    def offer_focus(self) -> None:
        """Focus the question in a moment, unless the person is writing by then or is elsewhere."""
        if self.question is not None:
            call_after(self, GRACE_S, partial(self._take_focus, self.question))

    def _take_focus(self, question: Question) -> None:
        nobody_writes = self.screen.focused in (None, self._prompt) and self._prompt.is_empty
        if nobody_writes and self.question is question:
            self._focus(self.approval)

    def on_approval_answered(self, message: Approval.Answered) -> None:
        message.stop()
        self._session.questions.answer(message.ask_id, message.answer)
        self.post_message(self.Changed())

    def on_approval_stop_requested(self, message: Approval.StopRequested) -> None:
        message.stop()
        self._stops.stop(message.call_id, "its question")
        self.post_message(self.Changed())

    def ask_reason(self, reason_for: ReasonFor) -> None:
        """Open the line for a reason. See `tui.composer.reason.AskReason`."""
        # Imported when it is needed first.
        from tui.composer.reason_line import ReasonLine

        self._drop_reason()
        self._came_from = self.screen.focused
        draft = self._draft[1] if self._draft is not None and self._draft[0] == reason_for else ""
        self._reason_line = ReasonLine(reason_for, draft)
        self.mount(self._reason_line)
        self._focus(self._reason_line)

    def close_reason(self) -> None:
        """Close the line for a reason and focus the widget that had the focus before, if it is still
        there."""
        self._drop_reason()
        back = self._came_from
        self._focus(back if back is not None and back.is_attached and back.display else self._prompt)

    def on_reason_line_given(self, message: ReasonLine.Given) -> None:
        message.stop()
        self.close_reason()
        self._draft = None
        match message.reason_for:
            case StopReason(call_id):
                self._stops.stop(call_id, "the panel", message.reason)
            case DenyReason(ask_id):
                self._session.questions.answer(ask_id, Answer(AnswerKind.DENY, message.reason))
            case _:
                assert_never(message.reason_for)
        self.post_message(self.Changed())

    def _drop_reason(self) -> None:
        reason_line, self._reason_line = self._reason_line, None
        if reason_line is not None:
            # The text is shown again when the line is opened for the same reason.
            self._draft = reason_line.reason_for, reason_line.value
            reason_line.remove()

    def _focus(self, widget: Widget) -> None:
        # At once, unlike `Widget.focus`: the keys that follow go to `widget`.
        self.screen.set_focus(widget, scroll_visible=False)
        self.post_message(self.Changed())
