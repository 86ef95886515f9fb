"""The prompts that were sent, and the drafts that were left while going through them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

HISTORY_ENTRIES: Final = 1_000
HISTORY_CHARACTERS: Final = 5_000_000


class PromptHistory:
    """The history of one composer. `sent` is oldest first, and is changed in place."""

    def __init__(self, sent: list[str]) -> None:
        self.sent = sent
        self._position = len(sent)
        self._drafts: dict[int, str] = {}
        """What the composer showed when a place was left, by place; the place after the last prompt is the
        new draft."""

    @property
    def hidden_draft(self) -> str:
        """The new draft while an old prompt is shown in its place; else empty."""
        return self._drafts.get(len(self.sent), "") if self._position < len(self.sent) else ""

    def step(self, step: int, shown: str, show: Callable[[str], str]) -> str | None:
        """Go to another place while `shown` is in the composer. What to show there, or None at an end.

        `show` makes a prompt that was sent look as it is shown.
        """
        position = self._position + step
        if not 0 <= position <= len(self.sent):
            return None
        self._drafts[self._position] = shown
        self._position = position
        kept = self._drafts.get(position)
        return show(self.sent[position]) if kept is None else kept

    def add(self, text: str) -> None:
        """A prompt was sent: go to the end, and forget the drafts."""
        if not self.sent or self.sent[-1] != text:
            self.sent.append(text)
        while len(self.sent) > 1 and (
            len(self.sent) > HISTORY_ENTRIES or sum(map(len, self.sent)) > HISTORY_CHARACTERS
        ):
            del self.sent[0]
        self._position = len(self.sent)
        self._drafts.clear()

    def take_over(self, other: PromptHistory, *, is_new: bool, adopt: Callable[[str], str]) -> None:
        """Put the prompts of `other` before these. With `is_new`, while nothing is written here, go to the
        prompt that is shown there; `adopt` converts the draft that it hides."""
        is_new = is_new and self._position == len(self.sent)
        own = set(self.sent)
        earlier = [text for text in other.sent if text not in own]
        self.sent[:0] = earlier
        self._drafts = {place + len(earlier): draft for place, draft in self._drafts.items()}
        self._position += len(earlier)
        if is_new and other._position < len(other.sent):
            self._position = self.sent.index(other.sent[other._position])
            self._drafts[len(self.sent)] = adopt(other.hidden_draft)
