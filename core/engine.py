"""One turn from its prompt to its outcome: ask the model, commit the step, say how it ended.

Each turn runs in a task of its own and asks the model in a second one, so that a provider which ignores its
token can be left behind (U10): its late deltas fall into a closed turn and are dropped. The outcome is
decided in one place, once, and after it nothing of the turn changes the session (U8).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.errors import CaesuraError
from core.events import (
    CallRefused,
    Event,
    Outcome,
    ReasoningArrived,
    StopProof,
    TextArrived,
    TurnEnded,
    TurnStopping,
)
from core.messages import Message, Step, UserMessage
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
)
from core.operations import Operation, OperationKind, OperationState, Registry
from core.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.messages import AssistantMessage

log = logging.getLogger(__name__)

GRACE_S = 3.0
"""How long a stopped turn waits for its stream before it ends without it (U10).

A provider of ours needs 250 ms and a kill at most; this bound is for one that is broken.
"""

FORCED_GRACE_S = 0.5
"""The same after a second stop, which our provider answers with a kill at once (E7)."""


@dataclass(slots=True)
class Turn:
    """One turn. Its token exists before any of its work starts (U1).

    `committed` is set together with the history, in the same step of the event loop: from then on the turn
    is completed, whatever is asked of it later (U6). `closed` means that the outcome is out.
    """

    turn_id: int
    prompt: UserMessage
    token: CancelToken
    started_at: float = field(default_factory=time.monotonic)
    continued: bool = False
    committed: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a turn needs of its session.

    `request` makes a request of the messages to be sent last, `commit` appends one step to the history and
    is synchronous, `emit` tells the front ends. `stragglers` keeps tasks that were left behind.
    """

    session_id: str
    provider: ModelProvider
    registry: Registry
    request: Callable[[Message], ModelRequest]
    commit: Callable[[int, Step], None]
    emit: Callable[[Event], None]
    stragglers: set[asyncio.Task[Finished]]


class _Ask:
    """One request under way: what has arrived, and what is known of its end."""

    def __init__(self, turn: Turn, around: Surroundings, model: str) -> None:
        self._turn = turn
        self._around = around
        self.reply = Reply(model)
        self.closed: Closed | None = None
        self.operation: Operation = around.registry.open(
            around.session_id, OperationKind.STREAM, model, turn.token
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
            case ToolCallDelta():
                pass
            case _:
                assert_never(delta)

    async def run(self, request: ModelRequest) -> Finished:
        with self.operation as operation:
            operation.start(Phase.BEFORE_REQUEST)
            with operation.token.bind():
                return await self._around.provider.stream(request, operation.token, self.take)

    def on_done(self, stream: asyncio.Task[Finished]) -> None:
        """The end of the task of `run`, also of one that was cancelled before its first step (S9)."""
        if self.operation.state.live:
            self.operation.end(OperationState.CANCELLED)
        if not stream.cancelled():
            stream.exception()  # looked at, for who waited for it may be gone


async def run_turn(turn: Turn, around: Surroundings) -> None:
    """Run `turn` to its end and emit `TurnEnded`, also when its task is cancelled from outside (U4)."""
    loop = asyncio.get_running_loop()

    def announce(reason: CancelReason) -> None:
        stopping = TurnStopping(turn.turn_id, reason.source)
        loop.call_soon_threadsafe(lambda: None if turn.closed else around.emit(stopping))

    ask: _Ask | None = None
    error: Exception | None = None
    stop = turn.token.on_cancel(announce)
    try:
        # A turn that is stopped already comes no further than the check within the stream's operation, which
        # leaves the record of that stop (T9).
        request = around.request(turn.prompt)
        ask = _Ask(turn, around, request.model)
        finished = await _supervise(ask, request, turn, around)
        _commit(turn, around, ask.reply.message(finish=finished.reason, model=finished.model), finished)
        for name in ask.reply.call_names:
            around.emit(CallRefused(turn.turn_id, name))
    except Exception as failure:  # noqa: BLE001 - every failure of a turn is its outcome, told in one place
        error = failure
    finally:
        stop.close()
        _close(turn, around, ask, error)


def close_unrun(turn: Turn, around: Surroundings) -> None:
    """Say the last word on a turn whose task was cancelled before its first step (U4)."""
    if not turn.closed:
        _close(turn, around, None, None)


def _close(turn: Turn, around: Surroundings, ask: _Ask | None, error: Exception | None) -> None:
    ended = _conclude(turn, around, ask, error)
    if ask is not None:
        ask.operation.settle()
    turn.closed = True
    around.emit(ended)


async def _supervise(ask: _Ask, request: ModelRequest, turn: Turn, around: Surroundings) -> Finished:
    """Wait for the stream; after a stop for `GRACE_S` at most, after a second one for `FORCED_GRACE_S`."""
    stream = asyncio.create_task(ask.run(request), name=f"stream of turn {turn.turn_id}")
    stream.add_done_callback(ask.on_done)
    loop = asyncio.get_running_loop()
    given_up: asyncio.Future[None] = loop.create_future()
    graces: list[asyncio.TimerHandle] = []
    token = ask.operation.token

    def give_up() -> None:
        if not given_up.done():
            given_up.set_result(None)

    def grant(seconds: float) -> None:
        if not given_up.done():
            graces.append(loop.call_later(seconds, give_up))

    def on_stop(_: CancelReason) -> None:
        loop.call_soon_threadsafe(grant, GRACE_S)

    def on_second_stop(_: CancelReason) -> None:
        loop.call_soon_threadsafe(grant, FORCED_GRACE_S)

    waited_for: set[asyncio.Future[Any]] = {stream, given_up}
    try:
        with token.on_cancel(on_stop), token.on_force(on_second_stop):
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    finally:
        given_up.cancel()
        for grace in graces:
            grace.cancel()
        if not stream.done():
            # Only a stop that was not obeyed, or the end of the program, leaves one behind.
            token.cancel(turn.token.reason or CancelReason(Cause.QUIT, "end of the program"))
            around.stragglers.add(stream)
            stream.add_done_callback(lambda done: _bury(done, around))
    finished = stream.result() if stream.done() and not stream.cancelled() else None
    # Also if it has finished: what came after a stop was dropped, so that is no normal end (P3). For a stop
    # this is the last moment to count; a later one finds a committed turn.
    token.check()
    if finished is None:
        raise RuntimeError("the request of a turn was cancelled, but nobody had asked for a stop")
    return finished


def _bury(stream: asyncio.Task[Finished], around: Surroundings) -> None:
    around.stragglers.discard(stream)
    if not stream.cancelled() and (error := stream.exception()) is not None:
        log.info("a stream that was left behind has ended: %r", error)


def _commit(turn: Turn, around: Surroundings, reply: AssistantMessage, finished: Finished | None) -> None:
    """Make the turn part of the history. Synchronous: no stop can fall between its parts (H3, U6)."""
    if finished is not None:
        turn.committed = True
    try:
        around.commit(turn.turn_id, Step((turn.prompt, reply), finished.usage if finished else None))
    except BaseException:
        turn.committed = False
        raise


def _conclude(turn: Turn, around: Surroundings, ask: _Ask | None, error: Exception | None) -> TurnEnded:
    """Decide the outcome, keep or roll back, and gather the proof (H1, H2, U6, U7)."""
    reply = ask.reply.message(finish=None) if ask is not None else None
    if turn.committed:
        return TurnEnded(turn.turn_id, Outcome.COMPLETED, reply.text if reply else "")
    kept = reply.text if reply is not None else ""
    returned: str | None = turn.prompt.text
    if ask is not None and reply is not None and ask.reply.started:
        try:
            _commit(turn, around, reply, None)
        except Exception as failure:  # noqa: BLE001 - not saved is an outcome as well; it must still come (U4)
            return TurnEnded(
                turn.turn_id, Outcome.ERROR, kept, error=_sentence(failure), returned_prompt=returned
            )
        returned = None
    reason = _reason(turn, ask, error)
    if reason is not None:
        if error is not None and not isinstance(error, Cancelled):
            log.info("turn %d failed while it was being stopped", turn.turn_id, exc_info=error)
        outcome = Outcome.TIMEOUT if reason.cause is Cause.DEADLINE else Outcome.CANCELLED
        proof = _proof(reason, ask)
        return TurnEnded(turn.turn_id, outcome, kept, proof=proof, returned_prompt=returned)
    return TurnEnded(turn.turn_id, Outcome.ERROR, kept, error=_sentence(error), returned_prompt=returned)


def _reason(turn: Turn, ask: _Ask | None, error: Exception | None) -> CancelReason | None:
    """Why the turn was stopped, if it was: by its own token or by that of its stream alone.

    A turn that has neither an error nor a stop was cancelled from outside: the program is ending.
    """
    if turn.token.reason is not None:
        return turn.token.reason
    if ask is not None and ask.operation.token.reason is not None:
        return ask.operation.token.reason
    return CancelReason(Cause.QUIT, "end of the program") if error is None else None


def _proof(reason: CancelReason, ask: _Ask | None) -> StopProof:
    if ask is None:
        return StopProof(reason.source, time.monotonic() - reason.at, None)
    if ask.closed is not None and ask.closed.how is Closing.UNCONFIRMED:
        return StopProof(reason.source, None, None, unconfirmed=(ask.operation.title,))
    if ask.closed is not None:
        return StopProof(reason.source, ask.closed.at - reason.at, ask.closed.how)
    if ask.operation.state.live:
        return StopProof(reason.source, None, None, unconfirmed=(ask.operation.title,))
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
