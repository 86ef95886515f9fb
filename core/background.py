"""Commands that outlive the call and the turn that started them.

Each is an operation under a token that no turn owns: Esc never reaches it, its own stop control and the end
of the program do (C4). What the model has to know of its end is told with the next prompt, once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from core.cancel import Cancelled, CancelToken, shielded
from core.errors import CaesuraError
from core.events import BackgroundEnded, Event, Shown, StopProof
from core.model import Phase
from core.operations import OperationKind
from core.processes import RunningCommand, run_command
from core.results import REMINDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelReason
    from core.operations import Operation, Registry
    from core.processes import Command

log = logging.getLogger(__name__)

FINISHED_KEPT = 20
"""Ended commands whose output can still be read."""


class BackgroundCommands:
    """Those of one session. `aclose` ends them all."""

    def __init__(self, session_id: str, registry: Registry, emit: Callable[[Event], None]) -> None:
        self._session_id = session_id
        self._registry = registry
        self._emit = emit
        self._token = CancelToken.detached(f"background of {session_id}")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._commands: dict[str, RunningCommand] = {}
        self._notes: list[str] = []

    @property
    def token(self) -> CancelToken:
        """Above all of them; cancelled when the program ends."""
        return self._token

    async def launch(self, command: Command, title: str) -> str:
        """Start a command and return its id, once it runs.

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
        running = RunningCommand()
        operation.progress.attach(running)
        self._commands[operation.call_id] = running
        task = asyncio.create_task(self._run(operation, command, running), name=operation.call_id)
        self._tasks[operation.call_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation.call_id, None))
        if task.done():
            self._tasks.pop(operation.call_id, None)
        return operation.call_id

    def output(self, call_id: str) -> str | None:
        """All that is kept of a command's output; None for an id that there is none of."""
        running = self._commands.get(call_id)
        return None if running is None else running.output.text()

    def describe(self, call_id: str) -> str:
        """Whether it still runs, in words for the model."""
        end = self._commands[call_id].end
        if end is None:
            return "It is still running."
        return f"It has ended with exit code {end.exit_code}."

    def take_notes(self) -> tuple[str, ...]:
        """What the model has not been told yet of ends; once (S8)."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def give_back_notes(self, notes: tuple[str, ...]) -> None:
        """They were not told after all: the turn that took them was rolled back."""
        self._notes[:0] = notes

    async def aclose(self, reason: CancelReason, *, grace_s: float) -> None:
        """Stop all and wait for their ends, for `grace_s` at most and once more after a kill (Q2)."""
        self._token.cancel(reason)
        for kill in (False, True):
            if kill:
                self._token.force()
            if tasks := set(self._tasks.values()):
                with shielded(grace_s):
                    await asyncio.wait(tasks)

    async def _run(self, operation: Operation, command: Command, running: RunningCommand) -> None:
        error: CaesuraError | None = None
        try:
            with operation, operation.token.bind():
                operation.start(Phase.IN_CALL)
                await run_command(command, operation.token, running)
        except Cancelled:
            pass
        except CaesuraError as failure:
            error = failure
        finally:
            self._tell_end(operation, running, error)

    def _tell_end(self, operation: Operation, running: RunningCommand, error: CaesuraError | None) -> None:
        end, reason = running.end, operation.token.reason
        title, output = operation.detail, running.output.text()
        name = f"The background command {operation.call_id} ({title})"
        proof = None
        if reason is not None:
            alive = () if end is None else tuple((survivor.pid, survivor.name) for survivor in end.alive)
            after = (end.at if end is not None else time.monotonic()) - reason.at
            ended = 0 if end is None else end.ended
            proof = StopProof(reason.source, None if alive else max(0.0, after), None, (), ended, alive)
            words = f' The user says: "{reason.words}".' if reason.words else ""
            reminder = f" {REMINDER}" if reason.remind else ""
            self._notes.append(f"[{name} was stopped by the user.{words}{reminder}]")
        elif error is not None:
            self._notes.append(f"[{name} could not run: {error}]")
        else:
            code = None if end is None else end.exit_code
            self._notes.append(f"[{name} has ended with exit code {code}.]")
        code = None if end is None else end.exit_code
        shown = Shown(output if error is None else str(error))
        self._emit(BackgroundEnded(operation.call_id, title, code, shown, proof))
        for old in [known for known, ran in self._commands.items() if ran.end is not None][:-FINISHED_KEPT]:
            del self._commands[old]
