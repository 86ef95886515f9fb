"""What a key can depend on at one moment, as a value; and what Esc does then (E1).

The pane makes one of what its widgets and its session say, the status line and the help read it: so both
always say the same, and it is what happens.
"""

from __future__ import annotations

from enum import StrEnum

from core.events import Status
from core.permissions import Mode
from core.values import dataclass
from tui.widgets.status_line import EscAction


class Place(StrEnum):
    """Where the focus is, as it is called on the screen."""

    COMPOSER = "the composer"
    LIST = "the list"
    WORDS = "the line of words"
    QUESTION = "the question"
    QUEUE = "the queue"
    QUEUE_EDITOR = "the queued prompt"
    PANEL = "the panel"


@dataclass(frozen=True, slots=True)
class KeyState:
    """`stations` is where Tab goes, from the composer on; what is not open is not in it.

    `written` means that something stands in the composer, `completing` that the list of commands is shown
    above it. `queued` counts the prompts that wait; `editing_next` means that the first of them is being
    edited. `question` means that one is open, `waiting` that a request is going to be made again,
    `refused` that something refused to end. `esc_again` and `ctrl_c_again` are true shortly after the first
    of two. `aftershock` is true shortly after a stop, when a Ctrl+C was still meant for that.
    """

    status: Status = Status.IDLE
    place: Place = Place.COMPOSER
    stations: tuple[Place, ...] = (Place.COMPOSER,)
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
        return Place.LIST in self.stations

    @property
    def words_open(self) -> bool:
        return Place.WORDS in self.stations

    @property
    def panel_open(self) -> bool:
        return Place.PANEL in self.stations

    @property
    def asked(self) -> bool:
        """Whether Esc would be an answer, were nothing else in its way."""
        return self.question and self.status is Status.RUNNING


_PLAIN = {Status.IDLE: EscAction.NOTHING, Status.RUNNING: EscAction.STOP, Status.STOPPING: EscAction.FORCE}


def esc_action(state: KeyState) -> EscAction:
    """A line of words closes; else a question that has the focus is denied and the turn stopped; else the
    list over the transcript closes; else an open question is denied; else the queue or the panel closes, if
    it has the focus; else the turn is stopped; else the list of commands above the composer closes: that is
    merely visible, and keeps nobody from a stop."""
    if state.words_open:
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
