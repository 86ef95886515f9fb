"""Whether memory stays flat over many short turns: `python -m tests.benchmarks.soak`.

One session of the program on a terminal. Each turn is a reply of eight words in 160 ms; every third one is
stopped at its first word. The whole conversation is sent again with each turn, as with any model. Printed is
the resident memory of the screen's process and of the model process, every 50 turns.

The model process must not grow by more than 40 MB after the first 100 turns. The screen's process keeps the
transcript, so it grows with it, by at most 100 kB a turn.

Known limit: a stop that comes after the last word stops nothing; the turn counts as any other.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, 30 November 2026, load average 2.4 to 6.6), in MB, 900
turns in 237 s:

    turns             100    300    500    700    900
    screen           76.6   78.7   80.8   82.6   84.5
    model process   236.4  246.4  246.4  246.4  246.5   (240, 279, 349, 445 and 569 before 30 November)
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from tests.benchmarks.measure import (
    NO_JOBS,
    PLACEHOLDER,
    Program,
    Server,
    arrivals_until,
    read_options,
    show_machine,
    wait_busy,
    wait_idle,
)

if TYPE_CHECKING:
    from tests.support.terminal import Terminal

SCRIPT = "short"
WARM_AFTER = 100
"""Turns after which a process has what it keeps for good: imports, caches, threads."""
EVERY = 50
STOPPED_EVERY = 3
MODEL_GROWTH_MB = 40.0
SCREEN_GROWTH_MB_A_TURN = 0.1
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory in MB after so many turns, `seconds` after the first one began."""

    turns: int
    seconds: float
    screen: float
    model: float

    def __str__(self) -> str:
        return (
            f"{self.turns:6} turns {self.seconds:6.0f} s   "
            f"screen {self.screen:6.1f} MB   model process {self.model:6.1f} MB"
        )


def take_turn(terminal: Terminal, number: int) -> None:
    sent = terminal.type(f"turn {number}\n")
    busy = wait_busy(terminal, since=sent)
    if number % STOPPED_EVERY == 0:
        terminal.wait_for_output(b"word", after=arrivals_until(terminal, busy))
        busy = terminal.press("escape")
    wait_idle(terminal, since=busy)


def sample(terminal: Terminal, turns: int, seconds: float) -> Sample:
    """The screen's process is the one that was started; the model process is the other."""
    others = [pid for pid in terminal.processes() if pid != terminal.pid]
    return Sample(turns, seconds, resident(terminal.pid), sum(map(resident, others)))


def resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / MB


def soak(program: Program, turns: int) -> list[Sample]:
    """Play the turns; the first sample is taken when the program is warm."""
    samples: list[Sample] = []
    with Server(SCRIPT) as server, program.run(server, config=NO_JOBS) as terminal:
        terminal.wait_for_output(PLACEHOLDER)
        began = time.monotonic()
        for number in range(1, turns + 1):
            take_turn(terminal, number)
            if number % EVERY == 0:
                samples.append(sample(terminal, number, time.monotonic() - began))
                print(samples[-1], flush=True)
    return samples


def main() -> int:
    options = read_options("soak", __doc__, runs=900)
    show_machine()
    samples = soak(options.program, max(options.runs, WARM_AFTER + EVERY))
    warm = next(it for it in samples if it.turns >= WARM_AFTER)
    last = samples[-1]
    model = last.model - warm.model
    screen = (last.screen - warm.screen) / (last.turns - warm.turns)
    print(f"from turn {warm.turns} on: model process {model:+.1f} MB, screen {1000 * screen:+.0f} kB a turn")
    show_machine()
    return 0 if model <= MODEL_GROWTH_MB and screen <= SCREEN_GROWTH_MB_A_TURN else 1


if __name__ == "__main__":
    sys.exit(main())
