"""Entries of the transcript that change later: prompts, calls, and folded texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui.transcript.markdown.blocks import Prose

if TYPE_CHECKING:
    from tui.transcript.card import Card
    from tui.transcript.markdown.spans import Look
    from tui.transcript.pages import Entry, Page


@dataclass(frozen=True, slots=True, eq=False)
class PromptHandle:
    """A prompt in the transcript, which can be removed."""

    entry: Entry


@dataclass(slots=True, eq=False)
class CardHandle:
    """A card in the transcript. `page` is None until the text before it has been read. Opaque to callers."""

    card: Card
    page: Page | None = None
    folded: bool = True


@dataclass(slots=True, eq=False)
class Folding:
    """A text folded under one line with its `title`, which is on the page `head`."""

    head: Page
    body: Entry
    look: Look
    title: str = ""

    def line(self) -> Prose:
        arrow = "▸" if self.body.folded else "▾"
        return Prose(f"{self.title} {arrow}", look=self.look, markdown=False)


@dataclass(slots=True, eq=False)
class Thought(Folding):
    """Reasoning; its title counts the words."""

    words: int = 0
    _in_word: bool = False

    def count(self, text: str, *, over: bool = False) -> None:
        """Count the words of `text`, which follows what was counted before; `over` if nothing follows."""
        if text:
            self.words += len(text.split()) - (self._in_word and not text[0].isspace())
            self._in_word = not text[-1].isspace()
        size = "1 word" if self.words == 1 else f"{self.words:,} words"
        self.title = f"{'Thought' if over else 'Thinking…'} ({size})"


def summary_title(steps: int, *, undone: bool = False) -> str:
    """The title of a summary of the first `steps` steps; `undone` if the summary is no longer used."""
    first = "step" if steps == 1 else f"{steps:,} steps"
    return f"Summary of the first {first}{' (undone)' if undone else ''}"
