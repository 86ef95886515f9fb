"""The panel of everything that runs, with a button on each row that stops it.

It reads from the session ten times a second, only while it is visible and something runs, and paints only
rows that have changed. It stops nothing itself: it posts a message for what the person wants, and shows in
the next frame what has become of it. A click never takes the focus, so that Esc keeps its meaning, and stops
nothing that has just come under the mouse.
"""

from __future__ import annotations

import time
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar

from textual.content import Content
from textual.message import Message

from core.operations.events import Status
from tui.base.printable import readable
from tui.base.row import HintRow, ListRow
from tui.base.row_list import MOVED_S, RowList
from tui.base.wrap import wrap
from tui.composer.reason import StopReason
from tui.keys.bindings import KeyScope, bindings, key_name
from tui.lists.running.operation_rows import (
    ONE_LINE_FROM,
    Button,
    OperationRow,
    OutputRow,
    RefusedRow,
    TreeRow,
    UnconfirmedRow,
    button_of,
    in_tree_order,
    indentation,
    name_of,
    rows_each,
    unconfirmed_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from textual.binding import BindingType
    from textual.timer import Timer

    from core.session.session import Session
    from tui.composer.reason import AskReason

LOOK_S = 0.1
"""Seconds between two looks at what runs."""

DEADLINE_STEP_S = 30.0

OUTPUT_LINES = 8
"""The most lines of output below an operation."""

EMPTY = (
    "Nothing is running. Replies, calls, sub-agents and background commands are listed here while they are "
    "alive, each with a button that stops it alone."
)


class RunningPanel(RowList[ListRow]):
    """Reads from `session`. `clock` is that of the operations, `time.monotonic`."""

    SELECTS_WITHOUT_FOCUS = False
    DEFAULT_CSS = """
    RunningPanel {
        display: none;
        border: round $border-blurred;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        &:focus { border: round $border; }
        &:focus:nocolor { border: heavy $border; }
        & .row-list--name { text-style: bold; }
        & .row-list--running { color: $primary; }
        & .row-list--waiting { color: $secondary; }
        & .row-list--error { color: $text-error; text-style: bold; }
        & .row-list--force { color: $text-error; text-style: bold reverse; }
        & .row-list--selected { background: $surface; text-style: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.PANEL)]

    class StopRequested(Message):
        """Stop this operation; `button` is what its row showed at that moment."""

        def __init__(self, call_id: str, button: Button) -> None:
            super().__init__()
            self.call_id = call_id
            self.button = button

    class DeadlineMoved(Message):
        """Give this operation so many seconds more, or less."""

        def __init__(self, call_id: str, seconds: float) -> None:
            super().__init__()
            self.call_id = call_id
            self.seconds = seconds

    class KillRequested(Message):
        """Kill the processes that refused to end."""

    def __init__(
        self, session: Session, ask_reason: AskReason, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock=clock)
        self.can_focus = True
        self._ask_reason = ask_reason
        self._session = session
        self._placed: tuple[TreeRow, ...] = ()
        self._refused: tuple[tuple[int, str], ...] = ()
        self._unfolded: dict[str, tuple[str, ...]] = {}
        self._timer: Timer | None = None
        self._replaced_at: dict[int, float] = {}
        """When a line of the view got another operation than it had."""

    def on_mount(self) -> None:
        self._timer = self.set_interval(LOOK_S, self.look, pause=True)

    @property
    def is_open(self) -> bool:
        return bool(self.display)

    def open(self) -> None:
        self.display = True
        self.wake()

    def close(self) -> None:
        self.display = False
        if self._timer is not None:
            self._timer.pause()

    def wake(self) -> None:
        """Look now, and regularly from now on: something may have begun."""
        if self.is_open and self._timer is not None:
            self._timer.resume()
            self.look()

    def look(self) -> None:
        """Show what runs at this moment."""
        self._placed = in_tree_order(self._session.operations.snapshot())
        self._refused = self._session.unkilled.names
        alive = {one.view.call_id for one in self._placed}
        self._unfolded = {call_id: self._output(call_id) for call_id in self._unfolded if call_id in alive}
        self._show_rows()
        if not self._placed and self._session.status is Status.IDLE and self._timer is not None:
            self._timer.pause()

    def action_select(self, step: int) -> None:
        self.move(step)

    def action_unfold(self) -> None:
        self._fold_or_unfold(self.selected)

    def action_stop_one(self) -> None:
        if not self.has_just_moved:
            self._stop(self.selected)

    def action_stop_with_words(self) -> None:
        if not self.has_just_moved and (placed := self._find(self.selected)) is not None:
            self._ask_reason(StopReason(placed.view.call_id, name_of(placed.view)))

    def action_deadline(self, sign: int) -> None:
        if self._find(self.selected) is not None:
            self.post_message(self.DeadlineMoved(self.selected, sign * DEADLINE_STEP_S))

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        button_at = self.scrollable_content_region.width - len(Button.STOP.value)
        match message.row:
            case OperationRow(placed=placed, part=0) if message.x >= button_at:
                # What the button said when it was clicked.
                self._stop(message.row.key, button_of(placed.view))
            case OperationRow():
                self._fold_or_unfold(message.row.key)
            case RefusedRow() if message.x >= button_at:
                self._stop(message.row.key)

    def _stop(self, key: str, button: Button | None = None) -> None:
        if (placed := self._find(key)) is not None:
            self.post_message(self.StopRequested(key, button or button_of(placed.view)))
        elif any(f" {pid}" == key for pid, _ in self._refused):
            self.post_message(self.KillRequested())

    def _fold_or_unfold(self, key: str) -> None:
        if self._find(key) is None:
            return
        if key in self._unfolded:
            del self._unfolded[key]
        else:
            self._unfolded[key] = self._output(key)
        self._show_rows()
        self.scroll_to_selected(moved=False)

    def _output(self, call_id: str) -> tuple[str, ...]:
        """The last lines that an operation has written: so few that its own row fits above them."""
        most = max(1, min(OUTPUT_LINES, self.scrollable_content_region.height - 2))
        lines = readable(self._session.operations.tail(call_id, most)).rstrip("\n").split("\n")
        return tuple(lines[-most:]) if any(lines) else ("no output so far",)

    def _find(self, key: str) -> TreeRow | None:
        return next((placed for placed in self._placed if placed.view.call_id == key), None)

    def _show_rows(self) -> None:
        """Lay out the rows; the person's own scrolling is left alone."""
        width = self.scrollable_content_region.width
        rows = panel_rows(self._placed, self._unfolded, self._refused, width, self._clock())
        before = self.keys_in_sight()
        self.show(rows, follow=False)
        for y, (old, new) in enumerate(zip_longest(before, self.keys_in_sight(), fillvalue="")):
            if old and old != new:
                self._replaced_at[y] = self._clock()
        self._show_title(width)

    def is_aimed_at(self, y: int) -> bool:
        """Not at what has just moved there: a click would stop the call below the one that it is for."""
        return self._clock() - self._replaced_at.get(y, float("-inf")) >= MOVED_S

    def _show_title(self, width: int) -> None:
        count = len(self._placed)
        self.border_title = f"Running: {count}" if count else "Running"
        full = "x stop · w with words · + - deadline · Enter output · Esc closes"
        keys = full if width >= ONE_LINE_FROM else "x stop · w words · + - time · Enter"
        if not count and not self._refused:
            keys = "Esc closes"
        # Not a string, in which `[stop]` would be markup.
        self.border_subtitle = Content(
            keys if self.has_focus else f"{key_name('pane.toggle_panel')} goes here · or click [stop]"
        )

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._show_rows()

    def on_resize(self) -> None:
        self._show_rows()


def panel_rows(
    placed: Iterable[TreeRow],
    unfolded: Mapping[str, tuple[str, ...]],
    survivors: Iterable[tuple[int, str]],
    width: int,
    now: float,
) -> list[ListRow]:
    """All rows from top to bottom; `unfolded` has the output of the operations that show it."""
    rows: list[ListRow] = []
    for one in placed:
        key = one.view.call_id
        parts = range(rows_each(width))
        rows += [OperationRow(one, part, now, key in unfolded, key=key) for part in parts]
        words = unconfirmed_words(one.view)
        lines = wrap(words, max(2, width - len(indentation(one.depth)))) if words else ()
        rows += [UnconfirmedRow(words[start:end], one.depth, key=key) for start, end in lines]
        rows += [OutputRow(text, one.depth, key=key) for text in unfolded.get(key, ())]
    # No call id that is shown begins with a blank.
    rows += [RefusedRow(pid, name, key=f" {pid}") for pid, name in survivors]
    return rows or [HintRow(EMPTY[start:end]) for start, end in wrap(EMPTY, max(2, width - 2))]
