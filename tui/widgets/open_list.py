"""What opens over the transcript: the base of every list there, and what `Lists` asks of it.

A list is part of the pane and no screen of its own, so that the stop keys, the status line and a question go
on to work beneath it. Esc and Ctrl+C are never its business: who holds it calls `close_innermost`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget

if TYPE_CHECKING:
    from textual.widget import Widget as Station


class OpenList(Widget):
    """See the module."""

    class Closed(Message):
        """The list asks to be closed: what was chosen in it is done."""

        def __init__(self, opened: OpenList) -> None:
            super().__init__()
            self.opened = opened

    class UseChanged(Message):
        """Something in the list is open now, or no more: Esc may mean something else."""

    @property
    def station(self) -> Station:
        """The widget that has the focus while the list is used; Tab leads to it."""
        raise NotImplementedError

    def assemble(self) -> None:
        """Fill it. Called once, right after it was mounted; it must not wait."""

    def close_innermost(self) -> bool:
        """Close what is open in the list; false if nothing is: then the list itself closes."""
        return False

    def check_unsaved(self) -> None:
        """Raises a `CaesuraError` if what is being written would be lost by closing."""

    def fail(self, text: str) -> None:
        """Say in the list that what was chosen cannot be done."""
        raise NotImplementedError
