"""The queued prompts above the composer, to be edited and removed without losing any.

The list reads the session's queue and stores nothing of it (U4). A key meant for one prompt never reaches
another, an edit never touches the draft in the composer, and what is removed can be brought back. The list
gets Esc and letters only while it has the focus, so that it does not stand in the way of a stop (E1).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, assert_never

from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from core.cancel import CancelReason, Cause
from tui.base.key_hints import KeyHints
from tui.base.row_list import RowList
from tui.composer.prompt import Prompt
from tui.composer.queue import queue_state
from tui.composer.queue_rows import (
    QueueAction,
    QueueRow,
    hints_in_editor,
    hints_in_list,
    hints_outside,
    name_of_prompt,
    queue_line,
    state_words,
)
from tui.keys.bindings import KeyScope, bindings, key_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.geometry import Size

    from core.session.queue import PromptQueue, QueuedPrompt

MOST_ROWS = 5
LOW = 20
"""Rows of the terminal below which an editor replaces the list."""

SHORT_BELOW = 60
"""Columns below which the line above the rows is short."""


class QueueRows(RowList[QueueRow]):
    """The rows. `act` does what a key is for, before the next key is handled."""

    DEFAULT_CSS = """
    QueueRows {
        height: auto;
        overflow-y: auto;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.QUEUE)]
    SELECTS_WITHOUT_FOCUS = False

    def __init__(self, act: Callable[[QueueAction], object], clock: Callable[[], float]) -> None:
        super().__init__(queue_line, clock=clock)
        self.can_focus = True
        self._act = act
        self.compact = self.editing = False

    def action_act(self, act: str) -> None:
        self._act(QueueAction(act))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The height of all rows, up to five and a sixth of the screen; none where others need the room."""
        if not self.has_focus and (self.compact or (self.editing and viewport.height < LOW)):
            return 0
        return min(len(self._rows), MOST_ROWS, max(1, viewport.height // 6))

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh(layout=True)


class QueueEditor(Prompt):
    """Edits the text of one queued prompt. It posts `Edited`, once."""

    DEFAULT_CSS = """
    QueueEditor {
        border-title-color: $text-accent;
        &.-compact, &.-compact:focus { border: none; }
    }
    """

    class Edited(Message):
        """The person keeps `text`; with `now`, to be sent next."""

        def __init__(self, editor: QueueEditor, text: str, *, now: bool) -> None:
            super().__init__()
            self.editor = editor
            self.text = text
            self.now = now

    def __init__(self, queue_id: int, text: str) -> None:
        super().__init__()
        self.queue_id = queue_id
        self._initial = text
        self._loaded = self._done = False
        self.border_title = f"Queued prompt {queue_id}"

    @property
    def edited_text(self) -> str:
        """The text, also before the first frame."""
        return self.draft if self._loaded else self._initial

    def on_mount(self) -> None:
        self.set_text_if_empty(self._initial)
        self.history.clear()
        self._loaded = True

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The height of the text, up to a sixth of the screen, since the composer needs room too."""
        wanted = super().get_content_height(container, viewport, width)
        most = 1 if self.has_class("-compact") else max(1, viewport.height // 6)
        return min(wanted, most)

    def keep(self, *, now: bool) -> None:
        """Finish, unless the text is blank: keeping that would lose the prompt."""
        text = self.edited_text
        if text.strip() and not self._done:
            self._done = True
            self.post_message(self.Edited(self, text, now=now))

    def action_submit(self) -> None:
        self.keep(now=False)

    def action_stop_and_send(self) -> None:
        self.keep(now=True)


class QueueList(Widget):
    """The list with its editor. `return_to` gets the focus back; `hint` shows a short note for a moment."""

    DEFAULT_CSS = """
    QueueList {
        display: none;
        height: auto;
        layout: vertical;
        padding: 0 1;
        border-top: solid $border-blurred;
        &.-compact { border-top: none; }
        & > Horizontal { height: 1; }
        & .queue-list--state { width: auto; height: 1; margin: 0 2 0 0; color: $foreground; }
        & .queue-list--state.-paused { color: $text-warning; }
        & KeyHints { width: 1fr; }
    }
    """

    class Changed(Message):
        """The focus or the editor has changed: Esc may mean something else now."""

    def __init__(
        self,
        queue: PromptQueue,
        return_to: Prompt,
        hint: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._queue = queue
        self._return_to = return_to
        self._hint = hint
        self._state_words = Static("", classes="queue-list--state", markup=False)
        self._key_hints = KeyHints[QueueAction]()
        self._rows = QueueRows(self.act, clock)
        self._shown: tuple[QueueRow, ...] = ()
        self._editor: QueueEditor | None = None
        self._drafts: dict[int, str] = {}
        self._lingers = False
        self._shown_state = ""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._state_words
            yield self._key_hints
        yield self._rows

    def on_resize(self) -> None:
        self._show_state()

    # -- what the owner does --

    @property
    def focus_targets(self) -> list[Widget]:
        """The widgets that Tab reaches here."""
        if not self.display:
            return []
        return [self._rows, *([] if self._editor is None else [self._editor])]

    @property
    def closes(self) -> bool:
        """Whether Esc leaves the list: while the focus is in it."""
        return self.is_attached and self.screen.focused in (self._rows, self._editor)

    @property
    def edits(self) -> bool:
        """Whether the editor has the focus."""
        return self._editor is not None and self.screen.focused is self._editor

    def set_compact(self, *, compact: bool) -> None:
        """Show the rows only while they have the focus: others need the room."""
        if compact is not self._rows.compact:
            self._rows.compact = compact
            self._rows.refresh(layout=True)
            self.set_class(compact, "-compact")
            if self._editor is not None:
                self._editor.set_class(compact, "-compact")

    def update(self) -> None:
        """Show the queue as it is now."""
        prompts = self._queue.prompts
        edited = self._queue.edited
        rows = tuple(QueueRow(prompt, prompt.queue_id == edited) for prompt in prompts)
        if rows != self._shown:
            self._shown = rows
            self._rows.show(rows)
            if self._lingers or not self.closes:
                self._rows.settle()
            self._rows.refresh(layout=True)
        known = {prompt.queue_id for prompt in prompts}
        self._drafts = {queue_id: text for queue_id, text in self._drafts.items() if queue_id in known}
        self._lingers = self._lingers and self.closes
        self.display = bool(rows) or self._lingers or self._editor is not None
        if not self.display and self.is_attached and self.screen.focused is self._rows:
            self._focus(self._return_to)
        self._show_state()

    def close_innermost(self) -> None:
        """Leave the editor for the list, or the list for the composer."""
        if self.edits:
            self._leave_editor()
        else:
            self._lingers = False
            self._focus(self._return_to)
        self.update()

    def enter(self) -> None:
        """Focus the list."""
        if self.display:
            self._focus(self._rows)

    # -- what the person does --

    def act(self, act: QueueAction) -> None:
        """Do this before the next key, which may depend on it."""
        match act:
            case QueueAction.UP | QueueAction.DOWN:
                self._rows.move(-1 if act is QueueAction.UP else 1)
            case QueueAction.ENTER:
                self.enter()
            case QueueAction.LEAVE:
                self.close_innermost()
            case QueueAction.GO_ON:
                self._queue.unpause()
            case QueueAction.PUT_BACK:
                self._put_back()
            case QueueAction.KEEP | QueueAction.KEEP_AND_SEND:
                if self._editor is not None:
                    self._editor.keep(now=act is QueueAction.KEEP_AND_SEND)
            case QueueAction.EDIT | QueueAction.REMOVE | QueueAction.SEND:
                if (prompt := self._selected_prompt()) is not None:
                    self._act_on(act, prompt)
            case _:
                assert_never(act)
        self.update()

    def _act_on(self, act: QueueAction, prompt: QueuedPrompt) -> None:
        if act is QueueAction.EDIT:
            self._open_editor(prompt)
        elif act is QueueAction.SEND:
            self._send_now(prompt.queue_id)
        else:
            self._lingers = True
            self._queue.remove(prompt.queue_id)
            self._hint(f"removed {name_of_prompt(prompt.text)}: /undrop undoes")

    def _selected_prompt(self) -> QueuedPrompt | None:
        """The prompt that a key or a click is meant for; None just after the selection moved by itself."""
        if self._rows.has_just_moved:
            return None
        key = self._rows.selected
        return next((prompt for prompt in self._queue.prompts if str(prompt.queue_id) == key), None)

    def _send_now(self, queue_id: int) -> None:
        # Before the turn begins, so that Esc stops it.
        self._focus(self._return_to)
        self._queue.send_now(queue_id, CancelReason(Cause.USER, "the queue"))

    def _put_back(self) -> None:
        back = self._queue.undo()
        if not back:
            self._hint("there is nothing to bring back")
            return
        self.update()
        self._rows.select(str(back[0].queue_id))

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self.enter()
        self.update()

    def on_key_hints_clicked(self, message: KeyHints.Clicked) -> None:
        message.stop()
        if isinstance(message.action, QueueAction):
            self.act(message.action)

    # -- the editor --

    def _open_editor(self, prompt: QueuedPrompt) -> None:
        if self._editor is not None:
            if self._editor.queue_id == prompt.queue_id:
                self._focus(self._editor)
                return
            self._leave_editor()
        if self._queue.begin_edit(prompt.queue_id):
            self._editor = QueueEditor(prompt.queue_id, self._drafts.pop(prompt.queue_id, prompt.text))
            self._editor.set_class(self._rows.compact, "-compact")
            self._rows.editing = True
            self.mount(self._editor)
            self._focus(self._editor)

    def _leave_editor(self) -> None:
        """Close the editor and leave the prompt as it was; the next edit starts with what was written."""
        editor = self._close_editor()
        if editor is None:
            return
        text = editor.edited_text
        before = next((one.text for one in self._queue.prompts if one.queue_id == editor.queue_id), None)
        self._queue.end_edit()
        if before is None:
            self._hold_again(text)
        elif text not in (before, ""):
            self._drafts[editor.queue_id] = text
            self._hint("the prompt is as it was; your edit is kept for the next time")

    def on_queue_editor_edited(self, message: QueueEditor.Edited) -> None:
        message.stop()
        editor = message.editor
        if editor is not self._editor:
            return
        self._close_editor()
        if message.now:
            # First, so that it is not sent as it was before.
            reason = CancelReason(Cause.USER, key_name("prompt.stop_and_send"))
            self._queue.send_now(editor.queue_id, reason)
            self._focus(self._return_to)
        if not self._queue.edit(editor.queue_id, message.text):
            self._queue.end_edit()
            self._hold_again(message.text)
        self.update()

    def _hold_again(self, text: str) -> None:
        """Queue the edited text again: its prompt was removed meanwhile."""
        if text.strip():
            self._queue.hold(text)
            self._hint("it had been removed: your edit is queued and waits")

    def _close_editor(self) -> QueueEditor | None:
        editor, self._editor = self._editor, None
        self._rows.editing = False
        if editor is not None:
            had_focus = self.screen.focused is editor
            editor.remove()
            if had_focus:
                self._focus(self._rows)
        return editor

    # -- showing --

    def _focus(self, widget: Widget) -> None:
        # At once, unlike `Widget.focus`: the keys that follow go to `widget`.
        self.screen.set_focus(widget, scroll_visible=False)
        self._show_state()
        self.post_message(self.Changed())

    def _show_state(self) -> None:
        state = queue_state(self._queue)
        short = self.closes or self.size.width < SHORT_BELOW
        if (words := state_words(state, short=short)) != self._shown_state:
            self._shown_state = words
            self._state_words.update(words)
        self._state_words.set_class(state.paused, "-paused")
        if self.edits:
            self._key_hints.show(hints_in_editor())
        elif self.screen.focused is self._rows:
            self._key_hints.show(hints_in_list(state))
        else:
            self._key_hints.show(hints_outside(state))
