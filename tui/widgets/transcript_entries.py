"""What the transcript can find again among the things that were said: prompts, reasoning, calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui.blocks import Look, Part, Prose

if TYPE_CHECKING:
    from tui.cards import Card
    from tui.widgets.transcript_pages import Entry, Page


@dataclass(frozen=True, slots=True, eq=False)
class PromptHandle:
    """A prompt in the transcript, so that it can be taken away again."""

    entry: Entry


@dataclass(slots=True, eq=False)
class CardHandle:
    """A card in the transcript: where it stands, once what came before it has been read. Opaque to others."""

    card: Card
    page: Page | None = None
    folded: bool = True


@dataclass(slots=True, eq=False)
class Thought:
    """Reasoning that is folded under one line, which stands on the page `head`."""

    head: Page
    body: Entry
    words: int = 0
    over: bool = False
    _in_word: bool = False

    def count(self, text: str) -> None:
        if text:
            self.words += len(text.split()) - (self._in_word and not text[0].isspace())
            self._in_word = not text[-1].isspace()

    def line(self) -> Prose:
        arrow = "▸" if self.body.folded else "▾"
        size = "1 word" if self.words == 1 else f"{self.words:,} words"
        text = f"{'Thought' if self.over else 'Thinking…'} ({size}) {arrow}"
        return Prose(text, look=Look(Part.REASONING), markdown=False)
