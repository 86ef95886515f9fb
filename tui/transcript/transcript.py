"""The conversation on the screen: one line-API view whose cost does not depend on what was said before.

The owner appends what arrives and calls `flush` at most thirty times a second; appending by itself costs
nothing. Only what is looked at is laid out (`transcript_pages`). No model text is ever read as markup of Rich
or Textual, and none reaches the terminal without `core.sanitize`.

A backlog: one `flush` reads at most 16,384 characters (some milliseconds) and returns True while more is
waiting; `drain` reads all of it, slice by slice, lets the event loop run in between and paints once.
`end_reply` reads what is left at once: with a large backlog await `drain` before it.

What was said earlier can be put above at any time (`add_older`): nothing that is on the screen moves.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.blocks import Look
from tui.highlight import WARM_LANGUAGES, load_lexer
from tui.markdown_inline import inline_spans
from tui.widgets.transcript_entries import CardHandle, PromptHandle, SummaryTitle
from tui.widgets.transcript_feed import Above, Channel, Feed
from tui.widgets.transcript_paint import Painter
from tui.widgets.transcript_plain import NoticeKind
from tui.widgets.transcript_selection import line_id, selected_text
from tui.widgets.transcript_style import COMPONENT_CLASSES, CSS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual import events
    from textual.geometry import Region
    from textual.selection import Selection

    from tui.cards import Card

__all__ = ["CardHandle", "NoticeKind", "PromptHandle", "Transcript", "warm_up"]

NARROWEST = 4


def warm_up() -> None:
    """Import what Markdown and colours need, some 100 ms; for a thread, after the first frame."""
    cell_len("漢")
    inline_spans("*warm*", Look())
    for language in WARM_LANGUAGES:
        load_lexer(language)


class Transcript(ScrollView, can_focus=False):
    """Shows one conversation; see the module for how to feed it.

    It follows the end while it is at the end. Else new rows are announced by `NewLines` and in its last row;
    a click there, or `action_scroll_end`, goes to the end.
    """

    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENT_CLASSES
    DEFAULT_CSS = CSS

    class NewLines(Message):
        """How many rows stand below what is shown since the user left the end; 0 when back at the end."""

        def __init__(self, transcript: Transcript, count: int) -> None:
            super().__init__()
            self.transcript = transcript
            self.count = count

        @property
        def control(self) -> Transcript:
            return self.transcript

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._feed = Feed(80)
        self._following = True
        self._left_at = 0
        self._new_lines = 0
        self._painter = Painter(self)
        self._older_to_come = False
        self._wants_start = False
        self._requested: set[str] = set()
        self._settling = False
        self._painting = False

    # What the conversation says.

    def add_prompt(self, text: str) -> PromptHandle:
        """Show what the user said, or the beginning of much: plain text, never Markdown. Goes to the end."""
        handle = self._feed.add_prompt(text)
        self.action_scroll_end()
        return handle

    def remove_prompt(self, handle: PromptHandle) -> None:
        """Take a prompt away, as if it had never been sent. Nothing happens if it is gone."""
        self._feed.remove_prompt(handle)
        self._update()

    def add_notice(self, text: str, kind: NoticeKind) -> None:
        """Show a short message of ours: plain text, wrapped, with a glyph for its kind.

        An open reply goes on below it, undisturbed.
        """
        self._feed.add_notice(text, kind)
        self._update()

    def add_card(self, card: Card) -> CardHandle:
        """Show a call below all that was appended so far; shown by the next `flush`."""
        return self._feed.add_card(card)

    def add_card_aside(self, card: Card) -> None:
        """Show a card that is no part of the reply, at once. An open reply goes on below it, undisturbed."""
        self._feed.add_card_aside(card)
        self._update()

    def add_summary(self, text: str, *, steps: int) -> None:
        """Show the summary of the first `steps` steps below all that was appended so far, folded.

        `text` is Markdown; shown by the next `flush`.
        """
        self._feed.add_summary(SummaryTitle(steps), text)

    def change_card(self, handle: CardHandle) -> None:
        """The card has changed: shown by the next `flush`, which draws that card anew and nothing else."""
        self._feed.change_card(handle)

    def begin_reply(self) -> None:
        """What is appended from now on is a new reply."""
        self._feed.end_section()

    def append_text(self, text: str) -> None:
        """More of the reply, in any slices. Shown by the next `flush`."""
        self._feed.receive(Channel.TEXT, text)

    def append_reasoning(self, text: str) -> None:
        """More of what the model thinks, in any slices. Shown by the next `flush`, folded."""
        self._feed.receive(Channel.REASONING, text)

    def flush(self) -> bool:
        """Show what was appended, or 16,384 characters of it; True if more is waiting."""
        if not self._feed.waiting:
            return False
        more = self._feed.read()
        self._update()
        return more

    async def drain(self) -> None:
        """Show all that was appended, without blocking the event loop and without painting in between."""
        if not self._feed.waiting:
            return
        while self._feed.read():  # noqa: ASYNC110 - nothing is waited for: others get their turn
            await asyncio.sleep(0)
        self._update()

    def end_reply(self, *, interrupted: bool) -> None:
        """The reply is over: show all of it, now. An interrupted one is marked where it breaks off."""
        self._feed.end_reply(interrupted=interrupted)
        self._update()

    def toggle_reasoning(self) -> None:
        """Unfold all reasoning and summaries; fold all if the last one is unfolded."""
        if self._feed.toggle_thoughts():
            self._update()

    def toggle_cards(self) -> None:
        """Unfold the latest 50 cards; fold them if the last one is unfolded."""
        if self._feed.toggle_cards():
            self._update()

    # What was said before.

    def new_older(self, above: Above) -> Feed:
        """For a part of the conversation that goes right above all there is; `above` is what is above it."""
        return Feed(self._feed.document.width, above)

    def add_older(self, older: Feed) -> None:
        """Put `older`, all of which was read, above all there is. The text on the screen stays in place."""
        rows = self._feed.prepend(older)
        self._left_at += rows
        # Who holds the bar with the mouse goes on from where that text is now.
        self.vertical_scrollbar.grabbed_position += rows
        if not self._following:
            self._settling = True
            self._grow()
            self.scroll_to(y=self.scroll_y + rows, animate=False)
            self._settling = False
        self._update()

    @contextmanager
    def expecting_older(self) -> Iterator[None]:
        """As long as this is open, more is put above: who wants to the start goes there at its end."""
        self._older_to_come = True
        try:
            yield
            if self._wants_start:
                self.scroll_to(y=0, animate=False)
        finally:
            self._older_to_come = self._wants_start = False

    # Where we are.

    @property
    def new_lines(self) -> int:
        """Rows that came below since the user left the end."""
        return self._new_lines

    @property
    def _rows(self) -> int:
        return self.scrollable_content_region.height

    def _update(self) -> None:
        """Bring size, position and screen in line with the document."""
        document = self._feed.document
        if not self._rows:
            return
        if self._following:
            document.settle_end(self._rows)
        else:
            document.settle_end(1)
            self._settle(self.scroll_offset.y)
        self._fit()
        self._load_colours()
        self.refresh()

    def _settle(self, top: int, *, upwards: bool = False) -> int:
        """See `Document.settle`. A height that was guessed wrong is no news."""
        document = self._feed.document
        before = document.height
        settled = document.settle(top, self._rows, upwards=upwards)
        self._left_at += document.height - before
        return settled

    def _fit(self) -> None:
        """Take over the document's height, and go to the end if we follow it."""
        self._settling = True
        self._grow()
        if self._following:
            self.scroll_to(y=self.max_scroll_y, animate=False)
        self._settling = False
        self._count_new_lines()

    def _grow(self) -> None:
        size = Size(self._feed.document.width, self._feed.document.height)
        if size != self.virtual_size:
            self.set_reactive(ScrollView.virtual_size, size)
            self._scroll_update(size)

    def _count_new_lines(self) -> None:
        count = 0 if self._following else max(0, self._feed.document.height - self._left_at)
        if count != self._new_lines:
            self._new_lines = count
            self.post_message(self.NewLines(self, count))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._settling or not self._rows:
            return
        self._wants_start = False
        document = self._feed.document
        top = round(new_value)
        at_end = top >= self.max_scroll_y
        if self._following and not at_end:
            self._left_at = document.height
        self._following = at_end
        if at_end:
            document.settle_end(self._rows)
            self._fit()
            return
        settled = self._settle(top, upwards=new_value < old_value)
        self._fit()
        if settled != top:
            self._settling = True
            self.scroll_to(y=settled, animate=False)
            self._settling = False

    def on_resize(self) -> None:
        document = self._feed.document
        width = max(NARROWEST, self.scrollable_content_region.width)
        if width != document.width:
            self.screen.clear_selection()
            top = document.resize(width, self.scroll_offset.y)
            if not self._following:
                top = document.settle(top, self._rows)
                self._left_at = document.height - self._new_lines
                self._fit()
                self.scroll_to(y=top, animate=False)
        self._update()

    def action_page_up(self) -> None:
        self.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self.scroll_page_down(animate=False)

    def action_scroll_home(self) -> None:
        """Go to the start: to that of what is there, and to the real one as soon as it is."""
        self.scroll_to(y=0, animate=False)
        self._wants_start = self._older_to_come

    def action_scroll_end(self) -> None:
        self._wants_start = False
        self._following = True
        self._update()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or self.text_selection is not None:
            return
        label = self._label()
        if label and offset.y == self._rows - 1 and offset.x >= self._feed.document.width - len(label):
            self.action_scroll_end()
            return
        place = self._feed.document.at(self.scroll_offset.y + offset.y)
        if place is not None and self._feed.toggle_at(*place):
            self._stay()

    def _stay(self) -> None:
        """Show a change where the user has made it, and do not go to the end for it."""
        self._following = False
        self._left_at = self._feed.document.height
        self._update()
        if self.scroll_offset.y >= self.max_scroll_y:
            self._following = True
            self._update()

    # Painting.

    def render_lines(self, crop: Region) -> list[Strip]:
        self._painting = True
        try:
            return super().render_lines(crop)
        finally:
            self._painting = False

    def render_line(self, y: int) -> Strip:
        width = self._feed.document.width
        place = self._feed.document.at(self.scroll_offset.y + y)
        strip = self._painter.line(*place, width) if place else self._painter.blank(width)
        if place and not self._painting:
            # Only who asks what is under the mouse needs offsets; for painting they are the greatest cost.
            strip = strip.apply_offsets(0, line_id(*place))
        if self._new_lines and y == self._rows - 1 and (label := self._label()):
            strip = Strip.join([strip.crop(0, width - len(label)), self._painter.label(label)])
        return strip

    def _label(self) -> str:
        label = f" ↓ {self._new_lines} new "
        return label if self._new_lines and len(label) < self._feed.document.width else ""

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._painter.forget()

    # Selection.

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it is read: broken rows joined, decoration left out."""
        return selected_text(self._feed.document, selection), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    # Colours of code.

    def _load_colours(self) -> None:
        for language in self._feed.take_languages() - self._requested:
            self._requested.add(language)
            self.run_worker(self._load_language(language), group="colours")

    async def _load_language(self, language: str) -> None:
        await asyncio.to_thread(load_lexer, language)
        self._feed.document.forget_code(language)
        self._update()
