"""Spans: pieces of a row of text, each with its look. Measuring, cutting and joining them.

A grapheme is never split between two spans, so that their widths add up.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len

from tui.base.wrap import FLAG_HALF, graphemes, text_cells, wrap


class Part(StrEnum):
    """What a span is; the theme colors it by the class `transcript--<part>`."""

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
    """How a span looks before the theme: its part and the emphasis of the text."""

    part: Part = Part.TEXT
    bold: bool = False
    italic: bool = False
    strike: bool = False
    link: str = ""


Span: TypeAlias = tuple[str, Look]


Spans: TypeAlias = tuple[Span, ...]


def cells(spans: Spans) -> int:
    """Width of `spans` in terminal cells."""
    return sum([text_cells(text) for text, _ in spans])


def plain(spans: Spans) -> str:
    return "".join([text for text, _ in spans])


def slice_spans(spans: Spans, start: int, end: int) -> Spans:
    """The characters from `start` to `end` of `spans`."""
    found: list[Span] = []
    position = 0
    for text, look in spans:
        after = position + len(text)
        if after > start and position < end:
            found.append((text[max(0, start - position) : end - position], look))
        position = after
        if position >= end:
            break
    return tuple(found)


def snap(spans: Spans) -> Spans:
    """`spans` with no grapheme split between two of them, so that their widths add up."""
    if not any(_may_join(before[0], after[0]) for before, after in pairwise(spans)):
        return spans
    joined = plain(spans)
    borders = {start for start, _, _ in graphemes(joined)}
    found: list[Span] = []
    begin = position = 0
    for text, look in spans:
        position += len(text)
        border = max(begin, position)
        while border < len(joined) and border not in borders:
            border += 1
        if border > begin:
            found.append((joined[begin:border], look))
        begin = border
    return tuple(found)


def _may_join(before: str, after: str) -> bool:
    """Whether a grapheme may begin in `before` and end in `after`."""
    if before.isascii() and after.isascii():
        return False
    return (
        not before
        or not after
        or cell_len(before[-1] + after[0]) != cell_len(before[-1]) + cell_len(after[0])
        or not cell_len(after[0])
        or FLAG_HALF.match(after) is not None
    )


def cut(spans: Spans, width: int) -> Spans:
    """As much of `spans` as fits into `width` cells (at least 2)."""
    _, end = wrap(plain(spans), width, at_words=False)[0]
    return slice_spans(spans, 0, end)
