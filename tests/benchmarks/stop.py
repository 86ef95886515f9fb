"""How long from the key to the closed socket: `python -m tests.benchmarks.stop`.

From the moment the byte of Esc is written to the terminal until the server reads the end of its connection,
for both ways a terminal can send Esc, in a slow stream, in a stall and before the headers. The second figure
is what the user sees: until the status line says that nothing runs any more.

All of it is done twice: with the machine to itself, and beside two processes that take all the processor time
they get. They are to change the median by less than half.

The press comes at a random moment of the phase. A connection that is not closed within five seconds counts
as left open, and there must be none.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, 21 November 2026, load average below 1.3), in ms, 34 stops
a cell:

    plain Esc, slow stream      median 1.26  p95 6.91  p99 7.40   kitty  1.53  6.55  13.5
    plain Esc, stall            median 1.37  p95 3.17  p99 3.36   kitty  1.53  3.11  3.14
    plain Esc, before headers   median 1.50  p95 2.47  p99 5.68   kitty  1.40  3.84  8.55
    all: socket closed          median 1.45  p95 3.83  p99 7.40   max 13.5, none of 204 left open
    all: end shown              median 21.9  p95 29.4  p99 34.5   max 35.3

On 2 slow processors, Linux 6.18, 1 December 2026, load average 1.2, 34 stops a cell: socket closed, median
2.15, p95 6.51, max 11.2; end shown, median 22.7; beside two hungry neighbours, load average 2.6: 2.58, p95
7.97, max 11.6, end shown 24.1. The median is 1.2 times as long there; it was 2.0 to 2.2 times as long before
threads ran in short slices. None of 408 left open.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tests.benchmarks.measure import (
    PLACEHOLDER,
    Figure,
    Goal,
    Measure,
    Options,
    Server,
    Unit,
    arrivals_until,
    progress,
    read_options,
    show,
    show_machine,
    wait_busy,
    wait_idle,
)
from tests.servers.record import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.terminal import Terminal

LEFT_OPEN_AFTER_S = 5.0
SEED = 2
NEIGHBOURS = 2
GOALS = (Goal(Measure.MEDIAN, 5), Goal(Measure.P95, 15))
NEIGHBOURS_GOAL = (Goal(Measure.MEDIAN, 1.5),)


class Phase(Enum):
    """Where the stop falls; the value is the server's script."""

    SLOW_STREAM = "slow"
    STALL = "stall"
    BEFORE_HEADERS = "silent"


@dataclass(frozen=True, slots=True)
class Stop:
    """Milliseconds from the key. `closed` is None when the server kept its connection."""

    closed: float | None
    shown: float


@dataclass(frozen=True, slots=True)
class Cell:
    kitty: bool
    phase: Phase
    stops: list[Stop]

    @property
    def name(self) -> str:
        key = "kitty Esc" if self.kitty else "plain Esc"
        return f"{key}, {self.phase.name.lower().replace('_', ' ')}"


def measure_cell(options: Options, cell: Cell, runs: int, chance: random.Random) -> None:
    with Server(cell.phase.value) as server, options.program.run(server, kitty=cell.kitty) as terminal:
        terminal.wait_for_output(PLACEHOLDER)
        # The first stop is in a cold program and counts as any other; only the model library is waited for.
        for number in range(runs):
            # Stopped before anything came, the prompt is back in the composer.
            is_back = cell.phase is Phase.BEFORE_HEADERS and number > 0
            cell.stops.append(stop_once(terminal, server, cell.phase, "\n" if is_back else "go\n", chance))


def stop_once(terminal: Terminal, server: Server, phase: Phase, keys: str, chance: random.Random) -> Stop:
    requests, heads = server.count(Moment.REQUEST), server.count(Moment.HEADERS)
    sent = terminal.type(keys)
    wait_busy(terminal, since=sent)
    connection = server.wait(Moment.REQUEST, requests).connection
    if phase is not Phase.BEFORE_HEADERS:
        began = server.wait(Moment.HEADERS, heads).at
        terminal.wait_for_output(b"word", after=arrivals_until(terminal, began))
    time.sleep(chance.uniform(0.05, 0.15))
    pressed = terminal.press("escape")
    closed = server.wait_closed(connection, LEFT_OPEN_AFTER_S)
    idle = wait_idle(terminal, since=pressed)
    return Stop(None if closed is None else (closed - pressed) * 1000, (idle - pressed) * 1000)


def figures_of(cells: list[Cell]) -> list[Figure]:
    closed = {cell.name: [stop.closed for stop in cell.stops if stop.closed is not None] for cell in cells}
    shown = [stop.shown for cell in cells for stop in cell.stops]
    everything = [value for values in closed.values() for value in values]
    return [
        *(Figure(name, Unit.MS, values) for name, values in closed.items()),
        Figure("all: socket closed", Unit.MS, everything, GOALS),
        Figure("all: end shown", Unit.MS, shown),
    ]


@contextlib.contextmanager
def hungry_neighbours(number: int) -> Iterator[None]:
    """Processes beside the program that never wait."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def measure(options: Options, chance: random.Random) -> list[Cell]:
    cells = [Cell(kitty, phase, []) for phase in Phase for kitty in (False, True)]
    runs = -(-options.runs // len(cells))
    for cell in cells:
        progress(f"{runs} stops: {cell.name}")
        measure_cell(options, cell, runs, chance)
    return cells


def median(cells: list[Cell]) -> float:
    """In ms."""
    return statistics.median(stop.closed for cell in cells for stop in cell.stops if stop.closed is not None)


def main() -> None:
    options = read_options("stop", __doc__, runs=204)
    chance = random.Random(SEED)
    show_machine()
    alone = measure(options, chance)
    show(figures_of(alone))
    progress(f"the same beside {NEIGHBOURS} hungry neighbours")
    with hungry_neighbours(NEIGHBOURS):
        beside = measure(options, chance)
    show(figures_of(beside))
    show([Figure("median beside to alone", Unit.RATIO, [median(beside) / median(alone)], NEIGHBOURS_GOAL)])
    cells = (*alone, *beside)
    left = sum(stop.closed is None for cell in cells for stop in cell.stops)
    print(f"left open: {left} of {sum(len(cell.stops) for cell in cells)}")
    show_machine()


if __name__ == "__main__":
    main()
