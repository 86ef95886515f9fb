"""The queue of prompts as text. Pure.

Each row, and the line above them, says in words what will happen, never by color alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from core.operations.events import Status
from tui.base.fit import fit
from tui.base.key_hints import KeyHint
from tui.base.printable import one_line
from tui.base.row import Line, Piece, Tone, fitted
from tui.keys.bindings import key_name

if TYPE_CHECKING:
    from core.session.queue import QueuedPrompt

_SHOWN_CHARACTERS = 500
_NAMED_CELLS = 16


class QueueAction(StrEnum):
    """What a person can do with the queue, by a key or a click on its hint."""

    UP = "up"
    DOWN = "down"
    EDIT = "edit"
    REMOVE = "remove"
    SEND = "send"
    PUT_BACK = "put_back"
    GO_ON = "go_on"
    ENTER = "enter"
    LEAVE = "leave"
    KEEP = "keep"
    KEEP_AND_SEND = "keep_and_send"


class QueueRow(NamedTuple):
    """A queued prompt; `edited` while its text is in the editor."""

    prompt: QueuedPrompt
    edited: bool

    @property
    def key(self) -> str:
        return str(self.prompt.queue_id)


class QueueState(NamedTuple):
    """What the line above the rows depends on. `urgent` counts the prompts that are sent first."""

    total: int
    urgent: int
    paused: bool
    status: Status
    edited: bool = False


_LEAVE = KeyHint(QueueAction.LEAVE, "Esc", "back")
_PUT_BACK = KeyHint(QueueAction.PUT_BACK, "Ctrl+Z", "undo")
_IN_LIST = (
    KeyHint(QueueAction.EDIT, "Enter", "edit"),
    KeyHint(QueueAction.REMOVE, "x", "remove"),
    KeyHint(QueueAction.SEND, "s", "send now"),
    _PUT_BACK,
    _LEAVE,
)


def hints_in_list(state: QueueState) -> tuple[KeyHint[QueueAction], ...]:
    """The keys while the list has the focus."""
    return _IN_LIST if state.total else (_PUT_BACK, _LEAVE)


def hints_in_editor() -> tuple[KeyHint[QueueAction], ...]:
    return (
        KeyHint(QueueAction.KEEP, key_name("prompt.submit"), "keep"),
        KeyHint(QueueAction.KEEP_AND_SEND, key_name("prompt.stop_and_send"), "send now"),
        _LEAVE,
    )


def hints_outside(state: QueueState) -> tuple[KeyHint[QueueAction], ...]:
    """The keys while the focus is elsewhere."""
    enter = KeyHint(QueueAction.ENTER, key_name("pane.next"), "edit, remove")
    if not state.paused or state.status is not Status.IDLE:
        return (enter,)
    return KeyHint(QueueAction.GO_ON, key_name("pane.send_queued"), "send"), enter


def state_words(state: QueueState, *, short: bool = False) -> str:
    """What will happen to the queue, in words; `short` where the keys need the room."""
    rest = state.total - state.urgent
    if not state.total:
        return "Nothing is queued"
    if state.edited and state.status is Status.IDLE and not state.paused:
        return f"{state.total} queued" + ("" if short else ": waiting for your edit")
    if state.urgent:
        behind = f", {rest} {'paused' if state.paused else 'queued'}" if rest else ""
        long = "sent after the stop" if state.status is Status.STOPPING else "sent next"
        return f"{state.urgent} {'next' if short else long}{behind}"
    if state.paused:
        return f"{state.total} paused" if short else f"{state.total} queued, paused"
    return f"{state.total} queued" + ("" if short else ": sent after this reply")


def name_of_prompt(text: str) -> str:
    """The first words of a prompt in quotation marks."""
    return f"“{fit(_first_line(text), _NAMED_CELLS).rstrip()}”"


def queue_line(row: QueueRow, width: int, selected: bool) -> Line:
    """The row in exactly `width` cells: number, state, first line."""
    more = row.prompt.text.strip().count("\n")
    tag = "editing " if row.edited else "next " if row.prompt.urgent else ""
    front = f"{'▸' if selected else ' '} {row.prompt.queue_id:>2} "
    behind = f"  +{more} line{'s' * (more > 1)}" if more else ""
    if width < 30:
        behind = ""
    room = width - len(front) - len(tag) - len(behind)
    text = _first_line(row.prompt.text)
    words = fit(text, room)
    return fitted(
        (
            Piece(front, Tone.MARK if selected else Tone.DETAIL),
            Piece(tag, Tone.WARNING),
            Piece(words.rstrip() if behind else words, Tone.NAME),
            Piece(behind, Tone.HINT),
        ),
        width,
    )


def listing(prompts: tuple[QueuedPrompt, ...], state: QueueState) -> str:
    """The queue as a notice, with the numbers that `/drop` takes."""
    if not prompts:
        return "No prompt is queued."
    rows = "\n".join(f"  {prompt.queue_id}. {one_line(prompt.text)}" for prompt in prompts)
    return f"{state_words(state)}. /send sends, /drop 2 removes number 2, /drop all of them:\n{rows}"


def _first_line(text: str) -> str:
    return one_line(text.lstrip()[:_SHOWN_CHARACTERS].partition("\n")[0])
