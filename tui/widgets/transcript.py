"""The conversation on the screen: one line-API view whose cost does not depend on what was said before.

The owner appends what arrives and calls `flush` at most thirty times a second; appending by itself costs
nothing. Only what is looked at is laid out (`transcript_pages`). No model text is ever read as markup of Rich
or Textual, and none reaches the terminal without `core.sanitize`.

A backlog: one `flush` reads at most 16,384 characters (some milliseconds) and returns True while more is
waiting; `drain` reads all of it, slice by slice, lets the event loop run in between and paints once.
`end_reply` reads what is left at once: with a large backlog await `drain` before it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.blocks import Look, Part
from tui.highlight import WARM_LANGUAGES, load_lexer
from tui.markdown_inline import inline_spans
from tui.widgets.transcript_entries import CardHandle, PromptHandle
from tui.widgets.transcript_feed import Channel, Feed, NoticeKind
from tui.widgets.transcript_selection import line_id, mark_selected, selected_text
from tui.widgets.transcript_style import COMPONENT_CLASSES, CSS
from tui.wrap import cells

if TYPE_CHECKING:
    from textual import events
    from textual.geometry import Region
    from textual.selection import Selection

    from tui.blocks import Line
    from tui.cards import Card
    from tui.widgets.transcript_pages import Page

__all__ = ["CardHandle", "NoticeKind", "PromptHandle", "Transcript", "warm_up"]

NARROWEST = 4
STRIPS_KEPT = 256


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
        self._strips: LRUCache[int, tuple[Line, Strip]] = LRUCache(STRIPS_KEPT)
        self._looks: dict[Look | Part, Style] = {}
        self._kept_style: Style | None = None
        self._requested: set[str] = set()
        self._settling = False
        self._painting = False

    # What the conversation says.

    def add_prompt(self, text: str) -> PromptHandle:
        """Show what the user said, or the beginning of much: plain text, never Markdown. Goes to the end."""
        handle = self._feed.add_prompt(text)
        self._following = True
        self._update()
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
        """Unfold all reasoning; fold all if the last one is unfolded."""
        if self._feed.toggle_thoughts():
            self._update()

    def toggle_cards(self) -> None:
        """Unfold the latest 50 cards; fold them if the last one is unfolded."""
        if self._feed.toggle_cards():
            self._update()

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
        size = Size(self._feed.document.width, self._feed.document.height)
        if size != self.virtual_size:
            self.set_reactive(ScrollView.virtual_size, size)
            self._scroll_update(size)
        if self._following:
            self.scroll_to(y=self.max_scroll_y, animate=False)
        self._settling = False
        self._count_new_lines()

    def _count_new_lines(self) -> None:
        count = 0 if self._following else max(0, self._feed.document.height - self._left_at)
        if count != self._new_lines:
            self._new_lines = count
            self.post_message(self.NewLines(self, count))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._settling or not self._rows:
            return
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
        self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
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
        strip = self._strip(*place) if place else Strip.blank(width, self._own_style)
        if place and not self._painting:
            # Only who asks what is under the mouse needs offsets; for painting they are the greatest cost.
            strip = strip.apply_offsets(0, line_id(*place))
        if self._new_lines and y == self._rows - 1 and (label := self._label()):
            style = self.get_component_rich_style("transcript--new-lines")
            label_strip = Strip([Segment(label, style)], len(label))
            strip = Strip.join([strip.crop(0, width - len(label)), label_strip])
        return strip

    def _label(self) -> str:
        label = f" ↓ {self._new_lines} new "
        return label if self._new_lines and len(label) < self._feed.document.width else ""

    def _strip(self, page: Page, index: int) -> Strip:
        if page.lines is None or index >= len(page.lines):
            return Strip.blank(self._feed.document.width, self._own_style)
        selection = self.text_selection
        span = selection.get_span(line_id(page, index)) if selection is not None else None
        line = page.lines[index]
        if span is not None:
            return self._paint(line, span)
        known = self._strips.get(line_id(page, index))
        if known is None or known[0] is not line:
            known = self._strips[line_id(page, index)] = line, self._paint(line, None)
        return known[1]

    def _paint(self, line: Line, selected: tuple[int, int] | None) -> Strip:
        segments = [Segment(text, self._style(look)) for text, look in line.spans]
        width = self._feed.document.width
        missing = width - cells(line.spans)
        if missing:
            fill = self._own_style if line.fill is None else self._style(line.fill)
            segments.append(Segment(" " * missing, fill))
        if selected is not None:
            segments = mark_selected(
                segments, selected, self.screen.get_component_rich_style("screen--selection")
            )
        return Strip(segments, width)

    def _style(self, look: Look | Part) -> Style:
        style = self._looks.get(look)
        if style is None:
            if isinstance(look, Part):
                style = self.get_component_rich_style(f"transcript--{look}")
            else:
                style = self._style(look.part) + Style(
                    bold=look.bold or None,
                    italic=look.italic or None,
                    strike=look.strike or None,
                    link=look.link or None,
                )
            self._looks[look] = style
        return style

    @property
    def _own_style(self) -> Style:
        """`rich_style`, kept: it is asked for with nearly every line, and made anew each time."""
        if self._kept_style is None:
            self._kept_style = self.rich_style
        return self._kept_style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._kept_style = None
        self._looks.clear()
        self._strips.clear()

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
