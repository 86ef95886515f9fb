"""The history of a session: its committed steps, what of them the model is sent, and their writing down.

Everything here is synchronous but the wait for the disk: a step enters the history in one piece (H3), and its
journal writes behind. What of the running step has arrived is handed to the journal twice a second, so that
a crash loses less than a second of it (H8).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from core.context import Context, live, overhead_tokens, visible
from core.costs import Spending, cost_of
from core.events import Outcome
from core.journal import CallBegun, NotSaved
from core.messages import AssistantMessage, Step, ToolResult, ToolResults, Usage, UserMessage, sendable
from core.model import ModelChoice, ModelInfo, ModelRequest, ReasoningDelta, TextDelta
from core.records import CallCard, LoadedSession, StoredStep, TurnRecord
from core.recovery import recover

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.events import CallEnded, TurnEnded
    from core.journal import Draft, Journal, Opened, Piece
    from core.messages import Message
    from core.model import ToolSpec
    from core.records import Compaction, PreImage, SessionInfo
    from core.turn import Turn

DRAFT_S = 0.5
"""How long what arrives of a running step may wait before it is handed to the journal, in seconds."""

SAVE_S = 10.0
"""How long a disk may take before a step counts as not saved, in seconds."""

BEGIN_S = 1.0
"""The same before a call runs: a slow disk does not keep anybody from working."""


class History:
    """Of one session, in its event loop. `on_commit` hears of each new step; `wall_clock` gives Unix time in
    seconds."""

    def __init__(
        self,
        choice: ModelChoice,
        journal: Journal,
        on_commit: Callable[[StoredStep], object],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.choice = choice
        self.info = ModelInfo(choice.model)
        self._spending = Spending()
        self.last_usage: Usage | None = None
        self._journal = journal
        self._on_commit = on_commit
        self._wall_clock = wall_clock
        self._steps: list[StoredStep] = []
        self._compactions: list[Compaction] = []
        self._turns: list[TurnRecord] = []
        self._info: SessionInfo | None = None
        self._overhead = overhead_tokens(choice.system, ())
        self._running: TurnRecord | None = None
        self._unwritten: UserMessage | None = None
        self._cards: dict[str, CallCard] = {}
        self._beside = Spending()
        self._jobs = Spending()
        self._pieces: list[Piece] = []
        self._changed: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- what there is --

    @property
    def steps(self) -> tuple[StoredStep, ...]:
        return tuple(self._steps)

    @property
    def turns(self) -> tuple[TurnRecord, ...]:
        """Those that have ended, in order."""
        return tuple(self._turns)

    @property
    def compactions(self) -> tuple[Compaction, ...]:
        return tuple(self._compactions)

    @property
    def spending(self) -> Spending:
        """What the session has used and cost: sub-agents and what was used by no step included."""
        jobs = self._jobs
        return self._spending if jobs == Spending() else self._spending.plus(jobs.usage, jobs.dollars)

    @property
    def usage(self) -> Usage:
        """What the providers have counted: sub-agents, compactions and jobs included (H6)."""
        return self.spending.usage

    def spent_in(self, turn: int) -> Spending:
        """What the committed steps of one turn have used and cost."""
        spent = Spending()
        for stored in self._steps:
            if stored.turn == turn:
                spent = spent.plus(stored.usage, stored.cost)
        return spent

    def messages(self) -> tuple[Message, ...]:
        """What was said so far, as the model is to see it."""
        return visible(self._plain(), self._compactions)

    def context(self, pending: tuple[Message, ...]) -> Context:
        """The next request, for who decides whether it still fits."""
        return Context(tuple(self._plain()), self.compactions, pending, self._overhead)

    def request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest:
        choice = self.choice
        if tools:
            self._overhead = overhead_tokens(choice.system, tools)
        return ModelRequest(
            choice.model,
            sendable(messages),
            choice.system,
            choice.api_base,
            tools=tools,
            parameters=choice.parameters,
        )

    def _plain(self) -> list[Step]:
        return [stored.step for stored in self._steps]

    @property
    def loaded(self) -> LoadedSession | None:
        """All of the session as it is now, if it came from the file."""
        if self._info is None:
            return None
        return LoadedSession(self._info, self.steps, self.turns, self.compactions)

    @property
    def changed(self) -> tuple[str, ...]:
        """Paths of the files that were kept in the latest turn, each before its first change there."""
        return tuple(self._changed)

    # -- what was before --

    def restore(self, opened: Opened) -> None:
        """Take over what is in the file, and make a step of what a crash has left of the running one."""
        loaded = opened.loaded
        self._info = loaded.info
        self._steps = list(loaded.steps)
        self._compactions = list(loaded.compactions)
        self._turns = list(loaded.turns)
        self.last_usage = next((s.step.usage for s in reversed(self._steps) if s.step.usage), None)
        for stored in loaded.steps:
            self._spending = self._spending.plus(stored.usage, stored.cost)
        for compaction in loaded.compactions:
            self._spending = self._spending.plus(compaction.usage, compaction.cost)
        if self._turns and self._turns[-1].outcome is None and not opened.read_only:
            self._bury(self._turns.pop(), opened.draft)

    def _bury(self, turn: TurnRecord, draft: Draft | None) -> None:
        """The program died in this turn. Its last step may have been its end all the same."""
        mine = [stored for stored in self._steps if stored.turn == turn.turn]
        if draft is not None and (found := recover(draft, self.choice.model, first=not mine)) is not None:
            step, cards = found
            stored = StoredStep(step, turn.turn, self._wall_clock(), None, cards)
            self._steps.append(stored)
            self._spending = self._spending.plus(None, None)
            self._journal.commit(stored)
            mine.append(stored)
        outcome = Outcome.COMPLETED if mine and _is_last(mine[-1].step) else None
        ended = replace(turn, outcome=outcome, kept=bool(mine))
        self._turns.append(ended)
        self._journal.end(ended)

    # -- a turn --

    def begin(self, turn: Turn) -> None:
        """A turn has begun; nothing of it is history yet."""
        self._changed = {}
        self._running = TurnRecord(turn.turn_id, turn.prompt.text, self._wall_clock(), turn.continued)
        self._unwritten = turn.message

    def write_begin(self) -> None:
        """No limit has refused the turn, so that it may leave a trace in the file (H7)."""
        if self._running is not None and self._unwritten is not None:
            self._journal.begin(self._running, self._unwritten)
            self._unwritten = None

    def take(self, piece: Piece) -> None:
        """A piece of the running step; costs the same however long that is. Too late, it is dropped (U8)."""
        if self._running is None:
            return
        self._pieces.append(piece)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DRAFT_S, self.write_draft)

    def write_draft(self) -> None:
        """Hand over the pieces that have come together."""
        self._forget_timer()
        if self._pieces:
            self._journal.draft(_joined(self._pieces))
            self._pieces = []

    async def begin_call(self, call_id: str) -> None:
        """A call is about to change the world: have that written down before, if the disk is not too slow."""
        self.take(CallBegun(call_id))
        self.write_draft()
        try:
            async with asyncio.timeout(BEGIN_S):
                await self._journal.flush()
        except (NotSaved, TimeoutError):
            # The step that follows cannot be saved either, and says so; the call itself needs no disk.
            return

    def spend_job(self, usage: Usage, asked: str, answered: str) -> None:
        """What a job beside the conversation has used of the model that answered: it is written down with the
        next step. The conversation may ask another model by now, whose prices are not the job's."""
        info = self.info if asked == self.choice.model else ModelInfo(asked)
        self._jobs = self._jobs.plus(usage, cost_of(usage, info.of(answered)))

    def spend_beside(self, usage: Usage | None) -> None:
        """What a request has used that came to nothing, such as a summary that was refused."""
        if usage is not None and self._running is None:
            self.spend_job(usage, self.choice.model, "")
        elif usage is not None:
            self.spend(usage, self.choice.model)

    async def keep_preimage(self, preimage: PreImage) -> None:
        """Keep a file as it is before a tool changes it; returns when that is durable. Raises `NotSaved`."""
        if self._running is not None:
            self._changed[preimage.path] = None
        self._journal.keep_preimage(preimage)
        await self._journal.flush()

    def take_card(self, ended: CallEnded) -> None:
        """What the card of a call of the running step shows."""
        self._cards[ended.call_id] = CallCard(
            ended.call_id, ended.title, ended.shown, ended.seconds, ended.proof
        )

    def commit(self, turn_id: int, step: Step) -> None:
        """Make a step part of the history, and hand it over to be written."""
        around = self._beside
        if self._jobs != Spending():
            around, self._jobs = around.plus(self._jobs.usage, self._jobs.dollars), Spending()
        spent = around.plus(step.usage, cost_of(step.usage, self.info.of(step.model)))
        beside = None if around == Spending() else around.usage
        calls = {result.call_id for message in step.messages for result in _results(message)}
        cards = tuple(card for call_id, card in self._cards.items() if call_id in calls)
        stored = StoredStep(step, turn_id, self._wall_clock(), spent.dollars, cards, beside)
        self._steps.append(stored)
        self._spending = self._spending.plus(stored.usage, stored.cost)
        if step.usage is not None:
            self.last_usage = step.usage
        self._drop_draft()
        self._journal.commit(stored)
        self._on_commit(stored)

    def keep_compaction(self, compaction: Compaction) -> None:
        """Send less from now on; the steps stay as they are (C1)."""
        cost = cost_of(compaction.usage, self.info)
        compaction = replace(compaction, cost=cost)
        self._compactions.append(compaction)
        # What the provider counted was another request.
        self.last_usage = None
        self._spending = self._spending.plus(compaction.usage, cost)
        self._journal.keep_compaction(compaction)

    def undo_compaction(self) -> Compaction | None:
        """Send again what the newest summary stands for (C2); what was undone, None if there was nothing."""
        newest = live(self._plain(), self._compactions)
        if newest is None:
            return None
        undone = replace(newest, undone=True)
        self._compactions[self._compactions.index(newest)] = undone
        self.last_usage = None
        self._journal.keep_compaction(undone)
        return undone

    def spend(self, usage: Usage | None, model: str) -> None:
        """What `model` has used in a sub-agent of the running step: it counts with that step, or, too late,
        not (U8)."""
        if self._running is None:
            return
        self._beside = self._beside.plus(usage, cost_of(usage, self.info.of(model)))

    def end(self, ended: TurnEnded) -> None:
        """The turn has its outcome, which is yet to be told."""
        if self._running is None:
            return
        running, self._running = self._running, None
        refused, self._unwritten = self._unwritten is not None, None
        if refused:
            # A limit or a stop came before its first request: all is as if it had never been.
            self._drop_draft()
            return
        kept = ended.returned_prompt is None
        record = replace(running, outcome=ended.outcome, error=ended.error, kept=kept, proof=ended.proof)
        self._turns.append(record)
        if kept and self._beside != Spending():
            # The turn has a step, and after this none: it counts with the one that comes next (H6).
            self._jobs = self._jobs.plus(self._beside.usage, self._beside.dollars)
        self._drop_draft()
        self._journal.end(record)

    async def saved(self) -> None:
        """Wait until all of it is durable. Raises `NotSaved`, after `SAVE_S` at the latest."""
        try:
            async with asyncio.timeout(SAVE_S):
                await self._journal.flush()
        except TimeoutError:
            raise NotSaved(
                f"The disk has not answered for {SAVE_S:g} s, so this is not saved yet. It is kept while "
                "Caesura runs, and saved as soon as the disk answers."
            ) from None

    def _drop_draft(self) -> None:
        self._forget_timer()
        self._pieces = []
        self._cards = {}
        self._beside = Spending()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _results(message: Message) -> tuple[ToolResult, ...]:
    return message.results if isinstance(message, ToolResults) else ()


def _is_last(step: Step) -> bool:
    """Whether a turn ends with this step by itself: a whole reply that asks for nothing."""
    reply = step.messages[-1]
    return isinstance(reply, AssistantMessage) and not reply.interrupted and not reply.calls


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """The same reply in fewer pieces: a token is a row too small for a file."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        match piece, last:
            case TextDelta(text), TextDelta(before):
                joined[-1] = TextDelta(before + text)
            case ReasoningDelta(text, signature), ReasoningDelta(before, None):
                joined[-1] = ReasoningDelta(before + text, signature)
            case _:
                joined.append(piece)
    return tuple(joined)
