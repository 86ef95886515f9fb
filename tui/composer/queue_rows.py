"""The queue of prompts as text: pure, so that a row can be judged without a screen.

Each row and the line above them say in words what will happen, never by colour alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from core.events import Status
from tui.keys import key_name
from tui.list_rows import Line, Piece, Tone, fitted
from tui.operation_rows import fit
from tui.output import one_line
from tui.widgets.chords import Chord

if TYPE_CHECKING:
    from core.prompt_queue import QueuedPrompt

_SHOWN_CHARACTERS = 500
_NAMED_CELLS = 16


class QueueAct(StrEnum):
    """What a person can do to the queue, by a key or by a click on its name."""

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
    """A row of the list. `edited` while its text is in the editor."""

    prompt: QueuedPrompt
    edited: bool

    @property
    def key(self) -> str:
        return str(self.prompt.queue_id)


class QueueState(NamedTuple):
    """All that the line above the rows tells of. `urgent` counts those of `total` that go first."""

    total: int
    urgent: int
    paused: bool
    status: Status
    edited: bool = False


_LEAVE = Chord(QueueAct.LEAVE, "Esc", "back")
_PUT_BACK = Chord(QueueAct.PUT_BACK, "Ctrl+Z", "undo")
_IN_LIST = (
    Chord(QueueAct.EDIT, "Enter", "edit"),
    Chord(QueueAct.REMOVE, "x", "remove"),
    Chord(QueueAct.SEND, "s", "send now"),
    _PUT_BACK,
    _LEAVE,
)


def chords_in_list(state: QueueState) -> tuple[Chord[QueueAct], ...]:
    """The keys of the list itself."""
    return _IN_LIST if state.total else (_PUT_BACK, _LEAVE)


def chords_in_editor() -> tuple[Chord[QueueAct], ...]:
    return (
        Chord(QueueAct.KEEP, key_name("prompt.submit"), "keep"),
        Chord(QueueAct.KEEP_AND_SEND, key_name("prompt.stop_and_send"), "send now"),
        _LEAVE,
    )


def chords_outside(state: QueueState) -> tuple[Chord[QueueAct], ...]:
    """The keys that work while the focus is elsewhere."""
    enter = Chord(QueueAct.ENTER, key_name("pane.next"), "edit, remove")
    if not state.paused or state.status is not Status.IDLE:
        return (enter,)
    return Chord(QueueAct.GO_ON, key_name("pane.send_queued"), "send"), enter


def state_words(state: QueueState, *, short: bool = False) -> str:
    """What will happen to the queue, as a person would say it; `short` where the keys need the room."""
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
    """A few words by which a person knows a prompt again."""
    return f"“{fit(_first_line(text), _NAMED_CELLS).rstrip()}”"


def queue_line(row: QueueRow, width: int, *, selected: bool) -> Line:
    """The row in exactly `width` cells: its number, what is special about it, its first line."""
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
    """The queue as a notice, with the numbers by which `/drop` goes."""
    if not prompts:
        return "No prompt is queued."
    rows = "\n".join(f"  {prompt.queue_id}. {one_line(prompt.text)}" for prompt in prompts)
    return f"{state_words(state)}. /send sends, /drop 2 removes number 2, /drop all of them:\n{rows}"


def _first_line(text: str) -> str:
    return one_line(text.lstrip()[:_SHOWN_CHARACTERS].partition("\n")[0])
