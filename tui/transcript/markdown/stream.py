"""Markdown read as it streams: source goes in as arbitrary slices, frozen blocks come out.

This is the first of CommonMark's two phases, which reads line by line and never goes back; the second, inline
markup, is done when a block is laid out (`tui.transcript.markdown.inline`). The open part stays small
whatever a model writes. The blocks depend only on the text, never on its slices.

Intentionally left out of CommonMark: indented code (models indent by accident), HTML blocks (shown as text)
and link definitions (they come too late for a stream).
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import msgspec

from tui.transcript.markdown.blocks import (
    NO_PREFIX,
    PLAIN,
    Align,
    Blank,
    Block,
    Code,
    Prefix,
    Prose,
    Rule,
    Table,
)
from tui.transcript.markdown.highlight import language_of
from tui.transcript.markdown.leaves import Fence, Leaf, Paragraph, Rows, split_row
from tui.transcript.markdown.spans import Look, Part, Spans

FRAGMENT = 512
"""Lines are read in parts of this many characters, so that a line without an end is shown meanwhile."""
MAX_DEPTH = 8

_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( {0,3})([-+*]|(\d{1,9})[.)])( +|$)")
_TASK = re.compile(r"\[([ xX])\] +")
_RULE = re.compile(r" {0,3}([-*_])(?: *\1){2,} *$")
_HEADING = re.compile(r" {0,3}(#{1,6})(?: +|$)(.*)$")
_HEADING_END = re.compile(r"(?:^| +)#+ *$")
_FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,}) *(.*)$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+) *$")
_DELIMITER_ROW = re.compile(r" *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$")
_UNDECIDED = re.compile(r" *(?:> *)*(?:[-+*] +|\d+[.)] +)*(?:[-+*=_#`~>]{1,8}|\d{1,9}[.)]?|\[[ xX]?\]?) *\Z")
_UNDECIDED_FENCE = re.compile(r" *[`~]{1,8}\Z")
_UNDECIDED_ROW = re.compile(r"[ |:-]*\Z")

_MARK = Look(Part.MARK)
_BAR: Spans = (("▎ ", Look(Part.QUOTE)),)
_BULLETS = "•◦▪"


@dataclass(slots=True)
class _Quote:
    """An open quote. `fresh` until it has content."""

    fresh: bool = True


@dataclass(slots=True)
class _Item:
    """A list item. `at`, `indent`: columns of its mark and its content. `fresh` until its mark is shown."""

    at: int
    indent: int
    kind: str
    number: int
    mark: str
    fresh: bool = True


_Container: TypeAlias = _Quote | _Item


class MarkdownStream:
    """Reads one message. `feed` returns finished blocks, `tail` a preview of the rest."""

    def __init__(self, look: Look = PLAIN) -> None:
        self._reader = _Reader(look)
        self._line = ""
        self._inside = False  # the beginning of this line has been read

    def feed(self, text: str) -> list[Block]:
        """The blocks that `text`, already printable, has finished."""
        *lines, tail = (self._line + text).split("\n")
        for line in lines:
            self._read(self._fragments(line), ended=True)
            self._inside = False
        self._line = self._fragments(tail)
        return self._reader.take()

    def tail(self) -> list[Block]:
        """The open part as it looks if nothing more comes, without marks that have no meaning yet."""
        reader = self._reader.copy()
        if self._inside:
            reader.extend(self._line.expandtabs(4), ended=True)
        elif self._line and not reader.is_undecided(self._line):
            reader.read(self._line.expandtabs(4), ended=True)
        reader.close(more=True)
        return reader.take()

    def close(self) -> list[Block]:
        """The last blocks of the message."""
        if self._line or self._inside:
            self._read(self._line, ended=True)
        self._line, self._inside = "", False
        self._reader.close()
        return self._reader.take()

    def _fragments(self, line: str) -> str:
        """Read `line` except its last part, which is returned."""
        while len(line) > FRAGMENT:
            self._read(line[:FRAGMENT], ended=False)
            self._inside = True
            line = line[FRAGMENT:]
        return line

    def _read(self, text: str, *, ended: bool) -> None:
        if self._inside:
            self._reader.extend(text.expandtabs(4), ended=ended)
        else:
            self._reader.read(text.expandtabs(4), ended=ended)


class _Reader:
    """Reads lines; holds the open containers, the open leaf, and the blocks not taken yet."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._containers: list[_Container] = []
        self._leaf: Leaf | None = None
        self._out: list[Block] = []
        self._last: Block | None = None
        self._blank = False

    def copy(self) -> _Reader:
        twin = copy(self)
        twin._containers = [replace(container) for container in self._containers]
        twin._leaf = replace(self._leaf) if self._leaf is not None else None
        twin._out = []
        return twin

    def take(self) -> list[Block]:
        out, self._out = self._out, []
        return out

    def close(self, *, more: bool = False) -> None:
        """End the message or, with `more`, preview its end."""
        self._close_leaf(more=more)
        self._close_containers(0)

    def is_undecided(self, line: str) -> bool:
        """Whether the unfinished `line` may still become a mark of some kind."""
        if isinstance(self._leaf, Fence):
            return _UNDECIDED_FENCE.match(line) is not None
        if isinstance(self._leaf, Paragraph) and "|" in self._leaf.text and _UNDECIDED_ROW.match(line):
            return True
        return _UNDECIDED.match(line) is not None

    def read(self, text: str, *, ended: bool) -> None:
        """Read a line or, if not `ended`, the beginning of a long one."""
        rest, matched = self._match(text)
        goes_on = matched == len(self._containers)
        if goes_on and isinstance(self._leaf, Fence):
            self._code(self._leaf, rest, ended=ended)
            return
        if not rest.strip() and ended:
            self._begin(None, matched)
            self._blank = True
            return
        depth = len(self._containers)
        rest, matched, opened = self._open_containers(rest, matched)
        goes_on = goes_on and not opened
        if ended and ((goes_on and self._goes_on(rest)) or self._begins_leaf(rest, matched)):
            return
        is_lazy = matched < depth and not opened
        self._text(rest, matched, in_paragraph=goes_on or is_lazy, ended=ended)

    def extend(self, text: str, *, ended: bool) -> None:
        """Read more of a line whose beginning was read."""
        leaf = self._leaf
        if isinstance(leaf, Fence):
            leaf.extend(text, ended=ended)
        elif isinstance(leaf, Paragraph):
            leaf.text += text
        else:
            leaf = self._leaf = Paragraph(text, self._look)
        self._give_out_pieces(leaf)
        if ended and isinstance(leaf, Paragraph) and leaf.level:
            self._close_leaf()

    # Containers: quotes and list items.

    def _match(self, text: str) -> tuple[str, int]:
        """`text` after the marks of the open containers, and how many of them it continues."""
        for index, container in enumerate(self._containers):
            if isinstance(container, _Quote):
                found = _QUOTE.match(text)
                if found is None:
                    return text, index
                text = text[found.end() :]
            elif text.strip():
                indent = len(text) - len(text.lstrip(" "))
                is_nested = indent >= container.at + 2 and _ITEM.match(text, indent)
                if indent < container.indent and not is_nested:
                    return text, index
                text = text[min(indent, container.indent) :]
        return text, len(self._containers)

    def _open_containers(self, rest: str, matched: int) -> tuple[str, int, bool]:
        """Open what `rest` begins with: the text after it, the open containers, whether any is new."""
        opened = False
        while matched < MAX_DEPTH:
            if quote := _QUOTE.match(rest):
                self._begin(None, matched)
                self._containers.append(_Quote())
                rest = rest[quote.end() :]
            elif (item := _ITEM.match(rest)) and self._is_item(item, matched, opened=opened):
                rest = self._open_item(item, matched)
            else:
                break
            opened = True
            matched = len(self._containers)
        return rest, matched, opened

    def _is_item(self, item: re.Match[str], matched: int, *, opened: bool) -> bool:
        """Whether a mark begins a list; within a paragraph only if it can be nothing else."""
        if _RULE.match(item.string):
            return False
        if opened or matched < len(self._containers) or not isinstance(self._leaf, Paragraph):
            return True
        return item.end() < len(item.string) and item.group(3) in (None, "1")

    def _open_item(self, item: re.Match[str], matched: int) -> str:
        before = self._containers[matched] if matched < len(self._containers) else None
        self._begin(None, matched)
        kind, digits = item.group(2)[-1], item.group(3)
        number = int(digits or 0)
        if digits and isinstance(before, _Item) and before.kind == kind:
            number = before.number + 1
        depth = sum(isinstance(container, _Item) for container in self._containers)
        mark = f"{number}{kind} " if digits else _BULLETS[depth % len(_BULLETS)] + " "
        blanks = len(item.group(4))
        indent = item.end(2) + (blanks if 1 <= blanks <= 4 else 1)
        rest = item.string[indent:]
        if task := _TASK.match(rest):
            mark = "☐ " if task.group(1) == " " else "☑ "
            rest = rest[task.end() :]
        self._containers.append(_Item(item.start(2), indent, kind, number, mark))
        return rest

    def _close_containers(self, keep: int) -> None:
        while len(self._containers) > keep:
            last = self._containers[-1]
            if isinstance(last, _Item) and last.fresh:
                self._give_out(Prose("", look=self._look))
            self._containers.pop()

    def _prefix(self) -> Prefix:
        """The prefix of the next block; marks are shown once."""
        if not self._containers:
            return NO_PREFIX
        first: Spans = ()
        rest: Spans = ()
        for container in self._containers:
            if isinstance(container, _Quote):
                first += _BAR
                rest += _BAR
            else:
                indent = " " * len(container.mark)
                first += ((container.mark, _MARK),) if container.fresh else ((indent, PLAIN),)
                rest += ((indent, PLAIN),)
            container.fresh = False
        return _shared(first, rest)

    def _bars(self) -> Prefix:
        """The prefix of a blank row between two blocks."""
        bars: Spans = ()
        for container in self._containers:
            if container.fresh:
                break
            bars += _BAR if isinstance(container, _Quote) else ((" " * len(container.mark), PLAIN),)
        return _shared(bars, bars)

    # Leaves.

    def _goes_on(self, rest: str) -> bool:
        """Whether `rest` belongs to the open table, or makes the open paragraph a heading or a table."""
        match self._leaf:
            case Rows() as rows if "|" in rest:
                rows.add(rest)
                self._give_out_pieces(rows)
                return True
            case Paragraph() as paragraph if _UNDERLINE.match(rest) and not paragraph.begun:
                paragraph.level = 1 if rest.strip()[0] == "=" else 2
                self._close_leaf()
                return True
            case Paragraph() as paragraph if _DELIMITER_ROW.match(rest):
                return self._begins_table(paragraph, rest)
        return False

    def _begins_table(self, paragraph: Paragraph, delimiters: str) -> bool:
        above, newline, header = paragraph.text.rpartition("\n")
        aligns = tuple([_align(cell) for cell in split_row(delimiters)])
        cells = split_row(header)
        if "|" not in header or len(cells) != len(aligns) or (paragraph.continues and not newline):
            return False
        if newline:
            paragraph.text = above
            self._close_leaf()
        self._leaf = Rows(aligns, cells)
        return True

    def _begins_leaf(self, rest: str, matched: int) -> bool:
        """Whether `rest` begins something other than a paragraph."""
        if _RULE.match(rest):
            self._begin(None, matched)
            self._give_out(Rule())
        elif heading := _HEADING.match(rest):
            text = _HEADING_END.sub("", heading.group(2)).strip()
            self._begin(Paragraph(text, self._look, len(heading.group(1))), matched)
            self._close_leaf()
        elif fence := _FENCE.match(rest):
            self._begin(Fence(fence.group(2), len(fence.group(1)), language_of(fence.group(3))), matched)
        else:
            return not rest.strip()
        return True

    def _text(self, rest: str, matched: int, *, in_paragraph: bool, ended: bool) -> None:
        rest = rest.strip(" ") if ended else rest.lstrip(" ")
        leaf = self._leaf
        if in_paragraph and isinstance(leaf, Paragraph):
            leaf.text += "\n" + rest
        else:
            heading = None if ended else _HEADING.match(rest)
            level = len(heading.group(1)) if heading else 0
            leaf = Paragraph(heading.group(2) if heading else rest, self._look, level)
            self._begin(leaf, matched)
        self._give_out_pieces(leaf)

    def _code(self, fence: Fence, line: str, *, ended: bool) -> None:
        if ended and fence.is_closed_by(line):
            self._close_leaf()
        else:
            fence.add(line, ended=ended)
            self._give_out_pieces(fence)

    def _begin(self, leaf: Leaf | None, keep: int) -> None:
        """Close the open leaf and all but `keep` containers; `leaf` becomes the open one."""
        self._close_leaf()
        self._close_containers(keep)
        self._leaf = leaf

    def _close_leaf(self, *, more: bool = False) -> None:
        leaf, self._leaf = self._leaf, None
        if leaf is not None:
            for block in leaf.rest(more=more):
                self._give_out(block, goes_on=leaf.begun)

    # Output of blocks.

    def _give_out_pieces(self, leaf: Leaf) -> None:
        for block in leaf.pieces():
            self._give_out(block, goes_on=leaf.begun)
            leaf.begun = True

    def _give_out(self, block: Block, *, goes_on: bool = False) -> None:
        if not goes_on and self._last is not None and (self._blank or self._needs_gap(block)):
            self._out.append(Blank(self._bars()))
        self._blank = False
        self._last = block
        self._out.append(msgspec.structs.replace(block, prefix=self._prefix()))

    def _needs_gap(self, block: Block) -> bool:
        """Whether a blank row belongs before `block` although its source has none."""
        if isinstance(self._last, Code | Table):
            return True
        if any(container.fresh for container in self._containers):
            return False
        is_heading = isinstance(block, Prose) and block.look.part in (Part.HEADING, Part.TITLE)
        return is_heading or isinstance(block, Code | Table)


@lru_cache(maxsize=512)
def _shared(first: Spans, rest: Spans) -> Prefix:
    """Share one object between all blocks with equal prefixes: a long list has many blocks."""
    return Prefix(first, rest)


def _align(cell: str) -> Align:
    if cell.startswith(":") and cell.endswith(":"):
        return Align.CENTER
    return Align.RIGHT if cell.endswith(":") else Align.LEFT
