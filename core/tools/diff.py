"""The difference of two texts for the person, in bounded time for any texts."""

from __future__ import annotations

import difflib
import re

CONTEXT_LINES = 3
SHOWN_LINES = 2_000
"""The longest diff in characters; a longer one is cut and says so."""
COMPARED_LINES = 1_500
"""Differing parts that are longer are shown as all removed and all added: to align them takes too long."""

_HUNK = re.compile(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


def unified_diff(old: str, new: str, name: str) -> str:
    """A unified diff without a newline at its end; empty if nothing changes."""
    before, after = _lines(old), _lines(new)
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    if start == len(before) == len(after):
        return ""
    first = max(0, start - CONTEXT_LINES)
    end = max(0, end - CONTEXT_LINES)
    before, after = before[first : len(before) - end], after[first : len(after) - end]
    if max(len(before), len(after)) > COMPARED_LINES:
        hunks = [f"@@ -{first + 1},{len(before)} +{first + 1},{len(after)} @@"]
        hunks += [f"-{line}" for line in before]
        hunks += [f"+{line}" for line in after]
    else:
        found = difflib.unified_diff(before, after, n=CONTEXT_LINES, lineterm="")
        hunks = [_moved(line, first) for line in found][2:]
    left_out = len(hunks) - SHOWN_LINES
    if left_out > 0:
        hunks[SHOWN_LINES:] = [f"[… {left_out:,} more lines of the difference]"]
    source = name if before or first else "/dev/null"
    return "\n".join((f"--- {source}", f"+++ {name}", *hunks))


def _lines(text: str) -> list[str]:
    """Lines as an editor counts them: only a newline ends one."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _common(one: list[str], other: list[str]) -> int:
    """How many lines at the beginning are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _moved(line: str, by: int) -> str:
    """A hunk's head with its line numbers moved; every other line as it is."""
    if (found := _HUNK.fullmatch(line)) is None:
        return line
    return f"@@ -{int(found[1]) + by}{found[2] or ''} +{int(found[3]) + by}{found[4] or ''} @@"
