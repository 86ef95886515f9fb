"""Turns a conversation into the document that the transcript shows.

Text comes in slices and on two channels, the reply and the model's reasoning; here it is made printable, read
as Markdown and put into pages. This module does not know the screen.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from core.base.sanitize import PrintableStream
from tui.transcript.document import Document
from tui.transcript.entries import CardHandle, Folding, PromptHandle, Thought
from tui.transcript.markdown.blocks import Blank, Code, Prose
from tui.transcript.markdown.highlight import is_loaded
from tui.transcript.markdown.spans import Look, Part
from tui.transcript.markdown.stream import MarkdownStream
from tui.transcript.pages import Entry
from tui.transcript.plain import notice_blocks, prompt_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui.transcript.card import Card
    from tui.transcript.markdown.blocks import Block
    from tui.transcript.pages import Page
    from tui.transcript.plain import NoticeKind

CARDS_TOGGLED = 50
"""How many of the latest cards are unfolded at once, which bounds the cost of a key press."""
_CARD_COST = 256
SLICE = 16_384
"""Characters read at a time; takes some milliseconds."""


class Channel(Enum):
    TEXT = auto()
    REASONING = auto()
    SUMMARY = auto()


class Above(Enum):
    """What is right above the first item that a feed receives; it determines the gap between them."""

    NOTHING = auto()
    TEXT = auto()
    CARD = auto()


class _Mark(Enum):
    END = auto()


_Received: TypeAlias = tuple[Channel, str] | CardHandle | str | _Mark
"""Text of a channel, a card, the title of a summary, or the end of one."""


@dataclass(slots=True, eq=False)
class _Section:
    """A run of text, of reasoning or of a summary that is being received, and the page that shows it.

    `is_begun`: the document has finished blocks of it. `needs_gap`: it continues below a notice.
    """

    channel: Channel
    page: Page
    markdown: MarkdownStream
    folding: Folding | None = None
    is_begun: bool = False
    needs_gap: bool = False
    printable: PrintableStream = field(default_factory=PrintableStream)


class Feed:
    """Receives a conversation or a part of one; `document` has what was read of it."""

    def __init__(self, width: int, above: Above = Above.NOTHING) -> None:
        self.document = Document(width)
        self._above = above
        self._gapless: Entry | None = None  # the first entry, if it began at the top and so without a gap
        self._waiting: deque[_Received] = deque()
        self._changed: dict[CardHandle, None] = {}
        self._section: _Section | None = None
        self._languages: set[str] = set()

    @property
    def waiting(self) -> int:
        """The number of slices and new or changed cards that have not been read yet."""
        return len(self._waiting) + len(self._changed)

    def receive(self, channel: Channel, text: str) -> None:
        """Store `text` for the next `read`."""
        if text:
            self._waiting.append((channel, text))

    def read(self, limit: int = SLICE) -> bool:
        """Read up to `limit` characters of what was received; True if more is waiting."""
        while self._waiting and limit > 0:
            match self._waiting.popleft():
                case CardHandle() as handle:
                    limit -= _CARD_COST
                    self._close_section()
                    self._begin_card(handle)
                case str() as title:
                    self._close_section()
                    entry, page = self._begin_entry()
                    folding = Folding(page, Entry(folded=True), Look(Part.INFO), title)
                    self._section = self._begin_folded(Channel.SUMMARY, entry, folding)
                case _Mark.END:
                    self._close_section()
                case (channel, text):
                    text = self._with_more(channel, text, limit)
                    limit -= len(text)
                    self._take(self._section_of(channel), text)
        if self._section is not None:
            self._show_tail(self._section)
            self._show_head(self._section)
        changed, self._changed = self._changed, {}
        for handle in changed:
            self._show_card(handle)
        return bool(self._waiting)

    def end_reply(self, mark: str = "") -> None:
        """Read the rest of the reply; one that is not whole gets a `mark` where it breaks off."""
        is_open = self._section is not None or bool(self._waiting)
        self.end_section()
        if mark and is_open:
            entry, _ = self._begin_entry(gap=False)
            self.document.extend(entry, [Prose(f"┄ {mark}", look=Look(Part.INFO), markdown=False)])

    def end_section(self) -> None:
        """Read everything received; what comes next is a new message."""
        while self.read():
            pass
        self._close_section()

    def add_prompt(self, text: str) -> PromptHandle:
        self.end_section()
        entry, _ = self._begin_entry()
        self.document.extend(entry, prompt_blocks(text))
        return PromptHandle(entry)

    def remove_prompt(self, handle: PromptHandle) -> None:
        self.document.remove(handle.entry)

    def add_notice(self, text: str, kind: NoticeKind) -> None:
        """Show a notice immediately, above the open part of a reply."""
        self.read()
        with self._above_what_is_open():
            entry, _ = self._begin_entry()
            self.document.extend(entry, notice_blocks(text, kind))

    def add_summary(self, title: str, text: str) -> None:
        """Have the next `read` finish what was received so far and show `text` below it, folded."""
        self._waiting.append(title)
        self.receive(Channel.SUMMARY, text)
        self._waiting.append(_Mark.END)

    def prepend(self, older: Feed) -> int:
        """Put all of `older` above this feed and return its rows; `older` must not be used afterwards."""
        older.end_section()
        last, first = older.document.last, self.document.first
        if last is None:
            return 0
        if first is not None and first.entry is self._gapless and not (_card_of(last) and _card_of(first)):
            gap = Entry()
            older.document.begin(gap)
            older.document.extend(gap, [Blank()])
        self._gapless, self._above = older._gapless, older._above
        self._languages |= older.take_languages()
        return self.document.prepend(older.document)

    def add_card(self, card: Card) -> CardHandle:
        """Have the next `read` finish the reply so far and show `card` below it."""
        handle = CardHandle(card)
        self._waiting.append(handle)
        return handle

    def add_card_aside(self, card: Card) -> CardHandle:
        """Show a card that is not part of the reply, immediately and above the open part of it."""
        self.read()
        handle = CardHandle(card)
        with self._above_what_is_open():
            self._begin_card(handle)
        return handle

    def change_card(self, handle: CardHandle) -> None:
        """Have the next `read` show the card in its state at that time."""
        if handle.page is not None:
            self._changed[handle] = None

    def toggle_thoughts(self) -> bool:
        """Unfold all reasoning and summaries; fold them if the last is unfolded. False if there are none."""
        found = (page.entry.item for page in reversed(self.document.pages))
        foldings = [item for item in found if isinstance(item, Folding)]
        if foldings:
            folded = not foldings[0].body.folded
            for folding in foldings:
                self._fold_text(folding, folded=folded)
        return bool(foldings)

    def toggle_cards(self) -> bool:
        """Unfold the latest `CARDS_TOGGLED` cards; fold them if the last one is unfolded."""
        found = (_card_of(page) for page in reversed(self.document.pages))
        latest = list(islice((handle for handle in found if handle and handle.card.unfolds), CARDS_TOGGLED))
        if latest:
            folded = not latest[0].folded
            for handle in latest:
                self._fold_card(handle, folded=folded)
        return bool(latest)

    def toggle_at(self, page: Page, line: int) -> bool:
        """Fold or unfold the item with its row there; False if there is none."""
        match page.entry.item:
            case CardHandle() as handle if handle.card.unfolds:
                first = len(page.blocks)
                if page.starts[first : first + 1] != [line]:
                    return False
                self._fold_card(handle, folded=not handle.folded)
            case Folding() as folding:
                self._fold_text(folding, folded=not folding.body.folded)
            case _:
                return False
        return True

    def take_languages(self) -> set[str]:
        """Take the languages of new fences whose lexers are not loaded."""
        languages, self._languages = self._languages, set()
        return languages

    def _with_more(self, channel: Channel, text: str, limit: int) -> str:
        """`text` and what follows it on the same channel, up to `limit` characters."""
        parts = [text]
        size = len(text)
        while size < limit and self._waiting:
            following = self._waiting[0]
            if not isinstance(following, tuple) or following[0] is not channel:
                break
            self._waiting.popleft()
            parts.append(following[1])
            size += len(following[1])
        text = "".join(parts)
        if size > limit:
            self._waiting.appendleft((channel, text[limit:]))
        return text[:limit]

    def _take(self, section: _Section, text: str) -> None:
        text = section.printable.feed(text)
        if isinstance(section.folding, Thought):
            section.folding.count(text)
        self._extend(section, section.markdown.feed(text))

    def _extend(self, section: _Section, blocks: list[Block]) -> None:
        if blocks:
            self._add_gap(section, blocks[0])
            section.page = self.document.extend(section.page.entry, blocks)
            section.is_begun = True
            self._note_languages(blocks)

    def _show_tail(self, section: _Section) -> None:
        tail = section.markdown.tail()
        if tail:
            self._add_gap(section, tail[0])
        self.document.set_tail(section.page, tail)
        self._note_languages(tail)

    def _add_gap(self, section: _Section, below: Block) -> None:
        if section.needs_gap and below != Blank():
            section.page = self.document.extend(section.page.entry, [Blank()])
        section.needs_gap = False

    def _note_languages(self, blocks: list[Block]) -> None:
        for block in blocks:
            if isinstance(block, Code) and not is_loaded(block.language):
                self._languages.add(block.language)

    def _begin_entry(self, *, gap: bool = True) -> tuple[Entry, Page]:
        entry = Entry()
        at_top = not self.document.pages and self._above is Above.NOTHING
        page = self.document.begin(entry)
        if at_top:
            self._gapless = entry
        elif gap:
            self.document.extend(entry, [Blank()])
        return entry, page

    @contextmanager
    def _above_what_is_open(self) -> Iterator[None]:
        """Move the open part of a reply below what is added meanwhile, and read on as if that were not there:
        a reply may stall, so our own messages must not wait for its end."""
        section = self._section
        if section is not None:
            self.document.set_tail(section.page, [])
            self._drop_if_empty(section)
        yield
        if section is not None:
            # Reasoning stays one entry, because it is folded as a whole.
            section.page = self.document.begin(section.folding.body if section.folding else Entry())
            section.is_begun, section.needs_gap = False, True
            self._show_tail(section)

    def _begin_card(self, handle: CardHandle) -> None:
        """Begin the entry of a card; consecutive cards have no gap between them."""
        last = self.document.last
        follows_card = self._above is Above.CARD if last is None else _card_of(last) is not None
        entry, handle.page = self._begin_entry(gap=not follows_card)
        entry.item = handle
        self._show_card(handle)

    def _show_card(self, handle: CardHandle) -> None:
        assert handle.page is not None
        blocks = handle.card.blocks(folded=handle.folded)
        self.document.set_tail(handle.page, blocks)
        self._note_languages(blocks)

    def _fold_card(self, handle: CardHandle, *, folded: bool) -> None:
        handle.folded = folded
        self._show_card(handle)

    def _fold_text(self, folding: Folding, *, folded: bool) -> None:
        self.document.fold(folding.body, folded=folded)
        self.document.set_tail(folding.head, [folding.line()])

    def _drop_if_empty(self, section: _Section) -> None:
        """Remove the page of a section with nothing but blanks, so that it leaves no gap."""
        if section.folding is None and not section.is_begun:
            self.document.retract()

    def _section_of(self, channel: Channel) -> _Section:
        """The open section of `channel`; a section of another channel is closed."""
        if self._section is None or self._section.channel is not channel:
            self._close_section()
            self._section = self._begin_section(channel)
        return self._section

    def _begin_section(self, channel: Channel) -> _Section:
        entry, page = self._begin_entry()
        if channel is Channel.TEXT:
            return _Section(channel, page, MarkdownStream())
        return self._begin_folded(channel, entry, Thought(page, Entry(folded=True), Look(Part.REASONING)))

    def _begin_folded(self, channel: Channel, head: Entry, folding: Folding) -> _Section:
        head.item = folding
        page = self.document.begin(folding.body)
        return _Section(channel, page, MarkdownStream(folding.look), folding)

    def _close_section(self) -> None:
        section, self._section = self._section, None
        if section is None:
            return
        last = section.printable.close()
        self._extend(section, section.markdown.feed(last) + section.markdown.close())
        self.document.set_tail(section.page, [])
        self._drop_if_empty(section)
        if isinstance(section.folding, Thought):
            section.folding.count(last, over=True)
        self._show_head(section)

    def _show_head(self, section: _Section) -> None:
        if section.folding is not None:
            self.document.set_tail(section.folding.head, [section.folding.line()])


def _card_of(page: Page) -> CardHandle | None:
    item = page.entry.item
    return item if isinstance(item, CardHandle) else None
