"""The blocks of a transcript, and how each becomes lines of a given width.

A block is frozen and independent of the width, so a resize only lays it out again. A line is a row of spans,
each a text and a `Look`; the theme adds colors later. No line is wider than asked for, and the cost of layout
is proportional to the block alone: blocks are small, whatever the reply contains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from core.base.values import Value
from tui.transcript.markdown.spans import Look, Part, Spans

PLAIN = Look()
CODE = Look(Part.CODE)


class Line(NamedTuple):
    """One row. `joint` separates it from the previous row in a copy: a newline, or the text left out where a
    row was broken. `margin` counts the leading characters that are not copied (indent, quote bar); `fill`
    colors the rest of the row."""

    spans: Spans
    joint: str = "\n"
    margin: int = 0
    fill: Part | None = None

    @property
    def text(self) -> str:
        return "".join([text for text, _ in self.spans])


class Prefix(NamedTuple):
    """Text to the left of a block: quote bars, list marks, indent. `first` is used in its first row."""

    first: Spans = ()
    rest: Spans = ()


NO_PREFIX = Prefix()


class Prose(Value):
    """A paragraph, heading, item, notice or prompt. `markdown` source has inline markup, other text has none.

    `continues`: it continues the last row of the block before it. `open`: more may come, so marks that are
    not closed yet count as closed.
    """

    source: str
    prefix: Prefix = NO_PREFIX
    look: Look = PLAIN
    markdown: bool = True
    continues: bool = False
    open: bool = False


class Code(Value):
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
    """What the rows of a table share. Columns are measured once, from `sample`, the first rows."""

    aligns: tuple[Align, ...]
    header: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]
    natural: tuple[int, ...] = field(default=(), compare=False)


class Table(Value):
    """Rows of a table; `with_header` for the first piece of it."""

    shape: TableShape
    rows: tuple[tuple[str, ...], ...]
    prefix: Prefix = NO_PREFIX
    with_header: bool = False


class Rule(Value):
    prefix: Prefix = NO_PREFIX


class Blank(Value):
    prefix: Prefix = NO_PREFIX


class CardRow(Value):
    """A call on one row at any width. If space is short, `title` is shortened first, then `ending`, which
    says how the call ended; `part` colors it and the `mark`. `arrow` shows that it unfolds."""

    mark: str
    name: str
    title: str = ""
    ending: str = ""
    part: Part = Part.INFO
    arrow: str = ""
    prefix: Prefix = NO_PREFIX

    @property
    def text(self) -> str:
        """The full text, as shown if there is enough room."""
        return "  ".join([part for part in (f"{self.mark} {self.name}", self.title, self.ending) if part])


Block: TypeAlias = Prose | Code | Table | Rule | Blank | CardRow
