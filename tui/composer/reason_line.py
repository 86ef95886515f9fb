"""One line of words for the model: why a call was stopped, or what to do in place of one that was denied.

It knows what the words are for and nothing of sessions. Enter gives them; closing it is for its owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widgets import Input

if TYPE_CHECKING:
    from textual import events

    from tui.words import Purpose


class WordsLine(Input):
    """See the module."""

    DEFAULT_CSS = """
    WordsLine {
        height: 3;
        border: round $border;
        border-title-color: $text-accent;
        background: $background;
        padding: 0 1;
        &:focus { border: round $border; }
        &:focus:nocolor { border: heavy $border; }
    }
    """

    class Given(Message):
        """The person has said it; `words` may be empty."""

        def __init__(self, purpose: Purpose, words: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.words = words

    def __init__(self, purpose: Purpose, draft: str = "") -> None:
        super().__init__(draft, placeholder="words for the model")
        self.purpose = purpose
        # Not a string, in which a name could be markup.
        self.border_title = Content(purpose.title)
        self.cursor_blink = False
        self._given = False

    async def _on_key(self, event: events.Key) -> None:
        """Take Enter here and now: by the time a binding ran, letters behind it would be in the line."""
        if self._given:
            event.stop()
            event.prevent_default()
        elif event.key == "enter":
            event.stop()
            event.prevent_default()
            self._given = True
            self.post_message(self.Given(self.purpose, self.value.strip()))
