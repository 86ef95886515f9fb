"""An exact replacement in a text, and a clear answer where it cannot be made.

It must never guess: what does not match exactly once changes nothing. Time is linear in the text, but for a
bounded look for the place that was probably meant.
"""

from __future__ import annotations

import codecs
import difflib
from collections import Counter, defaultdict

from core.base.values import Value
from core.engine.tool import ToolError

PLACES_NAMED = 10
CLOSEST_LINES = 12
"""Lines shown of the place that was probably meant."""
VOTING_LINES = 100_000
COMPARED_LINES = 4_000
COMPARED_CHARACTERS = 200


class EditableText(Value):
    """A file's text, and what it needs to become the same kind of bytes again."""

    text: str
    """With newlines alone if all its lines end with CR LF; mixed endings are left as they are."""
    marked: bool
    windows: bool

    @classmethod
    def decode(cls, content: bytes, name: str) -> EditableText:
        """Raises `ToolError` for what is no UTF-8 text."""
        if b"\0" in content:
            raise ToolError(f"{name} is a binary file, not text.")
        marked = content.startswith(codecs.BOM_UTF8)
        try:
            text = content.removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            raise ToolError(
                f"{name} is not UTF-8 (byte {error.start:,} is 0x{content[error.start]:02x}), so it cannot "
                "be edited without damage. Use shell with a program that knows its encoding."
            ) from error
        windows = 0 < text.count("\n") == text.count("\r\n")
        return cls(text.replace("\r\n", "\n") if windows else text, marked, windows)

    def fit(self, given: str) -> str:
        """A piece of text from elsewhere with this text's line endings."""
        return given.replace("\r\n", "\n") if self.windows else given

    def encode(self, text: str) -> bytes:
        text = text.replace("\n", "\r\n") if self.windows else text
        return (codecs.BOM_UTF8 if self.marked else b"") + text.encode()


class Replaced(Value):
    """`lines` are the numbers of the lines where something was replaced, in the old text."""

    text: str
    lines: tuple[int, ...]


def replace_text(text: str, old: str, new: str, name: str, *, every: bool) -> Replaced:
    """Raises `ToolError` unless `old` occurs exactly once, or at all if `every` is wanted."""
    if old == new:
        raise ToolError("old and new are the same: nothing would change.")
    places = _places(text, old, apart=every)
    if not places:
        raise ToolError(f"The text to replace is not in {name}; nothing was changed.{_closest(text, old)}")
    lines = _line_numbers(text, places)
    if len(places) > 1 and not every:
        raise ToolError(
            f"The text to replace occurs {len(places):,} times in {name}, at lines {listed(lines)}; nothing "
            "was changed. Give more of the lines around the one you mean, or set replace_all."
        )
    return Replaced(text.replace(old, new), lines)


def listed(lines: tuple[int, ...]) -> str:
    """The numbers of the first lines, for a sentence."""
    return ", ".join(map(str, lines[:PLACES_NAMED])) + (", …" if len(lines) > PLACES_NAMED else "")


def _places(text: str, old: str, *, apart: bool) -> list[int]:
    """Where it occurs; occurrences that overlap count as two unless they must be `apart`."""
    places = []
    at = text.find(old)
    while at >= 0:
        places.append(at)
        at = text.find(old, at + (len(old) if apart else 1))
    return places


def _line_numbers(text: str, places: list[int]) -> tuple[int, ...]:
    numbers, line, before = [], 1, 0
    for place in places:
        line += text.count("\n", before, place)
        before = place
        numbers.append(line)
    return tuple(numbers)


def _closest(text: str, old: str) -> str:
    """What stands where `old` was probably looked for; empty if nothing resembles it."""
    lines, wanted = text.split("\n"), old.strip("\n").split("\n")
    start, same = _best_offset(lines, wanted)
    if start is None:
        return ""
    size = min(len(wanted), CLOSEST_LINES)
    found = "\n".join(f"{start + 1 + index:>6}\t{line}" for index, line in enumerate(lines[start:][:size]))
    blame = " It differs only in white space." if same else ""
    return f" The closest place is:\n{found}\n{blame.strip()}".rstrip()


def _best_offset(lines: list[str], wanted: list[str]) -> tuple[int | None, bool]:
    """The line at which `wanted` would begin, and whether all of it stands there but for white space.

    Lines that are the same but for white space vote for where it begins; one that occurs often has no voice.
    """
    known = defaultdict(list)
    for index, line in enumerate(wanted):
        if bare := "".join(line.split()):
            known[bare].append(index)
    votes: Counter[int] = Counter()
    for index, line in enumerate(lines[:VOTING_LINES]):
        places = known.get("".join(line.split()), ())
        votes.update(index - place for place in places[:5] if index >= place)
    if votes:
        start, count = votes.most_common(1)[0]
        return start, count >= sum(map(len, known.values()))
    return _similar_line(lines, wanted), False


def _similar_line(lines: list[str], wanted: list[str]) -> int | None:
    """No line is the same: the one that is most like the longest of the first wanted lines."""
    longest = max(range(min(len(wanted), CLOSEST_LINES)), key=lambda index: len(wanted[index].strip()))
    pattern = wanted[longest].strip()[:COMPARED_CHARACTERS]
    matcher = difflib.SequenceMatcher(None, b=pattern, autojunk=False)
    best, best_index = 0.6, None
    for index, line in enumerate(lines[:COMPARED_LINES]):
        matcher.set_seq1(line.strip()[:COMPARED_CHARACTERS])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and matcher.ratio() > best:
            best, best_index = matcher.ratio(), index
    return None if best_index is None else max(0, best_index - longest)
