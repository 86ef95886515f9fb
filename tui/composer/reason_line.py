"""One line with a reason for the model: why a call was stopped, or what to do instead of a denied one.

Enter posts the reason; the owner closes the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widgets import Input

if TYPE_CHECKING:
    from textual import events

    from tui.composer.reason import ReasonFor


class ReasonLine(Input):
    """The line for one reason. `draft` is what is written at first."""

    DEFAULT_CSS = """
    ReasonLine {
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
        """The person has said it; `reason` may be empty."""

        def __init__(self, reason_for: ReasonFor, reason: str) -> None:
            super().__init__()
            self.reason_for = reason_for
            self.reason = reason

    def __init__(self, reason_for: ReasonFor, draft: str = "") -> None:
        super().__init__(draft, placeholder="words for the model")
        self.reason_for = reason_for
        # Not a string, in which a name could be markup.
        self.border_title = Content(reason_for.title)
        self.cursor_blink = False
        self._given = False

    async def _on_key(self, event: events.Key) -> None:
        """Handle Enter at once: by the time a binding runs, letters typed after it would be in the line."""
        if self._given:
            event.stop()
            event.prevent_default()
        elif event.key == "enter":
            event.stop()
            event.prevent_default()
            self._given = True
            self.post_message(self.Given(self.reason_for, self.value.strip()))
