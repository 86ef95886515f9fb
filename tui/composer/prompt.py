"""The composer: where a person writes what is sent next.

It never loses a draft: not to Esc, which it does not handle, not to the history, not to a prompt that comes
back. It never holds up the event loop: a big paste becomes a short chip, and its text is kept beside the
document.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Final

from textual.actions import SkipAction
from textual.geometry import Offset
from textual.message import Message
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from tui.composer.chips import Chips, clean
from tui.composer.prompt_history import PromptHistory
from tui.keys.bindings import KeyScope, bindings, editing_bindings

if TYPE_CHECKING:
    from rich.text import Text
    from textual import events
    from textual.binding import BindingType
    from textual.geometry import Size

MAX_LINES: Final = 8

# xterm's own encoding of a modified Enter (tmux uses it too) reaches Textual under these names, which a
# binding cannot spell; all of them mean Shift+Enter.
_XTERM_NEWLINES = frozenset({"shift+\r", "ctrl+\r", "\r"})


class Completer:
    """Completes a typed command. This one never does, `tui.composer.completion.Completion` does."""

    @property
    def is_open(self) -> bool:
        return False

    def follow(self) -> None:
        """Show what completes the text, after it or the focus has changed."""

    def dismiss(self) -> None:
        """Show nothing until the text changes: after Esc, or when the text was not typed."""

    def select_next(self, step: int) -> bool:
        """Select another completion; false if there is none, and the key keeps its usual meaning."""
        return False

    def take_enter(self) -> bool:
        """Complete what is incomplete, or take what was selected; false if the text is to be sent."""
        return False

    def complete(self) -> None:
        """Put the selected completion into the composer."""


class Prompt(TextArea, inherit_bindings=False):
    """The composer of one pane. It posts `Submitted` and knows nothing of sessions.

    `sent` is the history, oldest first, and is changed in place. Keys that it does not use (Esc, Ctrl+C,
    PageUp, and Home and End while it is empty) are left to its ancestors.

    Not solved: the text of a chip can be removed as a whole but not edited.
    """

    DEFAULT_CSS = """
    Prompt {
        height: auto;
        border: round $border-blurred;
        padding: 0 1;
        background: $background;
        scrollbar-size-vertical: 1;
        &:focus {
            border: round $border;
        }
        & .text-area--placeholder {
            color: $foreground-muted;
        }
        & .prompt--chip {
            color: $accent;
            background: $panel;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"prompt--chip"}
    BINDINGS: ClassVar[list[BindingType]] = [*editing_bindings(), *bindings(KeyScope.PROMPT)]

    class Submitted(Message):
        """The person sends `text`; chips are expanded in it."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class StopAndSend(Message):
        """The person wants `text`, chips expanded, to be sent next, whatever runs. It may be empty."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, sent: list[str] | None = None, placeholder: str = "") -> None:
        # Before the base class, whose constructor moves the cursor already.
        self._chips = Chips()
        super().__init__(placeholder=placeholder, highlight_cursor_line=False, tab_behavior="focus")
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._sent = PromptHistory([] if sent is None else sent)
        self.completer = Completer()

    @property
    def is_empty(self) -> bool:
        return self.document.line_count == 1 and not self.document[0]

    @property
    def begins_command(self) -> bool:
        """Whether it is one line that begins with a slash."""
        return self.document.line_count == 1 and self.document[0].startswith("/")

    @property
    def draft(self) -> str:
        """The text that would be sent now, with chips expanded."""
        return self._chips.expand(self.text)

    def set_text_if_empty(self, text: str) -> bool:
        """Put a prompt that was rolled back into the composer (H1). False if it has a draft, which stays."""
        if not self.is_empty:
            return False
        self._put(self._chips.fold(clean(text)))
        return True

    def take_over(self, other: Prompt, *, behind: bool) -> None:
        """Take over the history, the pastes and the text of another composer. Its text is put before the text
        here, or with `behind` after it."""
        self._sent.take_over(
            other._sent, is_new=self.is_empty, adopt=lambda draft: self._chips.adopt(other._chips, draft)
        )
        if shown := self._chips.adopt(other._chips, other.text):
            self.insert(shown, self.document.end if behind else (0, 0))

    def clear_undoable(self) -> bool:
        """Clear the composer so that undo brings the text back (E2). False if there was nothing to clear."""
        if self.is_empty:
            return False
        self._put("")
        return True

    def insert_paste(self, text: str) -> None:
        """Insert text from outside at the cursor, in place of the selection; a big one as a chip."""
        if not (text := clean(text)):
            return
        result = self.replace(
            self._chips.fit(text, len(self.text)), *self.selection, maintain_selection_offset=False
        )
        self.move_cursor(result.end_location)

    def replace_line(self, text: str) -> None:
        """Replace the whole text by this line, with the cursor at its end; undo brings it back."""
        self.history.checkpoint()
        self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)

    def action_submit(self) -> None:
        """Send the text, unless it is blank; an incomplete command is completed instead."""
        if not self.completer.take_enter() and (text := self._take()):
            self.post_message(self.Submitted(text))

    def action_stop_and_send(self) -> None:
        """Ask that the text is sent next, whatever runs. It may be empty: the owner knows what is next."""
        self.post_message(self.StopAndSend(self._take()))

    def action_newline(self) -> None:
        self.replace("\n", *self.selection, maintain_selection_offset=False)

    def on_text_area_changed(self) -> None:
        self.completer.follow()

    def render_line(self, y: int) -> Strip:
        # Textual cannot wrap the placeholder where there is no room for a letter.
        return super().render_line(y) if self.content_size.width else Strip([])

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.completer.follow()

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self.completer.select_next(-1):
            return
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        else:
            self._recall(-1)

    def action_cursor_down(self, select: bool = False) -> None:
        if not select and self.completer.select_next(1):
            return
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        else:
            self._recall(1)

    def action_cursor_line_start(self, select: bool = False) -> None:
        self._leave_if_empty()
        super().action_cursor_line_start(select)

    def action_cursor_line_end(self, select: bool = False) -> None:
        self._leave_if_empty()
        super().action_cursor_line_end(select)

    def action_copy(self) -> None:
        if not self.selected_text:
            raise SkipAction
        self.app.copy_to_clipboard(self._chips.expand(self.selected_text))

    def action_cut(self) -> None:
        self.action_copy()
        self.replace("", *self.selection, maintain_selection_offset=False)

    def action_paste(self) -> None:
        self.insert_paste(self.app.clipboard)

    async def _on_key(self, event: events.Key) -> None:
        """Run our own bindings at once.

        Textual runs them after the key has bubbled up to the app. By then the prompt may have taken the keys
        after it: of `hi`, Enter, `x` in one read, `hix` would be sent.
        """
        if event.is_printable:
            return
        key = "shift+enter" if event.key in _XTERM_NEWLINES else event.key
        # Also keeps the text area from its own line break.
        event.prevent_default()
        active = self.screen.active_bindings.get(key)
        if active is None or active.node is not self:
            return
        if await self.app.run_action(active.binding.action, self):
            event.stop()

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert_paste(event.text)

    def edit(self, edit: Edit) -> EditResult:
        """Apply an edit; one that cuts into a chip takes all of it."""
        if edit.from_location != edit.to_location:
            top, bottom = self._chip_edge(edit.top, 0), self._chip_edge(edit.bottom, 1)
            edit = dataclasses.replace(edit, from_location=top, to_location=bottom)
        result = super().edit(edit)
        # Again, because the text area scrolls before it knows its new height.
        self.scroll_cursor_visible()
        return result

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        # Undo asks for it while the cursor is still on a line that is gone: the base class would raise.
        if self.cursor_location[0] >= self.document.line_count:
            return Offset()
        return super().scroll_cursor_visible(center, animate)

    def on_resize(self) -> None:
        # After the text area's own handler, which wraps the text again.
        self.call_after_refresh(self.scroll_cursor_visible)

    def validate_selection(self, selection: Selection) -> Selection:
        """Let the cursor step over a chip as over a character."""
        before = self.selection.end
        return Selection(*(self._chip_edge(place, int(place > before)) for place in selection))

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        for start, end in self._chip_spans(line_index):
            line.stylize(self.get_component_rich_style("prompt--chip"), start, end)
        return line

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The height of the text, up to eight lines and a third of the screen."""
        wanted = super().get_content_height(container, viewport, width)
        return max(1, min(wanted, MAX_LINES, viewport.height // 3))

    def find_matching_bracket(self, bracket: str, search_from: Location) -> Location | None:
        """None: the search would read the whole text at each step of the cursor."""
        return None

    def _take(self) -> str:
        """Take out the text, "" if it is blank; a draft that an old prompt hid is shown again."""
        shown = self.text
        text = self._chips.expand(shown)
        if not text.strip():
            return ""
        draft = self._sent.hidden_draft
        # The chips that were sent are kept, so that a prompt that comes back shows them again.
        self._chips.keep_only(shown + draft)
        self._sent.add(text)
        self.load_text(draft)
        self.move_cursor(self.document.end)
        return text

    def _leave_if_empty(self) -> None:
        if self.is_empty:
            raise SkipAction

    def _put(self, shown: str) -> None:
        """Replace the whole text, as one step of undo, with the cursor at the end."""
        self.replace_line(shown)
        self.completer.dismiss()

    def _recall(self, step: int) -> None:
        shown = self._sent.step(step, self.text, lambda text: self._chips.fold(clean(text)))
        if shown is not None:
            self._put(shown)

    def _chip_spans(self, row: int) -> list[tuple[int, int]]:
        return self._chips.spans(self.document[row]) if row < self.document.line_count else []

    def _chip_edge(self, place: Location, side: int) -> Location:
        """The place itself, or the start (`side` 0) or end (1) of the chip that it is inside of."""
        row, column = place
        for span in self._chip_spans(row):
            if span[0] < column < span[1]:
                return row, span[side]
        return place
