"""From session events to widget calls: the whole vocabulary of the transcript in one place.

Text is collected as it arrives and shown at most thirty times a second. A backlog never outlives a turn: at
its end all that was received is drawn at once (E10), in slices that leave the event loop free, and what comes
behind waits for that. The pump never asks a widget what is running; it is told by the engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core.events import (
    BackgroundEnded,
    BackOffEnded,
    BackOffStarted,
    CallEnded,
    CallNamed,
    CallStarted,
    CompactionEnded,
    CompactionStarted,
    Event,
    ModeChanged,
    ModelDescribed,
    ModelFailedOver,
    ModelSwitched,
    Notice,
    Outcome,
    ParametersLeftOut,
    QuestionAsked,
    QuestionClosed,
    QueueChanged,
    ReasoningArrived,
    StepCommitted,
    TextArrived,
    Titled,
    TurnEnded,
    TurnStarted,
    TurnStopping,
)
from core.session import CONTINUE_PROMPT
from core.waits import in_words
from tui.notices import compaction_notice, failure_notice, limit_notice, stop_notice, switch_notice
from tui.turn_cards import TurnCards
from tui.widgets.transcript import NoticeKind, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.widgets.transcript import PromptHandle

log = logging.getLogger(__name__)

FRAME_S = 1 / 30

CallEvent: TypeAlias = CallNamed | CallStarted | QuestionAsked | QuestionClosed | CallEnded

_LIMITS = (Outcome.MAX_TURNS_REACHED, Outcome.MAX_BUDGET_REACHED)


class Pump:
    """Feeds one transcript from one session. `return_prompt(text)` gives a prompt back to an empty composer
    and tells whether it was empty (H1)."""

    def __init__(self, transcript: Transcript, return_prompt: Callable[[str], bool]) -> None:
        self._transcript = transcript
        self._return_prompt = return_prompt
        self._prompt: PromptHandle | None = None
        self._committed = False
        self._cards = TurnCards(transcript)
        self._loop = asyncio.get_running_loop()
        self._flush_at = 0.0
        self._flush: asyncio.TimerHandle | None = None
        self._waiting: deque[Event] = deque()
        self._finishing: asyncio.Task[None] | None = None

    def on_event(self, event: Event) -> None:
        """Take an event of the session; returns at once."""
        if self._finishing is not None:
            self._waiting.append(event)
        else:
            self._show(event)

    async def aclose(self) -> None:
        """Show what is still to be shown, then stop."""
        while self._finishing is not None:
            await asyncio.wait({self._finishing})
        self._cancel_flush()

    def _show(self, event: Event) -> None:
        match event:
            case TurnStarted(prompt=prompt):
                # What the user asked, and not what the model is told to go on.
                asked = "/continue" if prompt == CONTINUE_PROMPT else prompt
                self._prompt = self._transcript.add_prompt(asked)
                self._transcript.begin_reply()
                self._committed = False
                self._cards.begin_turn()
            case TextArrived(text=text):
                self._transcript.append_text(text)
                self._plan_flush()
            case ReasoningArrived(text=text):
                self._transcript.append_reasoning(text)
                self._plan_flush()
            case StepCommitted():
                self._committed = True
            case TurnEnded():
                self._cancel_flush()
                # Its end is told by callback: an eager task may be over before it is assigned here.
                self._finishing = self._loop.create_task(self._finish(event), name="end of a reply")
                self._finishing.add_done_callback(self._on_finished)
            case CallNamed() | CallStarted() | QuestionAsked() | QuestionClosed() | CallEnded():
                self._show_call(event)
                self._plan_flush()
            case BackgroundEnded():
                self._cards.add_background(event)
            case Notice(text):
                self._transcript.add_notice(text, NoticeKind.INFO)
            case CompactionEnded():
                self._show_compaction(event)
            case CompactionStarted():
                # The panel and the status line show that it runs.
                pass
            case BackOffStarted() | ModelFailedOver() | ParametersLeftOut():
                self._transcript.add_notice(in_words(event), NoticeKind.INFO)
            case ModelSwitched():
                self._transcript.add_notice(switch_notice(event), NoticeKind.INFO)
            case (
                TurnStopping() | QueueChanged() | ModelDescribed() | ModeChanged() | Titled() | BackOffEnded()
            ):
                # The status line shows what is so now.
                pass
            case _:
                assert_never(event)

    def _show_compaction(self, ended: CompactionEnded) -> None:
        """One within a turn that came to nothing is told of at the end of that turn, if at all."""
        if ended.number is not None:
            self._transcript.add_notice(compaction_notice(ended), NoticeKind.INFO)
            if ended.summary:
                self._transcript.add_summary(ended.summary, steps=ended.upto)
                self._plan_flush()
        elif ended.turn_id is None:
            kind = NoticeKind.ERROR if ended.error is not None else NoticeKind.STOPPED
            self._transcript.add_notice(compaction_notice(ended), kind)

    def _show_call(self, event: CallEvent) -> None:
        match event:
            case CallNamed():
                self._cards.name(event)
            case CallStarted():
                self._cards.start(event)
            case QuestionAsked():
                self._cards.ask(event)
            case QuestionClosed():
                self._cards.answer(event)
            case CallEnded():
                self._cards.end(event)
            case _:
                assert_never(event)

    async def _finish(self, ended: TurnEnded) -> None:
        await self._transcript.drain()
        self._conclude(ended)

    def _on_finished(self, task: asyncio.Task[None]) -> None:
        self._finishing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the end of a reply could not be shown", exc_info=error)
        while self._waiting and self._finishing is None:
            self._show(self._waiting.popleft())

    def _conclude(self, ended: TurnEnded) -> None:
        transcript, cards = self._transcript, self._cards
        cards.end_turn()
        transcript.end_reply(interrupted=ended.outcome is not Outcome.COMPLETED and bool(ended.text))
        returned = ended.returned_prompt is not None and self._return_prompt(ended.returned_prompt)
        if not (self._committed or cards.any_shown or ended.error) and self._prompt is not None:
            # Rolled back: it is no part of the history, whether or not a draft kept it from returning.
            transcript.remove_prompt(self._prompt)
        if ended.proof is not None:
            transcript.add_notice(stop_notice(ended, returned=returned), NoticeKind.STOPPED)
        if ended.outcome in _LIMITS:
            transcript.add_notice(limit_notice(ended, returned=returned), NoticeKind.STOPPED)
        elif ended.error is not None:
            transcript.add_notice(failure_notice(ended, returned=returned), NoticeKind.ERROR)
        if ended.unsaved is not None:
            transcript.add_notice(ended.unsaved, NoticeKind.ERROR)

    def _plan_flush(self) -> None:
        if self._flush is None:
            self._flush = self._loop.call_at(max(self._flush_at, self._loop.time()), self._on_frame)

    def _on_frame(self) -> None:
        self._flush = None
        started = self._loop.time()
        more = self._transcript.flush()
        took = self._loop.time() - started
        # Behind by more than one slice: no pause but the others' turn. Else thirty times a second, and less
        # often where a slow machine would spend most of its time on painting.
        self._flush_at = 0.0 if more else started + max(FRAME_S, 4 * took)
        if more:
            self._plan_flush()

    def _cancel_flush(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
