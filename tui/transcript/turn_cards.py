"""The cards of the running turn, updated by its events.

A card is opened when its call is named and changed until its end is reported, once. Events of an ended call,
or after its turn, change nothing (U8), and no card stays open after a turn.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core.base.values import Value
from core.operations.events import CallEnded, CallNamed, CallStarted, QuestionAsked, QuestionClosed
from tui.transcript.card import Card

if TYPE_CHECKING:
    from core.operations.events import BackgroundEnded
    from tui.transcript.entries import CardHandle
    from tui.transcript.transcript import Transcript

log = logging.getLogger(__name__)

CallEvent: TypeAlias = CallNamed | CallStarted | QuestionAsked | QuestionClosed | CallEnded


class _Open(Value):
    """A call without an end. `handle` belongs to the card that shows it, its own or its sub-agent's."""

    card: Card
    handle: CardHandle


class TurnCards:
    """Turns call events into cards of one transcript, which shows them with its next `flush`."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._open: dict[str, _Open] = {}
        self._asked: dict[str, str] = {}
        self._turn_runs = False
        self.any_shown = False
        """Whether the turn has a card, so that something of it has been visible."""

    def begin_turn(self) -> None:
        self.end_turn()
        self._turn_runs, self.any_shown = True, False

    def end_turn(self) -> None:
        """Close calls that are still open; a missing end is a defect in whatever should have reported it."""
        for call_id, call in self._open.items():
            log.error("the call %s of %s has no end", call_id, call.card.name)
            call.card.give_up()
            self._transcript.feed.change_card(call.handle)
        self._open.clear()
        self._asked.clear()
        self._turn_runs = False

    def show(self, event: CallEvent) -> None:
        match event:
            case CallNamed():
                self._name(event)
            case CallStarted():
                if (card := self._changing(event.call_id)) is not None:
                    card.start(event.title)
            case QuestionAsked(question=question):
                if (card := self._changing(question.call_id)) is not None:
                    self._asked[question.ask_id] = question.call_id
                    card.ask(asking=True)
            case QuestionClosed():
                if (card := self._changing(self._asked.pop(event.ask_id, ""))) is not None:
                    card.ask(asking=False)
            case CallEnded():
                if (card := self._changing(event.call_id)) is None:
                    log.warning("the end of the call %s came late or twice and is not shown", event.call_id)
                    return
                card.end(event)
                del self._open[event.call_id]
            case _:
                assert_never(event)

    def _changing(self, call_id: str) -> Card | None:
        """The card of a call without an end, which the caller changes."""
        if (call := self._open.get(call_id)) is None:
            return None
        self._transcript.feed.change_card(call.handle)
        return call.card

    def _name(self, event: CallNamed) -> None:
        if not self._turn_runs or event.call_id in self._open:
            log.error("the call %s is named outside a turn, or twice", event.call_id)
            return
        parent = self._open.get(event.parent_id) if event.parent_id is not None else None
        card = Card(event.name, parent.card if parent is not None else None)
        if parent is None:
            handle = self._transcript.feed.add_card(card)
        else:
            handle = parent.handle
            self._transcript.feed.change_card(handle)
        self._open[event.call_id] = _Open(card, handle)
        self.any_shown = True

    def add_background(self, event: BackgroundEnded) -> None:
        """Show the end of a background command, which has no turn and may end at any time."""
        card = Card("background")
        card.end_background(event)
        self._transcript.add_card_aside(card)
