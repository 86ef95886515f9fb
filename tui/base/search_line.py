"""The one line at the head of a list in which something is typed: words to search for, a title, an answer.

Its owner hears every key before the line does, in the order in which they were typed: a key that acts on what
was typed must never overtake it, and what is typed behind it must not end up in the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.events import Key, Paste
from textual.widgets import Input

from tui.list_rows import inline

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events


class ListLine(Input):
    """See the module. `hear` gets the name of a key, and says whether the owner has taken it."""

    DEFAULT_CSS = """
    ListLine {
        width: 1fr;
        height: 1;
        border: none;
        padding: 0;
        background: $background;
        &:focus { border: none; background-tint: $background 0%; }
    }
    """

    def __init__(self, hear: Callable[[str], bool]) -> None:
        super().__init__(select_on_focus=False)
        self._hear = hear
        self._behind: list[events.Key | events.Paste] | None = None
        """What was typed behind a key that leads elsewhere, until the focus is there."""
        self.cursor_blink = False

    @property
    def at_end(self) -> bool:
        """Whether nothing stands behind the cursor, and nothing is selected."""
        return self.selection.is_empty and self.cursor_position >= len(self.value)

    def put(self, text: str, placeholder: str) -> None:
        """Replace all of it, with the cursor at the end."""
        self.placeholder = placeholder
        self.value = inline(text)
        self.cursor_position = len(self.value)

    def lead_away(self) -> None:
        """The key that was heard just now will take the focus elsewhere: what comes behind it is meant for
        there."""
        self._behind = []

    def stay(self) -> None:
        """It has not: what has come since is for this line."""
        self._hand_over()

    def _hand_over(self) -> None:
        behind, self._behind = self._behind, None
        for event in behind or ():
            # As if it were typed now: it goes to where the focus is.
            self.app.post_message(event)

    def _on_blur(self, _: events.Blur) -> None:
        self._hand_over()

    async def _on_key(self, event: events.Key) -> None:
        if self._behind is not None:
            self._behind.append(Key(event.key, event.character))
        elif not self._hear(event.key):
            return
        event.stop()
        event.prevent_default()

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if self._behind is not None:
            self._behind.append(Paste(event.text))
            return
        # One line of it, and nothing that a terminal would obey.
        self.insert_text_at_cursor(inline(event.text.strip().partition("\n")[0]))
