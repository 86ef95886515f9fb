"""Whether a long session grows heavier: `python -m tests.benchmarks.growth`.

Ten floods of 5,000 chunks in one session, after one that warms it up and is not counted. The whole
conversation is sent again with each, as with any model. The tenth must cost at most 1.2 times the first, in
time and in processor time, and all processes together must stay under 350 MB after it.

A run takes half a minute; `--runs 3` is enough for a look. Memory is the sum of each process' proportional
share (PSS) on Linux, of its resident set elsewhere.

Figures (Python 3.11.7, 2 slow processors, 24 GB, Linux, 1 December 2026, load average 1.3), 2 runs; in
brackets those of 21 November 2026, 5 runs on a machine twice as fast:

    first flood shown                median 0.44 s   max 0.47  (1.00, 1.20)
    tenth flood shown                median 0.35 s   max 0.35  (1.00, 1.31)
    tenth to first, time             median 0.80     max 0.86  (1.01, 1.34)
    tenth to first, processor        median 0.84     max 0.92  (1.11, 1.35)
    key echo in the tenth            median 21.0 ms  p95 57.2  (7.9, 26.3)
    memory after the tenth           median 336 MB   max 336   (304, 305), 320 after the first (288)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.flood import SCRIPT, Flood, flood_once
from tests.benchmarks.measure import (
    NO_JOBS,
    PLACEHOLDER,
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
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOODS = 10
RATIO_GOAL = Goal(Measure.MEDIAN, 1.2)
MEMORY_GOAL = Goal(Measure.MAX, 350)
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Growth:
    """The counted floods of one session, and its memory in bytes after the first and the last of them."""

    floods: tuple[Flood, ...]
    memory_first: int
    memory_last: int


def session_once(program: Program, server: Server) -> Growth:
    with program.run(server, config=NO_JOBS) as terminal:
        terminal.wait_for_output(PLACEHOLDER)
        flood_once(terminal, server)
        floods = [flood_once(terminal, server)]
        memory_first = memory_bytes(terminal)
        floods += [flood_once(terminal, server) for _ in range(FLOODS - 1)]
        return Growth(tuple(floods), memory_first, memory_bytes(terminal))


def figures_of(sessions: Sequence[Growth]) -> list[Figure]:
    ends = [(session.floods[0], session.floods[-1]) for session in sessions]
    shown = [last.shown / first.shown for first, last in ends]
    processor = [last.processor / first.processor for first, last in ends]
    echoes = [echo for _, last in ends for echo in last.echoes]
    return [
        Figure("first flood shown", Unit.S, [first.shown for first, _ in ends]),
        Figure("tenth flood shown", Unit.S, [last.shown for _, last in ends]),
        Figure("tenth to first, time", Unit.RATIO, shown, (RATIO_GOAL,)),
        Figure("tenth to first, processor", Unit.RATIO, processor, (RATIO_GOAL,)),
        Figure("key echo in the tenth", Unit.MS, echoes),
        Figure("memory after the first", Unit.MB, [session.memory_first / MB for session in sessions]),
        Figure(
            "memory after the tenth",
            Unit.MB,
            [session.memory_last / MB for session in sessions],
            (MEMORY_GOAL,),
        ),
    ]


def main() -> None:
    options = read_options("growth", __doc__, runs=20)
    show_machine()
    sessions: list[Growth] = []
    with Server(SCRIPT) as server:
        for number in range(options.runs):
            session = session_once(options.program, server)
            sessions.append(session)
            times = ", ".join(f"{flood.shown:.2f}" for flood in session.floods)
            progress(f"run {number + 1}: {times} s, {session.memory_last / MB:.0f} MB")
    show(figures_of(sessions))
    show_machine()


if __name__ == "__main__":
    main()
