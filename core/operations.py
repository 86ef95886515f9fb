"""Everything that is alive: one registry of streams, calls, compactions, back-offs and background jobs.

The panel, the keys, the commands and every front end stop things through `Registry.cancel` and nothing else,
so that a stop means the same wherever it comes from. An operation is listed from the moment it is named until
it has really ended (S1); each stop leaves one record (T9), which never holds message text or keys.

The promises are S1 to S3, S6, S7, S9 to S11 and T9 of tests/promises.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.errors import CaesuraError
from core.model import Phase
from core.progress import Progress
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from core.cancel import Registration

log = logging.getLogger(__name__)
stop_log = logging.getLogger("caesura.stops")
"""One line for each stop; the front end gives it its rotating file."""

RECORDS_KEPT = 1_000


class OperationError(CaesuraError):
    """A question about an operation made no sense, or an operation was ended twice."""


class OperationKind(StrEnum):
    STREAM = "stream"
    CALL = "call"
    COMPACTION = "compaction"
    BACK_OFF = "back-off"
    BACKGROUND = "background"
    JOB = "job"


class OperationState(StrEnum):
    """scheduled > running > (stopping) > one of the ends (S10)."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    STOPPING = "stopping"
    READY = "ready"
    ERROR = "error"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal error"

    @property
    def live(self) -> bool:
        return self in (OperationState.SCHEDULED, OperationState.RUNNING, OperationState.STOPPING)


class CancelAnswer(StrEnum):
    """What became of a request to stop one operation (S2, S7)."""

    CANCELLED = "cancelled"
    ALREADY_CANCELLED = "already_cancelled"
    NOT_FOUND = "not_found"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class CancelResult:
    """`title` names what was stopped; it is empty when nothing was found."""

    answer: CancelAnswer
    title: str = ""


@dataclass(frozen=True, slots=True)
class StopRecord:
    """Who stopped what, where it stood, how long the end took and what it was (T9).

    `confirmed_after_s` counts from the request itself to the real end. `forced` tells of a second stop.
    """

    reason: CancelReason
    session_id: str
    call_id: str
    kind: OperationKind
    title: str
    phase: Phase
    confirmed_after_s: float
    state: OperationState
    forced: bool

    def __str__(self) -> str:
        force = ", forced" if self.forced else ""
        return (
            f"{self.kind} {self.title!r} ({self.session_id}/{self.call_id}) {self.phase}: stopped by "
            f"{self.reason}{force}, {self.state} after {self.confirmed_after_s * 1000:.1f} ms"
        )


@dataclass(frozen=True, slots=True)
class OperationView:
    """A picture of one live operation.

    `title` is the tool, the model or the server, `detail` its argument on one line. `opened_at` and
    `deadline_at` are `time.monotonic()` in seconds. `processes` counts those that are alive.
    """

    session_id: str
    call_id: str
    parent_id: str | None
    kind: OperationKind
    title: str
    state: OperationState
    phase: Phase
    opened_at: float
    detail: str = ""
    deadline_at: float | None = None
    processes: int = 0
    forced: bool = False


class Operation:
    """One thing that is alive. Leaving its `with` block is its end; the kind of exception tells which.

    Used by the task that does the work; `Registry` is the way for everybody else. `token` is the operation's
    own: the work runs under it.
    """

    def __init__(self, registry: Registry, view: OperationView, token: CancelToken) -> None:
        self._registry = registry
        self._view = view
        self.token = token
        self.phase = view.phase
        self.detail = view.detail
        self.progress = Progress()
        self._deadline: _Deadline | None = None
        self._state = OperationState.SCHEDULED
        self._phase_at_stop: Phase | None = None
        self._recorded = False
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._stop_registration: Registration | None = None

    @property
    def session_id(self) -> str:
        return self._view.session_id

    @property
    def call_id(self) -> str:
        return self._view.call_id

    @property
    def title(self) -> str:
        return self._view.title

    @property
    def state(self) -> OperationState:
        # "Stopping" is read off the token: a stop has nothing to write here, so it needs no lock (U5), and
        # none can be lost between two states.
        if self._state is OperationState.RUNNING and self.token.cancelled:
            return OperationState.STOPPING
        return self._state

    def view(self) -> OperationView:
        given = self._view
        return OperationView(
            given.session_id,
            given.call_id,
            given.parent_id,
            given.kind,
            given.title,
            self.state,
            self.phase,
            given.opened_at,
            self.detail,
            self.deadline_at,
            self.progress.processes,
            self.token.forced,
        )

    @property
    def opened_at(self) -> float:
        return self._view.opened_at

    @property
    def deadline_at(self) -> float | None:
        """`time.monotonic()` at which it will be stopped, if there is such a time."""
        return None if self._deadline is None else self._deadline.at

    def limit(self, seconds: float) -> None:
        """Stop it `seconds` from now, instead of at the deadline it had; in the event loop."""
        if self._deadline is not None:
            self._deadline.close()
        if self._state.live and not self.token.cancelled:
            self._deadline = _Deadline(self.token, seconds)
            self._registry.tell()

    def unlimit(self) -> float | None:
        """Take the deadline away; the seconds that were left until it, None if there was none."""
        if self._deadline is None:
            return None
        left = max(0.0, self._deadline.at - time.monotonic())
        self._deadline.close()
        self._deadline = None
        self._registry.tell()
        return left

    def start(self, phase: Phase) -> None:
        """Go from scheduled to running. Raises `Cancelled` if it was stopped before: it never starts (S4)."""
        self.token.check()
        if self._state is OperationState.SCHEDULED:
            self._state = OperationState.RUNNING
        self.enter(phase)

    def enter(self, phase: Phase) -> None:
        """The work has got to `phase`."""
        self.phase = phase
        self._registry.tell()

    def end(self, state: OperationState) -> None:
        """The work has really ended. Raises `OperationError` for a second end or for a state that is none."""
        with self._registry.lock:
            if state.live or not self.state.live:
                raise OperationError(f"{self.title} cannot end as {state}: it is {self.state}.")
            self._state = state
            self._registry.remove(self)
            waiters, self._waiters = self._waiters, []
        if self._stop_registration is not None:
            self._stop_registration.close()
        if self._deadline is not None:
            self._deadline.close()
        for loop, ended in waiters:
            # A loop that is closed waits for nothing any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)
        self.settle()
        self._registry.tell()

    @property
    def recorded(self) -> bool:
        """Whether the record of its stop is there."""
        return self._recorded

    def settle(self) -> None:
        """Leave the record of the stop, if there was one and the end has come; once.

        `end` calls this. Who heeds a stop that came after it, though it had no work left to end, calls it
        again: every stop leaves its record (T9).
        """
        reason = self.token.reason
        if reason is None or self._recorded or self._state.live:
            return
        self._recorded = True
        self._registry.keep(
            StopRecord(
                reason,
                self.session_id,
                self.call_id,
                self._view.kind,
                self.title,
                self._phase_at_stop or self.phase,
                time.monotonic() - reason.at,
                self._state,
                self.token.forced,
            )
        )

    def watch_token(self) -> None:
        """Note where the work stands when it is stopped. Only `Registry.open` calls this."""
        self._stop_registration = self.token.on_cancel(self._on_cancel)

    async def wait_ended(self, seconds: float) -> bool:
        """Wait for the real end; false if it did not come within `seconds`."""
        ended = asyncio.Event()
        waiter = (asyncio.get_running_loop(), ended)
        with self._registry.lock:
            if not self._state.live:
                return True
            self._waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await ended.wait()
        except TimeoutError:
            return not self._state.live
        finally:
            with self._registry.lock, contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        match error:
            case None:
                self.end(OperationState.READY)
            case Cancelled() | asyncio.CancelledError():
                self.end(OperationState.CANCELLED)
            # U7: whatever fails because of a stop is a stop; the error itself stays in the log.
            case Exception() if self.token.cancelled:
                log.info("%s failed while it was being stopped", self.title, exc_info=error)
                self.end(OperationState.CANCELLED)
            case CaesuraError():
                self.end(OperationState.ERROR)
            case _:
                log.error("%s failed unexpectedly", self.title, exc_info=error)
                self.end(OperationState.INTERNAL_ERROR)

    def _on_cancel(self, _: CancelReason) -> None:
        self._phase_at_stop = self.phase
        self._registry.tell()


class _Deadline:
    """Cancels a token at a time, unless it is closed before."""

    def __init__(self, token: CancelToken, seconds: float) -> None:
        self.at = time.monotonic() + seconds
        self._token = token
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._token.cancel(CancelReason(Cause.DEADLINE, "its deadline"))

    def close(self) -> None:
        self._timer.cancel()


class Registry:
    """All live operations of the program, by session and call id. Its methods may be called from any thread.

    `on_change` is told, in whatever thread it happens, that a new `snapshot` would differ. What it raises is
    logged.
    """

    def __init__(self, on_change: Callable[[], None] | None = None) -> None:
        # Re-entrant for signal handlers, held for a few assignments only, and never taken by a stop (U5).
        self.lock = threading.RLock()
        self._live: dict[tuple[str, str], Operation] = {}
        self._numbers = itertools.count(1)
        self._on_change = on_change
        self._records: deque[StopRecord] = deque(maxlen=RECORDS_KEPT)

    @property
    def records(self) -> tuple[StopRecord, ...]:
        """The latest stops, oldest first."""
        return tuple(self._records)

    def open(
        self,
        session_id: str,
        kind: OperationKind,
        title: str,
        parent: CancelToken,
        *,
        call_id: str = "",
        parent_id: str | None = None,
        phase: Phase = Phase.BEFORE_REQUEST,
        detail: str = "",
    ) -> Operation:
        """List a new operation, scheduled, with a token under `parent`.

        A missing `call_id` gets one, and one that is taken gets a number behind it: neither ever replaces
        an operation that is alive (S3). Read the id in use from the result.
        """
        token = parent.child(title)
        with self.lock:
            free = wanted = call_id or f"{kind}-{next(self._numbers)}"
            while (session_id, free) in self._live:
                free = f"{wanted}_{next(self._numbers)}"
            view = OperationView(
                session_id,
                free,
                parent_id,
                kind,
                title,
                OperationState.SCHEDULED,
                phase,
                time.monotonic(),
                detail,
            )
            operation = Operation(self, view, token)
            self._live[session_id, free] = operation
        operation.watch_token()
        self.tell()
        return operation

    def cancel(self, session_id: str, call_id: str, reason: CancelReason) -> CancelResult:
        """Stop one operation; a second call forces it (S2, S11). Raises `OperationError` for an empty id."""
        if not session_id or not call_id:
            raise OperationError("To stop a call, name its session and its id: one of them is empty.")
        operation = self._live.get((session_id, call_id))
        if operation is None:
            return CancelResult(CancelAnswer.NOT_FOUND)
        if operation.token.cancel(reason):
            return CancelResult(CancelAnswer.CANCELLED, operation.title)
        operation.token.force()
        return CancelResult(CancelAnswer.ALREADY_CANCELLED, operation.title)

    async def cancel_and_wait(
        self, session_id: str, call_id: str, reason: CancelReason, *, wait: float
    ) -> CancelResult:
        """`cancel`, then wait up to `wait` seconds for the real end (S7).

        `TIMEOUT` means that it has not ended yet: it stays listed as stopping. 0 does not wait. Raises
        `OperationError` for a negative or endless wait.
        """
        if not 0 <= wait < float("inf"):
            raise OperationError(f"A call cannot be waited for {wait} seconds: give 0 or more.")
        operation = self._live.get((session_id, call_id))
        result = self.cancel(session_id, call_id, reason)
        if operation is None or wait == 0 or await operation.wait_ended(wait):
            return result
        return CancelResult(CancelAnswer.TIMEOUT, operation.title)

    def extend(self, session_id: str, call_id: str, seconds: float) -> bool:
        """Move the deadline of an operation, forward or, with a negative number, back; in the event loop.

        False if it has none or has ended. One that has passed by that stops it at once.
        """
        operation = self._live.get((session_id, call_id))
        if operation is None or operation.deadline_at is None or operation.token.cancelled:
            return False
        operation.limit(max(0.0, operation.deadline_at + seconds - time.monotonic()))
        return True

    def tail(self, session_id: str, call_id: str, lines: int) -> str:
        """The latest lines of an operation's output; nothing once it has ended."""
        operation = self._live.get((session_id, call_id))
        return "" if operation is None else operation.progress.tail(lines)

    def cancel_all(self, session_id: str, reason: CancelReason) -> int:
        """Stop everything of one session; the number of operations that had not been stopped before."""
        # Listed in one step of C code: a stop takes no lock.
        mine = [operation for (owner, _), operation in list(self._live.items()) if owner == session_id]
        return sum(operation.token.cancel(reason) for operation in mine)

    def snapshot(self, session_id: str | None = None) -> tuple[OperationView, ...]:
        """The live operations of one session or of all, oldest first."""
        with self.lock:
            return tuple(
                operation.view()
                for (owner, _), operation in self._live.items()
                if session_id is None or owner == session_id
            )

    def keep(self, record: StopRecord) -> None:
        self._records.append(record)
        stop_log.info("%s", record)

    def remove(self, operation: Operation) -> None:
        """Free the id of an operation that has ended. Only `Operation.end` calls this."""
        del self._live[operation.session_id, operation.call_id]

    def tell(self) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change()
        except (Exception, asyncio.CancelledError):
            # A front end that fails must not take the work with it.
            log.exception("a listener of the registry failed")
