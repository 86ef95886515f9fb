"""Text shown without any markup: prompts and our own notices."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from core.base.sanitize import printable
from tui.transcript.markdown.blocks import PLAIN, Prefix, Prose
from tui.transcript.markdown.spans import Look, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN_PIECE = 2_000
PROMPT_LINES = 40
PROMPT_CHARACTERS = 4_000
"""The shown characters of a prompt; for a longer one the number of the others is added."""


class NoticeKind(StrEnum):
    """The kind of a notice; the glyph shows it without color."""

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


def prompt_blocks(text: str) -> Iterator[Prose]:
    """The beginning of a prompt, and how much more of it there is."""
    start, more = _beginning(text)
    yield from _plain(start, _PROMPT, _PROMPT_PREFIX)
    if more:
        yield Prose(more, Prefix(_PROMPT_PREFIX.rest, _PROMPT_PREFIX.rest), _MORE, markdown=False)


def notice_blocks(text: str, kind: NoticeKind) -> Iterator[Prose]:
    glyph, look = _NOTICES[kind]
    return _plain(text, look, Prefix(((glyph, look),), (("  ", PLAIN),)))


def _beginning(text: str) -> tuple[str, str]:
    """The shown part of a prompt, and words for the rest of it or an empty text."""
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
