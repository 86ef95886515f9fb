"""The text of the notes while it is edited.

What is typed before the file was read waits for it, and keys act in the order in which they were typed.
Pastes are made printable and limited in length, so that no key has to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.widgets import TextArea

from core.base.sanitize import printable
from core.context.memory_notes import MOST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.widgets.text_area import Location

_TOO_MUCH = f"That is too much: notes have {MOST_CHARACTERS // 1000},000 characters at most."

_NEWLINES = frozenset({"shift+enter", "alt+enter", "ctrl+j", "shift+\r", "ctrl+\r", "\r"})
"""The keys that break a line in the composer, under all names that terminals give them."""


class NotesArea(TextArea):
    """`save` is called by its key; `complain` says why something cannot be inserted.

    Not solved: in a line of many thousands of characters each key takes some milliseconds.
    """

    DEFAULT_CSS = """
    NotesArea, NotesArea:focus {
        height: 1fr;
        min-height: 1;
        border: none;
        padding: 0 1;
        background: $background;
        scrollbar-size-vertical: 1;
        & .text-area--placeholder { color: $foreground-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+shift+c,super+c", "copy", "Copy the selection", show=False),
        Binding("ctrl+home", "go_to_end(-1)", "Go to the beginning", show=False),
        Binding("ctrl+end", "go_to_end(1)", "Go to the end", show=False),
    ]

    def __init__(self, save: Callable[[], None], complain: Callable[[str], None]) -> None:
        super().__init__(highlight_cursor_line=False, tab_behavior="focus")
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._save = save
        self._complain = complain
        self._held: list[events.Key | events.Paste] | None = []

    def begin(self, text: str, *, editable: bool) -> None:
        """Show `text`, then apply what was typed before."""
        # This is no change by the person.
        with self.prevent(TextArea.Changed):
            self.load_text(text)
        self.read_only = not editable
        self.call_next(self._catch_up)

    async def _catch_up(self) -> None:
        held, self._held = self._held or [], None
        for event in held:
            await self.on_event(event)

    async def _on_key(self, event: events.Key) -> None:
        """Run bindings at once, as `Prompt` does."""
        if self._held is not None:
            self._held.append(events.Key(event.key, event.character))
        elif event.key == "ctrl+s":
            self._save()
        elif event.key in _NEWLINES:
            self.put("\n")
        elif event.is_printable or event.key == "enter":
            return
        else:
            event.prevent_default()
            active = self.screen.active_bindings.get(event.key)
            if active is None or active.node is not self:
                return
            if not await self.app.run_action(active.binding.action, self):
                return
        event.prevent_default()
        event.stop()

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        if self._held is not None:
            self._held.append(events.Paste(event.text))
        else:
            self.put(event.text)

    def action_paste(self) -> None:
        self.put(self.app.clipboard)

    def action_go_to_end(self, direction: int) -> None:
        self.move_cursor((0, 0) if direction < 0 else self.document.end)

    def put(self, text: str) -> None:
        """Insert text at the cursor, in place of the selection, unless it is too long."""
        if self.read_only:
            return
        if len(text) + len(self.text) > MOST_CHARACTERS:
            self._complain(_TOO_MUCH)
            return
        result = self.replace(printable(text), *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        # As in `Prompt`: undo asks for it while the cursor is still on a line that is gone.
        if self.cursor_location[0] >= self.document.line_count:
            return Offset()
        return super().scroll_cursor_visible(center, animate)

    def find_matching_bracket(self, bracket: str, search_from: Location) -> Location | None:
        """None: the search would read the whole text at each step of the cursor."""
        return None
