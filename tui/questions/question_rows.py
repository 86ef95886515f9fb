"""What a person reads before a call is allowed, as rows. Pure.

Nothing of a command or a path is hidden at the right edge: everything is wrapped, and what is left out of a
very long preview is counted. Every row of a diff has its sign; color only repeats it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from core.base.sanitize import printable
from core.operations.events import ShownKind
from tui.base.wrap import wrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.operations.events import Question, Shown

PREVIEW_CHARACTERS = 60_000
PREVIEW_LINES = 1_500
"""The most lines of a preview that are shown."""

_TAB = 4


class Tint(StrEnum):
    """The role of a row, from which the theme takes its color: `approval--<tint>`."""

    TITLE = "title"
    WHY = "why"
    RULE = "rule"
    PREVIEW = "preview"
    ADDED = "added"
    REMOVED = "removed"
    PLACE = "place"


class QuestionRow(NamedTuple):
    text: str
    tint: Tint


def question_rows(question: Question, width: int) -> list[QuestionRow]:
    """The text of a question in rows of at most `width` cells; `width` is 4 or more."""
    rows = list(_wrapped(f"{question.tool}  {question.title}", Tint.TITLE, width))
    if question.agent:
        rows += _wrapped(f"Asked by the sub-agent {question.agent}.", Tint.WHY, width)
    if question.why:
        rows += _wrapped(question.why, Tint.WHY, width)
    if question.rule:
        rows += _wrapped(f"s and a would allow {question.rule}", Tint.RULE, width)
    if question.preview is not None:
        rows.append(QuestionRow("", Tint.PREVIEW))
        rows += _preview(question.preview, width)
    return rows


def _preview(shown: Shown, width: int) -> Iterator[QuestionRow]:
    text = shown.text[:PREVIEW_CHARACTERS]
    lines = printable(text).expandtabs(_TAB).rstrip("\n").split("\n")
    for line in lines[:PREVIEW_LINES]:
        if shown.kind is ShownKind.DIFF:
            yield from _diff_line(line, width)
        else:
            yield from _wrapped(line, Tint.PREVIEW, width)
    missing = len(shown.text) - sum(len(line) + 1 for line in lines[:PREVIEW_LINES])
    if len(lines) > PREVIEW_LINES or len(shown.text) > PREVIEW_CHARACTERS:
        yield from _wrapped(f"… and about {max(1, missing):,} characters more.", Tint.PLACE, width)


def _diff_line(line: str, width: int) -> Iterator[QuestionRow]:
    tint = _diff_tint(line)
    sign = line[0] if tint in (Tint.ADDED, Tint.REMOVED) else ""
    for number, (start, end) in enumerate(wrap(line, width - 2, at_words=False)):
        # A continued row repeats the sign.
        before = f"{sign}↳" if number else ""
        yield QuestionRow(before + line[start:end], tint)


def _diff_tint(line: str) -> Tint:
    if line.startswith(("+++", "---", "@@", "diff ", "index ")):
        return Tint.PLACE
    if line.startswith("+"):
        return Tint.ADDED
    return Tint.REMOVED if line.startswith("-") else Tint.PREVIEW


def _wrapped(text: str, tint: Tint, width: int) -> Iterator[QuestionRow]:
    for line in printable(text).expandtabs(_TAB).split("\n"):
        for start, end in wrap(line, width):
            yield QuestionRow(line[start:end], tint)
