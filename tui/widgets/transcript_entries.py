"""What the transcript can find again among the things that were said: prompts, calls, and what is folded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from core.values import dataclass
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
class Folding(ABC):
    """A text that is folded under one line, which stands on the page `head`."""

    head: Page
    body: Entry

    @property
    @abstractmethod
    def look(self) -> Look:
        """That of the line and of the text."""

    @abstractmethod
    def words_of_line(self) -> str: ...

    def line(self) -> Prose:
        arrow = "▸" if self.body.folded else "▾"
        return Prose(f"{self.words_of_line()} {arrow}", look=self.look, markdown=False)


@dataclass(slots=True, eq=False)
class Thought(Folding):
    """Reasoning."""

    words: int = 0
    over: bool = False
    _in_word: bool = False

    @property
    def look(self) -> Look:
        return Look(Part.REASONING)

    def count(self, text: str) -> None:
        if text:
            self.words += len(text.split()) - (self._in_word and not text[0].isspace())
            self._in_word = not text[-1].isspace()

    def words_of_line(self) -> str:
        size = "1 word" if self.words == 1 else f"{self.words:,} words"
        return f"{'Thought' if self.over else 'Thinking…'} ({size})"


@dataclass(frozen=True, slots=True)
class SummaryTitle:
    """What a summary stands for: the first `steps` steps; `undone` if it does so no more."""

    steps: int
    undone: bool = False

    def __str__(self) -> str:
        steps = "step" if self.steps == 1 else f"{self.steps:,} steps"
        return f"Summary of the first {steps}{' (undone)' if self.undone else ''}"


@dataclass(slots=True, eq=False)
class Summary(Folding):
    """What a compaction has made of the beginning of the conversation."""

    title: SummaryTitle

    @property
    def look(self) -> Look:
        return Look(Part.INFO)

    def words_of_line(self) -> str:
        return str(self.title)
