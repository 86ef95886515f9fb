"""The progress of a running call: for the panel while it runs, and for its result after a stop.

It is polled and publishes nothing, so that a command which floods its output costs no event per line. Its
methods may be called from any thread; none waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from core.base.values import Value

if TYPE_CHECKING:
    from pathlib import Path

    from core.process.command import CommandEnd, RunningCommand, Survivor

LINES_KEPT = 200
"""Lines that a tool said about itself; a command's output has its own bounds."""


class Ended(Value):
    """What became of the processes of one call or of several: how many ended, who refused."""

    processes: int = 0
    alive: tuple[tuple[int, str], ...] = ()
    """Process id and name of each that is still there."""

    def __add__(self, other: Ended) -> Ended:
        return Ended(self.processes + other.processes, self.alive + other.alive)


class Progress:
    """The progress of one operation. It may be read in any thread while it is written."""

    def __init__(self) -> None:
        # Each line in its pieces: to join them at every piece would be quadratic in the length of the line.
        self._lines: deque[list[str]] = deque(maxlen=LINES_KEPT)
        self._commands: tuple[RunningCommand, ...] = ()
        self._changed: dict[Path, None] = {}
        self._unconfirmed: tuple[str, ...] = ()
        self._stopping = False
        self._late = ""
        self._beneath = Ended()
        self._open = False

    def say(self, line: str) -> None:
        """One line about how far the call has got."""
        self._lines.append([line])
        self._open = False
        if self._stopping:
            self._late = line

    def write(self, text: str) -> None:
        """More of a text that comes in pieces; its lines are those of `say`."""
        first, *rest = text.split("\n")
        if self._open and self._lines:
            self._lines[-1].append(first)
        else:
            self._lines.append([first])
        self._lines.extend([line] for line in rest)
        self._open = True

    def attach(self, command: RunningCommand) -> None:
        """The call has started this command: its processes and its output are the call's."""
        self._commands += (command,)

    def note_change(self, path: Path) -> None:
        """The call has begun to change this file: after a stop the model is told so (H5)."""
        self._changed[path] = None

    def note_stopping(self) -> None:
        """The call asks something elsewhere to stop: what it says from now on is late."""
        self._stopping = True

    def note_unconfirmed(self, name: str) -> None:
        """Something of the call, such as a server, has not confirmed its end in time."""
        self._unconfirmed += (name,)

    def note_confirmed(self, name: str) -> None:
        """It has confirmed it after all."""
        self._unconfirmed = tuple(other for other in self._unconfirmed if other != name)

    def note_ended(self, ended: Ended) -> None:
        """Calls of the call, those of a sub-agent, were stopped with it: their processes count as its own."""
        self._beneath += ended

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        return self._unconfirmed

    @property
    def late(self) -> str:
        """What was said last after something elsewhere was asked to stop."""
        return self._late

    @property
    def changed(self) -> tuple[Path, ...]:
        return tuple(self._changed)

    @property
    def processes(self) -> int:
        """Processes that are alive now."""
        return sum(command.processes for command in self._commands)

    @property
    def survivors(self) -> tuple[Survivor, ...]:
        """Processes of ended commands that refused to end."""
        return tuple(survivor for end in self._ends() for survivor in end.alive)

    @property
    def ended(self) -> Ended:
        alive = tuple((survivor.pid, survivor.name) for survivor in self.survivors)
        return Ended(sum(end.ended for end in self._ends()), alive) + self._beneath

    def text(self) -> str:
        """All that there is of the output so far, within the bounds of its ring."""
        outputs = (command.output.text() for command in self._commands)
        parts = ("\n".join(map("".join, self._lines.copy())), *outputs)
        return "\n".join(part for part in parts if part)

    def tail(self, lines: int) -> str:
        """The latest lines, for a view that is drawn again and again."""
        if self._commands:
            return self._commands[-1].output.tail(lines)
        return "\n".join(map("".join, list(self._lines.copy())[-lines:]))

    def _ends(self) -> list[CommandEnd]:
        return [command.end for command in self._commands if command.end is not None]
