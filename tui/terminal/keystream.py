"""Cuts the terminal's input into whole keys.

Purpose: ESC is a key and also the first byte of every other special key. Only what else was read at the same
moment tells which one it is, and Textual's parser no longer knows that. So the cut is made here, where the
reads are, and Textual's parser only gets whole sequences.

Rules:

- A read that is nothing but ESC, with nothing else waiting, is the Esc key at once: a terminal writes a
  sequence in one piece. Over SSH it may arrive in two, so the stream first waits for `SSH_ESCAPE_WAIT` of
  silence.
- An ESC at the end of a larger read, or right after a read that may have been cut by a full buffer, is the
  Esc key after `CUT_WAIT` of silence, remote or not.
- ESC and a character is a `Chord`: the caller decides whether that means Alt or Esc and a key.
- While a bracketed paste is open, Esc and Ctrl+C are keys if they come alone: nothing but such keys between
  two silences of `PASTE_WAIT`. They close the paste, and the text pasted so far comes first. An ESC or ^C
  with other text around it is part of the paste.
- The terminal's answers to our questions are no keys but units of their own. An answer about its background
  may come in pieces over a slow line; one without an end is dropped.

It must never read, wait, look at a clock (the caller does all three, so that tests need no time), or lose
characters that were typed.
"""

from __future__ import annotations

import re
from typing import Final

from core.base.values import Value
from tui.terminal.interrupt import InterruptKey
from tui.terminal.kitty import KeyEvent, read_report

ESC: Final = "\x1b"
ETX: Final = "\x03"

SSH_ESCAPE_WAIT: Final = 0.025
CUT_WAIT: Final = 0.025
PASTE_WAIT: Final = 0.05
CHORD_WAIT: Final = 0.1
"""Seconds for `ESC [`, `ESC O` and the like, which are Alt chords only if nothing follows."""
SEQUENCE_WAIT: Final = 1.0
"""Seconds for the rest of a control sequence whose beginning was read, which is dropped without it."""

LARGE_READ: Final = 1024
"""Characters. A read of this size may have filled the terminal's buffer and cut a sequence in two."""

_PASTE_START: Final = "\x1b[200~"
_PASTE_END: Final = "\x1b[201~"
_LONGEST_KEYS_IN_PASTE: Final = 256

_CSI = re.compile(
    r"\x1b\[(?:"
    r"\[[A-E]"  # F1-F5 of the Linux console
    r"|M[^\x00-\x1f]{3}"  # mouse, in the form without numbers
    r"|[0-?]{1,256}[ -/]*[@-~]"
    r"|[ -/]*[@-LN-Z\\-~]"
    r")"
)
_CSI_CUT = re.compile(r"\x1b\[(?:\[?|M[^\x00-\x1f]{0,2}|[0-?]{0,256}[ -/]*)\Z")
_CSI_BROKEN = re.compile(r"\x1b\[[0-?]{1,256}[ -/]*")
_SS3 = re.compile(r"\x1bO[A-DFHIMP-SXa-dj-y]")
_SHIFTED_RXVT = re.compile(r"\x1b\[\d{1,2}\$")
_STRING = re.compile(r"\x1b(?:\][^\x03\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x03\x1b]*\x1b\\)")
_STRING_CUT = re.compile(r"\x1b(?:\][^\x03\x07\x1b]{0,4096}|[PX^_][^\x03\x1b]{0,4096})\x1b?\Z")
_BACKGROUND = re.compile(r"\x1b\]11;[rgba:#/\dA-Fa-f]{0,64}")
_BACKGROUND_CUT = re.compile(r"\x1b\]1(?:1(?:;[rgba:#/\dA-Fa-f]{0,64}\x1b?)?)?\Z")
_TEXT = re.compile(r"[^\x1b\x03]+")
_ANSWER = re.compile(r"\x1b\[[<=>?]")
_ANSWER_OF_USE = re.compile(r"\x1b\[(?:<[-\d;]+[Mm]|\?\d+;\d\$y)")
_ANSWER_ON_SCHEME = re.compile(r"\x1b(?:\]11;.*|\[\?997;[12]n)", re.DOTALL)
_ABSURD = re.compile(r"\d{6}|:")


class Text(Value):
    """Plain characters, including control characters other than ESC and Ctrl+C."""

    characters: str


class Sequence(Value):
    """One whole escape sequence: a special key, a mouse report, an answer of the terminal."""

    text: str


class Chord(Value):
    """ESC and `character` in one read."""

    character: str


class Pasted(Value):
    """The text of a bracketed paste, whole or as far as it came."""

    text: str


class Pressed(Value):
    """Esc or Ctrl+C in any encoding; `raw` is what was read. `held` marks a key repetition, which a terminal
    with the kitty protocol may distinguish from a second press."""

    key: InterruptKey
    raw: str
    held: bool = False


class Answer(Value):
    """One whole answer of the terminal to a question of ours; not a key."""

    text: str


Unit = Text | Sequence | Chord | Pasted | Pressed | Answer


class _OpenPaste:
    """An open paste. `burst` is what came since the last silence."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._burst: list[str] = []
        self._end_so_far = ""

    def feed(self, data: str) -> tuple[str, str] | None:
        """Add what was read. If it contains the end mark, return the whole paste and what came after it."""
        if not data.startswith(_PASTE_END[len(self._end_so_far) :][: len(data)]):
            (self._burst or self._parts).append(self._end_so_far)
            self._end_so_far = ""
        data = self._end_so_far + data
        self._end_so_far = ""
        end = data.find(_PASTE_END)
        if end >= 0:
            return "".join((*self._parts, *self._burst, data[:end])), data[end + len(_PASTE_END) :]
        held_back = _cut_end_mark(data)
        if held_back:
            self._end_so_far = data[-held_back:]
            data = data[:-held_back]
        self._burst.append(data)
        return None

    @property
    def has_burst(self) -> bool:
        return bool(self._burst)

    def settle(self) -> tuple[str, list[Unit]] | None:
        """Handle a silence. If the burst was only keys, return the text before it and the keys."""
        burst = ""
        if sum(map(len, self._burst)) <= _LONGEST_KEYS_IN_PASTE:
            burst = "".join(self._burst) + self._end_so_far
        cut, _ = _cut(burst, final=True)
        keys: list[Unit] = [unit for unit in cut if isinstance(unit, Pressed)]
        if keys and len(keys) == len(cut):
            return "".join(self._parts), keys
        self._parts += self._burst
        self._burst.clear()
        return None


class KeyStream:
    """The input stream. Pass each read to `feed`; call `expire` after `patience` seconds without one.

    `escape_wait` is the silence, in seconds, to wait for after a lone ESC; 0 for a local terminal.
    """

    def __init__(self, *, escape_wait: float) -> None:
        self._escape_wait = escape_wait
        self._tail = ""
        self._paste: _OpenPaste | None = None
        self._maybe_cut = False

    @property
    def patience(self) -> float | None:
        """Seconds of silence after which to call `expire`; None if silence would change nothing."""
        if self._paste is not None:
            return PASTE_WAIT if self._paste.has_burst else None
        if self._tail == ESC:
            return max(self._escape_wait, CUT_WAIT if self._maybe_cut else 0.0)
        if _BACKGROUND_CUT.match(self._tail):
            if self._tail.endswith(ESC):
                return CUT_WAIT
            return SEQUENCE_WAIT if _BACKGROUND.match(self._tail) else CHORD_WAIT
        if self._tail:
            may_be_whole = not _CSI_BROKEN.match(self._tail) or _SHIFTED_RXVT.fullmatch(self._tail)
            return CHORD_WAIT if may_be_whole else SEQUENCE_WAIT
        return CUT_WAIT if self._maybe_cut else None

    def feed(self, data: str, *, more: bool) -> list[Unit]:
        """Cut the latest read; `more` means that the next read will not have to wait."""
        before = self._tail
        lone = not data.strip(ESC)
        after_doubt = self._maybe_cut or bool(before)
        esc_in_doubt = after_doubt if lone else data.endswith(ESC)
        self._maybe_cut = more or len(data) >= LARGE_READ or esc_in_doubt
        units = self._take(before + data if self._paste is None else data)
        # A string that its second read does not end is not one: otherwise text after Alt+] would be lost.
        no_string = (
            bool(before)
            and self._tail.startswith(before)
            and _STRING_CUT.match(self._tail) is not None
            and _BACKGROUND_CUT.match(self._tail) is None
        )
        if not more and (self.patience == 0 or no_string):
            units += self.expire()
        return units

    def expire(self) -> list[Unit]:
        """Decide what was open, because the silence of `patience` has passed."""
        self._maybe_cut = False
        if self._paste is not None:
            settled = self._paste.settle()
            if settled is None:
                return []
            self._paste = None
            pasted, keys = settled
            return [Pasted(pasted), *keys] if pasted else keys
        tail, self._tail = self._tail, ""
        return _cut(tail, final=True)[0]

    def _take(self, data: str) -> list[Unit]:
        units: list[Unit] = []
        while True:
            if self._paste is not None:
                ended = self._paste.feed(data)
                if ended is None:
                    return units
                self._paste = None
                units.append(Pasted(ended[0]))
                data = ended[1]
            before, mark, data = data.partition(_PASTE_START)
            cut, self._tail = _cut(before, final=bool(mark))
            units += cut
            if not mark:
                return units
            self._paste = _OpenPaste()


def _cut_end_mark(data: str) -> int:
    """The number of characters at the end of `data` that may be the beginning of an end mark."""
    for length in range(len(_PASTE_END) - 1, 0, -1):
        if data.endswith(_PASTE_END[:length]):
            return length
    return 0


def _cut(data: str, *, final: bool) -> tuple[list[Unit], str]:
    """Cut `data` into units and the beginning of an incomplete one.

    With `final` nothing more belongs to it and nothing is left over.
    """
    units: list[Unit] = []
    position = 0
    while position < len(data):
        if found := _TEXT.match(data, position):
            units.append(Text(found[0]))
        elif data[position] == ETX:
            units.append(Pressed(InterruptKey.CTRL_C, ETX))
            position += 1
            continue
        elif found := _CSI.match(data, position):
            units += _control_sequence(found[0])
        elif found := _SS3.match(data, position):
            units.append(Sequence(found[0]))
        elif found := _STRING.match(data, position):
            if _ANSWER_ON_SCHEME.fullmatch(found[0]):
                units.append(Answer(found[0]))
        elif not final and _may_grow(data, position):
            return units, data[position:]
        elif found := _CSI_BROKEN.match(data, position):
            if _SHIFTED_RXVT.fullmatch(found[0]):
                units.append(Sequence(found[0]))
        elif found := _BACKGROUND.match(data, position):
            pass
        else:
            unit, length = _escape(data[position + 1 : position + 2])
            units.append(unit)
            position += length
            continue
        position = found.end()
    return units, ""


def _may_grow(data: str, position: int) -> bool:
    return (
        position + 1 == len(data)
        or data[position:] == "\x1bO"
        or _CSI_CUT.match(data, position) is not None
        or _STRING_CUT.match(data, position) is not None
    )


def _escape(following: str) -> tuple[Unit, int]:
    """The unit for an ESC that begins no sequence, and how many characters it takes."""
    if following in ("", ESC, ETX):
        return Pressed(InterruptKey.ESCAPE, ESC), 1
    return Chord(following), 2


def _control_sequence(sequence: str) -> list[Unit]:
    """A CSI sequence as a key, or nothing: key releases, and answers that nothing waits for.

    Textual would type what it does not understand into the prompt.
    """
    if sequence == _PASTE_END:
        return []
    if _ANSWER.match(sequence):
        if _ANSWER_ON_SCHEME.fullmatch(sequence):
            return [Answer(sequence)]
        return [Sequence(sequence)] if _ANSWER_OF_USE.fullmatch(sequence) else []
    report = read_report(sequence)
    if report is None:
        known_form = sequence.startswith("\x1b[M") or sequence.endswith("t") or not _ABSURD.search(sequence)
        return [Sequence(sequence)] if known_form else []
    if report.event is KeyEvent.RELEASE:
        return []
    if report.interrupt is not None:
        return [Pressed(report.interrupt, report.sequence, held=report.event is KeyEvent.REPEAT)]
    return [Sequence(report.sequence)]
