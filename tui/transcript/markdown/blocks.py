"""The pieces a transcript is made of, and how each becomes lines of a given width.

A block is frozen and knows no width, so that a resize needs nothing but laying it out again. A line is a row
of spans, each a text and a `Look`; colours come later, from the theme. No line is ever wider than asked for,
and laying out costs in proportion to the block alone: blocks are small, whatever the reply does.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from core.values import dataclass


class Part(StrEnum):
    """What a span is, by which the theme colours it: `transcript--<part>`."""

    TEXT = "text"
    PROMPT = "prompt"
    PROMPT_MARK = "prompt-mark"
    REASONING = "reasoning"
    TITLE = "title"
    HEADING = "heading"
    MARK = "mark"
    QUOTE = "quote"
    RULE = "rule"
    LINK = "link"
    INLINE_CODE = "inline-code"
    CODE = "code"
    CODE_COMMENT = "code-comment"
    CODE_KEYWORD = "code-keyword"
    CODE_STRING = "code-string"
    CODE_NUMBER = "code-number"
    CODE_NAME = "code-name"
    CODE_TYPE = "code-type"
    CODE_INSERTED = "code-inserted"
    CODE_DELETED = "code-deleted"
    INFO = "info"
    STOPPED = "stopped"
    ERROR = "error"
    TOOL = "tool"
    RUNNING = "running"
    COMPLETED = "completed"
    DENIED = "denied"


class Look(NamedTuple):
    """How a span looks before the theme: its part and what the text adds to it."""

    part: Part = Part.TEXT
    bold: bool = False
    italic: bool = False
    strike: bool = False
    link: str = ""


Span: TypeAlias = tuple[str, Look]
Spans: TypeAlias = tuple[Span, ...]

PLAIN = Look()
CODE = Look(Part.CODE)


class Line(NamedTuple):
    """One row. `joint` is what stands between it and the row before in a copy: a newline, or what was left
    out where a row was broken. `margin` counts the leading characters that no copy contains (indent, quote
    bar); `fill` colours the rest of the row."""

    spans: Spans
    joint: str = "\n"
    margin: int = 0
    fill: Part | None = None

    @property
    def text(self) -> str:
        return "".join([text for text, _ in self.spans])


class Prefix(NamedTuple):
    """What stands left of a block: quote bars, list marks, indent. `first`: in its first row."""

    first: Spans = ()
    rest: Spans = ()


NO_PREFIX = Prefix()


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph, heading, item, notice or prompt. `markdown` source has inline markup, other text has none.

    `continues`: it goes on in the row where the block before it ended. `open`: more of it may come, so marks
    that are not closed yet count as closed.
    """

    source: str
    prefix: Prefix = NO_PREFIX
    look: Look = PLAIN
    markdown: bool = True
    continues: bool = False
    open: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of a fence. `opened_by` is the mark of a comment or string that began in an earlier piece."""

    source: str
    language: str
    prefix: Prefix = NO_PREFIX
    opened_by: str = ""
    continues: bool = False


class Align(StrEnum):
    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


@dataclass(slots=True)
class TableShape:
    """What the rows of one table share. Its columns are measured once, from `sample`, the first rows."""

    aligns: tuple[Align, ...]
    header: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]
    natural: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a table; `with_header` for the first piece of it."""

    shape: TableShape
    rows: tuple[tuple[str, ...], ...]
    prefix: Prefix = NO_PREFIX
    with_header: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    prefix: Prefix = NO_PREFIX


@dataclass(frozen=True, slots=True)
class Blank:
    prefix: Prefix = NO_PREFIX


@dataclass(frozen=True, slots=True)
class CardRow:
    """A call on one row, whatever the width. Where there is no room `title` gives way first, then `ending`,
    which says what has become of the call; `part` colours it and the `mark`. `arrow` shows that it unfolds.
    """

    mark: str
    name: str
    title: str = ""
    ending: str = ""
    part: Part = Part.INFO
    arrow: str = ""
    prefix: Prefix = NO_PREFIX

    @property
    def text(self) -> str:
        """All of it, as it would be with room enough."""
        return "  ".join([part for part in (f"{self.mark} {self.name}", self.title, self.ending) if part])


Block: TypeAlias = Prose | Code | Table | Rule | Blank | CardRow
