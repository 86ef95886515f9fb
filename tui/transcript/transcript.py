"""The conversation on the screen: a line-API view whose cost does not depend on its length.

The owner puts what arrives into the `feed`, which costs nothing, and calls `flush` at most thirty times a
second. Only the visible part is laid out (`tui.transcript.pages`), and only rows that change are drawn. Model
text is never read as markup of Rich or Textual, and none reaches the terminal without `core.base.sanitize`.

Backlog: one `flush` reads at most 16,384 characters (some milliseconds) and returns True while more is
waiting; `drain` reads all of it slice by slice, lets the event loop run in between and paints once.
`end_reply` reads the rest at once: with a large backlog await `drain` first.

Earlier parts can be put above at any time (`add_older`): nothing on the screen moves.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.geometry import Size
from textual.scroll_view import ScrollView

from core.base.threads import run_in_thread
from tui.transcript.drawn import DrawnRows, move_thumb
from tui.transcript.feed import Feed
from tui.transcript.followed_end import FollowedEnd
from tui.transcript.markdown.highlight import WARM_LANGUAGES, load_lexer
from tui.transcript.markdown.inline import inline_spans
from tui.transcript.markdown.spans import Look
from tui.transcript.paint import Painter
from tui.transcript.selection import line_id, selected_text
from tui.transcript.style import COMPONENT_CLASSES, CSS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual import events
    from textual.geometry import Region
    from textual.selection import Selection
    from textual.strip import Strip

    from tui.transcript.card import Card
    from tui.transcript.entries import PromptHandle
    from tui.transcript.feed import Above
    from tui.transcript.plain import NoticeKind

NARROWEST = 4


def warm_up() -> None:
    """Import what Markdown and colors need, some 100 ms; run it in a thread, after the first frame."""
    cell_len("漢")
    inline_spans("*warm*", Look())
    for language in WARM_LANGUAGES:
        load_lexer(language)


class Transcript(ScrollView, can_focus=False):
    """Shows one conversation; the module docstring describes how to feed it.

    It follows the end while it is at the end. Otherwise its last row shows the number of new rows; a click
    there, or `action_scroll_end`, goes to the end.
    """

    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENT_CLASSES
    DEFAULT_CSS = CSS

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.feed = Feed(80)
        self._end = FollowedEnd()
        self._painter = Painter(self)
        self._drawn = DrawnRows()
        self._older_to_come = False
        self._wants_start = False
        self._requested: set[str] = set()
        self._settling = False

    # Contents of the conversation.

    def add_prompt(self, text: str) -> PromptHandle:
        """Show a prompt, or the beginning of a long one: plain text, never Markdown. Goes to the end."""
        handle = self.feed.add_prompt(text)
        self.action_scroll_end()
        return handle

    def remove_prompt(self, handle: PromptHandle) -> None:
        """Remove a prompt as if it had never been sent. Does nothing if it is gone."""
        self.feed.remove_prompt(handle)
        self._update()

    def add_notice(self, text: str, kind: NoticeKind) -> None:
        """Show a short message of ours: plain text, wrapped, with a glyph for its kind.

        An open reply continues below it, unchanged.
        """
        self.feed.add_notice(text, kind)
        self._update()

    def add_card_aside(self, card: Card) -> None:
        """Show a card that is not part of the reply, at once. An open reply continues below it, unchanged."""
        self.feed.add_card_aside(card)
        self._update()

    def flush(self) -> bool:
        """Show what was appended, or 16,384 characters of it; True if more is waiting."""
        if not self.feed.waiting:
            return False
        more = self.feed.read()
        self._update()
        return more

    async def drain(self) -> None:
        """Show everything appended, without blocking the event loop and without painting in between."""
        if not self.feed.waiting:
            return
        while self.feed.read():  # noqa: ASYNC110 - nothing is waited for: others get their turn
            await asyncio.sleep(0)
        # What was read may have been drawn meanwhile, for other reasons.
        self._drawn.forget()
        self._update()

    def end_reply(self, mark: str = "") -> None:
        """End the reply and show all of it now, with the `mark` where it breaks off if it is not whole."""
        self.feed.end_reply(mark)
        self._update()

    def toggle_reasoning(self) -> None:
        """Unfold all reasoning and summaries; fold all if the last one is unfolded."""
        if self.feed.toggle_thoughts():
            self._update()

    def toggle_cards(self) -> None:
        """Unfold the latest 50 cards; fold them if the last one is unfolded."""
        if self.feed.toggle_cards():
            self._update()

    # Earlier parts of the conversation.

    def new_older(self, above: Above) -> Feed:
        """Create a feed for the part right above everything there is; `above` is what precedes that part."""
        return Feed(self.feed.document.width, above)

    def add_older(self, older: Feed) -> None:
        """Put `older`, all of which was read, above everything. The visible text stays in place."""
        rows = self.feed.prepend(older)
        self._end.shift(rows)
        # A user who drags the scroll bar continues from the new position of that text.
        self.vertical_scrollbar.grabbed_position += rows
        if not self._end.following:
            self._settling = True
            self._grow()
            self.scroll_to(y=self.scroll_y + rows, animate=False)
            self._settling = False
        self._update()

    @contextmanager
    def expecting_older(self) -> Iterator[None]:
        """Expect older parts while this context is open; a request for the start is met at its end."""
        self._older_to_come = True
        try:
            yield
            if self._wants_start:
                self.scroll_to(y=0, animate=False)
        finally:
            self._older_to_come = self._wants_start = False

    # Position.

    @property
    def _rows(self) -> int:
        return self.scrollable_content_region.height

    def _update(self) -> None:
        """Bring size, position and screen in line with the document."""
        document = self.feed.document
        if not self._rows:
            return
        if self._end.following:
            document.settle_end(self._rows)
        else:
            document.settle_end(1)
            self._settle(self.scroll_offset.y)
        self._fit()
        self._load_colours()
        self._draw()

    def _draw(self) -> None:
        """Have what changed drawn again."""
        rows, document = self._rows, self.feed.document
        move_thumb(self.vertical_scrollbar, rows, document.height, self.scroll_y)
        shown: list[object] = [line[1:] for line in self._painter.lines(document, self.scroll_offset.y, rows)]
        shown[-1] = shown[-1], self._end.label(document.width)
        if changed := self._drawn.changed(shown, document.width):
            self.refresh(*changed)

    def _settle(self, top: int, *, upwards: bool = False) -> int:
        """Call `Document.settle`. A correction of a guessed height does not count as new lines."""
        document = self.feed.document
        before = document.height
        settled = document.settle(top, self._rows, upwards=upwards)
        self._end.shift(document.height - before)
        return settled

    def _fit(self) -> None:
        """Apply the document's height, and go to the end if the view follows it."""
        self._settling = True
        self._grow()
        if self._end.following:
            self.scroll_to(y=self.max_scroll_y, animate=False)
        self._settling = False
        self._end.count(self.feed.document.height)

    def _grow(self) -> None:
        size = Size(self.feed.document.width, self.feed.document.height)
        if size != self.virtual_size:
            self.set_reactive(ScrollView.virtual_size, size)
            self.scroll_y = self.validate_scroll_y(self.scroll_y)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Go where the user scrolls. Unlike Textual's, this draws nothing that stays as it is."""
        if not self._settling and self._rows:
            self._go_to(old_value, new_value)
            self._draw()

    def _go_to(self, old_value: float, new_value: float) -> None:
        self._wants_start = False
        document = self.feed.document
        top = round(new_value)
        if top >= self.max_scroll_y:
            self._end.following = True
            document.settle_end(self._rows)
            self._fit()
            return
        if self._end.following:
            self._end.leave(document.height)
        settled = self._settle(top, upwards=new_value < old_value)
        self._fit()
        if settled != top:
            self._settling = True
            self.scroll_to(y=settled, animate=False)
            self._settling = False

    def on_resize(self) -> None:
        document = self.feed.document
        width = max(NARROWEST, self.scrollable_content_region.width)
        if width != document.width:
            self.screen.clear_selection()
            top = document.resize(width, self.scroll_offset.y)
            if not self._end.following:
                top = document.settle(top, self._rows)
                self._end.keep_count(document.height)
                self._fit()
                self.scroll_to(y=top, animate=False)
        self._update()

    def action_page_up(self) -> None:
        self.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self.scroll_page_down(animate=False)

    def action_scroll_home(self) -> None:
        """Go to the start of what is loaded, and to the real start as soon as it is loaded."""
        self.scroll_to(y=0, animate=False)
        self._wants_start = self._older_to_come

    def action_scroll_end(self) -> None:
        self._wants_start = False
        self._end.following = True
        self._update()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or self.text_selection is not None:
            return
        label = self._end.label(self.feed.document.width)
        if label and offset.y == self._rows - 1 and offset.x >= self.feed.document.width - len(label):
            self.action_scroll_end()
            return
        place = self.feed.document.at(self.scroll_offset.y + offset.y)
        if place is not None and self.feed.toggle_at(*place):
            self._stay()

    def _stay(self) -> None:
        """Show a change where the user has made it, without going to the end."""
        self._end.leave(self.feed.document.height)
        self._update()
        if self.scroll_offset.y >= self.max_scroll_y:
            self._end.following = True
            self._update()

    # Painting.

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows with their padding. Textual would make them anew for each place to which they move."""
        width = self.size.width
        strips = self._painter.framed(self._visible(crop.y, crop.height, self._rows), width)
        if crop.column_span == (0, width):
            return strips
        return [strip.crop(*crop.column_span) for strip in strips]

    def render_line(self, y: int) -> Strip:
        """The row as queries of what is under the mouse need it: it says what stands where."""
        top = self.scroll_offset.y + y
        strips = self._painter.rows(self.feed.document, top, 1)
        if (place := self.feed.document.at(top)) is not None:
            strips = [strips[0].apply_offsets(0, line_id(*place))]
        return self._labeled(strips, y, self._rows)[0]

    def _visible(self, first: int, count: int, rows: int) -> list[Strip]:
        """`count` rows of the view, which has `rows`, from `first` on."""
        strips = self._painter.rows(self.feed.document, self.scroll_offset.y + first, count)
        return self._labeled(strips, first, rows)

    def _labeled(self, strips: list[Strip], first: int, rows: int) -> list[Strip]:
        last = rows - 1 - first
        width = self.feed.document.width
        if 0 <= last < len(strips) and (label := self._end.label(width)):
            strips[last] = self._painter.with_label(strips[last], label, width)
        return strips

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._painter.forget()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it reads: broken rows joined, decoration left out."""
        return selected_text(self.feed.document, selection), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def _load_colours(self) -> None:
        for language in self.feed.take_languages() - self._requested:
            self._requested.add(language)
            self.run_worker(self._load_language(language), group="colours")

    async def _load_language(self, language: str) -> None:
        await run_in_thread(partial(load_lexer, language), name="load a lexer")
        self.feed.document.forget_code(language)
        self._update()
