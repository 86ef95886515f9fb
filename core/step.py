"""One step under way: the request, what has arrived of the reply, its calls, what is known of its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

from core.dispatch import CallHome, Calls
from core.events import (
    BackOffEnded,
    BackOffStarted,
    ModelFailedOver,
    ParametersLeftOut,
    ReasoningArrived,
    TextArrived,
)
from core.journal import CallIdentified
from core.messages import AssistantMessage, ToolResults
from core.model import (
    BackedOff,
    BackingOff,
    Closed,
    Delta,
    FailedOver,
    Finished,
    ParametersDropped,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.operations import Operation, OperationKind, OperationState
from core.reply import Reply
from core.supervision import Graces, supervise
from core.waits import BackOff

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.dispatch import Toolset
    from core.messages import Message
    from core.turn import Surroundings, Turn

GRACE_S = 3.0
"""How long a stopped turn waits for its stream before it ends without it (U10).

A provider of ours needs 250 ms and a kill at most; this bound is for one that is broken.
"""

FORCED_GRACE_S = 0.5
"""The same after a second stop, which our provider answers with a kill at once (E7)."""


class RunningStep:
    """One step under way: the request, what has arrived of the reply, its calls, what is known of its end."""

    def __init__(self, turn: Turn, around: Surroundings, on_loaded: Callable[[], None]) -> None:
        self._turn = turn
        self._around = around
        self._on_loaded = on_loaded
        self.reply = Reply(around.model)
        self.closed: Closed | None = None
        self.attempt_failed = False
        self.finished: Finished | None = None
        self.toolset: Toolset | None = None
        self.operation: Operation = around.registry.open(
            around.session_id, OperationKind.STREAM, around.model, turn.token, parent_id=around.parent_id
        )
        self.calls = Calls(
            CallHome(
                turn.turn_id,
                around.session_id,
                turn.token,
                around.registry,
                around.desk,
                around.emit,
                around.stragglers,
                around.record,
                around.parent_id,
                around.agent,
            )
        )

    def take(self, delta: Delta) -> None:
        """Called by the provider for each delta. After a stop only the proof of it still counts (P3)."""
        match delta:
            case Closed():
                self.closed = delta
            case PhaseChanged(phase):
                self.operation.enter(phase)
            case BackingOff() | BackedOff() | FailedOver() | ParametersDropped():
                if not (self.operation.token.cancelled or self._turn.closed):
                    self._tell(delta)
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                # Both: an operation can be stopped by itself, a turn be over without a stop.
                if not (self.operation.token.cancelled or self._turn.closed):
                    self._show(delta)
            case _:
                assert_never(delta)

    def _tell(self, delta: BackingOff | BackedOff | FailedOver | ParametersDropped) -> None:
        """What the provider does until somebody answers."""
        turn_id, call_id, emit = self._turn.turn_id, self.operation.call_id, self._around.emit
        match delta:
            case BackingOff(wait, attempt, attempts, failed, why):
                self.attempt_failed = True
                self._end_back_off()
                self._around.waits.begin(call_id, BackOff(wait, why))
                emit(
                    BackOffStarted(turn_id, call_id, wait.seconds, wait.until, attempt, attempts, failed, why)
                )
            case BackedOff():
                self._end_back_off()
            case FailedOver(failed, model, why):
                self.attempt_failed = True
                emit(ModelFailedOver(turn_id, failed, model, why))
            case ParametersDropped(model, names):
                emit(ParametersLeftOut(turn_id, model, names))
            case _:
                assert_never(delta)

    def _end_back_off(self) -> None:
        if self._around.waits.end(self.operation.call_id):
            self._around.emit(BackOffEnded(self._turn.turn_id, self.operation.call_id))

    def _show(self, delta: TextDelta | ReasoningDelta | ToolCallDelta) -> None:
        self.reply.add(delta)
        self._around.record.take(delta)
        match delta:
            case TextDelta(text):
                if text:
                    self._around.emit(TextArrived(self._turn.turn_id, text))
            case ReasoningDelta(text):
                if text:
                    self._around.emit(ReasoningArrived(self._turn.turn_id, text))
            case ToolCallDelta(index):
                if index not in self.calls.ids and self.reply.call_name(index):
                    self._name(index)
            case _:
                assert_never(delta)

    async def ask(self) -> None:
        """Ask the model; the reply is complete when this returns. Raises like `ModelProvider.stream`."""
        stream = asyncio.create_task(self._stream(), name=f"stream of turn {self._turn.turn_id}")
        stream.add_done_callback(self._on_done)
        token = self.operation.token
        done = await supervise(stream, token, Graces(GRACE_S, FORCED_GRACE_S), self._around.stragglers)
        finished = stream.result() if done and not stream.cancelled() else None
        # Also if it has finished: what came after a stop was dropped, so that is no normal end (P3). For a
        # stop this is the last moment to count; a later one finds a complete reply.
        token.check()
        if finished is None:
            raise RuntimeError("the request of a turn was cancelled, but nobody had asked for a stop")
        for index in self.reply.call_indexes:
            if index not in self.calls.ids:
                self._name(index)
        self.finished = finished

    def _name(self, index: int) -> None:
        self.calls.name(index, self.reply.given_id(index), self.reply.call_name(index))
        self._around.record.take(CallIdentified(index, self.calls.ids[index]))

    async def _stream(self) -> Finished:
        with self.operation as operation:
            operation.start(Phase.BEFORE_REQUEST)
            with operation.token.bind():
                self.toolset = await self._around.tools.load(operation.token)
                self._on_loaded()
                asked = () if self._turn.kept else (self._turn.message,)
                said = (*self._around.record.messages(), *asked)
                request = self._around.record.request(said, self.toolset.specs)
                try:
                    return await self._around.provider.stream(request, operation.token, self.take)
                finally:
                    self._end_back_off()

    def _on_done(self, stream: asyncio.Task[Finished]) -> None:
        """The end of the stream's task, also of one that was cancelled before its first step (S9)."""
        if self.operation.state.live:
            self.operation.end(OperationState.CANCELLED)
        if not stream.cancelled():
            stream.exception()  # looked at, for who waited for it may be gone

    async def run_calls(self) -> None:
        """Run what the reply has asked for; each call has its result when this returns."""
        assert self.toolset is not None
        await self.calls.run(self.arguments(), self.toolset.tools)

    def arguments(self) -> dict[int, str]:
        """The arguments of the calls as far as they have come, by the provider's index."""
        return {index: self.reply.arguments(index) for index in self.calls.ids}

    def message(self) -> AssistantMessage:
        """The reply, or what there is of it."""
        done = self.finished
        return self.reply.message(
            finish=done.reason if done else None,
            model=(done.answered_by or done.model) if done else "",
            call_ids=self.calls.ids,
        )

    def messages(self) -> tuple[Message, ...]:
        """The step as it becomes history: every call of the reply with its result (H4)."""
        reply = self.message()
        by_id = {result.call_id: result for result in self.calls.results}
        results = tuple(by_id[call.call_id] for call in reply.calls)
        prompt = () if self._turn.kept else (self._turn.message,)
        return (*prompt, reply, *((ToolResults(results),) if results else ()))
