"""What a session does for itself between turns: naming the conversation, noting what is worth keeping.

Each job is an operation under a token that no turn owns: Esc never reaches it, its own stop control, its
deadline and the end of the program do (C4). One runs at a time, the others wait for it, listed. A job must
never delay anything, be reported as the failure of a turn, or change anything once it was stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, assert_never

from core.base.errors import CaesuraError
from core.base.values import Value
from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.model.provider import (
    AttemptStarted,
    BackedOff,
    BackingOff,
    Closed,
    Delta,
    FailedOver,
    Finished,
    KeptAlive,
    ModelError,
    ParametersDropped,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.model.reply_end import ReplyEnd, decide_end
from core.operations.operation import OperationKind, OperationState
from core.operations.supervise import Graces, start_operation, supervise

if TYPE_CHECKING:
    from core.model.messages import Usage
    from core.model.provider import ModelProvider, ModelRequest
    from core.operations.registry import Operation, Registry

log = logging.getLogger(__name__)

GRACES = Graces(first=3.0, forced=0.5)
"""How long a stopped job is waited for before it is left behind (U10), in seconds."""

DEADLINE_S = 120.0
"""What a job may take, all its requests together; it can be extended in the panel like any deadline."""

MOST_CHARACTERS = 200_000
"""Characters of one answer, its reasoning included; a longer one is stopped."""

NEWER = "a newer one of its kind"


class JobKind(StrEnum):
    """What a job is for, as its row says. A newer title ends an older one; a newer memory waits for it."""

    TITLE = "title"
    MEMORY = "memory"


class JobError(CaesuraError):
    """A job could not be done. For the log, because nothing waits for it."""


class JobContext(Value):
    """What the work of a job has at hand. `token` is the job's: for threads, which no cancel reaches.

    `complete` makes one request and returns the text of the answer. It raises `ModelError`, `JobError` for an
    answer that is cut, and `Cancelled`.
    """

    token: CancelToken
    complete: Callable[[ModelRequest], Awaitable[str]]


Work: TypeAlias = Callable[[JobContext], Awaitable[None]]


@dataclass(slots=True)
class _Job:
    kind: JobKind
    operation: Operation
    work: Work
    running: bool = False


class Jobs:
    """The jobs of one session. Cancelling `token` ends them all, and no other can be started from then on.

    `spend` is called with the usage of each request as its provider counted it (H6), the model that was asked
    and the one that answered, unless the job was stopped before. `abandoned_tasks` keeps what did not end
    within its grace. With `enabled` false none is ever started.
    """

    def __init__(
        self,
        session_id: str,
        provider: ModelProvider,
        registry: Registry,
        abandoned_tasks: set[asyncio.Task[Any]],
        *,
        spend: Callable[[Usage, str, str], None],
        enabled: bool = True,
        graces: Graces = GRACES,
    ) -> None:
        self._session_id = session_id
        self._provider = provider
        self._registry = registry
        self._abandoned_tasks = abandoned_tasks
        self._spend = spend
        self._enabled = enabled
        self._graces = graces
        self.token: Final = CancelToken.detached(f"jobs of {session_id}")
        self._one_at_a_time = asyncio.Lock()
        self._jobs: dict[asyncio.Task[None], _Job] = {}

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """The tasks that have not ended. Once `token` is cancelled they end within the graces."""
        return tuple(self._jobs)

    def start(self, kind: JobKind, work: Work, *, detail: str = "") -> bool:
        """Have `work` done when those before it are; false when no job may be started (any more).

        `detail` stands in its row. One of the same kind that still waits is replaced by this one.
        """
        if not self._enabled or self.token.cancelled:
            return False
        self._supersede(kind)
        operation = self._registry.open(
            self._session_id, OperationKind.JOB, kind.value, self.token, detail=detail
        )
        job = _Job(kind, operation, work)
        task = asyncio.create_task(self._run(job), name=f"{kind} job of {self._session_id}")
        self._jobs[task] = job
        task.add_done_callback(self._on_done)
        return True

    def _supersede(self, kind: JobKind) -> None:
        for job in self._jobs.values():
            if job.kind is kind and not (job.running and kind is JobKind.MEMORY):
                job.operation.token.cancel(CancelReason(Cause.CLIENT, NEWER, remind=False))

    async def _run(self, job: _Job) -> None:
        """Wait for the turn of the job, then for its end, but for no longer than its graces."""
        operation = job.operation
        try:
            with operation.token.bind():
                await self._one_at_a_time.acquire()
        except Cancelled:
            return
        try:
            job.running = True
            work = start_operation(operation, lambda: self._work(job))
            work.add_done_callback(partial(_log_failure, operation))
            await supervise(work, operation.token, self._graces, self._abandoned_tasks)
        finally:
            self._one_at_a_time.release()

    async def _work(self, job: _Job) -> None:
        operation = job.operation
        operation.start(Phase.BEFORE_REQUEST)
        operation.limit(DEADLINE_S)
        await job.work(JobContext(operation.token, partial(self._complete, operation)))

    async def _complete(self, operation: Operation, request: ModelRequest) -> str:
        # Its own token, for an answer that is too long ends the request and no more.
        token = operation.token.child(f"request of {operation.call_id}")
        answer = _Answer(operation, token)
        try:
            with token.bind():
                finished = await self._provider.stream(request, token, answer.take)
        except Cancelled:
            operation.token.check()
            raise JobError(f"the answer was longer than {MOST_CHARACTERS} characters.") from None
        # What a provider that ignores its token brings after a stop counts no more (U8).
        operation.token.check()
        if finished.usage is not None:
            self._spend(finished.usage, request.model, finished.answered_by or finished.model)
        return answer.text(finished)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Also of a job that was cancelled before its first step, or while it waited (S9)."""
        job = self._jobs.pop(task)
        if not job.running and job.operation.state.live:
            job.operation.end(OperationState.CANCELLED)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a %s job could not be run", job.kind, exc_info=error)


@dataclass(slots=True)
class _Answer:
    """An answer while it grows. After a stop nothing is added any more (P3)."""

    operation: Operation
    token: CancelToken
    pieces: list[str] = field(default_factory=list)
    characters: int = 0
    calls: bool = False

    def take(self, delta: Delta) -> None:
        if self.token.cancelled:
            return
        match delta:
            case TextDelta(text):
                self.pieces.append(text)
                self._count(text)
            case ReasoningDelta(text):
                self._count(text)
            case PhaseChanged(phase):
                self.operation.phase = phase
            case BackingOff():
                self.operation.phase = Phase.BACK_OFF
            case ToolCallDelta():
                self.calls = True
            case Closed() | KeptAlive() | AttemptStarted() | BackedOff() | FailedOver() | ParametersDropped():
                pass  # no front end shows the requests of a job
            case _:
                assert_never(delta)

    def text(self, finished: Finished) -> str:
        """The whole of it. Raises `JobError` when it is none."""
        text = "".join(self.pieces)
        end = decide_end(finished.reason, text=bool(text.strip()), calls=self.calls)
        if end is not ReplyEnd.COMPLETE:
            raise JobError(f"the answer is not whole: {end}.")
        return text

    def _count(self, text: str) -> None:
        self.characters += len(text)
        if self.characters > MOST_CHARACTERS:
            self.token.cancel(CancelReason(Cause.CLIENT, "its length", remind=False))


def _log_failure(operation: Operation, work: asyncio.Task[None]) -> None:
    if work.cancelled():
        return
    match work.exception():
        case None | Cancelled():
            pass
        case ModelError(kind=kind, status=status):
            log.info("%s was not done: %s, status %s", operation.call_id, kind, status)
        case CaesuraError() as error:
            log.info("%s was not done: %s", operation.call_id, error)
        case _:
            pass  # the operation has logged it
