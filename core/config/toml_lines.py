"""The position of each key in a TOML text, which `tomllib` does not tell: for errors, and to edit in place.

The text must be valid: `tomllib` has parsed it before. It is read once from start to end, without recursion.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

Place: TypeAlias = tuple[str | int, ...]
"""A place in the tables; numbers count the tables of an array, or the items of a list, from 0."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_TIME = re.compile(r" \d\d:\d\d")
"""The second half of a date with a blank in it, `1979-05-27 07:32:00`."""
_BASIC, _LITERAL = r'"(?:\\.|[^"\\\n])*"', r"'[^'\n]*'"
_LONG_BASIC, _LONG_LITERAL = r'"""(?:\\.|[^\\])*?"{3,5}', r"'''.*?'{3,5}"
_PART = rf"(?:[\w-]+|{_BASIC}|{_LITERAL})"
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_TOKEN = re.compile(
    rf"{_LONG_BASIC}|{_LONG_LITERAL}|{_BASIC}|{_LITERAL}"
    r"|#[^\n]*|[\[\]{},]|[ \t\r\n]+"
    r"""|[^\s\[\]{},#"']+""",
    re.DOTALL,
)


class Entry(Value):
    """`key = value`, by offsets: `begin` is that of the key, [start, end) is the value. `path` is the full
    key."""

    path: Place
    begin: int
    start: int
    end: int
    line: int
    items: tuple[int, ...] = ()
    """The lines of the items of a list."""


@dataclass(slots=True)
class Section:
    """A `[header]` or `[[header]]` and what follows up to the next one; the first section has no header."""

    path: Place
    begin: int
    line: int
    after_header: int
    entries: list[Entry] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The offset after its last entry, or after its header."""
        return self.entries[-1].end if self.entries else self.after_header


def sections_of(text: str) -> list[Section]:
    """All sections of a valid text."""
    sections = [Section((), 0, 1, 0)]
    counts: dict[Place, int] = {}
    at, line, counted = 0, 1, 0
    while (at := _skip_blank(text, at)) < len(text):
        line += text.count("\n", counted, at)
        counted = at
        if text[at] == "[":
            section, at = _header(text, at, line, counts)
            sections.append(section)
        else:
            entry, at = _entry(text, at, line, sections[-1].path)
            sections[-1].entries.append(entry)
    return sections


class Lines:
    """The line of each place in a valid text."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        for section in sections_of(text):
            if section.path:
                self._lines.setdefault(section.path, section.line)
            for entry in section.entries:
                self._lines.setdefault(entry.path, entry.line)
                for number, line in enumerate(entry.items):
                    self._lines.setdefault((*entry.path, number), line)
                for length in range(len(section.path) + 1, len(entry.path)):
                    self._lines.setdefault(entry.path[:length], entry.line)

    def of(self, path: Place) -> int | None:
        """The line, from 1, that is nearest to a place; None if there is none."""
        for length in range(len(path), 0, -1):
            if (found := self._lines.get(path[:length])) is not None:
                return found
        return next((line for each, line in self._lines.items() if path and each[0] == path[0]), None)


def comments_of(text: str) -> Counter[str]:
    """All comments of a valid text, with their number."""
    return Counter(token for token, _, _ in _tokens(text, 0) if token.startswith("#"))


def parse_dotted(text: str) -> tuple[str, ...]:
    """The parts of a key as a file has it. Raises `ValueError` for anything else."""
    value: Any = tomllib.loads(f"{text} = 0")
    parts: list[str] = []
    while isinstance(value, dict) and len(value) == 1:
        [(part, value)] = value.items()
        parts.append(part)
    if value != 0:
        raise ValueError(f"{text!r} is no key")
    return tuple(parts)


def _skip_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _header(text: str, at: int, line: int, counts: dict[Place, int]) -> tuple[Section, int]:
    is_array = text.startswith("[[", at)
    key = _key_at(text, at + 1 + is_array)
    end = text.index("]", key.end()) + 1 + is_array
    path: Place = _numbered(parse_dotted(key[0]), counts)
    if is_array:
        number = counts.get(path, -1) + 1
        counts[path] = number
        path = (*path, number)
    return Section(path, at, line, end), end


def _numbered(parts: tuple[str, ...], counts: dict[Place, int]) -> Place:
    """The path of a header: below an array of tables it means the last table of the array."""
    path: Place = ()
    for number, part in enumerate(parts):
        path = (*path, part)
        if number + 1 < len(parts) and path in counts:
            path = (*path, counts[path])
    return path


def _entry(text: str, at: int, line: int, table: Place) -> tuple[Entry, int]:
    key = _key_at(text, at)
    start = _skip_spaces(text, text.index("=", key.end()) + 1)
    items, end = _value(text, start)
    firsts = tuple(_lines_at(text, items, at, line))
    return Entry((*table, *parse_dotted(key[0])), at, start, end, line, firsts), end


def _lines_at(text: str, places: list[int], at: int, line: int) -> Iterator[int]:
    """The lines of ascending offsets; the offset `at` is in `line`."""
    for each in places:
        line += text.count("\n", at, each)
        at = each
        yield line


def _key_at(text: str, at: int) -> re.Match[str]:
    found = _KEY.match(text, _skip_spaces(text, at))
    if found is None:
        raise ValueError("no key where there has to be one")
    return found


def _skip_spaces(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    return at


def _value(text: str, start: int) -> tuple[list[int], int]:
    """The offsets of the items of a list, and of the end of the value."""
    depth, end, items, expecting = 0, start, list[int](), False
    for token, begin, after in _tokens(text, start):
        blank = token[0] in " \t\r\n#"
        if depth == 0 and blank and not _TIME.match(text, begin):
            break
        if depth == 1 and expecting and not blank and token[0] not in "]},":
            items.append(begin)
            expecting = False
        if token[0] in "[{":
            depth += 1
            expecting = depth == 1
        elif token[0] in "]}":
            depth -= 1
        elif token == "," and depth == 1:
            expecting = True
        end = after
        if depth == 0 and token[0] in "]}\"'":
            break
    return (items if text[start] == "[" else []), end


def _tokens(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    while at < len(text) and (found := _TOKEN.match(text, at)):
        yield found[0], at, found.end()
        at = found.end()
