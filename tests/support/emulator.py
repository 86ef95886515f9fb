"""The inside of a terminal emulator: a screen, its modes, and the answers to what programs ask.

Why it exists: pyte draws, but knows neither the alternate screen nor the kitty protocol, and programs behave
differently in a terminal that answers.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Final

import pyte
from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Callable

_SPECIAL = re.compile(
    r"\x1b\[(?P<prefix>[<=>?]?)(?P<parameters>[\d;:]*)(?P<final>\$p|[hlucn])"
    r"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b[PX^_](?P<string>[^\x1b]*)\x1b\\"
    r"|\x1b\\"
)
_CUT = re.compile(r"\x1b(?:\[[\d;:<=>?]*\$?|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?)?\Z")
_OF_PYTE: Final = frozenset({5, 6, 7, 25})
MODES_AT_START: Final = frozenset({7, 25})
ALTERNATE: Final = 1049


class Screen(pyte.Screen):
    """pyte's screen, which can also be read while half of a wide character is overwritten."""

    @property
    def display(self) -> list[str]:
        return [self._line(y) for y in range(self.lines)]

    def _line(self, y: int) -> str:
        shown: list[str] = []
        after_wide = False
        for x in range(self.columns):
            character = self.buffer[y][x].data
            # The second half of a wide character is an empty cell; one that stands alone lost its first half.
            if character or not after_wide:
                shown.append(character or " ")
            after_wide = bool(character) and cell_len(character) == 2
        return "".join(shown)


class Emulator:
    """Feed it output.

    `answer` is called with what the terminal replies; with `draw=False` the screens stay empty.
    `background` is what it says its background is, such as `1e1e/1e1e/1e1e`; empty gives no answer.
    """

    def __init__(
        self, columns: int, lines: int, *, kitty: bool, draw: bool, answer: Callable[[str], None]
    ) -> None:
        self.modes: set[int] = set(MODES_AT_START)
        self.titles: list[str] = []
        self.background = "1e1e/1e1e/1e1e"
        self._kitty_known = kitty
        self._drawing = draw
        self._answer = answer
        self._kitty_stacks: dict[bool, list[int]] = {False: [], True: []}
        self._main = Screen(columns, lines)
        self._alternate = Screen(columns, lines)
        self._stream = pyte.Stream(self._main)
        self._rest = ""
        self._decode = getincrementaldecoder("utf-8")("replace").decode

    @property
    def screen(self) -> pyte.Screen:
        """The screen that is shown now."""
        return self._alternate if ALTERNATE in self.modes else self._main

    @property
    def kitty_flags(self) -> int:
        """The kitty keyboard flags in force; 0 when this terminal does not know them."""
        flags = self._kitty_stacks[ALTERNATE in self.modes]
        return flags[-1] if flags else 0

    def resize(self, columns: int, lines: int) -> None:
        self._main.resize(lines, columns)
        self._alternate.resize(lines, columns)

    def unrestored(self) -> list[str]:
        """Modes and kitty flags that are not as at the start."""
        left = [f"mode {mode} left on" for mode in sorted(self.modes - MODES_AT_START)]
        left += [f"mode {mode} left off" for mode in sorted(MODES_AT_START - self.modes)]
        left += [f"kitty flags left: {flags}" for flags in self._kitty_stacks.values() if flags]
        return left

    def feed(self, data: bytes) -> None:
        """Take output, cut anywhere."""
        text = self._rest + self._decode(data)
        cut = _CUT.search(text)
        self._rest = text[cut.start() :] if cut else ""
        text = text[: cut.start()] if cut else text
        position = 0
        for found in _SPECIAL.finditer(text):
            self._draw(text[position : found.start()])
            if not self._special(found):
                self._draw(found[0])
            position = found.end()
        self._draw(text[position:])

    def _draw(self, text: str) -> None:
        if self._drawing and text:
            self._stream.feed(text)

    def _special(self, found: re.Match[str]) -> bool:
        """Do what pyte cannot. True when pyte must not see the sequence."""
        if found["final"] is None:
            kind, _, title = (found["osc"] or "").partition(";")
            if kind in ("0", "2"):
                self.titles.append(title)
            elif kind in ("10", "11") and title == "?":
                if self.background:
                    self._answer(f"\x1b]{kind};rgb:{self.background}\x1b\\")
            elif (found["string"] or "").startswith("+q"):
                self._answer("\x1bP0+r\x1b\\")
            return True
        parameters = [int(part) if part.isdigit() else 0 for part in found["parameters"].split(";")]
        match found["prefix"], found["final"]:
            case "?", "h" | "l":
                self._set_modes(parameters, on=found["final"] == "h")
                return not _OF_PYTE.issuperset(parameters)
            case "?", "$p":
                self._answer(f"\x1b[?{parameters[0]};{2 if parameters[0] == 2026 else 0}$y")
            case "?" | ">" | "<" | "=", "u":
                self._kitty(found["prefix"], parameters)
            case "" | "?", "n":
                self._answer("\x1b[0n" if parameters[0] == 5 else self._cursor_report())
            case "", "c":
                self._answer("\x1b[?62;22c")
            case "", _:
                return False
            case _:
                pass
        return True

    def _set_modes(self, modes: list[int], *, on: bool) -> None:
        for mode in modes:
            if mode == ALTERNATE and on and mode not in self.modes:
                self._alternate.reset()
            (self.modes.add if on else self.modes.discard)(mode)
        if self._stream.listener is not self.screen:
            self._stream = pyte.Stream(self.screen)

    def _kitty(self, prefix: str, parameters: list[int]) -> None:
        if not self._kitty_known:
            return
        flags = self._kitty_stacks[ALTERNATE in self.modes]
        value, how = (*parameters, 0)[:2]
        match prefix:
            case "?":
                self._answer(f"\x1b[?{flags[-1] if flags else 0}u")
            case ">":
                flags.append(value)
            case "<":
                del flags[-max(value, 1) :]
            case _ if flags:
                flags[-1] = {2: flags[-1] | value, 3: flags[-1] & ~value}.get(how, value)
            case _:
                flags.append(value)

    def _cursor_report(self) -> str:
        return f"\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R"
