"""The events of the running turn, on their way from the engine to the subscribers.

What comes after the end of a turn, from a provider or a tool that was left behind, is dropped here (U8).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from core.cancel import END_OF_PROGRAM, CancelReason, Cause
from core.model.costs import budget_doubt
from core.model.messages import ResultStatus
from core.operations.events import (
    CallEnded,
    CallNamed,
    CompactionEnded,
    Notice,
    ParametersLeftOut,
    Shown,
    StepCommitted,
    TurnEnded,
)
from core.operations.stop_report import report_stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.engine.turn import Turn
    from core.operations.backoffs import BackoffRegistry
    from core.operations.events import Event
    from core.session.history import History
    from core.session.model_switch import ModelSelection
    from core.session.settings import SessionSettings
    from core.storage.records import StoredStep

log = logging.getLogger(__name__)


class TurnOwner(Protocol):
    """What the events of turns need of their session."""

    settings: SessionSettings

    @property
    def turn(self) -> Turn | None:
        """The running turn."""

    def end_turn(self, ended: TurnEnded) -> None:
        """The running turn is over: become idle and publish the end."""


@dataclass(eq=False)
class TurnEvents:
    """Filters the events of turns and keeps what has to be closed at their end. `emit` publishes an event."""

    owner: TurnOwner
    record: History
    model: ModelSelection
    backoffs: BackoffRegistry
    emit: Callable[[Event], None]
    _open_calls: dict[str, CallNamed] = field(default_factory=dict)
    _doubt_published: bool = False

    def take(self, event: Event) -> None:
        """Publish an event unless its turn is over."""
        if isinstance(event, CompactionEnded) and event.number is None:
            self.record.spend_beside(event.usage)
        if isinstance(event, Notice) or getattr(event, "turn_id", 0) is None:
            # It belongs to no turn: a sentence, or a compaction that a person asked for.
            self.emit(event)
            return
        turn = self.owner.turn
        if turn is None or getattr(event, "turn_id", None) != turn.turn_id:
            log.info("dropped after the end of its turn: %s", type(event).__name__)
            return
        match event:
            case TurnEnded():
                self._close_open(event.turn_id)
                self.owner.end_turn(event)
                return
            case ParametersLeftOut():
                if not self.model.is_news(event):
                    return
            case CallNamed():
                self._open_calls[event.call_id] = event
            case CallEnded():
                self._open_calls.pop(event.call_id, None)
                if event.parent_id is None:
                    self.record.take_card(event)
            case _:
                pass
        self.emit(event)

    def step_committed(self, stored: StoredStep) -> None:
        """Publish a step that has become history, and once whether its cost is uncertain."""
        record = self.record
        answered = stored.step.model if record.info.members else ""
        self.emit(StepCommitted(stored.turn, stored.step.usage, record.usage, answered))
        dollars = self.owner.settings.limits.dollars
        if dollars is None or self._doubt_published:
            return
        if doubt := budget_doubt(dollars, record.spending):
            self._doubt_published = True
            self.emit(Notice(doubt))

    def _close_open(self, turn_id: int) -> None:
        """Close each back-off and call that is still open, also those of an abandoned sub-agent."""
        self.backoffs.end_all(turn_id, self.emit)
        reason = CancelReason(Cause.QUIT, END_OF_PROGRAM)
        text = "It had not ended when the turn was over, and its end is not confirmed."
        for call in self._open_calls.values():
            self.emit(
                CallEnded(
                    turn_id,
                    call.call_id,
                    call.name,
                    "",
                    ResultStatus.STOPPED,
                    Shown(text),
                    "",
                    proof=report_stop(reason, None, unconfirmed=(call.name,)),
                    parent_id=call.parent_id,
                )
            )
        self._open_calls.clear()
