"""Run a command so that all of it can be stopped, and say truly whether it was (X1, X2, X6, X7).

This is Caesura's side. The work is done by one keeper process per command (`core.keeper`): a stop is one byte
to its socket, written by the token in whatever thread, and asks nothing of the event loop. The loop only
reads: the output, paced, and the keeper's reports.

What it must never do: read faster than it can show, wait for anything without a bound once a stop is there,
or claim that something has ended which it has not seen end.

Not solved: a command may open the user's terminal by its device's name (`/dev/pts/3`) and read from it, as
any program of the user's may. What it cannot have is that terminal as `/dev/tty`, its signals and its job
control.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from core.cancel import shielded
from core.containment import Containment, available_containment
from core.keeper import GRACE_S
from core.keeper_link import Command, CommandError, KeeperLink
from core.output_ring import OutputRing
from core.process_table import look_up
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from core.cancel import CancelToken
    from core.process_table import Process

__all__ = [
    "Command",
    "CommandEnd",
    "CommandError",
    "Containment",
    "OutputRing",
    "RunningCommand",
    "Survivor",
    "available_containment",
    "child_environment",
    "kill_survivor",
    "run_command",
]

log = logging.getLogger(__name__)

END_WITHIN_S = GRACE_S + 1.0
"""A keeper that has not reported the end of a stopped command by then is killed, and no longer believed."""

FORCE_WITHIN_S = 1.0

_KEY = re.compile(r".*_API_?(KEY|TOKEN)S?|ANTHROPIC_AUTH_TOKEN", re.IGNORECASE)

_QUIET = {"TERM": "dumb", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}
"""There is no terminal and nobody to type: what would page, draw or ask must not begin to."""


LOOKED_FOR_S = 0.5
"""How long a killed process may take to be gone, in seconds."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """A process that lives although it was killed. `started`, in clock ticks since boot, guards its pid."""

    pid: int
    name: str
    started: int = 0


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended, and what became of its tree.

    `exit_code` is negative for a signal, None when it is not known. `ended` counts the processes that were
    seen alive at the end and ended, `left_behind` those that the command itself did not wait for; they were
    ended with it. `at` is `time.monotonic()` of the moment when the last one was seen dead. Unconfirmed means
    that the keeper did not report: then `alive` is what the process table shows.
    """

    exit_code: int | None
    ended: int
    alive: tuple[Survivor, ...]
    left_behind: int
    containment: Containment
    at: float
    confirmed: bool


class RunningCommand:
    """The live view of a command, also after its end. It belongs to the thread of the event loop."""

    def __init__(self) -> None:
        self.output = OutputRing()
        self.started = asyncio.Event()
        """Set once the command itself runs; never, if it could not be started."""
        self.end: CommandEnd | None = None
        self._link: KeeperLink | None = None

    @property
    def started_at(self) -> float | None:
        """`time.monotonic()` of the start of the command itself; None until then."""
        return None if self._link is None else self._link.started_at

    @property
    def containment(self) -> Containment | None:
        """What holds it together; None until it is known."""
        return None if self._link is None else self._link.containment

    @property
    def processes(self) -> int:
        """How many are alive, as the keeper said last; looking has it count anew. Cheap."""
        if self.end is not None:
            return len(self.end.alive)
        if self._link is None:
            return 0
        self._link.ask_count()
        return self._link.count

    def tail(self, lines: int) -> str:
        """The last lines of the output so far."""
        return self.output.tail(lines)


async def run_command(command: Command, token: CancelToken, running: RunningCommand) -> CommandEnd:
    """Run a command to its end, inside a block that is bound to `token`.

    When the token or the task is cancelled, the tree is ended first: softly, by force after `GRACE_S` or at
    the second stop; then the cancel goes on as it came. `running.end` is set in any case. A token that is
    cancelled already raises `Cancelled`, and nothing is started. Raises `CommandError`.
    """
    token.check()
    link = KeeperLink(running.output.add, running.started.set)
    running._link = link
    alive: tuple[Process, ...] = ()
    try:
        with token.on_cancel(lambda _: link.stop()), token.on_force(lambda _: link.kill()):
            try:
                await link.start(command)
                await link.wait_ended()
            finally:
                alive = await _settle(link)
    finally:
        try:
            await link.close()
        finally:
            running.end = _end_of(link, alive)
    if (error := link.error()) is not None:
        log.warning("%s Its keeper said: %s", error, running.tail(5) or "nothing")
        raise error
    return running.end


async def _settle(link: KeeperLink) -> tuple[Process, ...]:
    """See to it that nothing of the command lives; return what does all the same. Bounded."""
    if not link.ended:
        link.stop()
        with shielded(END_WITHIN_S):
            await link.wait_ended()
    if link.launched is not None:
        with shielded(FORCE_WITHIN_S):
            if link.final is None:
                log.error("the keeper of a command ended or fell silent: ended without it")
                return await link.end_by_force()
            return await link.survivors()
    return ()


def _end_of(link: KeeperLink, alive: Iterable[Process]) -> CommandEnd:
    survivors = tuple(Survivor(process.pid, process.name, process.started) for process in alive)
    final = link.final
    return CommandEnd(
        exit_code=link.exit_code,
        ended=0 if final is None else final.ended,
        alive=survivors,
        left_behind=0 if final is None else final.left_behind,
        containment=link.containment or Containment.GROUP,
        at=time.monotonic() if final is None else final.at,
        confirmed=final is not None or link.launched is None,
    )


def kill_survivor(survivor: Survivor) -> bool:
    """Kill a process that outlived its command, and look whether it is gone; true when it is.

    Blocking, for `LOOKED_FOR_S` at most: for a thread. Another process of the same id is left alone.
    """
    try:
        return _kill_by_handle(survivor) if sys.platform == "linux" else _kill_by_pid(survivor)
    except ProcessLookupError:
        return True
    except OSError as error:
        log.info("process %d (%s) was not killed: %s", survivor.pid, survivor.name, error.strerror)
        return False


def _kill_by_handle(survivor: Survivor) -> bool:
    # Opened first, looked at second: from here on the pid cannot come to mean another process.
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
    """What a command may see: `environment` without `secrets` and whatever else looks like a provider's key.

    A user's own tokens stay (`GITHUB_TOKEN`, `AWS_...`), for the user's programs need them. What would open a
    pager or ask at a terminal is told that there is none.
    """
    kept = {k: v for k, v in environment.items() if k not in secrets and not _KEY.fullmatch(k)}
    return kept | _QUIET
