"""Shows the events of a session in its transcript; every kind of event is handled here.

Text is collected as it arrives and shown at most thirty times a second, slow text fifteen times. A backlog
never outlives a turn: at its end all received text is drawn at once (E10), in slices that leave the event
loop free, and later events wait for that. What is running is known from events, never from a widget.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, assert_never

from core.model.reply_end import ReplyEnd
from core.operations.backoffs import describe
from core.operations.events import (
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
from core.session.continuation import CONTINUE_PROMPT
from tui.transcript.entries import summary_title
from tui.transcript.feed import Channel
from tui.transcript.notices import (
    compaction_notice,
    failure_notice,
    limit_notice,
    reply_mark,
    stop_notice,
    switch_notice,
)
from tui.transcript.plain import NoticeKind
from tui.transcript.turn_cards import TurnCards

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.transcript.entries import PromptHandle
    from tui.transcript.transcript import Transcript

log = logging.getLogger(__name__)

FRAME_S = 1 / 30
SLOW_FRAME_S = 1 / 15
SLOW = 64
"""Up to so many characters may wait for the next slow frame: they read the same."""

_LIMITS = (Outcome.MAX_TURNS_REACHED, Outcome.MAX_BUDGET_REACHED)


class LiveView:
    """Shows the events of one session in one transcript.

    `return_prompt(text)` returns a prompt to an empty composer; false if it was not empty (H1).
    """

    def __init__(self, transcript: Transcript, return_prompt: Callable[[str], bool]) -> None:
        self._transcript = transcript
        self._return_prompt = return_prompt
        self._prompt: PromptHandle | None = None
        self._committed = False
        self._cards = TurnCards(transcript)
        self._loop = asyncio.get_running_loop()
        self._shown_at = 0.0
        self._pause = 0.0
        self._flush: asyncio.TimerHandle | None = None
        self._received = 0  # characters of text since the last frame
        self._waiting: deque[Event] = deque()
        self._finishing: asyncio.Task[None] | None = None

    def on_event(self, event: Event) -> None:
        """Show an event of the session. Returns at once."""
        if self._finishing is not None:
            self._waiting.append(event)
        else:
            self._show(event)

    async def aclose(self) -> None:
        """Show what has not been shown yet, then stop."""
        while self._finishing is not None:
            await asyncio.wait({self._finishing})
        self._cancel_flush()

    def _show(self, event: Event) -> None:
        match event:
            case TurnStarted(prompt=prompt):
                # The command that the user entered, not the prompt that the model gets for it.
                asked = "/continue" if prompt == CONTINUE_PROMPT else prompt
                self._prompt = self._transcript.add_prompt(asked)
                self._transcript.feed.end_section()
                self._committed = False
                self._cards.begin_turn()
            case TextArrived(text=text):
                self._receive(Channel.TEXT, text)
            case ReasoningArrived(text=text):
                self._receive(Channel.REASONING, text)
            case StepCommitted():
                self._committed = True
            case TurnEnded():
                self._cancel_flush()
                # A callback handles its end: an eager task may be done before this assignment.
                self._finishing = self._loop.create_task(self._finish(event), name="end of a reply")
                self._finishing.add_done_callback(self._on_finished)
            case CallNamed() | CallStarted() | QuestionAsked() | QuestionClosed() | CallEnded():
                self._cards.show(event)
                self._plan_flush()
            case BackgroundEnded():
                self._cards.add_background(event)
            case Notice(text):
                self._transcript.add_notice(text, NoticeKind.INFO)
            case CompactionEnded():
                self._show_compaction(event)
            case BackOffStarted() | ModelFailedOver() | ParametersLeftOut():
                self._transcript.add_notice(describe(event), NoticeKind.INFO)
            case ModelSwitched():
                self._transcript.add_notice(switch_notice(event), NoticeKind.INFO)
            case CompactionStarted() | BackOffEnded() | TurnStopping() | QueueChanged():
                pass  # the status line and the running panel show the state
            case ModelDescribed() | ModeChanged() | Titled():
                pass
            case _:
                assert_never(event)

    def _receive(self, channel: Channel, text: str) -> None:
        self._transcript.feed.receive(channel, text)
        self._received += len(text)
        self._plan_flush(slow=self._received <= SLOW)

    def _show_compaction(self, ended: CompactionEnded) -> None:
        """Show the result. A failure during a turn is reported with the end of the turn, if at all."""
        if ended.number is not None:
            self._transcript.add_notice(compaction_notice(ended), NoticeKind.INFO)
            if ended.summary:
                self._transcript.feed.add_summary(summary_title(ended.upto), ended.summary)
                self._plan_flush()
        elif ended.turn_id is None:
            kind = NoticeKind.ERROR if ended.error is not None else NoticeKind.STOPPED
            self._transcript.add_notice(compaction_notice(ended), kind)

    async def _finish(self, ended: TurnEnded) -> None:
        transcript, cards = self._transcript, self._cards
        await transcript.drain()
        cards.end_turn()
        breaks_off = ended.outcome is not Outcome.COMPLETED and bool(ended.text)
        transcript.end_reply(reply_mark(ended.end or ReplyEnd.INTERRUPTED) if breaks_off else "")
        returned = ended.returned_prompt is not None and self._return_prompt(ended.returned_prompt)
        if not (self._committed or cards.any_shown or ended.error) and self._prompt is not None:
            # A rolled back prompt is not part of the history, whether or not it returned to the composer.
            transcript.remove_prompt(self._prompt)
        if ended.proof is not None:
            transcript.add_notice(stop_notice(ended, returned=returned), NoticeKind.STOPPED)
        if ended.outcome in _LIMITS:
            transcript.add_notice(limit_notice(ended, returned=returned), NoticeKind.STOPPED)
        elif ended.error is not None:
            transcript.add_notice(failure_notice(ended, returned=returned), NoticeKind.ERROR)
        if ended.unsaved is not None:
            transcript.add_notice(ended.unsaved, NoticeKind.ERROR)

    def _on_finished(self, task: asyncio.Task[None]) -> None:
        self._finishing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the end of a reply could not be shown", exc_info=error)
        while self._waiting and self._finishing is None:
            self._show(self._waiting.popleft())

    def _plan_flush(self, *, slow: bool = False) -> None:
        """Show what there is with the next frame, or sooner if that is planned."""
        frame = max(SLOW_FRAME_S if slow else FRAME_S, self._pause)
        due = max(self._shown_at + frame, self._loop.time())
        if self._flush is not None:
            if self._flush.when() <= due:
                return
            self._flush.cancel()
        self._flush = self._loop.call_at(due, self._on_frame)

    def _on_frame(self) -> None:
        self._flush = None
        self._received = 0
        self._shown_at = self._loop.time()
        if self._transcript.flush():
            # More slices are waiting: continue after other tasks have run.
            self._flush = self._loop.call_at(self._loop.time(), self._on_frame)
        # Less often on a machine that would spend most of its time on painting.
        self._pause = 4 * (self._loop.time() - self._shown_at)

    def _cancel_flush(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
