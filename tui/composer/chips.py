"""Pastes in the composer: cleaned of control characters, and a big one shown as a chip. Pure."""

from __future__ import annotations

import re
from typing import Final

PASTE_CHARACTERS: Final = 2_000
PASTE_LINES: Final = 20
"""A paste with more of either becomes a chip."""

TEXT_CHARACTERS: Final = 6_000
"""How far pastes may fill the document: every key takes time in proportion to its length."""

CHIP_CHARACTERS: Final = 50
"""A paste of at most this length, that of a chip, never becomes one for its length."""

_CHIP = re.compile(r"\[pasted \d+ lines?, \d+ [KM]?B #\d+\]")
# A pasted text may hide sequences that a terminal or a multiplexer would obey.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ASCII_CONTROL = dict.fromkeys((*range(0x09), *range(0x0B, 0x20), 0x7F))
"""The same for `str.translate`, which is the fastest for ASCII and the slowest for everything else."""


class Chips:
    """Pasted texts, each shown in the composer as one short word."""

    def __init__(self) -> None:
        self._pasted: dict[str, str] = {}
        self._count = 0

    def add(self, text: str) -> str:
        """A new chip that stands for `text`, in which chips are expanded."""
        self._count += 1
        lines = text.count("\n") + (not text.endswith("\n"))
        size = _size(len(text.encode()))
        chip = f"[pasted {lines} {'line' if lines == 1 else 'lines'}, {size} #{self._count}]"
        self._pasted[chip] = self.expand(text)
        return chip

    def expand(self, shown: str) -> str:
        """`shown` with the pasted text in place of each chip."""
        return _CHIP.sub(lambda chip: self._pasted.get(chip[0], chip[0]), shown)

    def fold(self, text: str) -> str:
        """A whole prompt as it looked before it was sent, with pastes as chips."""
        for chip, pasted in self._pasted.items():
            text = text.replace(pasted, chip)
        return text if len(text) <= TEXT_CHARACTERS else self.add(text)

    def adopt(self, other: Chips, shown: str) -> str:
        """`shown`, which has chips of `other`, with chips of this object in their place."""
        return _CHIP.sub(
            lambda chip: self.add(other._pasted[chip[0]]) if chip[0] in other._pasted else chip[0], shown
        )

    def keep_only(self, shown: str) -> None:
        """Forget the texts whose chips are not in `shown`."""
        self._pasted = {chip: self._pasted[chip] for chip in _CHIP.findall(shown) if chip in self._pasted}

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Start and end column of each chip in a line."""
        if not self._pasted:
            return []
        return [chip.span() for chip in _CHIP.finditer(line) if chip[0] in self._pasted]

    def fit(self, pasted: str, length: int) -> str:
        """The paste as it is, or a chip if it is too big for a document of `length` characters."""
        room = TEXT_CHARACTERS - length
        fits = len(pasted) <= max(CHIP_CHARACTERS, min(PASTE_CHARACTERS, room))
        return pasted if fits and pasted.count("\n") < PASTE_LINES else self.add(pasted)


def clean(text: str) -> str:
    """`text` with `\n` as its only line break and without control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text.translate(_ASCII_CONTROL)
    # Searching is cheaper than replacing nothing.
    return _CONTROL.sub("", text) if _CONTROL.search(text) else text


def _size(count: int) -> str:
    for unit, name in ((1_000_000, "MB"), (1_000, "KB")):
        if count >= unit:
            return f"{round(count / unit)} {name}"
    return f"{count} B"
