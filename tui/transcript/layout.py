"""Layout of blocks as lines of a width. The same block and width always give the same lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

from tui.base.wrap import text_cells, wrap
from tui.transcript.markdown.blocks import (
    CODE,
    PLAIN,
    Align,
    Blank,
    Block,
    CardRow,
    Code,
    Line,
    Prefix,
    Prose,
    Rule,
    Table,
)
from tui.transcript.markdown.highlight import highlight
from tui.transcript.markdown.inline import close_marks, inline_spans
from tui.transcript.markdown.spans import Look, Part, cells, cut, plain, slice_spans, snap

if TYPE_CHECKING:
    from tui.transcript.markdown.blocks import TableShape
    from tui.transcript.markdown.spans import Span, Spans

_RULE = Look(Part.RULE)
_SEPARATOR: Spans = ((" │ ", _RULE),)
_MIN_COLUMN = 4
_MIN_TITLE = 12
_TOOL = Look(Part.TOOL)


class Carry(NamedTuple):
    """The last row of a paragraph, for a block that continues in it: untrimmed text and its prefix."""

    spans: Spans
    prefix: Spans
    joint: str


class Laid(NamedTuple):
    lines: list[Line]
    carry: Carry | None


def lay_out(block: Block, width: int, carry: Carry | None = None) -> Laid:
    """`block` in rows of at most `width` cells (at least 4).

    With a `carry`, the first row replaces the row that it came from.
    """
    match block:
        case Prose():
            return _prose(block, width, carry)
        case Code():
            return Laid(_code(block, width), None)
        case Table():
            return Laid(_table(block, width), None)
        case Rule() | Blank():
            first = _within(block.prefix, width).first
            rule: Spans = (("─" * (width - cells(first)), _RULE),) if isinstance(block, Rule) else ()
            return Laid([Line(first + rule, margin=len(plain(first)))], None)
        case CardRow():
            return Laid([_card_row(block, width)], None)
        case _:
            assert_never(block)


def _within(prefix: Prefix, width: int) -> Prefix:
    """`prefix`, cut so that half of `width` is left for the text."""
    room = max(2, width // 2)
    if cells(prefix.rest) <= room:
        return prefix
    return Prefix(cut(prefix.first, room), cut(prefix.rest, room))


def _split_lines(spans: Spans) -> list[Spans]:
    lines: list[Spans] = []
    line: list[Span] = []
    for text, look in spans:
        head, *more = text.split("\n")
        if head:
            line.append((head, look))
        for part in more:
            lines.append(tuple(line))
            line = [(part, look)] if part else []
    lines.append(tuple(line))
    return lines


def _prose(block: Prose, width: int, carry: Carry | None) -> Laid:
    if block.markdown:
        spans = inline_spans(close_marks(block.source) if block.open else block.source, block.look)
    else:
        spans = ((block.source, block.look),)
    first, rest = _within(block.prefix, width)
    before = carry or (Carry((), rest, "") if block.continues else Carry((), first, "\n"))
    room = width - cells(rest)
    fill = Part.PROMPT if block.look.part is Part.PROMPT else None
    lines: list[Line] = []
    for index, paragraph in enumerate(_split_lines(spans)):
        if index:
            before = Carry((), rest, "\n")
        row_spans = snap(before.spans + paragraph)
        text = plain(row_spans)
        _, prefix, joint = before
        rows = wrap(text, room)
        for number, (start, end) in enumerate(rows):
            if number:
                prefix, joint = rest, " " if start > rows[number - 1][1] else ""
            row = prefix + slice_spans(row_spans, start, end)
            lines.append(Line(row, joint, _margin(prefix), fill))
        before = Carry(slice_spans(row_spans, rows[-1][0], len(text)), prefix, joint)
    return Laid(lines, before)


def _margin(prefix: Spans) -> int:
    """The number of characters of `prefix` that a copy leaves out: all, or none if it has an item's mark."""
    return 0 if any(look.part is Part.MARK for _, look in prefix) else len(plain(prefix))


def _code(block: Code, width: int) -> list[Line]:
    first, rest = _within(block.prefix, width)
    room = max(2, width - cells(rest) - 2)
    pad: Spans = ((" ", CODE),)
    lines: list[Line] = []
    prefix = first
    for index, source in enumerate(highlight(block)):
        spans = snap(source)
        joint = "" if block.continues and index == 0 else "\n"
        for start, end in wrap(plain(spans), room, at_words=False):
            row = prefix + pad + slice_spans(spans, start, end)
            lines.append(Line(row, joint, len(plain(prefix)) + 1, Part.CODE))
            prefix, joint = rest, ""
    return lines


def _card_row(block: CardRow, width: int) -> Line:
    first = _within(block.prefix, width).first
    look = Look(block.part)
    arrow = f" {block.arrow}" if block.arrow else ""
    spans: Spans = (*first, (f"{block.mark} ", look), (block.name, _TOOL))
    room = width - cells(spans) - text_cells(arrow)
    ending = 2 + text_cells(block.ending) if block.ending else 0
    title = _elide(block.title, max(min(_MIN_TITLE, room), room - ending) - 2)
    if title:
        spans += ((f"  {title}", PLAIN),)
        room -= 2 + text_cells(title)
    if words := _elide(block.ending, room - 2):
        spans += ((f"  {words}", look),)
    spans = cut(snap(spans), width - text_cells(arrow))
    return Line((*spans, (arrow, _RULE)) if arrow else spans, margin=len(plain(first)))


def _elide(text: str, room: int) -> str:
    """`text` in `room` cells, its end left out if necessary; empty if nothing would be readable."""
    if text_cells(text) <= room:
        return text
    if room < 3:
        return ""
    _, end = wrap(text, room - 1, at_words=False)[0]
    return f"{text[:end].rstrip()}…"


def _table(block: Table, width: int) -> list[Line]:
    first, rest = _within(block.prefix, width)
    columns = _columns(block.shape, width - cells(rest))
    rows = [[inline_spans(cell, PLAIN) for cell in row] for row in block.rows]
    header = [inline_spans(cell, Look(bold=True)) for cell in block.shape.header]
    found: list[Spans] = []
    if columns is None:
        for row in rows if rows else [header]:
            found += _record(header, row, max(2, width - cells(rest)))
    else:
        if block.with_header:
            found += _row(header, columns, block.shape.aligns)
            found.append((("─┼─".join(["─" * column for column in columns]), _RULE),))
        for row in rows:
            found += _row(row, columns, block.shape.aligns)
    prefixes = [first, *[rest] * len(found)]
    return [
        Line(prefix + spans, margin=len(plain(prefix)))
        for prefix, spans in zip(prefixes, found, strict=False)
    ]


def _columns(shape: TableShape, room: int) -> list[int] | None:
    """Widths of the columns, or None if they would be too narrow to read."""
    if not shape.natural:
        rows = (shape.header, *shape.sample)
        shape.natural = tuple(
            max(1, *(cells(inline_spans(row[index], PLAIN)) for row in rows))
            for index in range(len(shape.header))
        )
    room -= 3 * (len(shape.natural) - 1)
    if room < _MIN_COLUMN * len(shape.natural):
        return None
    widths = list(shape.natural)
    left, open_columns = room, sorted(range(len(widths)), key=widths.__getitem__)
    while open_columns:  # narrow columns keep their width, wide ones share what is left
        column = open_columns.pop(0)
        widths[column] = min(widths[column], left // (len(open_columns) + 1))
        left -= widths[column]
    return [max(2, column) for column in widths]


def _row(row: list[Spans], columns: list[int], aligns: tuple[Align, ...]) -> list[Spans]:
    """One row of a table in as many rows of the screen as its tallest cell needs."""
    stacks: list[list[Spans]] = []
    for spans, column in zip(row, columns, strict=True):
        flat = snap(_one_line(spans))
        stacks.append([slice_spans(flat, *bounds) for bounds in wrap(plain(flat), column)])
    rows: list[Spans] = []
    for index in range(max(map(len, stacks))):
        joined: Spans = ()
        for number, (stack, column, align) in enumerate(zip(stacks, columns, aligns, strict=True)):
            joined += _SEPARATOR if number else ()
            joined += _aligned(stack[index] if index < len(stack) else (), column, align)
        rows.append(joined)
    return rows


def _one_line(spans: Spans) -> Spans:
    return tuple((text.replace("\n", " "), look) for text, look in spans)


def _aligned(spans: Spans, width: int, align: Align) -> Spans:
    missing = width - cells(spans)
    left = {Align.LEFT: 0, Align.CENTER: missing // 2, Align.RIGHT: missing}[align]
    before: Spans = ((" " * left, PLAIN),) if left else ()
    after: Spans = ((" " * (missing - left), PLAIN),) if missing > left else ()
    return before + spans + after


def _record(header: list[Spans], row: list[Spans], room: int) -> list[Spans]:
    """A table row where columns do not fit: one line per cell, labeled with its header."""
    lines: list[Spans] = []
    for name, spans in zip(header, row, strict=True):
        flat = snap((*name, (": ", PLAIN), *_one_line(spans)))
        lines += [slice_spans(flat, *bounds) for bounds in wrap(plain(flat), room)]
    return [*lines, (("─" * min(room, text_cells(plain(lines[-1])) or 1), _RULE),)]
