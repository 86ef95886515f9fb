"""Commands that outlive the call and the turn that started them.

Each is an operation under a token that no turn owns: Esc never reaches it, its own stop control and the end
of the program do (C4). What the model has to know of its end is told with the next prompt, once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.errors import CaesuraError
from core.events import BackgroundEnded, Event, Shown, StopProof
from core.model import Phase
from core.operations import OperationKind
from core.results import REMINDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.operations import Operation, Registry
    from core.processes import Command, CommandEnd, RunningCommand

log = logging.getLogger(__name__)

FINISHED_KEPT = 20
"""Ended commands whose output can still be read."""


class BackgroundCommands:
    """Those of one session. Cancelling `token` ends them all."""

    def __init__(self, session_id: str, registry: Registry, emit: Callable[[Event], None]) -> None:
        self._session_id = session_id
        self._registry = registry
        self._emit = emit
        self._token = CancelToken.detached(f"background of {session_id}")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._entries: dict[str, _Entry] = {}
        self._notes: list[str] = []

    @property
    def token(self) -> CancelToken:
        """Above all of them: no turn's, so that no Esc reaches it."""
        return self._token

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """Those that have not ended."""
        return tuple(self._tasks.values())

    async def launch(self, command: Command, title: str) -> str:
        """Start a command; its id, once it runs.

        Raises `CommandError` if it cannot be started, and `Cancelled` when the program is ending.
        """
        self._token.check()
        operation = self._registry.open(
            self._session_id,
            OperationKind.BACKGROUND,
            "shell",
            self._token,
            phase=Phase.BEFORE_CALL,
            detail=title,
        )
        from core.processes import RunningCommand

        entry = _Entry(operation, RunningCommand())
        self._entries[operation.call_id] = entry
        task = asyncio.create_task(self._run(entry, command), name=operation.call_id)
        self._tasks[operation.call_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation.call_id, None))
        started = asyncio.create_task(entry.running.started.wait(), name=f"start of {operation.call_id}")
        try:
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # Who asked for it is stopped, and would never learn its id.
            operation.token.cancel(CancelReason(Cause.CLIENT, "the end of its call", remind=False))
            raise
        finally:
            started.cancel()
        if entry.error is not None:
            raise entry.error
        return operation.call_id

    def output(self, call_id: str) -> str | None:
        """All that is kept of a command's output; None for an id that there is none of."""
        entry = self._entries.get(call_id)
        return None if entry is None else entry.running.output.text()

    def describe(self, call_id: str) -> str:
        """Whether it still runs, in words for the model."""
        entry = self._entries[call_id]
        if entry.running.end is None and entry.error is None:
            return "It is still running."
        return f"It {entry.ended}."

    def take_notes(self) -> tuple[str, ...]:
        """What the model has not been told yet of ends; once (S8)."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def give_back_notes(self, notes: tuple[str, ...]) -> None:
        """They were not told after all: the turn that took them was rolled back."""
        self._notes[:0] = notes

    async def _run(self, entry: _Entry, command: Command) -> None:
        operation = entry.operation
        try:
            with operation, operation.token.bind():
                # By now it is imported: whoever asked for the command has made it.
                from core.processes import run_command

                operation.start(Phase.IN_CALL)
                await run_command(command, operation.token, entry.running)
        except Cancelled:
            pass
        except CaesuraError as error:
            entry.error = error
        except Exception:
            log.exception("the background command %s failed unexpectedly", operation.call_id)
            entry.error = CaesuraError("it failed inside Caesura; the log has the details.")
        finally:
            self._tell_end(entry)

    def _tell_end(self, entry: _Entry) -> None:
        operation, end = entry.operation, entry.running.end
        reason = operation.token.reason
        # What the model did itself, it knows; and what could not be started was its own call's result.
        if entry.error is None and (reason is None or reason.cause is not Cause.CLIENT):
            name = f"The background command {operation.call_id} ({operation.detail})"
            self._notes.append(f"[{name} {entry.ended}.{_request(reason)}]")
        shown = Shown(entry.running.output.text() if entry.error is None else str(entry.error))
        code = None if end is None else end.exit_code
        self._emit(BackgroundEnded(operation.call_id, operation.detail, code, shown, _proof(reason, end)))
        ended = [call_id for call_id, known in self._entries.items() if not known.operation.state.live]
        for old in ended[:-FINISHED_KEPT]:
            del self._entries[old]


@dataclass(slots=True)
class _Entry:
    """One command. `error` is why it could not run."""

    operation: Operation
    running: RunningCommand
    error: CaesuraError | None = None

    def __post_init__(self) -> None:
        self.operation.progress.attach(self.running)

    @property
    def ended(self) -> str:
        """How, in words that follow a name."""
        if self.error is not None:
            return f"could not run: {str(self.error).rstrip('.')}"
        reason, end = self.operation.token.reason, self.running.end
        if reason is not None:
            by_user = reason.cause in (Cause.USER, Cause.SIGNAL)
            return "was stopped by the user" if by_user else f"was stopped by {reason.source}"
        if end is None or end.exit_code is None:
            return "has ended; its exit code is not known"
        return f"has ended with exit code {end.exit_code}"


def _request(reason: CancelReason | None) -> str:
    if reason is None:
        return ""
    words = f' The user says: "{reason.words}".' if reason.words else ""
    return words + (f" {REMINDER}" if reason.remind else "")


def _proof(reason: CancelReason | None, end: CommandEnd | None) -> StopProof | None:
    if reason is None:
        return None
    if end is None:
        return StopProof(reason.source, max(0.0, time.monotonic() - reason.at), None)
    alive = tuple((survivor.pid, survivor.name) for survivor in end.alive)
    after = None if alive else max(0.0, end.at - reason.at)
    return StopProof(reason.source, after, None, (), end.ended, alive)
