"""Run a command so that its whole process tree can be stopped, and report whether it was (X1, X2, X6, X7).

Each command has a supervisor process (`core.process.supervisor`). A stop is one byte to the supervisor's
socket, which the token sends from any thread without the event loop. The loop only reads: the output, paced,
and the supervisor's reports.

After a stop nothing here waits without a bound, and an end is reported only if it was seen.

Not solved: a command may open the user's terminal by its device's name (`/dev/pts/3`) and read from it, as
any program of the user may. It does not get the terminal as `/dev/tty`, its signals or its job control.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from core.base.secrets import is_provider_variable
from core.base.values import Value
from core.cancel import shielded
from core.process.containment import Containment
from core.process.output_buffer import OutputRing
from core.process.process_table import look_up
from core.process.supervisor import GRACE_S
from core.process.supervisor_client import Command, CommandError, SupervisorClient

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from core.cancel import CancelToken
    from core.process.process_table import Process

__all__ = [
    "Command",
    "CommandEnd",
    "CommandError",
    "Containment",
    "OutputRing",
    "RunningCommand",
    "Survivor",
    "child_environment",
    "kill_survivor",
    "run_command",
]

log = logging.getLogger(__name__)

END_WITHIN_S = GRACE_S + 1.0
"""A supervisor that has not reported the end of a stopped command by then is killed."""

FORCE_WITHIN_S = 1.0

_QUIET = {"TERM": "dumb", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}
"""There is no terminal and no person to type: programs must not page, draw or ask."""


LOOKED_FOR_S = 0.5
"""How long a killed process may take to be gone, in seconds."""


class Survivor(Value):
    """A process that lives although it was killed. `started`, in clock ticks, tells it from later ones."""

    pid: int
    name: str
    started: int = 0


class CommandEnd(Value):
    """How a command and its process tree ended.

    `exit_code` is negative for a signal, None if it is not known. `ended` counts the processes that were
    alive at the end and were ended, `left_behind` the ones among them that the command had not waited for.
    `at` is `time.monotonic()` when the last one was seen dead. If not `confirmed`, the supervisor did not
    report, and `alive` is what the process table shows.
    """

    exit_code: int | None
    ended: int
    alive: tuple[Survivor, ...]
    left_behind: int
    containment: Containment
    at: float
    confirmed: bool


class RunningCommand:
    """A view of a command while it runs and after its end, for the thread of the event loop."""

    def __init__(self) -> None:
        self.output = OutputRing()
        self.started = asyncio.Event()
        """Set once the command itself runs; never, if it could not be started."""
        self.end: CommandEnd | None = None
        self._client: SupervisorClient | None = None

    @property
    def processes(self) -> int:
        """How many are alive by the last report. Requests a new count and does not wait for it."""
        if self.end is not None:
            return len(self.end.alive)
        if self._client is None:
            return 0
        self._client.ask_count()
        return self._client.count


async def run_command(command: Command, token: CancelToken, running: RunningCommand) -> CommandEnd:
    """Run a command to its end, inside a block that is bound to `token`.

    When the token or the task is cancelled, the tree is ended first: with SIGTERM, with SIGKILL after
    `GRACE_S` or at the second stop; then the cancel is raised on. `running.end` is set in any case. If the
    token is cancelled already, nothing is started. Raises `Cancelled` and `CommandError`.
    """
    token.check()
    client = SupervisorClient(running.output.add, running.started.set)
    running._client = client
    alive: tuple[Process, ...] = ()
    try:
        with token.on_cancel(lambda _: client.stop()), token.on_force(lambda _: client.kill()):
            try:
                await client.start(command)
                await client.wait_ended()
            finally:
                alive = await _settle(client)
    finally:
        try:
            await client.close()
        finally:
            running.end = _end_of(client, alive)
    if (error := client.error()) is not None:
        log.warning("%s Its supervisor wrote: %s", error, running.output.tail(5) or "nothing")
        raise error
    return running.end


async def _settle(client: SupervisorClient) -> tuple[Process, ...]:
    """End what lives of the command, in bounded time; return the processes that live all the same."""
    if not client.ended:
        client.stop()
        with shielded(END_WITHIN_S):
            await client.wait_ended()
    if client.launched is not None:
        with shielded(FORCE_WITHIN_S):
            if client.final is None:
                log.error(
                    "the supervisor of a command ended or did not answer: the command was ended without it"
                )
                return await client.end_by_force()
            return await client.survivors()
    return ()


def _end_of(client: SupervisorClient, alive: Iterable[Process]) -> CommandEnd:
    survivors = tuple(Survivor(process.pid, process.name, process.started) for process in alive)
    final, launched = client.final, client.launched
    return CommandEnd(
        exit_code=client.exit_code,
        ended=0 if final is None else final.ended,
        alive=survivors,
        left_behind=0 if final is None else final.left_behind,
        containment=Containment.GROUP if launched is None else launched.containment,
        at=time.monotonic() if final is None else final.at,
        confirmed=final is not None or launched is None,
    )


def kill_survivor(survivor: Survivor) -> bool:
    """Kill a process that outlived its command; return whether it has ended.

    Blocks for `LOOKED_FOR_S` at most, so it is for a thread. Another process with the same pid is left alone.
    """
    try:
        return _kill_by_handle(survivor) if sys.platform == "linux" else _kill_by_pid(survivor)
    except ProcessLookupError:
        return True
    except OSError as error:
        log.info("process %d (%s) was not killed: %s", survivor.pid, survivor.name, error.strerror)
        return False


def _kill_by_handle(survivor: Survivor) -> bool:
    # Opened before the comparison: the handle cannot come to mean another process.
    handle = os.pidfd_open(survivor.pid)
    try:
        if not _is_still(survivor):
            return True
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        ended, _, _ = select.select([handle], [], [], LOOKED_FOR_S)
        return bool(ended)
    finally:
        os.close(handle)


def _kill_by_pid(survivor: Survivor) -> bool:
    if _is_still(survivor):
        os.kill(survivor.pid, signal.SIGKILL)
    return not _is_still(survivor)


def _is_still(survivor: Survivor) -> bool:
    process = look_up(survivor.pid)
    if process is None or not process.alive or process.name != survivor.name:
        return False
    return survivor.started in (0, process.started)


def child_environment(environment: Mapping[str, str], secrets: Collection[str]) -> dict[str, str]:
    """The environment of a command: `environment` without `secrets` and other names of provider keys.

    Other tokens of the user stay (`GITHUB_TOKEN`, `AWS_...`): the user's programs need them. Variables tell
    programs not to open a pager or to ask at a terminal.
    """
    kept = {k: v for k, v in environment.items() if k not in secrets and not is_provider_variable(k)}
    return kept | _QUIET
