"""What is said in a conversation, turned into the document that the transcript shows.

Text comes in slices and by two channels, the reply and what the model thinks; here it is made printable, read
as Markdown and put into pages. Nothing here knows the screen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

from core.sanitize import PrintableStream, printable
from tui.blocks import PLAIN, Blank, Code, Look, Part, Prefix, Prose
from tui.highlight import is_loaded
from tui.markdown import MarkdownStream
from tui.widgets.transcript_pages import Document, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui.blocks import Block
    from tui.widgets.transcript_pages import Page

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


@dataclass(frozen=True, slots=True, eq=False)
class PromptHandle:
    """A prompt in the transcript, so that it can be taken away again."""

    entry: Entry


@dataclass(slots=True, eq=False)
class Thought:
    """Reasoning that is folded under one line, which stands on the page `head`."""

    head: Page
    body: Entry
    words: int = 0
    over: bool = False
    _in_word: bool = False

    def count(self, text: str) -> None:
        if text:
            self.words += len(text.split()) - (self._in_word and not text[0].isspace())
            self._in_word = not text[-1].isspace()

    def line(self) -> Prose:
        arrow = "▸" if self.body.folded else "▾"
        text = f"{'Thought' if self.over else 'Thinking…'} ({self.words:,} words) {arrow}"
        return Prose(text, look=Look(Part.REASONING), markdown=False)


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
        self._waiting: deque[tuple[Channel, str]] = deque()
        self._section: _Section | None = None
        self._languages: set[str] = set()

    @property
    def waiting(self) -> int:
        """How many slices were received and not read yet."""
        return len(self._waiting)

    def receive(self, channel: Channel, text: str) -> None:
        """Keep `text` for the next `read`."""
        if text:
            self._waiting.append((channel, text))

    def read(self, limit: int = SLICE) -> bool:
        """Read up to `limit` characters of what was received; True if more is waiting."""
        while self._waiting and limit > 0:
            channel, text = self._next(limit)
            limit -= len(text)
            if self._section is None or self._section.channel is not channel:
                self._close_section()
                self._section = self._begin_section(channel)
            self._take(self._section, text)
        if self._section is not None:
            self._show_tail(self._section)
            self._show_head(self._section)
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
        """Show it at once. What is still open of a reply moves below it, and is read on as if it were not
        there: a reply may stall, so no notice waits for its end."""
        self.read()
        section = self._section
        if section is not None:
            self.document.set_tail(section.page, [])
            if section.thought is None and not section.is_begun:
                # Nothing but the gap is left of it.
                self.document.remove(section.page.entry)
        entry, _ = self._begin_entry()
        glyph, look = _NOTICES[kind]
        self.document.extend(entry, _plain(text, look, Prefix(((glyph, look),), (("  ", PLAIN),))))
        if section is not None:
            # Reasoning stays one entry, which is folded as a whole.
            section.page = self.document.begin(section.thought.body if section.thought else Entry())
            section.is_begun, section.needs_gap = False, True
            self._show_tail(section)

    def fold(self, thought: Thought, *, folded: bool) -> None:
        self.document.fold(thought.body, folded=folded)
        self.document.set_tail(thought.head, [thought.line()])

    def take_languages(self) -> set[str]:
        """Languages of fences that came up and whose colours are not loaded."""
        languages, self._languages = self._languages, set()
        return languages

    def _next(self, limit: int) -> tuple[Channel, str]:
        """The next text of one channel, up to `limit` characters of it."""
        channel, text = self._waiting.popleft()
        parts = [text]
        size = len(text)
        while size < limit and self._waiting and self._waiting[0][0] is channel:
            parts.append(self._waiting.popleft()[1])
            size += len(parts[-1])
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
