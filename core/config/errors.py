"""The error of all settings, and what is refused of a file before or while it is parsed as TOML.

Imported before the first frame, so it must stay small.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError

if TYPE_CHECKING:
    from pathlib import Path

_AT_LINE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_DEEPEST = 50

LARGEST = 256 * 1024
"""Bytes of a file of settings. Ten routes and a hundred rules are some 10 KB."""
MOST_DOTS = 200
"""Dots in a line. The time that `tomllib` takes for a key grows with the square of its parts."""


class ConfigError(CaesuraError):
    """A setting or a file of settings cannot be used: which one, where, and what to do."""


def place(path: Path, line: int | None) -> str:
    """A file and a line as errors name them."""
    return f"{path}" if line is None else f"{path}, line {line}"


def no_text(path: Path, content: bytes, error: UnicodeDecodeError) -> ConfigError:
    line = content.count(b"\n", 0, error.start) + 1
    return ConfigError(f"{place(path, line)}: not UTF-8 text (byte {error.start}). Mend or remove it.")


def no_toml(path: Path, text: str, error: Exception) -> ConfigError:
    """Convert an error of `tomllib` to one that begins with the file and the line."""
    message = str(error)
    if isinstance(error, RecursionError):
        line, message = _deep_line(text), "it is nested too deep"
    elif found := _AT_LINE.search(message):
        line = int(found[1]) if found[1] else text.count("\n") + (not text.endswith("\n"))
        message = message[: found.start()] + (f", column {found[2]}" if found[2] else ", at the end")
    else:
        # A number of more digits than Python reads, of which it does not say where it stands.
        digits = re.search(r"\d{1000}", text)
        line, message = text.count("\n", 0, digits.start() if digits else 0) + 1, "a number is too long"
    return ConfigError(f"{place(path, max(line, 1))}: this is no valid TOML: {message}. Mend or remove it.")


def _deep_line(text: str) -> int:
    depth = 0
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        depth += line.count("[") + line.count("{") - line.count("]") - line.count("}")
        if max(depth, line.count("["), line.count("{")) > _DEEPEST:
            return number
    return len(lines)


def dotted_line(text: str) -> int | None:
    """The first line, from 1, that has more dots than any setting; None if there is none."""
    if text.count(".") <= MOST_DOTS:
        return None
    lines = enumerate(text.split("\n"), 1)
    return next((number for number, line in lines if line.count(".") > MOST_DOTS), None)
