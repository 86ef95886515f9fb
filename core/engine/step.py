"""The request, the reply and the calls of one step while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.engine.dispatch import Calls
from core.model.messages import AssistantMessage, ToolResults
from core.model.provider import (
    AttemptStarted,
    BackedOff,
    BackingOff,
    Closed,
    Delta,
    FailedOver,
    Finished,
    KeptAlive,
    ParametersDropped,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.model.reply_builder import Reply
from core.model.reply_end import ReplyEnd
from core.operations.events import (
    ModelFailedOver,
    ParametersLeftOut,
    ReasoningArrived,
    TextArrived,
)
from core.operations.operation import OperationKind
from core.operations.stop_report import join_reports, report_request, report_stop
from core.operations.supervise import Graces, supervise_operation
from core.storage.journal import CallIdentified

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelReason
    from core.engine.toolset import Toolset
    from core.engine.turn import Turn, TurnServices
    from core.model.messages import Message
    from core.operations.events import StopReport
    from core.operations.registry import Operation

GRACES = Graces(first=3.0, forced=0.5)
"""How long a stopped turn waits for its stream before it ends without it (U10).

A provider of ours needs 250 ms and a kill at most, after a second stop a kill at once (E7): these bounds are
for one that is broken.
"""


class RunningStep:
    """State of the running step. `take` is called for every delta; after a stop only `Closed` counts."""

    def __init__(self, turn: Turn, services: TurnServices, on_loaded: Callable[[], None]) -> None:
        self._turn = turn
        self._services = services
        self._on_loaded = on_loaded
        self.reply = Reply(services.model)
        self.closed: Closed | None = None
        self.attempt_failed = False
        self.finished: Finished | None = None
        self.unfinished = ReplyEnd.INTERRUPTED
        self.words = ""
        self.toolset: Toolset | None = None
        self.operation: Operation = services.registry.open(
            services.session_id,
            OperationKind.STREAM,
            services.model,
            turn.token,
            parent_id=services.parent_id,
        )
        self.calls = Calls(turn, services)

    def take(self, delta: Delta) -> None:
        """Called by the provider for each delta. After a stop only the report of it still counts (P3)."""
        if isinstance(delta, Closed):
            self.closed = delta
            return
        self.operation.silence.take(delta)
        if isinstance(delta, PhaseChanged):
            self.operation.phase = delta.phase
            return
        if isinstance(delta, KeptAlive):
            return
        # Both: an operation can be stopped by itself, and a turn can be over without a stop.
        if self.operation.token.cancelled or self._turn.closed:
            return
        turn_id, emit = self._turn.turn_id, self._services.emit
        match delta:
            case TextDelta(text):
                self._keep(delta)
                if text:
                    emit(TextArrived(turn_id, text))
            case ReasoningDelta(text):
                self._keep(delta)
                if text:
                    emit(ReasoningArrived(turn_id, text))
            case ToolCallDelta(index):
                self._keep(delta)
                if index not in self.calls.ids and self.reply.calls[index].name:
                    self._name(index)
            case BackingOff():
                self.attempt_failed = True
                self._services.backoffs.begin(turn_id, self.operation.call_id, delta, emit)
            case AttemptStarted():
                pass
            case BackedOff():
                self._end_backoff()
            case FailedOver(failed, model, why):
                self.attempt_failed = True
                emit(ModelFailedOver(turn_id, failed, model, why))
            case ParametersDropped(model, names):
                emit(ParametersLeftOut(turn_id, model, names))
            case _:
                assert_never(delta)

    def _keep(self, delta: TextDelta | ReasoningDelta | ToolCallDelta) -> None:
        self.reply.add(delta)
        self._services.record.take(delta)

    def _end_backoff(self) -> None:
        self._services.backoffs.end(self._turn.turn_id, self.operation.call_id, self._services.emit)

    async def complete(self) -> None:
        """Request the reply; it is complete when this returns. Raises like `ModelProvider.stream`.

        After a stop it is no complete reply even if it has come to its end, because deltas were dropped (P3).
        A later stop finds a complete one.
        """
        name = f"stream of turn {self._turn.turn_id}"
        finished = await supervise_operation(
            self.operation, self._stream, GRACES, self._services.abandoned_tasks, name=name
        )
        for index in self.reply.calls:
            if index not in self.calls.ids:
                self._name(index)
        self.finished = finished

    def _name(self, index: int) -> None:
        call = self.reply.calls[index]
        self.calls.name(index, call.given_id, call.name)
        self._services.record.take(CallIdentified(index, self.calls.ids[index]))

    async def _stream(self) -> Finished:
        operation, services = self.operation, self._services
        operation.start(Phase.BEFORE_REQUEST)
        self.toolset = await services.tools.load(operation.token)
        self._on_loaded()
        pending = () if self._turn.kept else (self._turn.message,)
        request = services.record.request((*services.record.messages(), *pending), self.toolset.specs)
        try:
            return await services.provider.stream(request, operation.token, self.take)
        finally:
            self._end_backoff()

    @property
    def end(self) -> ReplyEnd:
        """How the reply ended."""
        return self.message().end

    def break_off(self, end: ReplyEnd, words: str = "") -> None:
        """The provider did not finish the reply: note how it ended."""
        if self.finished is None:
            self.unfinished, self.words = end, words

    async def run_calls(self) -> None:
        """Run what the reply has asked for; each call has its result when this returns.

        Of a reply that was cut by length all calls run but the one that it was cut in: the model has gone on
        behind each of them, so they are whole, and it may have meant them to happen in this order. Of a reply
        that the provider ended for another reason none runs: what the model was about to say about them is
        not known.
        """
        assert self.toolset is not None
        end = self.end
        match end:
            case ReplyEnd.COMPLETE | ReplyEnd.CALLS | ReplyEnd.EMPTY:
                await self.calls.run(self.arguments(), self.toolset.tools)
            case ReplyEnd.CUT:
                await self.calls.run(self.arguments(), self.toolset.tools, cut=True)
            case (
                ReplyEnd.FILTERED
                | ReplyEnd.UNKNOWN
                | ReplyEnd.BROKEN_OFF
                | ReplyEnd.FAILED
                | ReplyEnd.STOPPED
                | ReplyEnd.INTERRUPTED
            ):
                self.calls.abandon(self.arguments(), None, end)
            case _:
                assert_never(end)

    def arguments(self) -> dict[int, str]:
        """The arguments of the calls as far as they have come, by the provider's index."""
        return {index: self.reply.calls[index].arguments for index in self.calls.ids}

    def message(self) -> AssistantMessage:
        """The reply, or what there is of it."""
        done = self.finished
        return self.reply.message(
            finish=done.reason if done else None,
            model=(done.answered_by or done.model) if done else "",
            call_ids=self.calls.ids,
            unfinished=self.unfinished,
            words=done.words if done else self.words,
        )

    def messages(self) -> tuple[Message, ...]:
        """The step as it becomes history: every call of the reply with its result (H4)."""
        reply = self.message()
        by_id = {result.call_id: result for result in self.calls.results}
        results = tuple(by_id[call.call_id] for call in reply.calls)
        prompt = () if self._turn.kept else (self._turn.message,)
        return (*prompt, reply, *((ToolResults(results),) if results else ()))

    def report(self, reason: CancelReason) -> StopReport:
        """Report what was alive of the step when its turn was stopped (E6)."""
        if self.finished is not None:
            # The reply was complete; only its calls were stopped.
            request = report_stop(reason, reason.at)
        else:
            request = report_request(reason, self.operation, self.closed, attempt_failed=self.attempt_failed)
        # A call may have been stopped alone before, for another reason.
        stopped = [call.outcome for call in self.calls.all if call.operation.token.reason is reason]
        reports = [outcome.proof for outcome in stopped if outcome is not None and outcome.proof is not None]
        return join_reports(reason, request, reports)
