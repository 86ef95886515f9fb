"""How long from the start to a program that listens: `python -m tests.benchmarks.startup`.

From the start of the process until the prompt is on the screen, and until the first key, pressed at that
moment, is echoed. The file cache is warm and the model process starts at the same time, as it does for a
user. Between two runs every process of the last one is gone.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, 21 November 2026, load average below 1.0), 20 runs, in ms:

    prompt on the screen        median 376   p95 454   p99 532
    first key echoed            median 408   p95 512   p99 556
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.measure import (
    PLACEHOLDER,
    Figure,
    Goal,
    Measure,
    Program,
    Server,
    Unit,
    progress,
    read_options,
    show,
    show_machine,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "ж"
"""A letter that no text of the program has."""
GOALS = (Goal(Measure.MEDIAN, 400),)


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds from the start of the process."""

    prompt: float
    echo: float


def start_once(program: Program, server: Server) -> Start:
    with program.run(server) as terminal:
        prompt = terminal.wait_for_output(PLACEHOLDER)
        seen = len(terminal.raw)
        terminal.press(KEY)
        echo = terminal.wait_for_output(KEY.encode(), after=seen)
        return Start((prompt - terminal.started_at) * 1000, (echo - terminal.started_at) * 1000)


def figures_of(starts: Sequence[Start]) -> list[Figure]:
    return [
        Figure("prompt on the screen", Unit.MS, [start.prompt for start in starts]),
        Figure("first key echoed", Unit.MS, [start.echo for start in starts], GOALS),
        Figure("from key to echo", Unit.MS, [start.echo - start.prompt for start in starts]),
    ]


def main() -> None:
    options = read_options("startup", __doc__, runs=20)
    show_machine()
    starts: list[Start] = []
    with Server("hello") as server:
        start_once(options.program, server)  # fills the file cache, not counted
        for number in range(options.runs):
            starts.append(start_once(options.program, server))
            progress(f"run {number + 1}: prompt {starts[-1].prompt:.0f} ms, echo {starts[-1].echo:.0f} ms")
    show(figures_of(starts))
    show_machine()


if __name__ == "__main__":
    main()
