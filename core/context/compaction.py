"""Making compactions: before a request that would not fit, after one that did not, and for `/compact`.

A compaction is one record next to the history. It is handed over whole or not at all, in one synchronous step
after its request has ended, so that a stop or a failure changes nothing (C1). It must never loop: each
request of a turn causes two at most, one because it is long and one because the provider refuses it. If they
do not help, the turn ends with a sentence for the user.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from core.base.errors import CaesuraError
from core.cancel import Cancelled
from core.context.compaction_plan import decide
from core.context.summary import CompactionFailed, Summarizer, SummaryInput
from core.context.window import room_of, shown, summary_message, tokens_of
from core.model.provider import BackedOff, BackingOff, FailureKind, Phase
from core.operations.events import Action, BackOffEnded, CompactionEnded, CompactionStarted, Trigger
from core.operations.operation import OperationKind
from core.operations.stop_report import report_request
from core.storage.records import NOTHING_USED, Compaction

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.context.compaction_plan import Plan
    from core.context.window import Context, TokenBudget
    from core.model.messages import Message, Usage
    from core.model.provider import ModelError, ModelInfo, ModelProvider, ModelRequest, ToolSpec
    from core.operations.backoffs import BackoffRegistry
    from core.operations.events import BackOffStarted, StopReport
    from core.operations.registry import Operation, Registry

log = logging.getLogger(__name__)

TITLE = "compaction"


class NothingToCompact(CaesuraError):
    """The conversation is already as short as a compaction would make it."""


class ContextFull(CaesuraError):
    """The conversation does not fit, and no compaction can make it fit."""


class CompactedRecord(Protocol):
    """The conversation that is compacted."""

    @property
    def info(self) -> ModelInfo: ...

    def context(self, pending: tuple[Message, ...]) -> Context:
        """The next request with these messages after the history."""
        ...

    def request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest: ...

    def keep_compaction(self, compaction: Compaction) -> None:
        """Make it part of the conversation. Synchronous (C1)."""
        ...


class CompactionServices(Protocol):
    """Dependencies of a compaction: the services of a turn."""

    @property
    def session_id(self) -> str: ...

    @property
    def provider(self) -> ModelProvider: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def emit(self) -> Callable[[CompactionStarted | CompactionEnded | BackOffStarted | BackOffEnded], None]:
        """Publishes start and end, and back-offs."""
        ...

    @property
    def abandoned_tasks(self) -> set[asyncio.Task[Any]]: ...

    @property
    def backoffs(self) -> BackoffRegistry: ...

    @property
    def parent_id(self) -> str | None:
        """The call of the sub-agent whose conversation it is."""
        ...


class ContextGuard(Protocol):
    """Keeps the requests of one turn within the model's context window."""

    @property
    def stop_report(self) -> StopReport | None:
        """The report of the compaction that was under way when the turn was stopped."""
        ...

    async def fit(self, pending: tuple[Message, ...]) -> None:
        """Before each request: compact if it would no longer fit.

        Raises `ContextFull` and `CompactionFailed` when it cannot be sent, and `Cancelled`.
        """
        ...

    async def compact_after_refusal(self, error: ModelError, pending: tuple[Message, ...]) -> None:
        """After a request failed with `error` and had shown nothing: compact, so that it can be retried.

        Raises `error` if that is not about the length, `ContextFull` if nothing can be compacted or was
        already compacted for this request, `CompactionFailed`, and `Cancelled`.
        """
        ...


class NoCompaction:
    """The guard of a conversation that is never compacted."""

    @property
    def stop_report(self) -> StopReport | None:
        return None

    async def fit(self, pending: tuple[Message, ...]) -> None:
        return None

    async def compact_after_refusal(self, error: ModelError, pending: tuple[Message, ...]) -> None:
        raise error


class TurnGuard:
    """The guard of one turn, which runs under `token`."""

    def __init__(
        self, services: CompactionServices, record: CompactedRecord, turn_id: int, token: CancelToken
    ) -> None:
        self._record = record
        self._token = token
        self._failed = False
        self._refused_at: int | None = None
        self._compactor = Compactor(services, record, token, turn_id)

    @property
    def stop_report(self) -> StopReport | None:
        return self._compactor.stop_report

    async def fit(self, pending: tuple[Message, ...]) -> None:
        if self._token.cancelled:
            # The request itself stops here too, and writes the record of that stop (T9).
            return
        context, room = self._record.context(pending), room_of(self._record.info)
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
        if room.surely_exceeded(self._record.context(pending).tokens()):
            raise _context_full(self._record)

    async def compact_after_refusal(self, error: ModelError, pending: tuple[Message, ...]) -> None:
        if error.kind is not FailureKind.CONTEXT_TOO_LONG:
            raise error
        if self._token.cancelled:
            # As in `fit`: the retry stops here too.
            return
        context = self._record.context(pending)
        if self._refused_at == len(context.steps):
            raise _context_full(self._record) from error
        self._refused_at = len(context.steps)
        room = room_of(self._record.info)
        plan = decide(context, room, Trigger.REFUSED)
        await self._carry_out(plan, context, room, Trigger.REFUSED)

    async def _carry_out(
        self, plan: Plan, context: Context, room: TokenBudget | None, trigger: Trigger
    ) -> None:
        match plan.action:
            case Action.TRIM:
                self._compactor.trim(plan, context, trigger)
            case Action.SUMMARISE:
                await self._compactor.summarise(plan, context, room, trigger)
            case Action.FULL | Action.NOTHING:
                raise _context_full(self._record)
            case _:
                assert_never(plan.action)


async def compact(
    services: CompactionServices, record: CompactedRecord, token: CancelToken, keep: str = ""
) -> Compaction:
    """Run `/compact`, with what the user asks to keep, under `token`, which Esc cancels (C2).

    Raises `CompactionFailed` when there is no summary, `NothingToCompact`, and `Cancelled`; then nothing has
    changed.
    """
    context, room = record.context(()), room_of(record.info)
    plan = decide(context, room, Trigger.ASKED)
    if plan.action is not Action.SUMMARISE:
        raise NothingToCompact("There is nothing to summarise: the latest step is always kept.")
    return await Compactor(services, record, token).summarise(plan, context, room, Trigger.ASKED, keep)


class Compactor:
    """Makes the compactions of one turn or of one `/compact`, under `token`."""

    def __init__(
        self,
        services: CompactionServices,
        record: CompactedRecord,
        token: CancelToken,
        turn_id: int | None = None,
    ) -> None:
        self._services = services
        self._record = record
        self._token = token
        self._turn_id = turn_id
        self.stop_report: StopReport | None = None

    def trim(self, plan: Plan, context: Context, trigger: Trigger) -> Compaction:
        """Send older tool outputs shortened from now on."""
        newest = context.newest
        summary = "" if newest is None else newest.summary
        steps = plan.trimmed - max(context.upto, context.trimmed)
        self._services.emit(
            CompactionStarted(self._turn_id, "", plan.action, trigger, steps, context.tokens())
        )
        made = _made(context, plan, summary, NOTHING_USED)
        self._record.keep_compaction(made)
        tokens = context.with_compaction(made).tokens()
        self._services.emit(CompactionEnded(self._turn_id, "", plan.action, made.number, "", tokens))
        return made

    async def summarise(
        self, plan: Plan, context: Context, room: TokenBudget | None, trigger: Trigger, keep: str = ""
    ) -> Compaction:
        """Have the model write a summary, and keep it. Raises `CompactionFailed` and `Cancelled`."""
        emit, before = self._services.emit, context.tokens()
        material = _material(context, plan, room, keep)
        author = self._author(len(material.steps))
        call_id = author.operation.call_id
        ended = partial(CompactionEnded, self._turn_id, call_id, plan.action)
        end = ended(None, "", before, error="The compaction did not come to its end.")
        steps = len(material.steps)
        emit(CompactionStarted(self._turn_id, call_id, plan.action, trigger, steps, before))
        try:
            summary = await author.write(material)
            # No await from here to `keep_compaction`: no stop can fall between the two.
            made = _made(context, plan, summary.text, summary.usage)
            self._record.keep_compaction(made)
            tokens = context.with_compaction(made).tokens()
            end = ended(made.number, summary.text, tokens, summary.usage, upto=made.upto)
        except CompactionFailed as error:
            end = ended(None, "", before, error.usage, str(error))
            raise
        except Cancelled as stop:
            report = report_request(
                stop.reason, author.operation, author.closed, attempt_failed=author.attempt_failed
            )
            end = ended(None, "", before, proof=report)
            if not self._token.cancelled:
                raise CompactionFailed("The compaction was stopped.") from stop
            self.stop_report = report
            raise
        finally:
            self._end_wait(call_id)
            emit(end)
        return made

    def _author(self, steps: int) -> Summarizer:
        services = self._services
        operation = services.registry.open(
            services.session_id,
            OperationKind.COMPACTION,
            TITLE,
            self._token,
            parent_id=services.parent_id,
            phase=Phase.COMPACTION,
            detail="1 step" if steps == 1 else f"{steps} steps",
        )
        return Summarizer(
            services.provider,
            operation,
            lambda messages: self._record.request(messages, ()),
            services.abandoned_tasks,
            partial(self._on_wait, operation),
        )

    def _on_wait(self, operation: Operation, delta: BackingOff | BackedOff) -> None:
        call_id, services = operation.call_id, self._services
        match delta:
            case BackingOff():
                operation.progress.say("waiting to try again")
                services.backoffs.begin(self._turn_id, call_id, delta, services.emit)
            case BackedOff():
                self._end_wait(call_id)
            case _:
                assert_never(delta)

    def _end_wait(self, call_id: str) -> None:
        self._services.backoffs.end(self._turn_id, call_id, self._services.emit)


def _made(context: Context, plan: Plan, summary: str, usage: Usage | None) -> Compaction:
    number = max((each.number for each in context.compactions), default=0) + 1
    made_after = len(context.steps)
    return Compaction(
        number, plan.upto, summary, time.time(), usage, trimmed=plan.trimmed, made_after=made_after
    )


def _material(context: Context, plan: Plan, room: TokenBudget | None, keep: str) -> SummaryInput:
    newest, upto = context.newest, context.upto
    before = newest.summary if newest is not None else ""
    trimmed = context.trimmed
    replaced = sum(tokens_of(shown(context.steps, number, trimmed)) for number in range(upto, plan.upto))
    if newest is not None and upto:
        replaced += tokens_of((summary_message(context.steps, newest),))
    fits = None if room is None else room.full
    return SummaryInput(before, context.steps[upto : plan.upto], keep, replaced, fits)


def _context_full(record: CompactedRecord) -> ContextFull:
    return ContextFull(
        f"The conversation is too long for {record.info.model}, and compacting it makes no more room. Choose "
        "a model with a larger window, go back to an earlier prompt with /rewind, or start a new session."
    )
