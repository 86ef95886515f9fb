"""One turn from its prompt to its outcome: ask the model, run the calls, commit the step, repeat.

Each turn runs in a task of its own, asks the model in a second one and runs each call in a third, so that a
provider or a tool which ignores its token can be left behind (U10): what it still sends comes after the turn
and is dropped. The outcome is decided in one place, once, and after it nothing of the turn changes the
session (U8).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from core.base.errors import CaesuraError
from core.cancel import END_OF_PROGRAM, Cancelled, CancelReason, Cause, shielded
from core.engine.step import RunningStep
from core.model.costs import BudgetReached, check_budget
from core.model.messages import Step
from core.model.provider import FailureKind, ModelError
from core.model.reply_end import ReplyEnd, describe_end, sentence_for_person
from core.operations.events import Notice, Outcome, TurnEnded, TurnStopping
from core.operations.stop_report import report_stop
from core.operations.supervise import Graces, supervise
from core.storage.journal import NotSaved

if TYPE_CHECKING:
    from core.engine.turn import Turn, TurnServices
    from core.model.messages import AssistantMessage

log = logging.getLogger(__name__)

SAVE_GRACES = Graces(1.0, 0.1)
"""How long a stopped turn waits for the disk between two steps."""

LAST_SAVE_S = 12.0
"""How long the outcome of a turn waits for the disk; the record itself gives up before."""


class LimitReached(CaesuraError):
    """The turn has asked the model as often as it may, and is not done."""


async def run_turn(turn: Turn, services: TurnServices) -> None:
    """Run `turn` to its end and emit `TurnEnded`, also when its task is cancelled from outside (U4)."""
    loop = asyncio.get_running_loop()

    def announce(reason: CancelReason) -> None:
        stopping = TurnStopping(turn.turn_id, reason.source)
        loop.call_soon_threadsafe(lambda: None if turn.over else services.emit(stopping))

    run = _Run(turn, services)
    error: Exception | None = None
    stop = turn.token.on_cancel(announce)
    try:
        await run.steps()
    except Exception as failure:  # noqa: BLE001 - every failure of a turn is its outcome, published in one place
        error = failure
    finally:
        stop.close()
        ended = run.conclude(error)
        try:
            # Durable before it is published; a disk that fails takes nothing back (U6).
            ended = await run.save_end(ended)
        finally:
            services.emit(ended)


def close_unrun(turn: Turn, services: TurnServices) -> None:
    """Publish the end of a turn whose task was cancelled before its first step (U4)."""
    if not turn.closed:
        services.emit(_Run(turn, services).conclude(None))


class _Run:
    """The steps of one turn, and the decision how it ended."""

    def __init__(self, turn: Turn, services: TurnServices) -> None:
        self._turn = turn
        self._services = services
        self._guard = services.make_guard(services, turn)
        self._step: RunningStep | None = None
        self._saved: list[RunningStep] = []
        self._text: list[str] = []
        self._deadline: asyncio.TimerHandle | None = None

    async def steps(self) -> None:
        """Step after step, until a reply ends the turn. A stop is looked at before a limit (U6)."""
        turn = self._turn
        self._set_deadline()
        count = 0
        while not turn.committed:
            self._check_limits(count)
            count += 1
            # A turn that is stopped already comes no further than the check within the stream's operation,
            # which leaves the record of that stop (T9).
            step = await self._complete()
            if step.calls.all:
                await step.run_calls()
            self._commit(step)
            if not turn.committed:
                self._report_cut(self._saved[-1])
                await self._save()
                turn.token.check()

    async def _complete(self) -> RunningStep:
        """One reply. The request is made to fit first, and once more if the provider finds it too long."""
        pending = () if self._turn.kept else (self._turn.message,)
        self._step = None
        await self._guard.fit(pending)
        while True:
            self._step = step = RunningStep(self._turn, self._services, self._on_loaded)
            try:
                await step.complete()
            except ModelError as error:
                if step.reply.started or step.operation.token.cancelled:
                    raise
                await self._guard.compact_after_refusal(error, pending)
            else:
                return step

    def _check_limits(self, count: int) -> None:
        """Raises `LimitReached` or `BudgetReached`; a turn that is stopped as well was stopped (U6)."""
        limits = self._services.limits()
        if limits.steps is not None and count >= limits.steps and self._turn.kept:
            steps = "1 step" if count == 1 else f"{count} steps"
            raise LimitReached(f"The turn has taken {steps}, as many as it may: /continue goes on.")
        if not self._turn.token.cancelled:
            self._check_budget()

    def _on_loaded(self) -> None:
        """The settings are read by now: deadline and budget are known, and looked at in this order."""
        self._set_deadline()
        self._turn.token.check()
        self._check_budget()
        self._services.record.write_begin()

    def _check_budget(self) -> None:
        if (dollars := self._services.limits().dollars) is not None:
            check_budget(dollars, self._services.record.spending)

    def _set_deadline(self) -> None:
        """U9: the deadline cancels the work, and what that work ends with is the outcome.

        Set at the start and again when the tools are loaded, for the settings are read then.
        """
        seconds = self._services.limits().seconds
        if seconds is None or self._deadline is not None:
            return
        turn, reason = self._turn, f"the deadline of {seconds:g} s"

        def expire() -> None:
            turn.token.cancel(CancelReason(Cause.DEADLINE, reason))

        left = turn.started_at + seconds - time.monotonic()
        if left <= 0:
            expire()
        else:
            self._deadline = asyncio.get_running_loop().call_later(left, expire)

    def _commit(self, step: RunningStep) -> None:
        """Make the step part of the history. Synchronous: no stop can fall between its parts (H3, U6)."""
        finished, messages = step.finished, step.messages()
        kept, self._turn.kept = self._turn.kept, True
        self._turn.committed = finished is not None and self._ends_turn(step)
        try:
            self._services.record.commit(
                self._turn.turn_id, Step(messages, finished.usage if finished else None)
            )
        except BaseException:
            self._turn.kept, self._turn.committed = kept, False
            raise
        self._text.append(step.message().text)
        self._saved.append(step)
        self._step = None

    def _ends_turn(self, step: RunningStep) -> bool:
        """Whether nothing follows this finished reply.

        One that was cut by length in a call does not end the turn: the model reads that in the result, and
        can ask for less. After two in a row it does not get by with less, and each costs a whole limit.
        """
        if not step.calls.all:
            return True
        match step.end:
            case ReplyEnd.CALLS:
                return False
            case ReplyEnd.CUT:
                return bool(self._saved) and self._saved[-1].end is ReplyEnd.CUT
            case _:
                return True

    def _report_cut(self, step: RunningStep) -> None:
        if step.end is ReplyEnd.CUT:
            told = f"The reply is not complete: {describe_end(step.end)} in a call, which did not run."
            self._services.emit(Notice(f"{told} The model is told, and goes on."))

    async def _save(self) -> None:
        """Wait for the disk before the next step. A stop does not wait for one that hangs."""
        saving = asyncio.create_task(self._services.record.saved(), name="save of a step")
        if await supervise(saving, self._turn.token, SAVE_GRACES, self._services.abandoned_tasks):
            saving.result()

    async def save_end(self, ended: TurnEnded) -> TurnEnded:
        """Wait until the end is durable; return it as it is published."""
        try:
            with shielded(LAST_SAVE_S):
                await self._services.record.saved()
        except NotSaved as error:
            log.error("turn %d is not saved: %s", self._turn.turn_id, error)
            return replace(ended, unsaved=str(error))
        return ended

    def conclude(self, error: Exception | None) -> TurnEnded:
        """Decide how the turn has ended, and close it: nothing of it changes anything from here on (U8)."""
        if self._deadline is not None:
            self._deadline.cancel()
        ended = self._conclude(error)
        for step in (*self._saved[-1:], *((self._step,) if self._step is not None else ())):
            reason = self._turn.token.reason
            met = (call.operation for call in step.calls.all if call.operation.token.reason is reason)
            if reason is None or not (
                self._guard.stop_report or any(one.recorded or one.ends_late for one in met)
            ):
                # Else the stop met a compaction or calls, and they leave its records.
                step.operation.settle()
        self._turn.closed = True
        self._services.record.end(ended)
        return ended

    def _conclude(self, error: Exception | None) -> TurnEnded:
        """Decide the outcome, keep or roll back, and report the stop (H1, H2, U6, U7).

        A turn whose last reply is not whole has failed: its outcome is `error`, and `end` says how (P7).
        """
        turn, step = self._turn, self._step
        if turn.committed:
            return self._conclude_last(self._saved[-1].message())
        unsaved: Exception | None = None
        reason = self._reason(step, error)
        if step is not None:
            step.break_off(*_unfinished(reason, error))
            step.calls.abandon(
                step.arguments(),
                step.operation.token.reason,
                step.end if reason is None and step.finished is None else None,
            )
            if step.reply.started:
                try:
                    self._commit(step)
                except Exception as failure:  # noqa: BLE001 - not saved is an outcome as well; it must still come (U4)
                    unsaved = failure
        text = self._text_of_turn(None if unsaved is None else step)
        returned = None if turn.kept else turn.prompt
        outcome, sentence, proof = Outcome.ERROR, None, None
        if unsaved is not None:
            sentence = _sentence(unsaved)
        elif reason is not None:
            if error is not None and not isinstance(error, Cancelled):
                log.info("turn %d failed while it was being stopped", turn.turn_id, exc_info=error)
            outcome = Outcome.TIMEOUT if reason.cause is Cause.DEADLINE else Outcome.CANCELLED
            last = step or (self._saved[-1] if self._saved else None)
            proof = self._guard.stop_report
            if proof is None:
                proof = report_stop(reason, time.monotonic()) if last is None else last.report(reason)
        else:
            outcome, sentence = _outcome(error), _sentence(error)
        end = None if step is None else step.end
        return TurnEnded(turn.turn_id, outcome, text, sentence, proof, returned, end=end)

    def _conclude_last(self, reply: AssistantMessage) -> TurnEnded:
        """The end of a turn that came to its last reply."""
        end, text = reply.end, self._text_of_turn()
        if end.whole:
            return TurnEnded(self._turn.turn_id, Outcome.COMPLETED, text, end=end)
        sentence = sentence_for_person(end, reply.words or "", above=reply.says_something)
        return TurnEnded(self._turn.turn_id, Outcome.ERROR, text, sentence, end=end)

    def _text_of_turn(self, unsaved: RunningStep | None = None) -> str:
        """The text of the model in this turn, whole or partial, its steps a paragraph apart."""
        texts = (*self._text, *((unsaved.message().text,) if unsaved is not None else ()))
        return "\n\n".join(text for text in texts if text)

    def _reason(self, step: RunningStep | None, error: Exception | None) -> CancelReason | None:
        """Why the turn was stopped, if it was: by its own token or by that of its stream alone.

        A turn that has neither an error nor a stop was cancelled from outside: the program is ending.
        """
        if self._turn.token.reason is not None:
            return self._turn.token.reason
        if step is not None and step.operation.token.reason is not None and step.finished is None:
            return step.operation.token.reason
        return CancelReason(Cause.QUIT, END_OF_PROGRAM) if error is None else None


def _unfinished(reason: CancelReason | None, error: Exception | None) -> tuple[ReplyEnd, str]:
    """How a reply ended that its provider did not finish, and the kind of its failure."""
    if reason is not None:
        match reason.cause:
            case Cause.USER | Cause.CLIENT | Cause.SIGNAL:
                return ReplyEnd.STOPPED, ""
            case Cause.DEADLINE | Cause.QUIT:
                return ReplyEnd.INTERRUPTED, ""
            case _:
                assert_never(reason.cause)
    match error:
        case ModelError(kind=FailureKind.BROKEN_STREAM):
            return ReplyEnd.BROKEN_OFF, ""
        case ModelError(kind=kind):
            return ReplyEnd.FAILED, kind.value
        case _:
            return ReplyEnd.FAILED, ""


def _outcome(error: Exception | None) -> Outcome:
    match error:
        case LimitReached():
            return Outcome.MAX_TURNS_REACHED
        case BudgetReached():
            return Outcome.MAX_BUDGET_REACHED
        case _:
            return Outcome.ERROR


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
