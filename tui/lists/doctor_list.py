"""The doctor: what its checks find, as it comes, with a state in words and advice.

The report that is copied holds no key, no host name and no home folder: see `core.frontends.doctor.report`.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from core.frontends.doctor.report import State, examine, report
from tui.base.key_hints import KeyHint
from tui.base.row import Piece, TextRow, Tone, inline
from tui.lists.base.list_overlay import ListOverlay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from core.frontends.doctor.report import Check, Finding, Redaction
    from tui.base.row import Line

_TITLE = len("Configuration")
_STATE = len("✓ warning")
_INDENT = 2 + _STATE + 1
_NARROW = 64
"""Columns below which the words stand beneath the title."""

_TONES = {
    State.GOOD: Tone.GOOD,
    State.WARNING: Tone.WARNING,
    State.BAD: Tone.WARNING,
    State.UNKNOWN: Tone.DETAIL,
}


def doctor_rows(checks: Iterable[Check], findings: Mapping[str, Finding], width: int) -> list[TextRow]:
    """All checks in their order. Lines are broken at words to fit into `width` cells."""
    return [row for check in checks for row in _entry(check.title, findings.get(check.title), width)]


def _entry(title: str, finding: Finding | None, width: int) -> Iterator[TextRow]:
    """The rows of a check. `finding` is None while the check runs."""
    if finding is None:
        yield TextRow(_head("… looking", Tone.DETAIL, title, ""), key=title)
        return
    indent = _words_at(width)
    first, *rest = _wrapped(finding.words, width - indent) or [""]
    if width < _NARROW:
        first, rest = "", [first, *rest]
    state = finding.state
    yield TextRow(_head(f"{state.glyph} {state}", _TONES[state], title, first), key=title)
    margin = Piece(" " * indent, Tone.DETAIL)
    for line in rest:
        yield TextRow((margin, Piece(line, Tone.DETAIL)), begins=False, key=title)
    for number, line in enumerate(_wrapped(finding.advice, width - indent - 2)):
        arrow = "  " if number else "→ "
        yield TextRow((margin, Piece(arrow + line, Tone.NAME)), begins=False, key=title)


def _head(state: str, tone: Tone, title: str, words: str) -> Line:
    return (
        Piece(f"{state:<{_STATE}} ", tone),
        Piece(f"{inline(title):<{_TITLE}}  ", Tone.NAME),
        Piece(words, Tone.DETAIL),
    )


def _words_at(width: int) -> int:
    return _INDENT if width < _NARROW else _INDENT + _TITLE + 2


def _wrapped(text: str, width: int) -> list[str]:
    # Counted in characters, not cells: a line that is still too wide is cut.
    return textwrap.wrap(inline(text), max(12, width), break_on_hyphens=False)


class DoctorList(ListOverlay):
    """Runs `checks`, whose titles tell them apart; what they find goes through `redact`."""

    TITLE = "Doctor"

    def __init__(self, checks: Sequence[Check], redact: Redaction) -> None:
        super().__init__()
        self._checks = tuple(checks)
        self._redact = redact
        self._findings: dict[str, Finding] = {}

    def on_mount(self) -> None:
        self._examine_all()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found by now, in the order of the checks."""
        return tuple(self._findings[check.title] for check in self._checks if check.title in self._findings)

    def key_hints(self) -> Sequence[KeyHint[str]]:
        return KeyHint("c", "c", "copy all of it"), KeyHint("r", "r", "look again")

    def act(self, key: str) -> bool:
        match key:
            case "c":
                self._copy()
            case "r":
                self._examine_all()
            case _:
                return False
        return True

    def _copy(self) -> None:
        self.app.copy_to_clipboard(report(self.findings))
        missing = len(self._checks) - len(self._findings)
        self.show_note("Copied." if not missing else f"Copied; {missing} have not come yet.")

    def _examine_all(self) -> None:
        """Run all checks again; those that still run are cancelled."""
        self._findings.clear()
        self.show_note("")
        self._arrange()
        self.run_worker(examine(self._checks, self._redact, self._found), group="doctor", exclusive=True)

    def _found(self, finding: Finding) -> None:
        self._findings[finding.title] = finding
        self._arrange()

    def rows_resized(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        width = self.rows.scrollable_content_region.width
        self.rows.show(doctor_rows(self._checks, self._findings, width))
        counts = Counter(finding.state for finding in self._findings.values())
        parts = [f"{counts[state]} {state}" for state in State if counts[state]]
        if missing := len(self._checks) - len(self._findings):
            parts.append(f"{missing} to come")
        self.border_subtitle = ", ".join(parts)
