"""What the doctor has found as rows: one entry for each check, its words broken into lines, and its advice.

Pure; which check is still at work is told by its owner.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from core.doctor import Check, Finding, State
from tui.list_rows import HintRow, Line, Piece, Tone, fitted, inline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TITLE = len("Configuration")
_STATE = len("✓ warning")
_INDENT = 2 + _STATE + 1
_NARROW = 64
"""With fewer columns the words stand beneath the title."""

_TONES = {
    State.GOOD: Tone.GOOD,
    State.WARNING: Tone.WARNING,
    State.BAD: Tone.WARNING,
    State.UNKNOWN: Tone.DETAIL,
}


class CheckRow(NamedTuple):
    """The first line of an entry. `finding` is None while the check is at work."""

    title: str
    finding: Finding | None
    text: str

    @property
    def key(self) -> str:
        return self.title


class TextRow(NamedTuple):
    """A further line of an entry."""

    title: str
    text: str
    tone: Tone

    @property
    def key(self) -> str:
        return self.title


DoctorRow: TypeAlias = CheckRow | TextRow | HintRow


def make_rows(checks: Iterable[Check], findings: Mapping[str, Finding], width: int) -> list[DoctorRow]:
    """All checks in their order; the lines of what they tell fit into `width` cells, if the words do."""
    rows: list[DoctorRow] = []
    for check in checks:
        finding = findings.get(check.title)
        if finding is None:
            rows.append(CheckRow(check.title, None, "looking…"))
            continue
        room = width - _words_at(width)
        first, *rest = _wrapped(finding.words, room) or [""]
        if width < _NARROW:
            first, rest = "", [first, *rest]
        rows.append(CheckRow(check.title, finding, first))
        rows += [TextRow(check.title, line, Tone.DETAIL) for line in rest]
        for number, line in enumerate(_wrapped(finding.advice, room - 2)):
            rows.append(TextRow(check.title, ("→ " if not number else "  ") + line, Tone.NAME))
    return rows


def row_line(row: DoctorRow, width: int, *, selected: bool) -> Line:
    """What is painted, exactly as wide as asked for."""
    match row:
        case CheckRow(title, finding, text):
            state = "… looking" if finding is None else f"{finding.state.glyph} {finding.state}"
            tone = Tone.DETAIL if finding is None else _TONES[finding.state]
            pieces = [
                Piece("› " if selected else "  ", Tone.MARK),
                Piece(f"{state:<{_STATE}} ", tone),
                Piece(f"{inline(title):<{_TITLE}}  ", Tone.NAME),
                Piece("" if finding is None else text, Tone.DETAIL),
            ]
            return fitted(pieces, width)
        case TextRow(_, text, tone):
            return fitted([Piece(" " * _words_at(width), Tone.DETAIL), Piece(text, tone)], width)
        case HintRow(text):
            return fitted([Piece(f" {text}", Tone.HINT)], width)
        case _:
            assert_never(row)


def _words_at(width: int) -> int:
    return _INDENT if width < _NARROW else _INDENT + _TITLE + 2


def _wrapped(text: str, width: int) -> list[str]:
    # Counted in letters: what is found is told in ours and in paths, and a line that is too wide is cut.
    return textwrap.wrap(inline(text), max(12, width), break_on_hyphens=False)
