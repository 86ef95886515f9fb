"""How many columns of a terminal a text takes, rather one too many."""

from __future__ import annotations

import unicodedata


def cell_width(text: str) -> int:
    """The columns of a printable text."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def beginning(text: str, width: int) -> str:
    """As much of a text as fits into `width` columns."""
    for place, character in enumerate(text):
        width -= _character_width(character)
        if width < 0:
            return text[:place]
    return text


def _character_width(character: str) -> int:
    if character == "\ufe0f":
        # The sign that makes an emoji wide where a terminal knows it.
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
