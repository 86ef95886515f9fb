"""Keys reported as CSI sequences: the kitty keyboard protocol and xterm's modifyOtherKeys.

Purpose: Textual's parser fails on the sub-fields that terminals may add (event types, alternate keys), and
whether a report is a *press* of exactly Esc or Ctrl+C must be known before anything else handles it.

It must never take a release, a copy chord such as Ctrl+Shift+C, or another layout's key in the place of C for
an interruption.
"""

from __future__ import annotations

import enum
import re
import sys

from msgspec.structs import replace

from core.base.values import Value
from tui.terminal.interrupt import InterruptKey

_REPORT = re.compile(
    r"\x1b\["
    r"(?P<code>\d{0,7})(?::(?P<shifted>\d{0,7}))?(?::(?P<base>\d{0,7}))?"
    r"(?:;(?P<modifiers>\d{0,5})(?::(?P<event>\d))?(?:;(?P<text>[\d:]*))?)?"
    r"(?P<final>[u~A-FHPQS])"  # not R: that is also the answer to "where is the cursor?"
)
_LOCKS = 64 | 128
"""Bits of caps lock and num lock, which are reported among the modifiers and change none of our keys."""
_FIRST_OTHER_SCRIPT = 0x250
"""The first code point that is not Latin; from here on a key is named by its place on a US keyboard."""


class KeyEvent(enum.Enum):
    """What happened to the key."""

    PRESS = 1
    REPEAT = 2
    RELEASE = 3


class KeyReport(Value):
    """One report. `code` is a code point, `modifiers` a bit set (shift 1, alt 2, ctrl 4, ... locks excluded),
    `text` the code points that the key typed, colon-separated, `final` the last byte of the sequence."""

    code: int
    modifiers: int
    event: KeyEvent
    text: str
    final: str

    @property
    def interrupt(self) -> InterruptKey | None:
        """The interruption key that was pressed or is held down, else None."""
        if self.final != "u" or self.event is KeyEvent.RELEASE:
            return None
        match self.code, self.modifiers:
            case 27, 0:
                return InterruptKey.ESCAPE
            case 99, 4:
                return InterruptKey.CTRL_C
            case _:
                return None

    @property
    def sequence(self) -> str:
        """The same key in the plain form that Textual's parser understands."""
        if not (self.modifiers or self.text):
            code = "" if self.code == 1 and self.final not in "u~" else str(self.code)
            return f"\x1b[{code}{self.final}"
        text = f";{self.text}" if self.text else ""
        return f"\x1b[{self.code};{self.modifiers + 1}{text}{self.final}"


def read_report(sequence: str) -> KeyReport | None:
    """Parse one whole CSI sequence; None if it is no key report (a mouse report, an answer, a plain
    arrow)."""
    found = _REPORT.fullmatch(sequence)
    if found is None or not found["code"]:
        return None
    event = found["event"] or "1"
    points = [int(point) for point in (found["code"], *(found["text"] or "").split(":")) if point]
    if event not in "123" or max(points) > sys.maxunicode:
        return None
    modifiers = max(int(found["modifiers"] or 1) - 1, 0) & ~_LOCKS
    report = KeyReport(points[0], modifiers, KeyEvent(int(event)), found["text"] or "", found["final"])
    if report.final == "~" and report.code == 27 and len(points) == 2:
        # modifyOtherKeys: CSI 27 ; modifiers ; code point ~
        return replace(report, code=points[1], text="", final="u")
    if found["base"] and report.code >= _FIRST_OTHER_SCRIPT and report.modifiers & ~1:
        return replace(report, code=int(found["base"]))
    return report
