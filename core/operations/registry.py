"""The registry of all live operations: streams, calls, compactions, back-offs and background jobs.

An operation is listed from the moment it is named until it has really ended (S1). Each stop leaves one record
(T9), which never holds message text or keys.

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
from typing import TYPE_CHECKING, Final, Self

from msgspec.structs import replace

from core.base.errors import CaesuraError
from core.cancel import Cancelled, CancelReason, Cause
from core.model.provider import Phase
from core.operations.operation import (
    OperationError,
    OperationKind,
    OperationState,
    OperationView,
    StopRecord,
)
from core.operations.progress import Progress
from core.operations.silence import SilenceMonitor

if TYPE_CHECKING:
    from types import TracebackType

    from core.cancel import CancelToken
    from core.operations.operation import LateEnd

log = logging.getLogger(__name__)
stop_log = logging.getLogger("caesura.stops")
"""Logs one line for each stop; the front end gives it a rotating file."""

RECORDS_KEPT = 1_000


class Operation:
    """One live operation. Leaving its `with` block ends it; the kind of exception decides the final state.
    After `await_end` it stays listed until that end is known.

    Only the task that does the work uses it; all other code goes through `SessionOperations`. The work runs
    under `token`, which belongs to the operation. `deadline_at` is the `time.monotonic()` at which it will be
    stopped, if any; `recorded` says whether the record of its stop was written.
    """

    def __init__(self, registry: Registry, opened: OperationView, token: CancelToken) -> None:
        self._registry = registry
        self._view = opened
        self.session_id: Final = opened.session_id
        self.call_id: Final = opened.call_id
        self.title: Final = opened.title
        self.token: Final = token
        self.phase = opened.phase
        self.detail = opened.detail
        self.progress: Final = Progress()
        self.silence: Final = SilenceMonitor()
        self.deadline_at: float | None = None
        self.recorded = False
        self._timer: asyncio.TimerHandle | None = None
        self._state = OperationState.SCHEDULED
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._phase_at_stop: Phase | None = None
        self._late_end: asyncio.Future[LateEnd] | None = None
        self._stop_registration = token.on_cancel(self._on_cancel)

    @property
    def state(self) -> OperationState:
        # "Stopping" is derived from the token: a stop writes nothing here, so it needs no lock (U5), and no
        # stop can get lost between two states.
        if self._state is OperationState.RUNNING and self.token.cancelled:
            return OperationState.STOPPING
        return self._state

    def view(self) -> OperationView:
        return replace(
            self._view,
            state=self.state,
            phase=self.phase,
            detail=self.detail,
            deadline_at=self.deadline_at,
            processes=self.progress.processes,
            forced=self.token.forced,
            unconfirmed=self.progress.unconfirmed,
            late=self.progress.late,
            silence=self.silence.now,
        )

    def limit(self, seconds: float) -> None:
        """Stop it `seconds` from now instead of at its previous deadline. Call in the event loop."""
        self._stop_timer()
        if self._state.live and not self.token.cancelled:
            self.deadline_at = time.monotonic() + seconds
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def unlimit(self) -> float | None:
        """Remove the deadline. Returns the seconds that were left, None if there was none."""
        at, self.deadline_at = self.deadline_at, None
        self._stop_timer()
        return None if at is None else max(0.0, at - time.monotonic())

    def start(self, phase: Phase) -> None:
        """Go from scheduled to running. Raises `Cancelled` if it was stopped before: it never starts (S4)."""
        self.token.check()
        if self._state is OperationState.SCHEDULED:
            self._state = OperationState.RUNNING
        self.phase = phase

    @property
    def ends_late(self) -> bool:
        """Whether it goes on elsewhere after its work here has been left."""
        return self._late_end is not None

    def await_end(self, name: str, end: asyncio.Future[LateEnd]) -> None:
        """The work was stopped here, but `name` has not confirmed that it ended there (S12).

        Call it while the work runs. The operation is then listed as stopping until `end` is known.
        """
        self.unlimit()
        self.progress.note_unconfirmed(name)
        self._late_end = end

        def note(done: asyncio.Future[LateEnd]) -> None:
            if not done.cancelled() and done.exception() is None and done.result().confirmed:
                self.progress.note_confirmed(name)

        end.add_done_callback(note)

    def end(self, state: OperationState) -> None:
        """Record the real end. Raises `OperationError` for a second end or if `state` is not final."""
        with self._registry.lock:
            if state.live or not self.state.live:
                raise OperationError(f"{self.title} cannot end as {state}: it is {self.state}.")
            self._state = state
            self._registry.remove(self)
            waiters, self._waiters = self._waiters, []
        self._stop_registration.close()
        self._stop_timer()
        for loop, ended in waiters:
            # A closed loop has no waiters left.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)
        self.settle()

    def settle(self) -> None:
        """Write the record of the stop once, if there was a stop and the operation has ended.

        `end` calls this. Code that handles a stop that came after the end calls it again: every stop leaves
        its record (T9).
        """
        reason = self.token.reason
        if reason is None or self.recorded or self._state.live:
            return
        self.recorded = True
        self._registry.keep(
            StopRecord(
                reason,
                self.session_id,
                self.call_id,
                self._view.kind,
                self.title,
                self._phase_at_stop or self.phase,
                None if self.progress.unconfirmed else time.monotonic() - reason.at,
                self._state,
                self.token.forced,
            )
        )

    async def wait_ended(self, seconds: float) -> bool:
        """Wait for the real end. Returns false if it did not come within `seconds`."""
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
        state = self._state_after(error)
        if self._late_end is None:
            self.end(state)
        else:
            self._late_end.add_done_callback(lambda _: self.end(state))

    def _state_after(self, error: BaseException | None) -> OperationState:
        match error:
            case None:
                return OperationState.READY
            case Cancelled() | asyncio.CancelledError():
                return OperationState.CANCELLED
            # U7: a failure caused by a stop counts as a stop; the error itself stays in the log.
            case Exception() if self.token.cancelled:
                log.info("%s failed while it was being stopped", self.title, exc_info=error)
                return OperationState.CANCELLED
            case CaesuraError():
                return OperationState.ERROR
            case _:
                log.error("%s failed unexpectedly", self.title, exc_info=error)
                return OperationState.INTERNAL_ERROR

    def _on_cancel(self, _: CancelReason) -> None:
        self._phase_at_stop = self.phase

    def _expire(self) -> None:
        self.token.cancel(CancelReason(Cause.DEADLINE, "its deadline"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class Registry:
    """All live operations of the program, by session and call id. From any thread."""

    def __init__(self) -> None:
        # Re-entrant for signal handlers, held for a few assignments only, and never taken by a stop (U5).
        self.lock = threading.RLock()
        self._live: dict[tuple[str, str], Operation] = {}
        self._numbers = itertools.count(1)
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

        An empty `call_id` is replaced by a new one, and one in use gets a number appended: an operation that
        is alive is never replaced (S3). Read the actual id from the result.
        """
        token = parent.child(title)
        with self.lock:
            free = wanted = call_id or f"{kind}-{next(self._numbers)}"
            while (session_id, free) in self._live:
                free = f"{wanted}_{next(self._numbers)}"
            state, now = OperationState.SCHEDULED, time.monotonic()
            view = OperationView(session_id, free, parent_id, kind, title, state, phase, now, detail)
            operation = self._live[session_id, free] = Operation(self, view, token)
        return operation

    def find(self, session_id: str, call_id: str) -> Operation | None:
        """The live operation of this id. It takes no lock, so that a stop needs none."""
        return self._live.get((session_id, call_id))

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
