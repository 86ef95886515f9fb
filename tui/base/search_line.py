"""The line at the head of a list in which something is typed: words to search for, a title, an answer.

The owner gets every key before the line does, in the order in which they were typed: a key that acts on the
text never overtakes it, and what is typed after the key does not end up in the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.events import Key, Paste
from textual.widgets import Input

from tui.base.row import inline

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events


class SearchLine(Input):
    """`on_key` gets the name of each key, and says whether the owner has handled it."""

    DEFAULT_CSS = """
    SearchLine {
        width: 1fr;
        height: 1;
        border: none;
        padding: 0;
        background: $background;
        &:focus { border: none; background-tint: $background 0%; }
    }
    """

    def __init__(self, on_key: Callable[[str], bool]) -> None:
        super().__init__(select_on_focus=False)
        self._take_key = on_key
        self._held: list[events.Key | events.Paste] | None = None
        """What was typed after a key that moves the focus, until the focus has moved."""
        self.cursor_blink = False

    @property
    def at_end(self) -> bool:
        """Whether the cursor is at the end and nothing is selected."""
        return self.selection.is_empty and self.cursor_position >= len(self.value)

    def put(self, text: str, placeholder: str) -> None:
        """Replace the text, with the cursor at its end."""
        self.placeholder = placeholder
        self.value = inline(text)
        self.cursor_position = len(self.value)

    def hold_keys(self) -> None:
        """The key that is being handled will move the focus: hold what is typed after it."""
        self._held = []

    def release_keys(self) -> None:
        """The focus stays: what was held is for this line."""
        held, self._held = self._held, None
        for event in held or ():
            # As if typed now: it goes to the widget with the focus.
            self.app.post_message(event)

    def _on_blur(self, _: events.Blur) -> None:
        self.release_keys()

    async def _on_key(self, event: events.Key) -> None:
        if self._held is not None:
            self._held.append(Key(event.key, event.character))
        elif not self._take_key(event.key):
            return
        event.stop()
        event.prevent_default()

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if self._held is not None:
            self._held.append(Paste(event.text))
            return
        # One line, without anything that a terminal would obey.
        self.insert_text_at_cursor(inline(event.text.strip().partition("\n")[0]))
