"""What is said in a conversation, turned into the document that the transcript shows.

Text comes in slices and by two channels, the reply and what the model thinks; here it is made printable, read
as Markdown and put into pages. Nothing here knows the screen.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from itertools import islice
from typing import TYPE_CHECKING

from core.sanitize import PrintableStream, printable
from tui.blocks import PLAIN, Blank, Code, Look, Part, Prefix, Prose
from tui.highlight import is_loaded
from tui.markdown import MarkdownStream
from tui.widgets.transcript_entries import CardHandle, PromptHandle, Thought
from tui.widgets.transcript_pages import Document, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui.blocks import Block
    from tui.cards import Card
    from tui.widgets.transcript_pages import Page

CARDS_TOGGLED = 50
"""How many cards are unfolded at once, the latest: what one press of a key may cost is bounded."""
_CARD_COST = 256
SLICE = 16_384
"""Characters that are read at a time; takes some milliseconds."""
_PLAIN_PIECE = 2_000
PROMPT_LINES = 40
PROMPT_CHARACTERS = 4_000
"""What is shown of a prompt; a longer one only says how much more there is."""


class NoticeKind(StrEnum):
    """What a notice says; the glyph says it without colour."""

    INFO = "info"
    STOPPED = "stopped"
    ERROR = "error"


_NOTICES = {
    NoticeKind.INFO: ("· ", Look(Part.INFO)),
    NoticeKind.STOPPED: ("■ ", Look(Part.STOPPED)),
    NoticeKind.ERROR: ("✗ ", Look(Part.ERROR)),
}
_PROMPT = Look(Part.PROMPT)
_MORE = Look(Part.PROMPT, italic=True)
_PROMPT_PREFIX = Prefix((("❯ ", Look(Part.PROMPT_MARK)),), (("  ", _PROMPT),))


class Channel(Enum):
    TEXT = auto()
    REASONING = auto()


@dataclass(slots=True, eq=False)
class _Section:
    """A run of text or of reasoning that is being received, and the page where it stands.

    `is_begun` when finished blocks of it stand in the document, `needs_gap` when it goes on below a notice.
    """

    channel: Channel
    page: Page
    markdown: MarkdownStream
    thought: Thought | None = None
    is_begun: bool = False
    needs_gap: bool = False
    printable: PrintableStream = field(default_factory=PrintableStream)


class Feed:
    """Receives a conversation; `document` holds what was read of it."""

    def __init__(self, width: int) -> None:
        self.document = Document(width)
        self.thoughts: list[Thought] = []
        self.cards: dict[Page, CardHandle] = {}
        self._waiting: deque[tuple[Channel, str] | CardHandle] = deque()
        self._changed: dict[CardHandle, None] = {}
        self._section: _Section | None = None
        self._languages: set[str] = set()

    @property
    def waiting(self) -> int:
        """How many slices and cards were received, or have changed, and were not read yet."""
        return len(self._waiting) + len(self._changed)

    def receive(self, channel: Channel, text: str) -> None:
        """Keep `text` for the next `read`."""
        if text:
            self._waiting.append((channel, text))

    def read(self, limit: int = SLICE) -> bool:
        """Read up to `limit` characters of what was received; True if more is waiting."""
        while self._waiting and limit > 0:
            if isinstance(handle := self._waiting[0], CardHandle):
                self._waiting.popleft()
                limit -= _CARD_COST
                self._place_card(handle)
                continue
            channel, text = self._next(limit)
            limit -= len(text)
            if self._section is None or self._section.channel is not channel:
                self._close_section()
                self._section = self._begin_section(channel)
            self._take(self._section, text)
        if self._section is not None:
            self._show_tail(self._section)
            self._show_head(self._section)
        changed, self._changed = self._changed, {}
        for handle in changed:
            self._show_card(handle)
        return bool(self._waiting)

    def end_reply(self, *, interrupted: bool) -> None:
        """Read all of the reply; an interrupted one is marked where it breaks off."""
        is_open = self._section is not None or bool(self._waiting)
        self.end_section()
        if interrupted and is_open:
            entry, _ = self._begin_entry(gap=False)
            self.document.extend(entry, [Prose("┄ interrupted", look=Look(Part.INFO), markdown=False)])

    def end_section(self) -> None:
        """Read all that was received; what comes next is a message of its own."""
        while self.read():
            pass
        self._close_section()

    def add_prompt(self, text: str) -> PromptHandle:
        self.end_section()
        entry, _ = self._begin_entry()
        start, more = _beginning(text)
        self.document.extend(entry, _plain(start, _PROMPT, _PROMPT_PREFIX))
        if more:
            rest = Prefix(_PROMPT_PREFIX.rest, _PROMPT_PREFIX.rest)
            self.document.extend(entry, [Prose(more, rest, _MORE, markdown=False)])
        return PromptHandle(entry)

    def remove_prompt(self, handle: PromptHandle) -> None:
        self.document.remove(handle.entry)

    def add_notice(self, text: str, kind: NoticeKind) -> None:
        """Show it at once, above what is still open of a reply."""
        self.read()
        glyph, look = _NOTICES[kind]
        prefix = Prefix(((glyph, look),), (("  ", PLAIN),))
        with self._above_what_is_open():
            entry, _ = self._begin_entry()
            self.document.extend(entry, _plain(text, look, prefix))

    def add_card(self, card: Card) -> CardHandle:
        """The next `read` ends with the reply so far and shows `card` below it."""
        handle = CardHandle(card)
        self._waiting.append(handle)
        return handle

    def add_card_aside(self, card: Card) -> CardHandle:
        """Show a card that is no part of the reply: at once, above what is still open of it."""
        self.read()
        handle = CardHandle(card)
        with self._above_what_is_open():
            self._begin_card(handle)
        return handle

    def change_card(self, handle: CardHandle) -> None:
        """The next `read` shows the card as it is then."""
        if handle.page is not None:
            self._changed[handle] = None

    def toggle_thoughts(self) -> bool:
        """Unfold all reasoning; fold it if the last one is unfolded. False if there is none."""
        if self.thoughts:
            folded = not self.thoughts[-1].body.folded
            for thought in self.thoughts:
                self._fold_thought(thought, folded=folded)
        return bool(self.thoughts)

    def toggle_cards(self) -> bool:
        """Unfold the latest cards, `CARDS_TOGGLED` of them; fold them if the last one is unfolded."""
        found = (handle for handle in reversed(self.cards.values()) if handle.card.unfolds)
        latest = list(islice(found, CARDS_TOGGLED))
        if latest:
            folded = not latest[0].folded
            for handle in latest:
                self._fold_card(handle, folded=folded)
        return bool(latest)

    def toggle_at(self, page: Page, line: int) -> bool:
        """Fold or unfold what has its row there; False if nothing has."""
        handle = self.cards.get(page)
        first = len(page.blocks)
        if handle is not None and handle.card.unfolds and page.starts[first : first + 1] == [line]:
            self._fold_card(handle, folded=not handle.folded)
            return True
        thought = next((thought for thought in self.thoughts if thought.head is page), None)
        if thought is not None:
            self._fold_thought(thought, folded=not thought.body.folded)
        return thought is not None

    def take_languages(self) -> set[str]:
        """Languages of fences that came up and whose colours are not loaded."""
        languages, self._languages = self._languages, set()
        return languages

    def _next(self, limit: int) -> tuple[Channel, str]:
        """The next text of one channel, up to `limit` characters of it."""
        first = self._waiting.popleft()
        assert not isinstance(first, CardHandle)
        channel, text = first
        parts = [text]
        size = len(text)
        while size < limit and self._waiting:
            following = self._waiting[0]
            if isinstance(following, CardHandle) or following[0] is not channel:
                break
            self._waiting.popleft()
            parts.append(following[1])
            size += len(following[1])
        text = "".join(parts)
        if size > limit:
            self._waiting.appendleft((channel, text[limit:]))
        return channel, text[:limit]

    def _take(self, section: _Section, text: str) -> None:
        text = section.printable.feed(text)
        if section.thought is not None:
            section.thought.count(text)
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
        gap = gap and not self.document.is_empty
        page = self.document.begin(entry)
        if gap:
            self.document.extend(entry, [Blank()])
        return entry, page

    @contextmanager
    def _above_what_is_open(self) -> Iterator[None]:
        """What is still open of a reply moves below what is added meanwhile, and is read on as if that were
        not there: a reply may stall, so nothing of ours waits for its end."""
        section = self._section
        if section is not None:
            self.document.set_tail(section.page, [])
            self._drop_if_empty(section)
        yield
        if section is not None:
            # Reasoning stays one entry, which is folded as a whole.
            section.page = self.document.begin(section.thought.body if section.thought else Entry())
            section.is_begun, section.needs_gap = False, True
            self._show_tail(section)

    def _place_card(self, handle: CardHandle) -> None:
        self._close_section()
        self._begin_card(handle)

    def _begin_card(self, handle: CardHandle) -> None:
        """Cards that follow each other stand without a gap."""
        last = self.document.last
        _, handle.page = self._begin_entry(gap=last not in self.cards)
        self.cards[handle.page] = handle
        self._show_card(handle)

    def _show_card(self, handle: CardHandle) -> None:
        assert handle.page is not None
        blocks = handle.card.blocks(folded=handle.folded)
        self.document.set_tail(handle.page, blocks)
        self._note_languages(blocks)

    def _fold_card(self, handle: CardHandle, *, folded: bool) -> None:
        handle.folded = folded
        self._show_card(handle)

    def _fold_thought(self, thought: Thought, *, folded: bool) -> None:
        self.document.fold(thought.body, folded=folded)
        self.document.set_tail(thought.head, [thought.line()])

    def _drop_if_empty(self, section: _Section) -> None:
        """A section of blanks alone leaves no gap behind."""
        if section.thought is None and not section.is_begun:
            self.document.retract()

    def _begin_section(self, channel: Channel) -> _Section:
        _, page = self._begin_entry()
        match channel:
            case Channel.TEXT:
                return _Section(channel, page, MarkdownStream())
            case Channel.REASONING:
                body = Entry(folded=True)
                thought = Thought(page, body)
                self.thoughts.append(thought)
                return _Section(
                    channel, self.document.begin(body), MarkdownStream(Look(Part.REASONING)), thought
                )

    def _close_section(self) -> None:
        section, self._section = self._section, None
        if section is None:
            return
        last = section.printable.close()
        self._extend(section, section.markdown.feed(last) + section.markdown.close())
        self.document.set_tail(section.page, [])
        self._drop_if_empty(section)
        if section.thought is not None:
            section.thought.count(last)
            section.thought.over = True
            self._show_head(section)

    def _show_head(self, section: _Section) -> None:
        if section.thought is not None:
            self.document.set_tail(section.thought.head, [section.thought.line()])


def _beginning(text: str) -> tuple[str, str]:
    """What is shown of a prompt, and words for the rest of it or nothing."""
    text = text.rstrip("\n")
    start = "\n".join(text[:PROMPT_CHARACTERS].split("\n")[:PROMPT_LINES])
    if len(start) == len(text):
        return text, ""
    lines = text.count("\n", len(start))
    count, unit = (lines, "line") if lines else (len(text) - len(start), "character")
    cut = "" if text[len(start)] == "\n" else "…"
    return start + cut, f"({count:,} more {unit}{'' if count == 1 else 's'})"


def _plain(text: str, look: Look, prefix: Prefix) -> Iterator[Prose]:
    """`text` without markup, in blocks of bounded size."""
    text = printable(text).expandtabs(4).rstrip("\n")
    start = 0
    while True:
        end = min(len(text), start + _PLAIN_PIECE)
        if end < len(text):
            newline = text.rfind("\n", start, end)
            blank = text.rfind(" ", start, end)
            end = newline if newline > start else blank + 1 if blank > start else end
        whole = start == 0 or text[start - 1] == "\n"
        yield Prose(
            text[start:end],
            prefix if start == 0 else Prefix(prefix.rest, prefix.rest),
            look,
            markdown=False,
            continues=not whole,
        )
        if end >= len(text):
            return
        start = end + (text[end] == "\n")
