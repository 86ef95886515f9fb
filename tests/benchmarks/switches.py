"""Whether memory stays flat when one session replaces another: `python -m tests.benchmarks.switches`.

One program on a terminal. Each round is a reply of eight words and `/new`, which puts a new pane into the
place of the one on the screen. Printed is the resident memory of the screen's process, every ten switches.

It must not grow by more than 200 kB a switch after the first 20.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, 1 December 2026, load average 4 to 6), in MB, 50 switches:

    switches           10     20     30     40     50
    screen           72.9   73.0   73.3   73.3   73.4   (76.6 to 103.5 with all drawn lines kept)
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

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
from tests.benchmarks.soak import SCRIPT, resident

if TYPE_CHECKING:
    from tests.support.terminal import Terminal

WARM_AFTER = 20
EVERY = 10
GROWTH_MB_A_SWITCH = 0.2


def switch(terminal: Terminal, number: int) -> None:
    sent = terminal.type(f"turn {number}\n")
    wait_idle(terminal, since=wait_busy(terminal, since=sent))
    typed = terminal.type("/new")
    # The placeholder is drawn again once the command has left the composer.
    terminal.press("enter")
    terminal.wait_for_output(PLACEHOLDER, after=arrivals_until(terminal, typed))


def measure(program: Program, switches: int) -> dict[int, float]:
    """The memory of the screen's process in MB, by the number of switches."""
    found = {}
    with Server(SCRIPT) as server, program.run(server, config=NO_JOBS) as terminal:
        terminal.wait_for_output(PLACEHOLDER)
        for number in range(1, switches + 1):
            switch(terminal, number)
            if number % EVERY == 0:
                found[number] = resident(terminal.pid)
                print(f"{number:6} switches   screen {found[number]:6.1f} MB", flush=True)
    return found


def main() -> int:
    options = read_options("switches", __doc__, runs=50)
    show_machine()
    switches = max(options.runs, WARM_AFTER + EVERY)
    found = measure(options.program, switches)
    last = max(found)
    growth = (found[last] - found[WARM_AFTER]) / (last - WARM_AFTER)
    print(f"from switch {WARM_AFTER} on: {1000 * growth:+.0f} kB a switch")
    show_machine()
    return 0 if growth <= GROWTH_MB_A_SWITCH else 1


if __name__ == "__main__":
    sys.exit(main())
