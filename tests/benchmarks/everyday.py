"""What an everyday reply costs while it streams: `python -m tests.benchmarks.everyday`.

Markdown prose at 50 chunks a second on a terminal of 140 columns and 45 lines, which one such reply has
filled already, so that the view scrolls. For ten seconds nobody types, and the processor time of all
processes of the program is taken; then letters are typed at a fixed pace, and their echo is. Esc ends it.

Each run is a program of its own. The time of a busy machine is not to be trusted, its processor time is.

Figures (Python 3.11.7, 2 slow processors, 24 GB, Linux, 1 December 2026, load average 1.0), three runs; in
brackets the version that drew every line anew and read every chunk by itself, on the same machine:

    processor, all processes     median 9.4 %   max 10.1   (29.3)
    the process of the screen    median 7.5 %
    kilobytes drawn a second     65
    key echo meanwhile           median 5.5 ms  p95 10.3   (7.7, p95 22.5)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.flood import KEYS, echo_of
from tests.benchmarks.measure import (
    NO_JOBS,
    PLACEHOLDER,
    Figure,
    Goal,
    Measure,
    Program,
    Server,
    Unit,
    arrivals_until,
    processor_seconds_of,
    progress,
    read_options,
    show,
    show_machine,
    wait_busy,
    wait_idle,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.terminal import Terminal

COLUMNS = 140
LINES = 45
SETTLED_S = 2.0
WATCHED_S = 10.0
KEY_EVERY_S = 0.173
"""No multiple of the time between two chunks, so that keys come at all times between them."""
KEYS_TYPED = 60

PROCESSOR_GOAL = Goal(Measure.MEDIAN, 10)
ECHO_GOALS = (Goal(Measure.MEDIAN, 13), Goal(Measure.P95, 13))


@dataclass(frozen=True, slots=True)
class Reply:
    """Percents of a core: of the process that draws, and of all others. Kilobytes drawn in a second. `echoes`
    in milliseconds, one for each key."""

    screen: float
    others: float
    drawn: float
    echoes: tuple[float, ...]


def reply_once(program: Program, server: Server) -> Reply:
    server.change_script("prose")
    with program.run(server, config=NO_JOBS, columns=COLUMNS, lines=LINES) as terminal:
        terminal.wait_for_output(PLACEHOLDER)
        filled = terminal.type("fill\n")
        wait_idle(terminal, since=wait_busy(terminal, since=filled))
        server.change_script("everyday")
        sent = terminal.type("go\n")
        busy = wait_busy(terminal, since=sent)
        time.sleep(SETTLED_S)
        reply = _watched(terminal)
        terminal.press("escape")
        wait_idle(terminal, since=busy)
        return reply


def _watched(terminal: Terminal) -> Reply:
    began, before = time.monotonic(), processor_seconds_of(terminal)
    time.sleep(WATCHED_S)
    ended, after = time.monotonic(), processor_seconds_of(terminal)
    used = {pid: (now - before.get(pid, 0.0)) * 100 / (ended - began) for pid, now in after.items()}
    arrivals = terminal.raw[arrivals_until(terminal, began) : arrivals_until(terminal, ended)]
    drawn = sum(len(arrival.data) for arrival in arrivals) / 1000 / (ended - began)
    screen = used.pop(terminal.pid)
    return Reply(screen, sum(used.values()), drawn, tuple(_typed(terminal)))


def _typed(terminal: Terminal) -> list[float]:
    pressed = []
    due = time.monotonic()
    for key in KEYS[:KEYS_TYPED]:
        pressed.append((key, terminal.press(key)))
        due += KEY_EVERY_S
        time.sleep(max(0.0, due - time.monotonic()))
    return [echo_of(terminal, key, at) for key, at in pressed]


def figures_of(replies: Sequence[Reply]) -> list[Figure]:
    whole = [reply.screen + reply.others for reply in replies]
    echoes = [echo for reply in replies for echo in reply.echoes]
    return [
        Figure("processor, all processes", Unit.PERCENT, whole, (PROCESSOR_GOAL,)),
        Figure("the process of the screen", Unit.PERCENT, [reply.screen for reply in replies]),
        Figure("kilobytes drawn a second", Unit.KB, [reply.drawn for reply in replies]),
        Figure("key echo meanwhile", Unit.MS, echoes, ECHO_GOALS),
    ]


def main() -> None:
    options = read_options("everyday", __doc__, runs=5)
    show_machine()
    replies: list[Reply] = []
    with Server("prose") as server:
        for number in range(options.runs):
            reply = reply_once(options.program, server)
            replies.append(reply)
            progress(f"run {number + 1}: {reply.screen:.1f} + {reply.others:.1f} % of a core")
    show(figures_of(replies))
    show_machine()


if __name__ == "__main__":
    main()
