"""Everything that the effect of a key depends on, as a value; and what Esc does in that state (E1).

The pane builds it from its widgets and its session; the status line and the help read it, so both always
agree with what happens.
"""

from __future__ import annotations

from enum import StrEnum

from core.base.values import Value
from core.operations.events import Status
from core.permissions.policy import Mode


class EscAction(StrEnum):
    """What Esc does now, in the displayed words."""

    NOTHING = "Esc unused"
    CLOSE = "Esc closes"
    REWIND = "Esc rewinds"
    DENY = "Esc denies"
    STOP = "Esc stops"
    FORCE = "Esc forces"

    @property
    def in_full(self) -> str:
        """The longer text, for where there is room."""
        return "Esc denies and stops" if self is EscAction.DENY else self.value


class Place(StrEnum):
    """Where the focus is, under the name shown on the screen."""

    COMPOSER = "the composer"
    LIST = "the list"
    WORDS = "the line of words"
    QUESTION = "the question"
    QUEUE = "the queue"
    QUEUE_EDITOR = "the queued prompt"
    PANEL = "the panel"


class KeyState(Value):
    """State that key effects depend on.

    `focus_targets` are the places that Tab visits, starting with the composer; closed ones are left out.
    `written` means that the composer has text, `completing` that the list of commands is shown above it.
    `queued` counts the queued prompts; `editing_next` means that the first of them is being edited.
    `question` means that a question is open, `waiting` that a request will be retried, `refused` that
    something refused to end. `esc_again` and `ctrl_c_again` are true shortly after a first press.
    `aftershock` is true shortly after a stop, when a Ctrl+C was still meant for the stopped turn.
    """

    status: Status = Status.IDLE
    place: Place = Place.COMPOSER
    focus_targets: tuple[Place, ...] = (Place.COMPOSER,)
    written: bool = False
    completing: bool = False
    queued: int = 0
    editing_next: bool = False
    question: bool = False
    waiting: bool = False
    refused: bool = False
    esc_again: bool = False
    ctrl_c_again: bool = False
    aftershock: bool = False
    mode: Mode = Mode.ASK

    @property
    def idle(self) -> bool:
        return self.status is Status.IDLE

    @property
    def list_open(self) -> bool:
        return Place.LIST in self.focus_targets

    @property
    def reason_open(self) -> bool:
        return Place.WORDS in self.focus_targets

    @property
    def panel_open(self) -> bool:
        return Place.PANEL in self.focus_targets

    @property
    def asked(self) -> bool:
        """Whether Esc would answer the question if nothing else were open."""
        return self.question and self.status is Status.RUNNING


_PLAIN = {Status.IDLE: EscAction.NOTHING, Status.RUNNING: EscAction.STOP, Status.STOPPING: EscAction.FORCE}


def esc_action(state: KeyState) -> EscAction:
    """Return the first that applies: close the reason line; deny a question that has the focus and stop the
    turn; close the list over the transcript; deny an open question; close the queue or the panel if it has
    the focus; stop the turn; close the list of commands above the composer, which must never prevent a
    stop."""
    if state.reason_open:
        return EscAction.CLOSE
    if state.list_open and not (state.asked and state.place is Place.QUESTION):
        return EscAction.CLOSE
    if state.asked:
        return EscAction.DENY
    if state.place in (Place.QUEUE, Place.QUEUE_EDITOR, Place.PANEL):
        return EscAction.CLOSE
    if state.idle and state.completing:
        return EscAction.CLOSE
    rewinds = state.idle and not state.written and state.esc_again
    return EscAction.REWIND if rewinds else _PLAIN[state.status]
