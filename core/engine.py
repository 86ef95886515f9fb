"""One turn from its prompt to its outcome: ask the model, run the calls, commit the step, repeat.

Each turn runs in a task of its own, asks the model in a second one and runs each call in a third, so that a
provider or a tool which ignores its token can be left behind (U10): what it still says falls into a closed
turn and is dropped. The outcome is decided in one place, once, and after it nothing of the turn changes the
session (U8).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.dispatch import CallHome, Calls
from core.errors import CaesuraError
from core.events import (
    Event,
    Outcome,
    ReasoningArrived,
    StopProof,
    TextArrived,
    TurnEnded,
    TurnStopping,
)
from core.messages import AssistantMessage, Step, ToolResults, UserMessage
from core.model import (
    Closed,
    Closing,
    Delta,
    Finished,
    ModelError,
    ModelProvider,
    ModelRequest,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)
from core.operations import Operation, OperationKind, OperationState, Registry
from core.progress import Ended
from core.reply import Reply
from core.supervision import END_OF_PROGRAM, Graces, supervise

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.approval import Desk
    from core.dispatch import Toolset, ToolSource
    from core.messages import Message, Usage

log = logging.getLogger(__name__)

GRACE_S = 3.0
"""How long a stopped turn waits for its stream before it ends without it (U10).

A provider of ours needs 250 ms and a kill at most; this bound is for one that is broken.
"""

FORCED_GRACE_S = 0.5
"""The same after a second stop, which our provider answers with a kill at once (E7)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a turn may go. `steps` counts replies of the model, `seconds` the whole turn (U9)."""

    steps: int | None = None
    seconds: float | None = None


NO_LIMITS = Limits()


@dataclass(slots=True)
class Turn:
    """One turn. Its token exists before any of its work starts (U1).

    `kept` means that the prompt is part of the history. `committed` is set together with the last step, in
    the same step of the event loop: from then on the turn is completed, whatever is asked of it later (U6).
    `closed` means that the outcome is out. `notes` are told to the model before the prompt: what it has to
    know of things that ended since its last turn.
    """

    turn_id: int
    prompt: UserMessage
    token: CancelToken
    notes: tuple[str, ...] = ()
    started_at: float = field(default_factory=time.monotonic)
    continued: bool = False
    kept: bool = False
    committed: bool = False
    closed: bool = False

    @property
    def message(self) -> UserMessage:
        """The prompt as the model gets it."""
        return UserMessage("\n\n".join((*self.notes, self.prompt.text)))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a turn needs of its session.

    `history` is what was said before; `request` makes a request of messages and of the tools there are;
    `commit` appends one step to the history and is synchronous, `spend` counts what a sub-agent has used
    (H6), `emit` tells the front ends. `stragglers` keeps tasks that were left behind. `parent_id` and `agent`
    are those of the sub-agent whose turn it is.
    """

    session_id: str
    provider: ModelProvider
    registry: Registry
    model: str
    history: Callable[[], tuple[Message, ...]]
    request: Callable[[tuple[Message, ...], tuple[ToolSpec, ...]], ModelRequest]
    commit: Callable[[int, Step], None]
    spend: Callable[[Usage], None]
    emit: Callable[[Event], None]
    stragglers: set[asyncio.Task[Any]]
    tools: ToolSource
    desk: Desk
    limits: Callable[[], Limits] = lambda: NO_LIMITS
    parent_id: str | None = None
    agent: str = ""


class LimitReached(CaesuraError):
    """The turn has asked the model as often as it may, and is not done."""


class _Step:
    """One step under way: the request, what has arrived of the reply, its calls, what is known of its end."""

    def __init__(self, turn: Turn, around: Surroundings, on_loaded: Callable[[], None]) -> None:
        self._turn = turn
        self._around = around
        self._on_loaded = on_loaded
        self.reply = Reply(around.model)
        self.closed: Closed | None = None
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
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                # Both: an operation can be stopped by itself, a turn be over without a stop.
                if not (self.operation.token.cancelled or self._turn.closed):
                    self._show(delta)
            case _:
                assert_never(delta)

    def _show(self, delta: TextDelta | ReasoningDelta | ToolCallDelta) -> None:
        self.reply.add(delta)
        match delta:
            case TextDelta(text):
                if text:
                    self._around.emit(TextArrived(self._turn.turn_id, text))
            case ReasoningDelta(text):
                if text:
                    self._around.emit(ReasoningArrived(self._turn.turn_id, text))
            case ToolCallDelta(index):
                if index not in self.calls.ids and self.reply.call_name(index):
                    self.calls.name(index, self.reply.given_id(index), self.reply.call_name(index))
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
                self.calls.name(index, self.reply.given_id(index), self.reply.call_name(index))
        self.finished = finished

    async def _stream(self) -> Finished:
        with self.operation as operation:
            operation.start(Phase.BEFORE_REQUEST)
            with operation.token.bind():
                self.toolset = await self._around.tools.load(operation.token)
                self._on_loaded()
                asked = () if self._turn.kept else (self._turn.message,)
                said = (*self._around.history(), *asked)
                request = self._around.request(said, self.toolset.specs)
                return await self._around.provider.stream(request, operation.token, self.take)

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
            finish=done.reason if done else None, model=done.model if done else "", call_ids=self.calls.ids
        )

    def messages(self) -> tuple[Message, ...]:
        """The step as it becomes history: every call of the reply with its result (H4)."""
        reply = self.message()
        by_id = {result.call_id: result for result in self.calls.results}
        results = tuple(by_id[call.call_id] for call in reply.calls)
        prompt = () if self._turn.kept else (self._turn.message,)
        return (*prompt, reply, *((ToolResults(results),) if results else ()))


async def run_turn(turn: Turn, around: Surroundings) -> None:
    """Run `turn` to its end and emit `TurnEnded`, also when its task is cancelled from outside (U4)."""
    loop = asyncio.get_running_loop()

    def announce(reason: CancelReason) -> None:
        stopping = TurnStopping(turn.turn_id, reason.source)
        loop.call_soon_threadsafe(lambda: None if turn.closed else around.emit(stopping))

    run = _Run(turn, around)
    error: Exception | None = None
    stop = turn.token.on_cancel(announce)
    try:
        await run.steps()
    except Exception as failure:  # noqa: BLE001 - every failure of a turn is its outcome, told in one place
        error = failure
    finally:
        stop.close()
        run.close(error)


def close_unrun(turn: Turn, around: Surroundings) -> None:
    """Say the last word on a turn whose task was cancelled before its first step (U4)."""
    if not turn.closed:
        _Run(turn, around).close(None)


class _Run:
    """The steps of one turn, and the decision how it ended."""

    def __init__(self, turn: Turn, around: Surroundings) -> None:
        self._turn = turn
        self._around = around
        self._step: _Step | None = None
        self._saved: list[_Step] = []
        self._text: list[str] = []
        self._deadline: asyncio.TimerHandle | None = None

    async def steps(self) -> None:
        """Step after step, until a reply asks for no call. A stop is looked at before a limit (U6)."""
        turn = self._turn
        self._set_deadline()
        count = 0
        while not turn.committed:
            limit = self._around.limits().steps
            if limit is not None and count >= limit and turn.kept:
                steps = "1 step" if count == 1 else f"{count} steps"
                raise LimitReached(f"The turn has taken {steps}, as many as it may: /continue goes on.")
            count += 1
            # A turn that is stopped already comes no further than the check within the stream's operation,
            # which leaves the record of that stop (T9).
            self._step = step = _Step(turn, self._around, self._set_deadline)
            await step.ask()
            if step.calls.all:
                await step.run_calls()
            self._commit(step)
            if not turn.committed:
                turn.token.check()

    def _set_deadline(self) -> None:
        """U9: the deadline cancels the work, and what that work ends with is the outcome.

        Set at the start and again when the tools are loaded, for the settings are read then.
        """
        seconds = self._around.limits().seconds
        if seconds is None or self._deadline is not None:
            return
        turn, reason = self._turn, f"the deadline of {seconds:g} s"
        left = turn.started_at + seconds - time.monotonic()
        if seconds <= 0 or left <= 0:
            turn.token.cancel(CancelReason(Cause.DEADLINE, reason))
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(
            left, lambda: turn.token.cancel(CancelReason(Cause.DEADLINE, reason))
        )

    def _commit(self, step: _Step) -> None:
        """Make the step part of the history. Synchronous: no stop can fall between its parts (H3, U6)."""
        finished, messages = step.finished, step.messages()
        kept, self._turn.kept = self._turn.kept, True
        self._turn.committed = finished is not None and not step.calls.all
        try:
            self._around.commit(self._turn.turn_id, Step(messages, finished.usage if finished else None))
        except BaseException:
            self._turn.kept, self._turn.committed = kept, False
            raise
        self._text.append(step.message().text)
        self._saved.append(step)
        self._step = None

    def close(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        ended = self._conclude(error)
        for step in (*self._saved[-1:], *((self._step,) if self._step is not None else ())):
            reason = self._turn.token.reason
            met = (call.operation for call in step.calls.all if call.operation.token.reason is reason)
            if reason is None or not any(operation.recorded for operation in met):
                # Else the stop met calls, and they have left its records.
                step.operation.settle()
        self._turn.closed = True
        self._around.emit(ended)

    def _conclude(self, error: Exception | None) -> TurnEnded:
        """Decide the outcome, keep or roll back, and gather the proof (H1, H2, U6, U7)."""
        turn, step = self._turn, self._step
        if turn.committed:
            return TurnEnded(turn.turn_id, Outcome.COMPLETED, self._said())
        unsaved: Exception | None = None
        if step is not None:
            step.calls.abandon(step.arguments(), step.operation.token.reason)
            if step.reply.started:
                try:
                    self._commit(step)
                except Exception as failure:  # noqa: BLE001 - not saved is an outcome as well; it must still come (U4)
                    unsaved = failure
        text = self._said() if unsaved is None or step is None else self._said(step)
        returned = None if turn.kept else turn.prompt.text
        if unsaved is not None:
            return TurnEnded(
                turn.turn_id, Outcome.ERROR, text, error=_sentence(unsaved), returned_prompt=returned
            )
        reason = self._reason(step, error)
        if reason is not None:
            if error is not None and not isinstance(error, Cancelled):
                log.info("turn %d failed while it was being stopped", turn.turn_id, exc_info=error)
            outcome = Outcome.TIMEOUT if reason.cause is Cause.DEADLINE else Outcome.CANCELLED
            proof = _proof(reason, step or (self._saved[-1] if self._saved else None))
            return TurnEnded(turn.turn_id, outcome, text, proof=proof, returned_prompt=returned)
        outcome = Outcome.MAX_TURNS_REACHED if isinstance(error, LimitReached) else Outcome.ERROR
        return TurnEnded(turn.turn_id, outcome, text, error=_sentence(error), returned_prompt=returned)

    def _said(self, unsaved: _Step | None = None) -> str:
        """What the model said in this turn, whole or partial, its steps a paragraph apart."""
        texts = (*self._text, *((unsaved.message().text,) if unsaved is not None else ()))
        return "\n\n".join(text for text in texts if text)

    def _reason(self, step: _Step | None, error: Exception | None) -> CancelReason | None:
        """Why the turn was stopped, if it was: by its own token or by that of its stream alone.

        A turn that has neither an error nor a stop was cancelled from outside: the program is ending.
        """
        if self._turn.token.reason is not None:
            return self._turn.token.reason
        if step is not None and step.operation.token.reason is not None and step.finished is None:
            return step.operation.token.reason
        return CancelReason(Cause.QUIT, END_OF_PROGRAM) if error is None else None


def _proof(reason: CancelReason, step: _Step | None) -> StopProof:
    """What is known of the ends of all that was alive when the stop came (E6)."""
    if step is None:
        return StopProof(reason.source, time.monotonic() - reason.at, None)
    # Only of this stop: a call may have been stopped by itself before.
    mine = [call.told for call in step.calls.all if call.operation.token.reason is reason]
    proofs = [told.proof for told in mine if told is not None and told.proof is not None]
    ended = sum((Ended(proof.processes, proof.alive) for proof in proofs), Ended())
    unconfirmed = tuple(name for proof in proofs for name in proof.unconfirmed)
    stream = _stream_proof(reason, step)
    times = [stream.after_s, *(proof.after_s for proof in proofs)]
    after = None if None in times else max(seconds for seconds in times if seconds is not None)
    return StopProof(
        reason.source,
        after,
        stream.closing,
        (*stream.unconfirmed, *unconfirmed),
        ended.processes,
        ended.alive,
    )


def _stream_proof(reason: CancelReason, step: _Step) -> StopProof:
    closed = step.closed
    if step.finished is not None:
        # The reply had come to its end before; what was stopped are its calls.
        return StopProof(reason.source, 0.0, None)
    if closed is not None and closed.how is Closing.UNCONFIRMED:
        return StopProof(reason.source, None, None, unconfirmed=(step.operation.title,))
    if closed is not None:
        return StopProof(reason.source, closed.at - reason.at, closed.how)
    if step.operation.state.live:
        return StopProof(reason.source, None, None, unconfirmed=(step.operation.title,))
    # It ended before there was a connection to close.
    return StopProof(reason.source, time.monotonic() - reason.at, None)


def _sentence(error: Exception | None) -> str:
    match error:
        case ModelError(detail=detail):
            log.warning("the model failed: %s, status %s", error.kind, error.status)
            # The server's words may quote the conversation: not for the files, unless someone looks for them.
            log.debug("%s", detail)
            return str(error)
        case CaesuraError():
            return str(error)
        case _:
            log.error("a turn failed unexpectedly", exc_info=error)
            return "The turn failed inside Caesura; the log has the details. Send the prompt again."
