"""Processes that refused to end when their command was stopped, until they are killed for good."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.base.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.process.command import Survivor


class UnkilledProcesses:
    """The processes of one session that refused to end, as far as it has been seen."""

    def __init__(self) -> None:
        self._processes: dict[int, Survivor] = {}

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def names(self) -> tuple[tuple[int, str], ...]:
        """Process id and name of each."""
        return tuple((pid, process.name) for pid, process in self._processes.items())

    def add(self, processes: Iterable[Survivor]) -> None:
        self._processes.update((process.pid, process) for process in processes)

    async def kill(self) -> bool:
        """Kill them again; whether none of them is left."""
        from core.process.command import kill_survivor

        for pid, process in tuple(self._processes.items()):
            if await run_in_thread(partial(kill_survivor, process), name="kill"):
                self._processes.pop(pid, None)
        return not self._processes
