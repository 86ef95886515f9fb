"""The prompts that wait, above the composer: seen by whoever looks, edited and removed without losing any.

It asks the session what waits and remembers nothing of it (U4). What must never happen here: that a key meant
for one prompt reaches another, that an edit touches the draft in the composer, or that a prompt goes
without a way to get it back. A list that is merely visible keeps nobody from a stop (E1): Esc is its own only
while it has the focus, and so is every letter.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, assert_never

from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from core.cancel import CancelReason, Cause
from tui.keys import KeyScope, bindings, key_name
from tui.queue_rows import (
    QueueAct,
    QueueRow,
    chords_in_editor,
    chords_in_list,
    chords_outside,
    name_of_prompt,
    queue_line,
    state_words,
)
from tui.queueing import queue_state
from tui.widgets.chords import Chords
from tui.widgets.prompt import Prompt
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.geometry import Size

    from core.prompt_queue import QueuedPrompt
    from tui.list_rows import Line
    from tui.queueing import Waiting

MOST_ROWS = 5
LOW = 20
"""Rows of a screen below which an editor takes the place of the list."""

SHORT_BELOW = 60
"""Columns below which the line above the rows is short."""

MOVED_S = 0.4
"""For so long after the selected prompt was sent by itself no key acts: it was meant for that one."""


class QueueRows(RowList[QueueRow]):
    """The rows. `act` does what a key is for, before the next key is looked at."""

    DEFAULT_CSS = """
    QueueRows {
        height: auto;
        overflow-y: auto;
        & .row-list--selected { background: $background; text-style: none; }
        &:focus .row-list--selected { background: $panel; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.QUEUE)]

    def __init__(self, act: Callable[[QueueAct], object]) -> None:
        super().__init__(self._line)
        self.can_focus = True
        self._act = act
        self.compact = self.editing = False

    def action_act(self, act: str) -> None:
        self._act(QueueAct(act))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All rows, up to five and a sixth of the screen; none where others need the room."""
        if not self.has_focus and (self.compact or (self.editing and viewport.height < LOW)):
            return 0
        return min(len(self._rows), MOST_ROWS, max(1, viewport.height // 6))

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.repaint()
        self.refresh(layout=True)

    def _line(self, row: QueueRow, width: int, selected: bool) -> Line:
        return queue_line(row, width, selected=selected and self.has_focus)


class QueueEditor(Prompt):
    """The text of one queued prompt, to be changed. It posts `Edited`, once."""

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
        """What stands in it, also before its first frame."""
        return self.draft if self._loaded else self._initial

    def on_mount(self) -> None:
        self.set_text_if_empty(self._initial)
        self.history.clear()
        self._loaded = True

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As high as the text, up to a sixth of the screen, of which the composer wants some as well."""
        wanted = super().get_content_height(container, viewport, width)
        most = 1 if self.has_class("-compact") else max(1, viewport.height // 6)
        return min(wanted, most)

    def keep(self, *, now: bool) -> None:
        """Be done, unless nothing is written: to keep that would lose the prompt."""
        text = self.edited_text
        if text.strip() and not self._done:
            self._done = True
            self.post_message(self.Edited(self, text, now=now))

    def action_submit(self) -> None:
        self.keep(now=False)

    def action_stop_and_send(self) -> None:
        self.keep(now=True)


class QueueList(Widget):
    """See the module. `home` is where the focus goes back to; `say` shows a word of the moment."""

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
        & Chords { width: 1fr; }
    }
    """

    class Changed(Message):
        """The focus or the editor has changed: Esc may mean something else now."""

    def __init__(
        self,
        waiting: Waiting,
        home: Prompt,
        say: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._waiting = waiting
        self._home = home
        self._say = say
        self._clock = clock
        self._state_words = Static("", classes="queue-list--state", markup=False)
        self._chords = Chords[QueueAct]()
        self._rows = QueueRows(self.act)
        self._shown: tuple[QueueRow, ...] = ()
        self._editor: QueueEditor | None = None
        self._drafts: dict[int, str] = {}
        self._moved_at = float("-inf")
        self._lingers = False
        self._said = ""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._state_words
            yield self._chords
        yield self._rows

    def on_resize(self) -> None:
        self._tell()

    # -- what the owner does --

    @property
    def stations(self) -> list[Widget]:
        """Where Tab goes here."""
        if not self.display:
            return []
        return [self._rows, *([] if self._editor is None else [self._editor])]

    @property
    def closes(self) -> bool:
        """Whether Esc goes back from here: only while the focus is here."""
        return self.is_attached and self.screen.focused in (self._rows, self._editor)

    @property
    def edits(self) -> bool:
        """Whether the focus is in the editor."""
        return self._editor is not None and self.screen.focused is self._editor

    def set_compact(self, *, compact: bool) -> None:
        """Show the rows only while somebody is there: others need the room."""
        if compact is not self._rows.compact:
            self._rows.compact = compact
            self._rows.refresh(layout=True)
            self.set_class(compact, "-compact")
            if self._editor is not None:
                self._editor.set_class(compact, "-compact")

    def update(self) -> None:
        """Show what waits at this moment."""
        prompts = self._waiting.queue
        edited = self._waiting.queue_edited
        rows = tuple(QueueRow(prompt, prompt.queue_id == edited) for prompt in prompts)
        before = self._rows.selected
        if rows != self._shown:
            self._shown = rows
            gone = before and before not in {row.key for row in rows}
            if gone and self.closes and not self._lingers:
                self._moved_at = self._clock()
            self._rows.show(rows)
            self._rows.refresh(layout=True)
        known = {prompt.queue_id for prompt in prompts}
        self._drafts = {queue_id: text for queue_id, text in self._drafts.items() if queue_id in known}
        self._lingers = self._lingers and self.closes
        self.display = bool(rows) or self._lingers or self._editor is not None
        if not self.display and self.screen.focused is self._rows:
            self._focus(self._home)
        self._tell()

    def close_innermost(self) -> None:
        """Esc: from the editor to where it was opened, from the list to the composer."""
        if self.edits:
            self._leave_editor()
        else:
            self._lingers = False
            self._focus(self._home)
        self.update()

    def enter(self) -> None:
        """Go to the list."""
        if self.display:
            self._focus(self._rows)

    # -- what the person does --

    def act(self, act: QueueAct) -> None:
        """Do it, now: the next key may depend on it."""
        match act:
            case QueueAct.UP | QueueAct.DOWN:
                # Whoever has moved the selection knows where it is.
                self._moved_at = float("-inf")
                self._rows.move(-1 if act is QueueAct.UP else 1)
            case QueueAct.ENTER:
                self.enter()
            case QueueAct.LEAVE:
                self.close_innermost()
            case QueueAct.GO_ON:
                self._waiting.send_queued()
            case QueueAct.PUT_BACK:
                self._put_back()
            case QueueAct.KEEP | QueueAct.KEEP_AND_SEND:
                if self._editor is not None:
                    self._editor.keep(now=act is QueueAct.KEEP_AND_SEND)
            case QueueAct.EDIT | QueueAct.REMOVE | QueueAct.SEND:
                if (prompt := self._selected_prompt()) is not None:
                    self._act_on(act, prompt)
            case _:
                assert_never(act)
        self.update()

    def _act_on(self, act: QueueAct, prompt: QueuedPrompt) -> None:
        if act is QueueAct.EDIT:
            self._open_editor(prompt)
        elif act is QueueAct.SEND:
            self._send_now(prompt.queue_id)
        else:
            self._lingers = True
            self._waiting.remove_queued(prompt.queue_id)
            self._say(f"removed {name_of_prompt(prompt.text)}: /undrop undoes")

    def _selected_prompt(self) -> QueuedPrompt | None:
        """What a key or a click is meant for; None just after the selection has moved by itself."""
        if self._clock() - self._moved_at < MOVED_S:
            return None
        key = self._rows.selected
        return next((prompt for prompt in self._waiting.queue if str(prompt.queue_id) == key), None)

    def _send_now(self, queue_id: int) -> None:
        # Before the turn begins: Esc is then for that.
        self._focus(self._home)
        self._waiting.send_queued_now(queue_id, CancelReason(Cause.USER, "the queue"))

    def _put_back(self) -> None:
        back = self._waiting.restore_queued()
        if not back:
            self._say("there is nothing to bring back")
            return
        self.update()
        self._rows.select(str(back[0].queue_id))

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self.enter()
        self.update()

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        if isinstance(message.act, QueueAct):
            self.act(message.act)

    # -- the editor --

    def _open_editor(self, prompt: QueuedPrompt) -> None:
        if self._editor is not None:
            if self._editor.queue_id == prompt.queue_id:
                self._focus(self._editor)
                return
            self._leave_editor()
        if self._waiting.begin_edit(prompt.queue_id):
            self._editor = QueueEditor(prompt.queue_id, self._drafts.pop(prompt.queue_id, prompt.text))
            self._editor.set_class(self._rows.compact, "-compact")
            self._rows.editing = True
            self.mount(self._editor)
            self._focus(self._editor)

    def _leave_editor(self) -> None:
        """Close the editor and leave the prompt as it was; what was written is there at the next edit."""
        editor = self._close_editor()
        if editor is None:
            return
        text = editor.edited_text
        before = next((one.text for one in self._waiting.queue if one.queue_id == editor.queue_id), None)
        self._waiting.end_edit()
        if before is None:
            self._hold_again(text)
        elif text not in (before, ""):
            self._drafts[editor.queue_id] = text
            self._say("the prompt is as it was; your edit is kept for the next time")

    def on_queue_editor_edited(self, message: QueueEditor.Edited) -> None:
        message.stop()
        editor = message.editor
        if editor is not self._editor:
            return
        self._close_editor()
        if message.now:
            # First, so that it is not sent as it was before.
            reason = CancelReason(Cause.USER, key_name("prompt.stop_and_send"))
            self._waiting.send_queued_now(editor.queue_id, reason)
            self._focus(self._home)
        if not self._waiting.edit_queued(editor.queue_id, message.text):
            self._waiting.end_edit()
            self._hold_again(message.text)
        self.update()

    def _hold_again(self, text: str) -> None:
        """What was edited has been removed by other means meanwhile."""
        if text.strip():
            self._waiting.hold(text)
            self._say("it had been removed: your edit is queued and waits")

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
        # At once, unlike `Widget.focus`: what is typed behind the key that led here goes to `widget`.
        self.screen.set_focus(widget, scroll_visible=False)
        self._tell()
        self.post_message(self.Changed())

    def _tell(self) -> None:
        state = queue_state(self._waiting)
        short = self.closes or self.size.width < SHORT_BELOW
        if (words := state_words(state, short=short)) != self._said:
            self._said = words
            self._state_words.update(words)
        self._state_words.set_class(state.paused, "-paused")
        if self.edits:
            self._chords.show(chords_in_editor())
        elif self.screen.focused is self._rows:
            self._chords.show(chords_in_list(state))
        else:
            self._chords.show(chords_outside(state))
