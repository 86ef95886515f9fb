"""The cards of the running turn: which event changes which of them.

A card is opened when its call is named and changed until its end is told, once. What comes for a call that
has ended, or after its turn, changes nothing (U8), and no card is left open behind a turn.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core.values import dataclass
from tui.cards import Card

if TYPE_CHECKING:
    from core.events import (
        BackgroundEnded,
        CallEnded,
        CallNamed,
        CallStarted,
        QuestionAsked,
        QuestionClosed,
    )
    from tui.widgets.transcript import CardHandle, Transcript

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    """A call without an end. `handle` is that of the card that shows it, its own or its sub-agent's."""

    card: Card
    handle: CardHandle


class TurnCards:
    """Turns the events of calls into cards of one transcript, which shows them with its next `flush`."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._open: dict[str, _Open] = {}
        self._asked: dict[str, str] = {}
        self._turn_runs = False
        self.any_shown = False
        """Whether the turn has a card: then something of it has been seen."""

    def begin_turn(self) -> None:
        self.end_turn()
        self._turn_runs, self.any_shown = True, False

    def end_turn(self) -> None:
        """Close what is still open, which is a fault of whoever did not tell its end."""
        for call_id, call in self._open.items():
            log.error("the call %s of %s has no end", call_id, call.card.name)
            call.card.give_up()
            self._transcript.change_card(call.handle)
        self._open.clear()
        self._asked.clear()
        self._turn_runs = False

    def name(self, event: CallNamed) -> None:
        if not self._turn_runs or event.call_id in self._open:
            log.error("the call %s is named outside a turn, or twice", event.call_id)
            return
        parent = self._open.get(event.parent_id) if event.parent_id is not None else None
        card = Card(event.name, parent.card if parent is not None else None)
        if parent is None:
            handle = self._transcript.add_card(card)
        else:
            handle = parent.handle
            self._transcript.change_card(handle)
        self._open[event.call_id] = _Open(card, handle)
        self.any_shown = True

    def start(self, event: CallStarted) -> None:
        if (call := self._open.get(event.call_id)) is not None:
            call.card.start(event.title)
            self._transcript.change_card(call.handle)

    def ask(self, event: QuestionAsked) -> None:
        question = event.question
        if (call := self._open.get(question.call_id)) is not None:
            self._asked[question.ask_id] = question.call_id
            call.card.ask(asking=True)
            self._transcript.change_card(call.handle)

    def answer(self, event: QuestionClosed) -> None:
        call = self._open.get(self._asked.pop(event.ask_id, ""))
        if call is not None:
            call.card.ask(asking=False)
            self._transcript.change_card(call.handle)

    def end(self, event: CallEnded) -> None:
        call = self._open.pop(event.call_id, None)
        if call is None:
            log.warning("the end of the call %s came late or twice and is not shown", event.call_id)
            return
        call.card.end(event)
        self._transcript.change_card(call.handle)

    def add_background(self, event: BackgroundEnded) -> None:
        """A background command has no turn: it may end at any time, also within one."""
        card = Card("background")
        card.end_background(event)
        self._transcript.add_card_aside(card)
