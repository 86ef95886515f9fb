"""Commands that outlive the call and the turn that started them.

Each is an operation under a token that no turn owns: Esc never reaches it, its own stop control and the end
of the program do (C4). What the model has to know of its end is told with the next prompt, once.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.base.errors import CaesuraError
from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.engine.results import user_request
from core.model.provider import Phase
from core.operations.events import BackgroundEnded, Event, Shown
from core.operations.operation import OperationKind
from core.operations.stop_report import report_stop
from core.operations.supervise import start_operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.operations.registry import Operation, Registry
    from core.process.command import Command, RunningCommand

FINISHED_KEPT = 20
"""Ended commands whose output can still be read."""


class BackgroundCommands:
    """The background commands of one session. Cancelling `token` ends them all."""

    def __init__(self, session_id: str, registry: Registry, emit: Callable[[Event], None]) -> None:
        self._session_id = session_id
        self._registry = registry
        self._emit = emit
        self.token: Final = CancelToken.detached(f"background of {session_id}")
        self.tasks: Final[set[asyncio.Task[None]]] = set()
        """The tasks that have not ended."""
        self._entries: dict[str, _Entry] = {}
        self._notes: list[str] = []

    async def launch(self, command: Command, title: str) -> str:
        """Start a command; its id once it runs. Raises `CommandError`, and `Cancelled` when all is ending."""
        self.token.check()
        operation = self._registry.open(
            self._session_id,
            OperationKind.BACKGROUND,
            "shell",
            self.token,
            phase=Phase.BEFORE_CALL,
            detail=title,
        )
        from core.process.command import RunningCommand

        entry = _Entry(operation, RunningCommand())
        self._entries[operation.call_id] = entry
        task = start_operation(operation, lambda: self._run(entry, command), name=operation.call_id)
        task.add_done_callback(lambda done: self._on_done(entry, done))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        started = asyncio.create_task(entry.running.started.wait(), name=f"start of {operation.call_id}")
        try:
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # Its caller is stopped and would never learn its id.
            operation.token.cancel(CancelReason(Cause.CLIENT, "the end of its call", remind=False))
            raise
        finally:
            started.cancel()
        if entry.error is not None:
            raise entry.error
        return operation.call_id

    def output(self, call_id: str) -> str | None:
        """What is kept of a command's output; None for an unknown id."""
        entry = self._entries.get(call_id)
        return None if entry is None else entry.running.output.text()

    def describe(self, call_id: str) -> str:
        """Describe for the model whether it still runs."""
        entry = self._entries[call_id]
        if entry.running.end is None and entry.error is None:
            return "It is still running."
        return f"It {entry.ended}."

    def take_notes(self) -> tuple[str, ...]:
        """The notes about ends that the model has not had yet; each is returned once (S8)."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def note(self, text: str) -> None:
        """Keep a note for the model about something else that ended after its call."""
        self._notes.append(text)

    def give_back_notes(self, notes: tuple[str, ...]) -> None:
        """Return notes that the model did not get, because the turn that took them was rolled back."""
        self._notes[:0] = notes

    async def _run(self, entry: _Entry, command: Command) -> None:
        # Imported already by the caller, who has made the command.
        from core.process.command import run_command

        entry.operation.start(Phase.IN_CALL)
        await run_command(command, entry.operation.token, entry.running)

    def _on_done(self, entry: _Entry, task: asyncio.Task[None]) -> None:
        match None if task.cancelled() else task.exception():
            case None | Cancelled():
                pass
            case CaesuraError() as error:
                entry.error = error
            case _:
                # The operation has logged it.
                entry.error = CaesuraError("it failed inside Caesura; the log has the details.")
        self._tell_end(entry)

    def _tell_end(self, entry: _Entry) -> None:
        operation, end = entry.operation, entry.running.end
        reason = operation.token.reason
        ended_at = time.monotonic() if end is None else end.at
        proof = None if reason is None else report_stop(reason, ended_at, ended=operation.progress.ended)
        # What the model did itself, it knows; and what could not be started was its own call's result.
        if entry.error is None and (reason is None or reason.cause is not Cause.CLIENT):
            name = f"The background command {operation.call_id} ({operation.detail})"
            self._notes.append(f"[{name} {entry.ended}.{user_request(reason)}]")
        shown = Shown(entry.running.output.text() if entry.error is None else str(entry.error))
        code = None if end is None else end.exit_code
        self._emit(BackgroundEnded(operation.call_id, operation.detail, code, shown, proof))
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
        """How it ended, as the rest of a sentence that begins with its name."""
        if self.error is not None:
            return f"could not run: {str(self.error).rstrip('.')}"
        reason, end = self.operation.token.reason, self.running.end
        if reason is not None:
            by_user = reason.cause in (Cause.USER, Cause.SIGNAL)
            return "was stopped by the user" if by_user else f"was stopped by {reason.source}"
        if end is None or end.exit_code is None:
            return "has ended; its exit code is not known"
        return f"has ended with exit code {end.exit_code}"
