"""Reasoning that a server sends in the text of its reply, between <think> and </think> at the beginning.

Such a server has no field for reasoning. Sent back as text, the reasoning would fill the model's context, and
on the screen it would hide the answer.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from core.model.provider import ReasoningDelta, TextDelta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.model.provider import ContentDelta

OPENING, CLOSING = "<think>", "</think>"


class _Place(Enum):
    BEFORE = auto()
    WITHIN = auto()
    AFTER = auto()
    BEHIND = auto()
    """Right behind the closing tag, where line breaks belong to neither."""


class ThinkingFolder:
    """Turns the text between the tags into reasoning. `finish` gives what was kept back until then, because
    it could have been the beginning of a tag."""

    def __init__(self) -> None:
        self._place = _Place.BEFORE
        self._kept = ""

    def fold(self, deltas: Iterable[ContentDelta]) -> Iterator[ContentDelta]:
        for delta in deltas:
            if isinstance(delta, TextDelta) and self._place is not _Place.AFTER:
                yield from self._fold_text(delta.text)
            elif isinstance(delta, TextDelta):
                yield delta
            else:
                # A server that sends reasoning or a call in a field of its own needs no tags.
                yield from self.finish()
                yield delta

    def finish(self) -> Iterator[ContentDelta]:
        kept, self._kept = self._kept, ""
        within, self._place = self._place is _Place.WITHIN, _Place.AFTER
        if kept:
            yield ReasoningDelta(kept) if within else TextDelta(kept)

    def _fold_text(self, text: str) -> Iterator[ContentDelta]:
        text, self._kept = self._kept + text, ""
        if self._place is _Place.BEFORE:
            begun = text.lstrip()
            if begun.startswith(OPENING):
                self._place, text = _Place.WITHIN, begun.removeprefix(OPENING)
            elif OPENING.startswith(begun):
                self._kept = text
                return
            else:
                self._place = _Place.AFTER
        if self._place is _Place.WITHIN:
            thought, closing, rest = text.partition(CLOSING)
            if not closing:
                thought, self._kept = _without_beginning(thought)
            if thought:
                yield ReasoningDelta(thought)
            if not closing:
                return
            self._place, text = _Place.BEHIND, rest
        if self._place is _Place.BEHIND:
            text = text.lstrip("\r\n")
            if not text:
                return
            self._place = _Place.AFTER
        if text:
            yield TextDelta(text)


def _without_beginning(text: str) -> tuple[str, str]:
    """`text` in two: what is certain, and an end that may be the beginning of the closing tag."""
    for length in range(min(len(text), len(CLOSING) - 1), 0, -1):
        if CLOSING.startswith(text[-length:]):
            return text[:-length], text[-length:]
    return text, ""
