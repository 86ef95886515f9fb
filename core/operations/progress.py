"""What a running call shows of itself: to the panel while it runs, and to its result after a stop.

It is looked at and never listened to, so that a command which floods its output costs no event per line. Its
methods may be called from any thread; none waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from core.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from core.processes import CommandEnd, OutputRing, Survivor

LINES_KEPT = 200
"""Lines that a tool said about itself; a command's output has its own bounds."""


class Work(Protocol):
    """A command of the call: `core.processes.RunningCommand`. `end` is None while anything of it is alive."""

    output: OutputRing
    end: CommandEnd | None

    @property
    def processes(self) -> int:
        """How many processes of it are alive; cheap enough to be asked ten times a second."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the processes of one call or of several: how many ended, who refused."""

    processes: int = 0
    alive: tuple[tuple[int, str], ...] = ()
    """Process id and name of each that is still there."""

    def __add__(self, other: Ended) -> Ended:
        return Ended(self.processes + other.processes, self.alive + other.alive)


class Progress:
    """Of one operation. Everything in it may be read while it is written."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._work: tuple[Work, ...] = ()
        self._changed: dict[Path, None] = {}
        self._unconfirmed: list[str] = []
        self._beneath = Ended()
        self._open = False

    def say(self, line: str) -> None:
        """One line about how far the call has got."""
        self._lines.append(line)
        self._open = False

    def write(self, text: str) -> None:
        """More of a text that comes in pieces; its lines are those of `say`."""
        first, *rest = text.split("\n")
        if self._open and self._lines:
            self._lines.append(self._lines.pop() + first)
        else:
            self._lines.append(first)
        self._lines.extend(rest)
        self._open = True

    def attach(self, work: Work) -> None:
        """The call has started this command: its processes and its output are the call's."""
        self._work += (work,)

    def note_change(self, path: Path) -> None:
        """The call has begun to change this file: after a stop the model is told so (H5)."""
        self._changed[path] = None

    def note_unconfirmed(self, name: str) -> None:
        """Something of the call, such as a server, has not confirmed its end in time."""
        self._unconfirmed.append(name)

    def note_ended(self, ended: Ended) -> None:
        """Calls of the call, those of a sub-agent, were stopped with it: their processes count as its own."""
        self._beneath += ended

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        return tuple(self._unconfirmed)

    @property
    def changed(self) -> tuple[Path, ...]:
        return tuple(self._changed)

    @property
    def processes(self) -> int:
        """Processes that are alive now."""
        return sum(work.processes for work in self._work)

    @property
    def ran_commands(self) -> bool:
        return bool(self._work)

    @property
    def survivors(self) -> tuple[Survivor, ...]:
        """Processes of ended commands that refused to end."""
        return tuple(survivor for work in self._work if work.end is not None for survivor in work.end.alive)

    @property
    def ended(self) -> Ended:
        ends = [work.end for work in self._work if work.end is not None]
        alive = tuple((survivor.pid, survivor.name) for survivor in self.survivors)
        return Ended(sum(end.ended for end in ends), alive) + self._beneath

    def text(self) -> str:
        """All that there is of the output so far, within the bounds of its ring."""
        parts = ["\n".join(self._lines.copy()), *(work.output.text() for work in self._work)]
        return "\n".join(part for part in parts if part)

    def tail(self, lines: int) -> str:
        """The latest lines, for a view that is drawn again and again."""
        if self._work:
            return self._work[-1].output.tail(lines)
        return "\n".join(list(self._lines.copy())[-lines:])
