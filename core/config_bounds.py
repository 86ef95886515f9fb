"""What a file of settings may be at most, lest it keeps its reader busy: looked at before it is parsed.

Imported before the first frame, so it must stay small.
"""

from __future__ import annotations

LARGEST = 256 * 1024
"""Bytes. Ten routes and a hundred rules are some 10 KB."""
MOST_DOTS = 200
"""In a line. What a key with thousands of parts costs its reader grows with their square."""


def dotted_line(text: str) -> int | None:
    """The first line, from 1, that has more dots than any setting; None if there is none."""
    if text.count(".") <= MOST_DOTS:
        return None
    lines = enumerate(text.split("\n"), 1)
    return next((number for number, line in lines if line.count(".") > MOST_DOTS), None)
