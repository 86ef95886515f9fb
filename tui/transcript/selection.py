"""The text of a selection in the transcript, without the line breaks of the screen.

Rows are identified by `line_id`, which does not change whatever is laid out above, and grows downwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

from tui.transcript.markdown.blocks import Blank, CardRow, Code, Prose, Rule, Table

if TYPE_CHECKING:
    from rich.style import Style
    from textual.selection import Selection

    from tui.transcript.document import Document
    from tui.transcript.markdown.blocks import Block, Line
    from tui.transcript.pages import Page

_IDS_PER_PAGE = 1 << 16


def line_id(page: Page, index: int) -> int:
    return page.serial * _IDS_PER_PAGE + index


def selected_text(document: Document, selection: Selection) -> str:
    """The selected text, with broken rows joined again.

    Pages that are not laid out, far from the visible part, give their source: Markdown.
    """
    found: list[str] = []
    first = selection.start.y if selection.start is not None else 0
    last = selection.end.y if selection.end is not None else None
    for page in document.pages:
        if page.entry.folded or line_id(page, _IDS_PER_PAGE - 1) < first:
            continue
        if last is not None and line_id(page, 0) > last:
            break
        if page.lines is not None:
            _add_lines(found, page, page.lines, selection)
        else:
            found += [_source(block) for block in (*page.blocks, *page.tail)]
    return "".join(found).removeprefix("\n").rstrip(" ")


def _add_lines(found: list[str], page: Page, lines: list[Line], selection: Selection) -> None:
    for index, line in enumerate(lines):
        span = selection.get_span(line_id(page, index))
        if span is None:
            continue
        start, end = span
        text = line.text
        selected = text[max(start, line.margin) : len(text) if end < 0 else end]
        if line.joint == "\n" and found:
            found[-1] = found[-1].rstrip(" ")
        found.append(line.joint)
        found.append(selected)


def _source(block: Block) -> str:
    match block:
        case Prose(source=source) | Code(source=source):
            return ("" if block.continues else "\n") + source
        case Table(rows=rows):
            return "".join(["\n" + " | ".join(row) for row in rows])
        case CardRow(text=text):
            return "\n" + text
        case Rule() | Blank():
            return "\n"


def mark_selected(segments: list[Segment], selected: tuple[int, int], style: Style) -> list[Segment]:
    """`segments` with the characters from `selected[0]` to `selected[1]` (-1: the end) marked."""
    start, end = selected
    found: list[Segment] = []
    position = 0
    for text, own, _ in segments:
        begin = max(0, start - position)
        stop = len(text) if end < 0 else max(begin, end - position)
        found += [
            Segment(text[:begin], own),
            Segment(text[begin:stop], own + style if own else own),
            Segment(text[stop:], own),
        ]
        position += len(text)
    return [segment for segment in found if segment.text]
