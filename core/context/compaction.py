"""Making compactions: before a request that would not fit, after one that did not, and for `/compact`.

A compaction is one record beside the history; it is handed over whole or not at all, in one synchronous step
after its request has ended, so that a stop or a failure changes nothing (C1). It must never loop: for each
request of a turn there are two at most, one because it is long and one because the provider says so, and what
does not help ends in a sentence for the user.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from core.cancel import Cancelled
from core.compaction_plan import Action, Trigger, decide
from core.context import room_of, shown, summary_message, tokens_of
from core.errors import CaesuraError
from core.events import BackOffEnded, BackOffStarted, CompactionEnded, CompactionStarted, StopProof
from core.model import BackedOff, BackingOff, Closing, FailureKind, Phase
from core.operations import OperationKind
from core.records import NOTHING_USED, Compaction
from core.summary import Author, CompactionFailed, Material
from core.values import dataclass
from core.waits import BackOff

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from core.cancel import CancelReason, CancelToken
    from core.compaction_plan import Plan
    from core.context import Context, Room
    from core.messages import Message, Usage
    from core.model import ModelError, ModelInfo, ModelProvider, ModelRequest, ToolSpec
    from core.operations import Operation, Registry
    from core.waits import Waits

log = logging.getLogger(__name__)

TITLE = "compaction"


class NothingToCompact(CaesuraError):
    """The conversation is as short as a compaction would make it."""


class ContextFull(CaesuraError):
    """The conversation does not fit, and no compaction can make it fit."""


@dataclass(frozen=True, slots=True)
class CompactionHome:
    """What compactions need of their conversation.

    `context` gives the next request for what is pending, `info` what is known of the model, `request` makes a
    request of messages and tools. `keep` makes a compaction part of the conversation and is synchronous;
    `emit` tells of its begin and end and of its back-offs. `stragglers` keeps requests that were left behind,
    `waits` the back-offs under way. `parent_id` is the call of the sub-agent whose conversation it is.
    """

    session_id: str
    provider: ModelProvider
    registry: Registry
    context: Callable[[tuple[Message, ...]], Context]
    info: Callable[[], ModelInfo]
    request: Callable[[tuple[Message, ...], tuple[ToolSpec, ...]], ModelRequest]
    keep: Callable[[Compaction], None]
    emit: Callable[[CompactionStarted | CompactionEnded | BackOffStarted | BackOffEnded], None]
    stragglers: set[asyncio.Task[Any]]
    waits: Waits
    parent_id: str | None = None


class Fitter(Protocol):
    """Keeps the requests of one turn within the model's context window."""

    @property
    def proof(self) -> StopProof | None:
        """What is known of the end of the compaction that a stop of the turn has met."""
        ...

    async def fit(self, pending: tuple[Message, ...]) -> None:
        """Before each request: compact if it would not fit any more.

        Raises `ContextFull` and `CompactionFailed` when it cannot be sent, and `Cancelled`.
        """
        ...

    async def make_room(self, error: ModelError, pending: tuple[Message, ...]) -> None:
        """After a request failed with `error` and had shown nothing: when this returns, it is worth a retry.

        Raises `error` if that is not about the length, `ContextFull` if there is no room to be made or was
        made for this request already, `CompactionFailed`, and `Cancelled`.
        """
        ...


class AsItIs:
    """A fitter for a conversation that is never compacted."""

    @property
    def proof(self) -> StopProof | None:
        return None

    async def fit(self, pending: tuple[Message, ...]) -> None:
        return None

    async def make_room(self, error: ModelError, pending: tuple[Message, ...]) -> None:
        raise error


class TurnFitter:
    """The fitter of one turn, which runs under `token`."""

    def __init__(self, home: CompactionHome, turn_id: int, token: CancelToken) -> None:
        self._home = home
        self._turn_id = turn_id
        self._token = token
        self._failed = False
        self._refused_at: int | None = None
        self._compactor = Compactor(home, token, turn_id)

    @property
    def proof(self) -> StopProof | None:
        return self._compactor.proof

    async def fit(self, pending: tuple[Message, ...]) -> None:
        if self._token.cancelled:
            # The request itself comes no further, and leaves the record of that stop (T9).
            return
        context, room = self._home.context(pending), room_of(self._home.info())
        plan = decide(context, room, Trigger.AUTOMATIC)
        if room is None or plan.action is Action.NOTHING:
            return
        sendable = context.tokens() <= room.full
        if plan.action is Action.SUMMARISE and self._failed and sendable:
            return
        try:
            await self._carry_out(plan, context, room, Trigger.AUTOMATIC)
        except CompactionFailed as error:
            self._failed = True
            if not sendable:
                raise
            log.info("the turn goes on without a compaction: %s", error)
            return
        if room.surely_exceeded(self._home.context(pending).tokens()):
            raise _context_full(self._home)

    async def make_room(self, error: ModelError, pending: tuple[Message, ...]) -> None:
        if error.kind is not FailureKind.CONTEXT_TOO_LONG:
            raise error
        if self._token.cancelled:
            # As in `fit`: the retry comes no further.
            return
        context = self._home.context(pending)
        if self._refused_at == len(context.steps):
            raise _context_full(self._home) from error
        self._refused_at = len(context.steps)
        room = room_of(self._home.info())
        plan = decide(context, room, Trigger.REFUSED)
        await self._carry_out(plan, context, room, Trigger.REFUSED)

    async def _carry_out(self, plan: Plan, context: Context, room: Room | None, trigger: Trigger) -> None:
        match plan.action:
            case Action.TRIM:
                self._compactor.trim(plan, context, trigger)
            case Action.SUMMARISE:
                await self._compactor.summarise(plan, context, room, trigger)
            case Action.FULL | Action.NOTHING:
                raise _context_full(self._home)
            case _:
                assert_never(plan.action)


async def compact(home: CompactionHome, token: CancelToken, keep: str = "") -> Compaction:
    """`/compact`, with what the person asks to keep. Under `token`, which Esc cancels (C2).

    Raises `CompactionFailed` when there is no summary, `NothingToCompact`, and `Cancelled`; then nothing has
    changed.
    """
    context, room = home.context(()), room_of(home.info())
    plan = decide(context, room, Trigger.ASKED)
    if plan.action is not Action.SUMMARISE:
        raise NothingToCompact("There is nothing to summarise: the latest step is always kept.")
    return await Compactor(home, token).summarise(plan, context, room, Trigger.ASKED, keep)


class Compactor:
    """Makes the compactions of one turn or of one `/compact`, under `token`."""

    def __init__(self, home: CompactionHome, token: CancelToken, turn_id: int | None = None) -> None:
        self._home = home
        self._token = token
        self._turn_id = turn_id
        self.proof: StopProof | None = None

    def trim(self, plan: Plan, context: Context, trigger: Trigger) -> Compaction:
        """Send older outputs of tools shortened from now on."""
        newest = context.newest
        summary = "" if newest is None else newest.summary
        steps = plan.trimmed - max(context.upto, context.trimmed)
        self._home.emit(CompactionStarted(self._turn_id, "", plan.action, trigger, steps, context.tokens()))
        made = _made(context, plan, summary, NOTHING_USED)
        self._home.keep(made)
        tokens = context.with_compaction(made).tokens()
        self._home.emit(CompactionEnded(self._turn_id, "", plan.action, made.number, "", tokens))
        return made

    async def summarise(
        self, plan: Plan, context: Context, room: Room | None, trigger: Trigger, keep: str = ""
    ) -> Compaction:
        """Have the model write a summary, and keep it. Raises `CompactionFailed` and `Cancelled`."""
        home, before = self._home, context.tokens()
        material = _material(context, plan, room, keep)
        author = self._author(len(material.steps))
        call_id = author.operation.call_id
        ended = partial(CompactionEnded, self._turn_id, call_id, plan.action)
        end = ended(None, "", before, error="The compaction did not come to its end.")
        steps = len(material.steps)
        home.emit(CompactionStarted(self._turn_id, call_id, plan.action, trigger, steps, before))
        try:
            summary = await author.write(material)
            # No await from here to `keep`: no stop can fall between the two.
            made = _made(context, plan, summary.text, summary.usage)
            home.keep(made)
            tokens = context.with_compaction(made).tokens()
            end = ended(made.number, summary.text, tokens, summary.usage, upto=made.upto)
        except CompactionFailed as error:
            end = ended(None, "", before, error.usage, str(error))
            raise
        except Cancelled as stop:
            proof = _proof(stop.reason, author)
            end = ended(None, "", before, proof=proof)
            if not self._token.cancelled:
                raise CompactionFailed("The compaction was stopped.") from stop
            self.proof = proof
            raise
        finally:
            self._end_wait(call_id)
            home.emit(end)
        return made

    def _author(self, steps: int) -> Author:
        home = self._home
        operation = home.registry.open(
            home.session_id,
            OperationKind.COMPACTION,
            TITLE,
            self._token,
            parent_id=home.parent_id,
            phase=Phase.COMPACTION,
            detail="1 step" if steps == 1 else f"{steps} steps",
        )
        return Author(
            home.provider,
            operation,
            lambda said: home.request(said, ()),
            home.stragglers,
            partial(self._tell_wait, operation),
        )

    def _tell_wait(self, operation: Operation, delta: BackingOff | BackedOff) -> None:
        call_id, home = operation.call_id, self._home
        match delta:
            case BackingOff(wait, attempt, attempts, failed, why):
                self._end_wait(call_id)
                operation.progress.say("waiting to try again")
                home.waits.begin(call_id, BackOff(wait, why))
                told = BackOffStarted(
                    self._turn_id, call_id, wait.seconds, wait.until, attempt, attempts, failed, why
                )
                home.emit(told)
            case BackedOff():
                self._end_wait(call_id)
            case _:
                assert_never(delta)

    def _end_wait(self, call_id: str) -> None:
        if self._home.waits.end(call_id):
            self._home.emit(BackOffEnded(self._turn_id, call_id))


def _made(context: Context, plan: Plan, summary: str, usage: Usage | None) -> Compaction:
    number = max((each.number for each in context.compactions), default=0) + 1
    return Compaction(
        number,
        plan.upto,
        summary,
        time.time(),
        usage,
        trimmed=plan.trimmed,
        made_after=len(context.steps),
    )


def _material(context: Context, plan: Plan, room: Room | None, keep: str) -> Material:
    newest, upto = context.newest, context.upto
    before = newest.summary if newest is not None else ""
    trimmed = context.trimmed
    replaced = sum(tokens_of(shown(context.steps, number, trimmed)) for number in range(upto, plan.upto))
    if newest is not None and upto:
        replaced += tokens_of((summary_message(context.steps, newest),))
    fits = None if room is None else room.full
    return Material(before, context.steps[upto : plan.upto], keep, replaced, fits)


def _proof(reason: CancelReason, author: Author) -> StopProof:
    closed, operation = author.closed, author.operation
    if operation.state.live or (closed is not None and closed.how is Closing.UNCONFIRMED):
        return StopProof(reason.source, None, None, unconfirmed=(operation.title,))
    if closed is None:
        # It ended before there was a connection to close.
        return StopProof(reason.source, time.monotonic() - reason.at, None)
    before = closed.how is Closing.NEVER_OPENED and author.attempt_failed
    return StopProof(reason.source, closed.at - reason.at, Closing.NOT_OPEN if before else closed.how)


def _context_full(home: CompactionHome) -> ContextFull:
    return ContextFull(
        f"The conversation is too long for {home.info().model}, and compacting it makes no more room. Choose "
        "a model with a larger window, go back to an earlier prompt with /rewind, or start a new session."
    )
