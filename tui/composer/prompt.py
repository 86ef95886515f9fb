"""The composer: where a person writes what is sent next.

It must never lose a draft: not to Esc (which it does not even see as its own), not to the history, not to a
prompt that comes back. It must never hold the event loop: a big paste becomes a short chip, and the text
itself is kept beside the document until it is sent.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from tui.keys import RELEASED_KEYS, KeyScope, bindings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.text import Text
    from textual import events
    from textual.geometry import Size

PASTE_CHARACTERS: Final = 2_000
PASTE_LINES: Final = 20
"""A paste above either becomes a chip."""

TEXT_CHARACTERS: Final = 6_000
"""What pastes may fill the document to, because every key costs time in proportion to it."""

CHIP_CHARACTERS: Final = 50
"""A paste that is no longer than a chip never becomes one for its length."""

MAX_LINES: Final = 8
HISTORY_ENTRIES: Final = 1_000
HISTORY_CHARACTERS: Final = 5_000_000

_CHIP = re.compile(r"\[pasted \d+ lines?, \d+ [KM]?B #\d+\]")
# Terminals and terminal multiplexers must not be fed what somebody hid in a text to be pasted.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ASCII_CONTROL = dict.fromkeys((*range(0x09), *range(0x0B, 0x20), 0x7F))
"""The same for `str.translate`, which is the fastest for ASCII and the slowest for everything else."""
# xterm's own encoding of a modified Enter (tmux uses it too) reaches Textual under these names, which a
# binding cannot spell; they are all taken for Shift+Enter.
_XTERM_NEWLINES = frozenset({"shift+\r", "ctrl+\r", "\r"})


def _editing_bindings() -> Iterable[Binding]:
    inherited = Binding.make_bindings(TextArea.BINDINGS)
    return (binding for binding in inherited if binding.key not in RELEASED_KEYS)


class _Chips:
    """Pasted texts that stand in the composer as one short word each."""

    def __init__(self) -> None:
        self._pasted: dict[str, str] = {}
        self._count = 0

    def add(self, text: str) -> str:
        """The chip that stands for this text from now on."""
        self._count += 1
        lines = text.count("\n") + (not text.endswith("\n"))
        size = _size(len(text.encode()))
        chip = f"[pasted {lines} {'line' if lines == 1 else 'lines'}, {size} #{self._count}]"
        self._pasted[chip] = self.expand(text)
        return chip

    def expand(self, shown: str) -> str:
        return _CHIP.sub(lambda chip: self._pasted.get(chip[0], chip[0]), shown)

    def fold(self, text: str) -> str:
        """A whole prompt as it looked before it was sent: pastes as chips, what was typed as it was typed."""
        for chip, pasted in self._pasted.items():
            text = text.replace(pasted, chip)
        return text if len(text) <= TEXT_CHARACTERS else self.add(text)

    def keep_only(self, shown: str) -> None:
        """Forget the texts whose chips are not in `shown`."""
        self._pasted = {chip: self._pasted[chip] for chip in _CHIP.findall(shown) if chip in self._pasted}

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Start and end column of each chip in a line."""
        if not self._pasted:
            return []
        return [chip.span() for chip in _CHIP.finditer(line) if chip[0] in self._pasted]


class Completer(Protocol):
    """What completes a command while it is typed: `tui.widgets.completion.Completion`."""

    def follow(self) -> None:
        """The text or the focus has changed."""
        ...

    def dismiss(self) -> None:
        """The text has changed, and not by typing: there is nothing to complete in it."""
        ...

    def select_next(self, step: int) -> bool:
        """Up or down was pressed; false if it has its usual meaning."""
        ...

    def take_enter(self) -> bool:
        """What is written is to be sent; false if it is."""
        ...


class Prompt(TextArea, inherit_bindings=False):
    """The prompt of one pane. It posts `Prompt.Submitted` and knows nothing of sessions.

    `sent` is the history, oldest first; it is appended to in place, so its owner may keep it. Keys that it
    does not use (Esc, Ctrl+C, PageUp, and Home and End while it is empty) are left to its ancestors.

    Not solved: the text inside a chip can be removed as a whole but not edited.
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
    BINDINGS: ClassVar[list[BindingType]] = [*_editing_bindings(), *bindings(KeyScope.PROMPT)]

    class Submitted(Message):
        """The person sends `text`; chips are expanded in it."""

        def __init__(self, prompt: Prompt, text: str) -> None:
            super().__init__()
            self.prompt = prompt
            self.text = text

        @property
        def control(self) -> Prompt:
            return self.prompt

    class StopAndSend(Message):
        """The person wants `text`, chips expanded, to be sent next, whatever runs. It may be empty."""

        def __init__(self, prompt: Prompt, text: str) -> None:
            super().__init__()
            self.prompt = prompt
            self.text = text

        @property
        def control(self) -> Prompt:
            return self.prompt

    def __init__(self, *, sent: list[str] | None = None, placeholder: str = "") -> None:
        # Before the base class, whose constructor moves the cursor already.
        self._chips = _Chips()
        super().__init__(placeholder=placeholder, highlight_cursor_line=False, tab_behavior="focus")
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self.sent = [] if sent is None else sent
        self._position = len(self.sent)
        self.completer: Completer | None = None
        self._drafts: dict[int, str] = {}
        """What stood in the composer when a place of the history was left; the last place is the draft."""

    @property
    def is_empty(self) -> bool:
        return self.document.line_count == 1 and not self.document[0]

    @property
    def begins_command(self) -> bool:
        """Whether it is one line that begins with a slash."""
        return self.document.line_count == 1 and self.document[0].startswith("/")

    @property
    def draft(self) -> str:
        """What would be sent now."""
        return self._chips.expand(self.text)

    def set_text_if_empty(self, text: str) -> bool:
        """Put a prompt that was rolled back into the composer (H1). False if a draft is there; it stays."""
        if not self.is_empty:
            return False
        self._put(self._chips.fold(_clean(text)))
        return True

    def clear_undoable(self) -> bool:
        """Clear the composer so that undo brings the text back (E2). False if there was nothing to clear."""
        if self.is_empty:
            return False
        self._put("")
        return True

    def insert_paste(self, text: str) -> None:
        """Insert text from outside at the cursor, in place of the selection; a big one as a chip."""
        if not (text := _clean(text)):
            return
        result = self.replace(self._fit(text), *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def replace_line(self, text: str) -> None:
        """Replace all that is written by this line, with the cursor at its end; undo brings it back."""
        self.history.checkpoint()
        self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)

    def action_submit(self) -> None:
        """Send what is written, if anything is; a command that is not whole is completed instead."""
        if self.completer is not None and self.completer.take_enter():
            return
        if text := self._take():
            self.post_message(self.Submitted(self, text))

    def action_stop_and_send(self) -> None:
        """Send what is written next, whatever runs; with nothing written, the owner knows what is next."""
        self.post_message(self.StopAndSend(self, self._take()))

    def action_newline(self) -> None:
        self.replace("\n", *self.selection, maintain_selection_offset=False)

    def on_text_area_changed(self) -> None:
        if self.completer is not None:
            self.completer.follow()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        if self.completer is not None:
            self.completer.follow()

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self.completer is not None and self.completer.select_next(-1):
            return
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        else:
            self._recall(self._position - 1)

    def action_cursor_down(self, select: bool = False) -> None:
        if not select and self.completer is not None and self.completer.select_next(1):
            return
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        else:
            self._recall(self._position + 1)

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
        if not self.selected_text:
            raise SkipAction
        self.app.copy_to_clipboard(self._chips.expand(self.selected_text))
        self.replace("", *self.selection, maintain_selection_offset=False)

    def action_paste(self) -> None:
        self.insert_paste(self.app.clipboard)

    async def _on_key(self, event: events.Key) -> None:
        """Run our own bindings here and now.

        Textual runs them after the key has bubbled up to the app, and by then the prompt may have taken the
        keys that came behind it: of `hi`, Enter, `x` in one read, `hix` would be sent.
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
        """Every edit passes here: one that cuts into a chip takes all of it."""
        if edit.from_location != edit.to_location:
            top, bottom = self._chip_edge(edit.top, 0), self._chip_edge(edit.bottom, 1)
            edit = dataclasses.replace(edit, from_location=top, to_location=bottom)
        result = super().edit(edit)
        # Again, because the text area scrolls before it knows its new height.
        self.scroll_cursor_visible()
        return result

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        # Undo asks for it while the cursor is still on a line that has just gone; that would crash the app.
        if self.cursor_location[0] >= self.document.line_count:
            return Offset()
        return super().scroll_cursor_visible(center, animate)

    def on_resize(self) -> None:
        # After the text area's own handler, which wraps the text again.
        self.call_after_refresh(self.scroll_cursor_visible)

    def validate_selection(self, selection: Selection) -> Selection:
        """The cursor steps over a chip as over a letter."""
        before = self.selection.end
        return Selection(*(self._chip_edge(place, int(place > before)) for place in selection))

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        for start, end in self._chip_spans(line_index):
            line.stylize(self.get_component_rich_style("prompt--chip"), start, end)
        return line

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As high as the text, up to eight lines and a third of the screen."""
        wanted = super().get_content_height(container, viewport, width)
        return max(1, min(wanted, MAX_LINES, viewport.height // 3))

    def find_matching_bracket(self, bracket: str, search_from: Location) -> Location | None:
        """Prose has none, and the search would walk through the whole text at each step of the cursor."""
        return None

    def _take(self) -> str:
        """Take out what is written, "" for nothing; what is shown next is a draft that an old prompt hid."""
        shown = self.text
        text = self._chips.expand(shown)
        if not text.strip():
            return ""
        draft = self._drafts.get(len(self.sent), "") if self._position < len(self.sent) else ""
        # The chips that were sent stay, so that a prompt that comes back shows them again.
        self._chips.keep_only(shown + draft)
        self._remember(text)
        self.load_text(draft)
        self.move_cursor(self.document.end)
        return text

    def _leave_if_empty(self) -> None:
        if self.is_empty:
            raise SkipAction

    def _put(self, shown: str) -> None:
        """Replace everything by this, as one step of undo, with the cursor at the end."""
        self.replace_line(shown)
        if self.completer is not None:
            self.completer.dismiss()

    def _recall(self, position: int) -> None:
        if not 0 <= position <= len(self.sent):
            return
        self._drafts[self._position] = self.text
        self._position = position
        kept = self._drafts.get(position)
        self._put(self._chips.fold(_clean(self.sent[position])) if kept is None else kept)

    def _remember(self, text: str) -> None:
        if not self.sent or self.sent[-1] != text:
            self.sent.append(text)
        while len(self.sent) > 1 and (
            len(self.sent) > HISTORY_ENTRIES or sum(map(len, self.sent)) > HISTORY_CHARACTERS
        ):
            del self.sent[0]
        self._position = len(self.sent)
        self._drafts.clear()

    def _fit(self, pasted: str) -> str:
        """The text as it is, or a chip if it is too big to be edited here."""
        room = TEXT_CHARACTERS - len(self.text)
        fits = len(pasted) <= max(CHIP_CHARACTERS, min(PASTE_CHARACTERS, room))
        return pasted if fits and pasted.count("\n") < PASTE_LINES else self._chips.add(pasted)

    def _chip_spans(self, row: int) -> list[tuple[int, int]]:
        return self._chips.spans(self.document[row]) if row < self.document.line_count else []

    def _chip_edge(self, place: Location, side: int) -> Location:
        """The place itself, or if it is inside a chip the chip's start (side 0) or end (side 1)."""
        row, column = place
        for span in self._chip_spans(row):
            if span[0] < column < span[1]:
                return row, span[side]
        return place


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text.translate(_ASCII_CONTROL)
    # To search is cheaper than to replace nothing.
    return _CONTROL.sub("", text) if _CONTROL.search(text) else text


def _size(count: int) -> str:
    for unit, name in ((1_000_000, "MB"), (1_000, "KB")):
        if count >= unit:
            return f"{round(count / unit)} {name}"
    return f"{count} B"
