"""What Caesura costs while nothing happens, and how soon it answers after that: `python -m
tests.benchmarks.rest`.

Measured are the memory of all processes with the compiler, after it has ended because nobody needed it, and
in a turn; and the time from Enter until the request is at the server, of a program that is warm, and of one
whose compiler had ended until three letters were typed, one every 200 ms. The compiler is given
`IDLE_S` to end here, and five minutes by the program.

Memory is the sum of each process' proportional share (PSS) on Linux, of its resident set elsewhere.

Figures (Python 3.11.7, 2 slow processors, 24 GB, Linux, 1 December 2026, load average 1.4), 4 runs:

    memory with the compiler     median 314 MB
    memory when it has ended     median 89 MB
    memory in a turn             median 314 MB
    Enter to request, warm       median 21.6 ms   p95 27.0
    Enter to request, rested     median 3.4 s     p95 4.1

The last misses its goal: litellm's import takes three seconds of processor time on that machine. Some 2,100
modules and 1,900 pydantic models share it, none with much.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from tests.benchmarks.measure import (
    NO_JOBS,
    PATIENCE_S,
    PLACEHOLDER,
    ROOT,
    Figure,
    Goal,
    Measure,
    Program,
    Server,
    Unit,
    memory_bytes,
    progress,
    read_options,
    show,
    show_machine,
    wait_idle,
)
from tests.servers.record import Moment
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.terminal import Terminal

IDLE_S = 6.0
LETTER_EVERY_S = 0.2
LETTERS = "abc"
COMPILER = "providers.worker.compiler"
MB = 1_000_000
START = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import providers.client.model_process as model_process
model_process.IDLE_S = {IDLE_S}
import caesura
sys.exit(caesura.main())
"""


@dataclass(frozen=True, slots=True)
class Rest:
    """Memory in MB, times from Enter to the request in ms."""

    ready: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    in_turn: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    rested: list[float] = field(default_factory=list)


def run_once(program: Program, server: Server, rest: Rest) -> None:
    with program.run(server, config=NO_JOBS) as terminal:
        terminal.wait_for_output(PLACEHOLDER)
        send(terminal, server)
        rest.ready.append(memory_bytes(terminal) / MB)
        rest.warm.append(send(terminal, server))
        wait_until(lambda: not compilers(terminal), what="the compiler has ended", timeout=PATIENCE_S)
        rest.idle.append(memory_bytes(terminal) / MB)
        for letter in LETTERS:
            terminal.type(letter)
            time.sleep(LETTER_EVERY_S)
        rest.rested.append(send(terminal, server, rest.in_turn))


def send(terminal: Terminal, server: Server, memory: list[float] | None = None) -> float:
    """Milliseconds from Enter until the server had the request; `memory` gets what is used in the turn."""
    requests = server.count(Moment.REQUEST)
    terminal.type("go")
    time.sleep(LETTER_EVERY_S)
    sent = terminal.type("\r")
    came = server.wait(Moment.REQUEST, requests).at
    if memory is not None:
        memory.append(memory_bytes(terminal) / MB)
    wait_idle(terminal, since=came)
    return (came - sent) * 1000


def compilers(terminal: Terminal) -> list[int]:
    found = []
    for pid in terminal.processes():
        try:
            words = psutil.Process(pid).cmdline()
        except psutil.NoSuchProcess:
            continue
        if any(COMPILER in word for word in words):
            found.append(pid)
    return found


def figures_of(rest: Rest) -> list[Figure]:
    return [
        Figure("memory with the compiler", Unit.MB, rest.ready),
        Figure("memory when it has ended", Unit.MB, rest.idle, (Goal(Measure.MEDIAN, 130),)),
        Figure("memory in a turn", Unit.MB, rest.in_turn, (Goal(Measure.MEDIAN, 350),)),
        Figure("Enter to request, warm", Unit.MS, rest.warm),
        Figure("Enter to request, rested", Unit.MS, rest.rested),
        Figure(
            "rested less warm",
            Unit.MS,
            [late - early for early, late in zip(rest.warm, rest.rested, strict=True)],
            (Goal(Measure.MEDIAN, 300),),
        ),
    ]


def main() -> None:
    options = read_options("rest", __doc__, runs=10)
    program = Program((sys.executable, "-c", START))
    show_machine()
    rest = Rest()
    for number in range(options.runs):
        progress(f"run {number + 1} of {options.runs}")
        with Server("short") as server:
            run_once(program, server, rest)
    show(figures_of(rest))
    show_machine()


if __name__ == "__main__":
    main()
