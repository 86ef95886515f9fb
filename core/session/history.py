"""The history of a session: its committed steps, what of them the model is sent, and their writing down.

Everything here is synchronous but the wait for the disk: a step enters the history in one piece (H3), and its
journal writes behind. What of the running step has arrived is handed to the journal twice a second, so that
a crash loses less than a second of it (H8).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.context.window import Context, live, overhead_tokens, visible
from core.model.costs import Spend, cost_of
from core.model.messages import AssistantMessage, Step, ToolResults, Usage, UserMessage, sendable
from core.model.provider import ModelChoice, ModelInfo, ModelRequest, ReasoningDelta, TextDelta
from core.model.reply_end import sentence_for_person
from core.operations.events import Outcome
from core.storage.journal import BegunTurn, CallBegun, DraftEntries, EndedTurn, NotSaved
from core.storage.records import CallCard, LoadedSession, StoredStep, TurnRecord
from core.storage.recovery import recover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.engine.turn import Turn
    from core.model.messages import Message
    from core.model.provider import ToolSpec
    from core.operations.events import CallEnded, TurnEnded
    from core.storage.journal import Draft, DraftEntry, Journal, OpenedSession
    from core.storage.records import Compaction, PreImage, SessionInfo

DRAFT_S = 0.5
"""How long pieces of a running step may wait before the journal gets them, in seconds."""

SAVE_S = 10.0
"""How long a disk may take before a step counts as not saved, in seconds."""

BEGIN_S = 1.0
"""The same before a call runs, in seconds: a slow disk must not delay work."""


class History:
    """The history of one session, in its event loop. `on_commit` is called with each new step."""

    def __init__(
        self, choice: ModelChoice, journal: Journal, on_commit: Callable[[StoredStep], object]
    ) -> None:
        self.choice = choice
        self.info = ModelInfo(choice.model)
        self._spending = Spend()
        self.last_usage: Usage | None = None
        self._journal = journal
        self._on_commit = on_commit
        self._steps: list[StoredStep] = []
        self._compactions: list[Compaction] = []
        self._turns: list[TurnRecord] = []
        self._info: SessionInfo | None = None
        self._overhead = overhead_tokens(choice.system, ())
        self._running: TurnRecord | None = None
        self._unwritten: UserMessage | None = None
        self._cards: dict[str, CallCard] = {}
        self._beside = Spend()
        self._jobs = Spend()
        self._pieces: list[DraftEntry] = []
        self._changed: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- what there is --

    @property
    def steps(self) -> tuple[StoredStep, ...]:
        return tuple(self._steps)

    @property
    def plain_steps(self) -> tuple[Step, ...]:
        """The steps without what is stored beside them."""
        return tuple(stored.step for stored in self._steps)

    @property
    def context_used(self) -> int | None:
        """Tokens that the conversation fills, by the provider's count of its last complete reply."""
        last = self.last_usage
        return None if last is None else last.input_tokens + last.output_tokens

    @property
    def turns(self) -> tuple[TurnRecord, ...]:
        """The turns that have ended, in order."""
        return tuple(self._turns)

    @property
    def compactions(self) -> tuple[Compaction, ...]:
        return tuple(self._compactions)

    @property
    def spending(self) -> Spend:
        """What the session has used and cost: sub-agents and what was used by no step included."""
        return self._spending.plus(self._jobs.usage, self._jobs.dollars)

    @property
    def usage(self) -> Usage:
        """What the providers have counted: sub-agents, compactions and jobs included (H6)."""
        return self.spending.usage

    @property
    def last_reply(self) -> AssistantMessage | None:
        messages = (message for stored in reversed(self._steps) for message in reversed(stored.step.messages))
        return next((message for message in messages if isinstance(message, AssistantMessage)), None)

    def spent_in(self, turn: int) -> Spend:
        """What the committed steps of one turn have used and cost."""
        return total_spend(stored for stored in self._steps if stored.turn == turn)

    def messages(self) -> tuple[Message, ...]:
        """The conversation as the model is sent it."""
        return visible(self.plain_steps, self._compactions)

    def context(self, pending: tuple[Message, ...]) -> Context:
        """The next request, to decide whether it fits."""
        return Context(self.plain_steps, self.compactions, pending, self._overhead)

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
            key_name=choice.key_name,
        )

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

    def restore(self, opened: OpenedSession) -> None:
        """Take over what is in the file, and make a step of what a crash has left of the running one."""
        loaded = opened.loaded
        self._info = loaded.info
        self._steps = list(loaded.steps)
        self._compactions = list(loaded.compactions)
        self._turns = list(loaded.turns)
        self.last_usage = next((s.step.usage for s in reversed(self._steps) if s.step.usage), None)
        self._spending = total_spend((*loaded.steps, *loaded.compactions))
        if self._turns and self._turns[-1].outcome is None and not opened.read_only:
            self._finish_crashed_turn(self._turns.pop(), opened.draft)

    def _finish_crashed_turn(self, turn: TurnRecord, draft: Draft | None) -> None:
        """The program died in this turn. Its last step may have been its end all the same."""
        mine = [stored for stored in self._steps if stored.turn == turn.turn]
        if draft is not None and (found := recover(draft, self.choice.model, first=not mine)) is not None:
            step, cards = found
            stored = StoredStep(step, turn.turn, time.time(), None, cards)
            self._steps.append(stored)
            self._spending = self._spending.plus(None, None)
            self._journal.add(stored)
            mine.append(stored)
        outcome, error = _outcome_of(mine[-1].step) if mine else (None, None)
        ended = replace(turn, outcome=outcome, error=error, kept=bool(mine))
        self._turns.append(ended)
        self._journal.add(EndedTurn(ended))

    # -- a turn --

    def begin(self, turn: Turn) -> None:
        """A turn has begun; nothing of it is history yet."""
        self._changed = {}
        self._running = TurnRecord(turn.turn_id, turn.prompt, time.time(), turn.continued)
        self._unwritten = turn.message

    def write_begin(self) -> None:
        """No limit has refused the turn, so that it may leave a trace in the file (H7)."""
        if self._running is not None and self._unwritten is not None:
            self._journal.add(BegunTurn(self._running, self._unwritten))
            self._unwritten = None

    def take(self, piece: DraftEntry) -> None:
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
            self._journal.add(DraftEntries(_joined(self._pieces)))
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
        self._journal.add(preimage)
        await self._journal.flush()

    def take_card(self, ended: CallEnded) -> None:
        """What the card of a call of the running step shows."""
        self._cards[ended.call_id] = CallCard(
            ended.call_id, ended.title, ended.shown, ended.seconds, ended.proof
        )

    def commit(self, turn_id: int, step: Step) -> None:
        """Make a step part of the history, and hand it over to be written."""
        around, self._jobs = self._beside.plus(self._jobs.usage, self._jobs.dollars), Spend()
        spent = around.plus(step.usage, cost_of(step.usage, self.info.of(step.model)))
        beside = None if around == Spend() else around.usage
        results = (message.results for message in step.messages if isinstance(message, ToolResults))
        calls = {result.call_id for each in results for result in each}
        cards = tuple(card for call_id, card in self._cards.items() if call_id in calls)
        stored = StoredStep(step, turn_id, time.time(), spent.dollars, cards, beside)
        self._steps.append(stored)
        self._spending = self._spending.plus(stored.usage, stored.cost)
        if step.usage is not None:
            self.last_usage = step.usage
        self._drop_draft()
        self._journal.add(stored)
        self._on_commit(stored)

    def keep_compaction(self, compaction: Compaction) -> None:
        """Send less from now on; the steps stay as they are (C1)."""
        cost = cost_of(compaction.usage, self.info)
        compaction = replace(compaction, cost=cost)
        self._compactions.append(compaction)
        # What the provider counted was another request.
        self.last_usage = None
        self._spending = self._spending.plus(compaction.usage, cost)
        self._journal.add(compaction)

    def undo_compaction(self) -> Compaction | None:
        """Send again what the newest summary stands for (C2); what was undone, None if there was nothing."""
        newest = live(self.plain_steps, self._compactions)
        if newest is None:
            return None
        undone = replace(newest, undone=True)
        self._compactions[self._compactions.index(newest)] = undone
        self.last_usage = None
        self._journal.add(undone)
        return undone

    def spend(self, usage: Usage | None, model: str) -> None:
        """What `model` has used in a sub-agent of the running step: it counts with that step, or, too late,
        not (U8)."""
        if self._running is None:
            return
        self._beside = self._beside.plus(usage, cost_of(usage, self.info.of(model)))

    def end(self, ended: TurnEnded) -> None:
        """The turn has its outcome, which is published next."""
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
        if kept:
            # The turn has a step, and after this none: it counts with the one that comes next (H6).
            self._jobs = self._jobs.plus(self._beside.usage, self._beside.dollars)
        self._drop_draft()
        self._journal.add(EndedTurn(record))

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
        self._beside = Spend()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def total_spend(paid: Iterable[StoredStep | Compaction]) -> Spend:
    """What all of these have used and cost."""
    spent = Spend()
    for each in paid:
        spent = spent.plus(each.usage, each.cost)
    return spent


def call_ids(steps: Iterable[StoredStep]) -> tuple[str, ...]:
    """The ids of all calls of these steps."""
    messages = (message for stored in steps for message in stored.step.messages)
    replies = (message for message in messages if isinstance(message, AssistantMessage))
    return tuple(call.call_id for reply in replies for call in reply.calls)


def _outcome_of(step: Step) -> tuple[Outcome | None, str | None]:
    """How the turn ended that has this as its last step, with the sentence about it; None if that cannot be
    known: more may have followed."""
    reply = step.messages[-1]
    if not isinstance(reply, AssistantMessage) or reply.interrupted or reply.calls:
        return None, None
    if reply.end.whole:
        return Outcome.COMPLETED, None
    return Outcome.ERROR, sentence_for_person(reply.end, reply.words or "", above=reply.says_something)


def _joined(pieces: list[DraftEntry]) -> tuple[DraftEntry, ...]:
    """Join the pieces of a reply: one row of the file for each token would be too many."""
    joined: list[DraftEntry] = []
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
