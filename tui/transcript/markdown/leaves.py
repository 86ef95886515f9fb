"""The leaves of a Markdown document while they are being read: paragraphs, fences, tables.

A growing leaf returns its beginning as blocks (`pieces`) and keeps little; `rest` gives the remainder, at its
end or for a preview. Where it is cut depends only on its text. All fields are immutable, so that
`dataclasses.replace` copies a leaf.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tui.transcript.markdown.blocks import PLAIN, Align, Block, Code, Prose, Table, TableShape
from tui.transcript.markdown.highlight import still_open
from tui.transcript.markdown.inline import open_marks
from tui.transcript.markdown.spans import Look, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAGRAPH = 1_200
"""Characters from which a paragraph, or a line of code, gives out its beginning."""
CODE_LINES = 16
SAMPLE_ROWS = 16
"""The number of rows that determine the columns of a table."""
TABLE_ROWS = 8

_PIPE = re.compile(r"(?<!\\)\|")
_BLANK = re.compile(r"[ \n]")


@dataclass(slots=True)
class Paragraph:
    """Text with inline markup; a heading if it has a `level`."""

    text: str
    look: Look = PLAIN
    level: int = 0
    begun: bool = False
    continues: bool = False

    def pieces(self) -> Iterator[Block]:
        while len(self.text) >= PARAGRAPH:
            end = cut_point(self.text[:PARAGRAPH])
            block = self._prose(self.text[:end], is_open=False)
            is_line = self.text[end] == "\n"
            self.text = self.text[end + is_line :]
            self.continues = not is_line
            yield block

    def rest(self, *, more: bool) -> Iterator[Block]:
        if more and not self.begun and self.text.startswith("|") and "\n" not in self.text:
            header = split_row(self.text)  # the next line most likely says that this is a table
            yield from Rows((Align.LEFT,) * len(header), header).rest(more=more)
        else:
            yield self._prose(self.text, is_open=more)

    def _prose(self, text: str, *, is_open: bool) -> Prose:
        look = self.look
        if self.level:
            look = look._replace(part=Part.TITLE if self.level == 1 else Part.HEADING)
        return Prose(text, look=look, continues=self.continues, open=is_open)


@dataclass(slots=True)
class Fence:
    """Lines of code. `mark` and `indent` come from the line that opened it."""

    mark: str
    indent: int
    language: str
    begun: bool = False
    _lines: tuple[str, ...] = ()
    _opened_by: str = ""
    _continues: bool = False
    _unfinished: bool = False

    def is_closed_by(self, line: str) -> bool:
        line = line.strip()
        return len(line) >= len(self.mark) and line == self.mark[0] * len(line)

    def add(self, line: str, *, ended: bool) -> None:
        """Add a line or, if not `ended`, the beginning of one."""
        indent = min(self.indent, len(line) - len(line.lstrip(" ")))
        self._lines += (line[indent:],)
        self._unfinished = not ended

    def extend(self, text: str, *, ended: bool) -> None:
        """Add more of the last line."""
        *before, last = self._lines
        self._lines = (*before, last + text)
        self._unfinished = not ended

    def pieces(self) -> Iterator[Block]:
        if len(self._lines) - self._unfinished < CODE_LINES and len(self._lines[-1]) < PARAGRAPH:
            return
        code = self._code()
        self._opened_by = still_open(self.language, code.source, code.opened_by)
        self._lines = ("",) if self._unfinished else ()
        self._continues = self._unfinished
        yield code

    def rest(self, *, more: bool) -> Iterator[Block]:
        del more
        if self._lines or not self.begun:
            yield self._code()

    def _code(self) -> Code:
        source = "\n".join(self._lines)
        return Code(source, self.language, opened_by=self._opened_by, continues=self._continues)


@dataclass(slots=True)
class Rows:
    """A table. Its first rows are kept until there are enough to measure its columns."""

    aligns: tuple[Align, ...]
    header: tuple[str, ...]
    begun: bool = False
    _rows: tuple[tuple[str, ...], ...] = ()
    _shape: TableShape | None = None

    def add(self, line: str) -> None:
        """Add a row; cells beyond the header are joined into the last one."""
        cells = split_row(line)
        count = len(self.header)
        if len(cells) > count:
            cells = (*cells[: count - 1], " | ".join(cells[count - 1 :]))
        self._rows += (cells + ("",) * (count - len(cells)),)

    def pieces(self) -> Iterator[Block]:
        if len(self._rows) >= (SAMPLE_ROWS if self._shape is None else TABLE_ROWS):
            yield self._table()

    def rest(self, *, more: bool) -> Iterator[Block]:
        del more
        if self._rows or self._shape is None:
            yield self._table()

    def _table(self) -> Table:
        rows, self._rows = self._rows, ()
        is_first = self._shape is None
        shape = self._shape = self._shape or TableShape(self.aligns, self.header, rows)
        return Table(shape, rows, with_header=is_first)


Leaf: TypeAlias = Paragraph | Fence | Rows


def split_row(line: str) -> tuple[str, ...]:
    """The cells of a table's row."""
    cells = _PIPE.split(line.strip())
    if len(cells) > 1 and not cells[0]:
        del cells[0]
    if len(cells) > 1 and not cells[-1]:
        del cells[-1]
    return tuple([cell.strip().replace("\\|", "|") for cell in cells])


def cut_point(text: str) -> int:
    """Where `text` may be cut: after a blank or before a newline, preferably outside all markup.

    The result is less than the length of `text`, and at least half of it.
    """
    ends = [
        found.end() if found.group() == " " else found.start()
        for found in _BLANK.finditer(text, len(text) // 2)
    ]
    ends = [end for end in ends if end < len(text)]
    last, far = ends[-6:], ends[:-6]
    for end in (*reversed(last), *far[:: -max(1, len(far) // 8)]):
        if not open_marks(text[:end]):
            return end
    return ends[-1] if ends else len(text) - 1
