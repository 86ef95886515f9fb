"""The question whether a call may run: what it would do, why it is asked, and the answers.

Nothing is allowed by accident: an answer counts only after the question has been on the screen for a moment,
and only as its own letter or a click; Enter gives the answer that the arrows have marked. Esc is not handled
here and never allows. The widget posts what the person has chosen. It does not take the focus by itself, so
that what the person types goes on to the prompt.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from core.operations.events import Answer, AnswerKind
from tui.base.printable import one_line
from tui.base.timers import call_after
from tui.composer.reason import DenyReason
from tui.keys.bindings import KeyScope, bindings, key_name
from tui.questions.question_rows import QuestionRow, Tint, question_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.style import Style
    from textual import events
    from textual.binding import BindingType
    from textual.geometry import Size

    from core.operations.events import Question
    from tui.composer.reason import AskReason

GRACE_S = 0.4
"""Seconds after a question has appeared during which nothing answers it (E3)."""

NARROWEST = 8
_GAP = 2


class Choice(StrEnum):
    """What a person can choose. The values of answers are those of `AnswerKind`."""

    ONCE = "once"
    SESSION = "session"
    ALWAYS = "always"
    DENY = "deny"
    WORDS = "words"
    STOP = "stop"


_LABELS = {
    Choice.ONCE: "[y] allow once",
    Choice.SESSION: "[s] for the session",
    Choice.ALWAYS: "[a] always",
    Choice.DENY: "[n] deny",
    Choice.WORDS: "[r] deny with words",
    Choice.STOP: "[x] stop this call",
}


class _Place(NamedTuple):
    """The place of a choice in the rows of choices."""

    choice: Choice
    row: int
    start: int
    text: str


class Approval(Widget, can_focus=True):
    """Shows one question at a time. `clock` gives seconds and decides when an answer counts."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"approval--{tint}" for tint in Tint} | {
        "approval--choice",
        "approval--marked",
        "approval--early",
        "approval--more",
    }
    DEFAULT_CSS = """
    Approval {
        display: none;
        height: auto;
        border: round $warning 50%;
        border-title-color: $text-warning;
        border-subtitle-color: $foreground-muted;
        background: $background;
        color: $foreground;
        padding: 0 1;
        &:focus { border: round $warning; }
        &:focus:nocolor { border: heavy $warning; }
        & .approval--title { color: $foreground; text-style: bold; }
        & .approval--why { color: $foreground 70%; }
        & .approval--rule { color: $text-accent; }
        & .approval--preview { color: $foreground; }
        & .approval--added { color: $text-success; }
        & .approval--removed { color: $text-error; }
        & .approval--place { color: $foreground-muted; }
        & .approval--choice { color: $text-warning; text-style: bold; }
        & .approval--marked { color: $text-warning; text-style: bold reverse; }
        & .approval--early { color: $foreground-muted; }
        & .approval--more { color: $foreground; text-style: bold reverse; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.APPROVAL)]

    class Answered(Message):
        """The person's answer to one question."""

        def __init__(self, ask_id: str, answer: Answer) -> None:
            super().__init__()
            self.ask_id = ask_id
            self.answer = answer

    class StopRequested(Message):
        """Stop the call that asks, which is no denial."""

        def __init__(self, call_id: str) -> None:
            super().__init__()
            self.call_id = call_id

    def __init__(self, ask_reason: AskReason, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._ask_reason = ask_reason
        self._clock = clock
        self._question: Question | None = None
        self._since = float("-inf")
        self._answered = False
        self._count = 1
        self._marked: Choice | None = None
        self._top = 0
        self._rows: list[QuestionRow] = []
        self._places: list[_Place] = []
        self._laid_out = 0

    # -- what the owner does --

    @property
    def question(self) -> Question | None:
        return self._question

    def show(self, questions: tuple[Question, ...]) -> None:
        """Show the first of these, or nothing. A question that is shown already keeps its state."""
        question = questions[0] if questions else None
        self._count = len(questions)
        if question != self._question:
            self._question = question
            self._since = self._clock()
            self._answered = False
            self._marked = None
            self._top = 0
            self._laid_out = 0
            self.display = question is not None
            call_after(self, GRACE_S, self.refresh)
            self.refresh(layout=True)
        self._entitle()

    @property
    def takes_answers(self) -> bool:
        """Whether the question has been on the screen long enough and has no answer yet."""
        return self._question is not None and not self._answered and self._clock() - self._since >= GRACE_S

    # -- what the person does --

    def action_choose(self, name: str) -> None:
        self._choose(Choice(name))

    def action_take_marked(self) -> None:
        if self._marked is not None:
            self._choose(self._marked)

    def action_mark(self, step: int) -> None:
        choices = self._choices()
        at = choices.index(self._marked) + step if self._marked in choices else (0 if step > 0 else -1)
        self._marked = choices[at % len(choices)]
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll_body(2)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll_body(-2)

    def focus_on_click(self) -> bool:
        return self.takes_answers

    def on_click(self, event: events.Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        if offset is None:
            return
        row = offset.y - self._body_height
        for place in self._places:
            if place.row == row and place.start <= offset.x < place.start + len(place.text):
                self._choose(place.choice)

    def _choose(self, choice: Choice) -> None:
        question = self._question
        if question is None or not self.takes_answers or choice not in self._choices():
            return
        if choice is Choice.WORDS:
            self._ask_reason(DenyReason(question.ask_id, question.tool))
            return
        self._answered = True
        if choice is Choice.STOP:
            self.post_message(self.StopRequested(question.call_id))
        else:
            self.post_message(self.Answered(question.ask_id, Answer(AnswerKind(choice.value))))

    def _choices(self) -> list[Choice]:
        with_rule = self._question is not None and bool(self._question.rule)
        ruled = (Choice.SESSION, Choice.ALWAYS)
        return [choice for choice in Choice if with_rule or choice not in ruled]

    def action_scroll_body(self, step: int) -> None:
        self._top = max(0, min(self._top + step, len(self._rows) - self._body_height))
        self.refresh()

    # -- laying out and painting --

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The height of the question, up to half of the screen; the choices are always shown."""
        self._lay_out(width)
        return min(len(self._rows) + self._choice_rows, max(self._choice_rows + 1, viewport.height // 2))

    @property
    def _choice_rows(self) -> int:
        return 1 + max((place.row for place in self._places), default=0)

    @property
    def _body_height(self) -> int:
        return max(0, self.content_size.height - self._choice_rows)

    def _lay_out(self, width: int) -> None:
        width = max(NARROWEST, width)
        if self._question is None or self._laid_out == width:
            return
        self._laid_out = width
        self._rows = question_rows(self._question, width)
        self._places = self._place_choices(width)

    def _place_choices(self, width: int) -> list[_Place]:
        """Place the choices in at most two rows: with words if they fit, else the keys alone."""
        labels = {choice: _LABELS[choice] for choice in self._choices()}
        places = _spread(labels, _GAP, width)
        if places[-1].row < 2:
            return places
        return _spread({choice: label.partition(" ")[0] for choice, label in labels.items()}, 0, width)

    def _entitle(self) -> None:
        question = self._question
        if question is None:
            return
        asked = f"May {one_line(question.tool)} do this?"
        # Not a string, in which a name could be markup.
        self.border_title = Content(f"{asked} · 1 of {self._count}" if self._count > 1 else asked)
        outside = f"{key_name('pane.next')} or a click answers"
        self.border_subtitle = Content("Esc denies and stops the turn" if self.has_focus else outside)

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._entitle()

    def on_resize(self) -> None:
        self.action_scroll_body(0)

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        self._lay_out(width)
        body = self._body_height
        if y >= body:
            return self._choice_line(y - body, width)
        at = self._top + y
        if at >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        text, tint = self._rows[at]
        strip = Strip([Segment(text, self._component(tint))]).adjust_cell_length(width, self.rich_style)
        below = len(self._rows) - self._top - body
        more = " more" if width >= 40 else ""
        label = f" ↓ {below}{more} " if y == body - 1 and below > 0 else ""
        if not label and y == 0 and self._top:
            label = f" ↑ {self._top}{more} "
        if label and cell_len(label) < width:
            mark = Strip([Segment(label, self._component("more"))])
            strip = Strip.join([strip.crop(0, width - cell_len(label)), mark])
        return strip

    def _choice_line(self, row: int, width: int) -> Strip:
        segments: list[Segment] = []
        column = 0
        early = self._clock() - self._since < GRACE_S
        for choice, place_row, start, text in self._places:
            if place_row != row:
                continue
            segments.append(Segment(" " * (start - column), self.rich_style))
            part = "early" if early else "marked" if choice is self._marked else "choice"
            segments.append(Segment(text, self._component(part)))
            column = start + len(text)
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _component(self, part: str) -> Style:
        return self.get_component_rich_style(f"approval--{part}")


def _spread(labels: Mapping[Choice, str], gap: int, width: int) -> list[_Place]:
    places: list[_Place] = []
    row = start = 0
    for choice, text in labels.items():
        if start and start + len(text) > width:
            row, start = row + 1, 0
        places.append(_Place(choice, row, start, text))
        start += len(text) + gap
    return places
