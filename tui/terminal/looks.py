"""What the terminal shows by itself: dark or light, and how many colors it has.

A terminal is asked for its background (OSC 11) and for reports of changes (mode 2031). Nothing waits for an
answer, and a terminal without one counts as dark. `COLORFGBG` is known without asking. Nothing is asked where
a question would be drawn as text instead of being answered or ignored.

Pure functions: the driver writes and reads.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final

from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

ASK: Final = "\x1b]11;?\x07\x1b[?2031h"
"""Asks for the background and for reports of changes between dark and light."""
ASK_NO_MORE: Final = "\x1b[?2031l"

_SPEAKS_NO_OSC = re.compile(r"|dumb|unknown|linux.*|eterm.*|cons25.*|vt\d.*|sun.*|wyse.*|ansi|cygwin|emacs")
_BACKGROUND = re.compile(r"\x1b\]11;(?P<color>[^\x07\x1b]{1,64})(?:\x07|\x1b\\)")
_RGB = re.compile(r"rgba?:([\da-f]{1,4})/([\da-f]{1,4})/([\da-f]{1,4})(?:/[\da-f]{1,4})?", re.IGNORECASE)
_HEX = re.compile(r"#((?:[\da-f]{3}){1,4})", re.IGNORECASE)
_SCHEME = re.compile(r"\x1b\[\?997;([12])n")
_LIGHT_NUMBERS: Final = frozenset({7, *range(9, 16)})
"""The numbers of the sixteen colors that are a light background."""
_MIDDLE: Final = 0.18
"""The luminance from which black is easier to read than white."""


class Scheme(enum.Enum):
    """Whether the terminal itself is dark or light."""

    DARK = "dark"
    LIGHT = "light"


def scheme_of_environment(environment: Mapping[str, str]) -> Scheme | None:
    """The scheme in `COLORFGBG`, such as `15;0` or `0;default;15`; None if it is missing or unclear."""
    number = environment.get("COLORFGBG", "").rpartition(";")[2]
    if not number.isascii() or not number.isdigit() or int(number[:3]) > 15:
        return None
    return Scheme.LIGHT if int(number[:3]) in _LIGHT_NUMBERS else Scheme.DARK


def may_ask(environment: Mapping[str, str]) -> bool:
    """Whether this terminal answers `ASK`, or at least does not draw it."""
    return _SPEAKS_NO_OSC.fullmatch(environment.get("TERM", "")) is None


def read_answer(sequence: str) -> Scheme | None:
    """The scheme in a whole sequence: an answer about the background, or a report of a change."""
    if found := _SCHEME.fullmatch(sequence):
        return Scheme.DARK if found[1] == "1" else Scheme.LIGHT
    if found := _BACKGROUND.fullmatch(sequence):
        return _scheme_of_color(found["color"])
    return None


def has_few_colours(environment: Mapping[str, str]) -> bool:
    """Whether there are at most sixteen colors, so that shades cannot be distinguished; same rule as rich."""
    if environment.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return False
    return environment.get("TERM", "").strip().lower().rpartition("-")[2] not in ("256color", "kitty")


class TerminalLooks(Value):
    """What a theme has to fit. `scheme` is what is known before the terminal has answered; `no_colours` means
    that the user wants none (`NO_COLOR`) and gets shades of gray."""

    scheme: Scheme = Scheme.DARK
    few_colours: bool = False
    no_colours: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> TerminalLooks:
        scheme = scheme_of_environment(environment) or Scheme.DARK
        return cls(scheme, has_few_colours(environment), "NO_COLOR" in environment)


def _scheme_of_color(color: str) -> Scheme | None:
    if found := _RGB.fullmatch(color):
        parts = list(found.groups())
    elif found := _HEX.fullmatch(color):
        size = len(found[1]) // 3
        parts = [found[1][at : at + size] for at in range(0, 3 * size, size)]
    else:
        return None
    red, green, blue = (_linear(int(part, 16) / (16 ** len(part) - 1)) for part in parts)
    return Scheme.LIGHT if 0.2126 * red + 0.7152 * green + 0.0722 * blue > _MIDDLE else Scheme.DARK


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
