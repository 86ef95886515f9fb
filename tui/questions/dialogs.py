"""What stands above the composer and wants an answer: the open question, and the line of words.

The focus moves here by itself only from an empty composer, and only when a question has been visible for as
long as it takes no answers: whoever types goes on typing, and Tab or a click goes to the question.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, assert_never

from textual.message import Message
from textual.widget import Widget

from core.events import Answer, AnswerKind
from tui.widgets.approval import GRACE_S, Approval
from tui.words import DenyWords, Purpose, StopWords

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from core.events import Question
    from core.session import Session
    from tui.stops import CallStops
    from tui.widgets.prompt import Prompt
    from tui.widgets.words_line import WordsLine


class Dialogs(Widget):
    """The dialogs of one pane. `prompt` is where the focus is at home. `clock` gives seconds."""

    DEFAULT_CSS = """
    Dialogs { height: auto; layout: vertical; }
    """

    class Changed(Message):
        """Something was opened, closed or answered: Esc may mean something else now."""

    def __init__(
        self,
        session: Session,
        stops: CallStops,
        prompt: Prompt,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._session = session
        self._stops = stops
        self._prompt = prompt
        self._approval = Approval(self.ask_words, clock=clock)
        self._words: WordsLine | None = None
        self._draft: tuple[Purpose, str] | None = None
        self._came_from: Widget | None = None

    def compose(self) -> ComposeResult:
        yield self._approval

    @property
    def question(self) -> Question | None:
        """The one that is shown."""
        return self._approval.question

    @property
    def words_open(self) -> bool:
        return self._words is not None

    @property
    def stations(self) -> list[Widget]:
        """Where Tab goes here."""
        question = [self._approval] if self.question is not None else []
        return [*([] if self._words is None else [self._words]), *question]

    # -- the question --

    def update(self) -> None:
        """Show the oldest open question, or none."""
        before = self.question
        self._approval.show(self._session.questions)
        question = self.question
        if question is before:
            return
        words = self._words
        if words is not None and isinstance(words.purpose, DenyWords):
            # What it was for is gone. Nothing that somebody wrote is lost.
            self._prompt.set_text_if_empty(words.value)
            self.close_words()
        if question is not None:
            self.offer_focus()
        elif self.screen.focused is self._approval:
            self._focus(self._prompt)

    def offer_focus(self) -> None:
        """Go to the question in a moment, unless somebody is writing by then or has gone elsewhere."""
        if self.question is not None:
            self.set_timer(GRACE_S, partial(self._take_focus, self.question))

    def _take_focus(self, question: Question) -> None:
        nobody_writes = self.screen.focused in (None, self._prompt) and self._prompt.is_empty
        if nobody_writes and self.question is question:
            self._focus(self._approval)

    def on_approval_answered(self, message: Approval.Answered) -> None:
        message.stop()
        self._session.answer(message.ask_id, message.answer)
        self.post_message(self.Changed())

    def on_approval_stop_requested(self, message: Approval.StopRequested) -> None:
        message.stop()
        self._stops.stop(message.call_id, "its question")
        self.post_message(self.Changed())

    # -- the line of words --

    def ask_words(self, purpose: Purpose) -> None:
        """Open the line of words. See `tui.words.AskWords`."""
        # Only who needs it pays for the import.
        from tui.widgets.words_line import WordsLine

        self._drop_words()
        self._came_from = self.screen.focused
        draft = self._draft[1] if self._draft is not None and self._draft[0] == purpose else ""
        self._words = WordsLine(purpose, draft)
        self.mount(self._words)
        self._focus(self._words)

    def close_words(self) -> None:
        """Close the line of words, and go back to where it was opened from, if that is still there."""
        self._drop_words()
        back = self._came_from
        self._focus(back if back is not None and back.is_attached and back.display else self._prompt)

    def on_words_line_given(self, message: WordsLine.Given) -> None:
        message.stop()
        self.close_words()
        self._draft = None
        match message.purpose:
            case StopWords(call_id):
                self._stops.stop(call_id, "the panel", message.words)
            case DenyWords(ask_id):
                self._session.answer(ask_id, Answer(AnswerKind.DENY, message.words))
            case _:
                assert_never(message.purpose)
        self.post_message(self.Changed())

    def _drop_words(self) -> None:
        words, self._words = self._words, None
        if words is not None:
            # To close it loses nothing: who opens it for the same again finds it as it was.
            self._draft = words.purpose, words.value
            words.remove()

    def _focus(self, widget: Widget) -> None:
        # At once, unlike `Widget.focus`: what is typed behind the key that led here goes to `widget`.
        self.screen.set_focus(widget, scroll_visible=False)
        self.post_message(self.Changed())
