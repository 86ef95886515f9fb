"""How fast a flood is shown: `python -m tests.benchmarks.flood`.

5,000 chunks of 20 characters, as fast as the socket takes them. Measured are the time from the headers of the
reply until the last chunk's text is on the terminal, the processor time of all processes of the program
until it is idle again, and the echo of keys that are typed at a fixed pace meanwhile, whether the program
keeps up or not.

Each run is a program of its own; a first flood warms it up and is not counted.

Figures (Python 3.11.7, 2 slow processors, 24 GB, Linux, 1 December 2026, load average 0.8), 4 runs; in
brackets the version that read replies with litellm, on the same machine at load average 3.4, 2 runs:

    first byte to last text shown    median 0.45 s (1.88)
    processor time per chunk         median 0.13 ms (0.75)
    key echo meanwhile               median 6.7 ms (18.6)   p95 27.1 (53.6)
"""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.measure import (
    NO_JOBS,
    PATIENCE_S,
    PLACEHOLDER,
    Figure,
    Goal,
    Measure,
    Program,
    Server,
    Unit,
    arrivals_until,
    processor_seconds,
    progress,
    read_options,
    show,
    show_machine,
    wait_busy,
    wait_idle,
)
from tests.servers.record import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.terminal import Terminal

SCRIPT = "flood"
CHUNKS = 5000
KEY_EVERY_S = 0.05
KEYS = tuple(map(chr, itertools.chain(range(0x0410, 0x0482), range(0x048A, 0x0530))))
"""Letters that nothing else on the screen has, so that each is its own echo."""

SHOWN_GOAL = Goal(Measure.MEDIAN, 0.5)
PROCESSOR_GOAL = Goal(Measure.MEDIAN, 0.15)
ECHO_GOAL = Goal(Measure.P95, 40)


@dataclass(frozen=True, slots=True)
class Flood:
    """`shown` and `processor` in seconds; `echoes` in milliseconds, one for each key."""

    shown: float
    processor: float
    echoes: tuple[float, ...]

    @property
    def processor_per_chunk(self) -> float:
        """Milliseconds."""
        return self.processor * 1000 / CHUNKS


class LastText:
    """When the last chunk's text was first drawn; looks at each piece of output once.

    At the beginning of a flood the end of the one before is still on the screen, and drawn again as it
    scrolls away. So a number that never shares a screen with the last one must have been seen.
    """

    _NUMBER = re.compile(rb"0{10}\d{9}(?!\d)")

    def __init__(self, terminal: Terminal, after: int) -> None:
        self._terminal = terminal
        self._next = after
        self._rest = b""
        self._is_new = False
        self.at: float | None = None

    def look(self) -> bool:
        """Whether it has been drawn by now."""
        raw = self._terminal.raw
        while self.at is None and self._next < len(raw):
            arrival = raw[self._next]
            data = self._rest + arrival.data
            for found in self._NUMBER.finditer(data):
                number = int(found[0])
                self._is_new = self._is_new or number < CHUNKS * 3 // 4
                if self._is_new and number == CHUNKS - 1:
                    self.at = arrival.at
            self._rest = data[-18:]
            self._next += 1
        return self.at is not None


def flood_once(terminal: Terminal, server: Server) -> Flood:
    """Ask for a flood, type while it comes, and wait until it is over and the composer is empty again."""
    heads = server.count(Moment.HEADERS)
    used = processor_seconds(terminal)
    sent = terminal.type("go\n")
    last = LastText(terminal, arrivals_until(terminal, sent))
    busy = wait_busy(terminal, since=sent)
    began = server.wait(Moment.HEADERS, heads).at
    typed = type_until(terminal, last)
    assert last.at is not None
    wait_idle(terminal, since=busy)
    echoes = tuple(echo_of(terminal, key, at) for key, at in typed)
    used = processor_seconds(terminal) - used
    cleared = terminal.press("ctrl+c")
    terminal.wait_for_output(PLACEHOLDER, after=arrivals_until(terminal, cleared))
    return Flood(last.at - began, used, echoes)


def type_until(terminal: Terminal, last: LastText) -> list[tuple[str, float]]:
    """Type at a fixed pace until the last text is drawn; each key and when it was pressed."""
    typed: list[tuple[str, float]] = []
    due = time.monotonic()
    give_up = due + PATIENCE_S
    for key in KEYS:
        typed.append((key, terminal.press(key)))
        due += KEY_EVERY_S
        while (now := time.monotonic()) < due:
            if last.look():
                return typed
            time.sleep(min(0.01, due - now))
    # Out of keys; the rest of the flood goes without them.
    while not last.look():
        if time.monotonic() > give_up:
            raise TimeoutError("the last text was not drawn")
        time.sleep(0.01)
    return typed


def echo_of(terminal: Terminal, key: str, pressed: float) -> float:
    """Milliseconds from the key to its letter on the terminal."""
    after = arrivals_until(terminal, pressed)
    return (terminal.wait_for_output(key.encode(), after=after) - pressed) * 1000


def run_once(program: Program, server: Server) -> Flood:
    with program.run(server, config=NO_JOBS) as terminal:
        terminal.wait_for_output(PLACEHOLDER)
        flood_once(terminal, server)
        return flood_once(terminal, server)


def figures_of(floods: Sequence[Flood]) -> list[Figure]:
    per_chunk = [flood.processor_per_chunk for flood in floods]
    echoes = [echo for flood in floods for echo in flood.echoes]
    return [
        Figure("first byte to last text shown", Unit.S, [flood.shown for flood in floods], (SHOWN_GOAL,)),
        Figure("processor time per chunk", Unit.MS, per_chunk, (PROCESSOR_GOAL,)),
        Figure("key echo meanwhile", Unit.MS, echoes, (ECHO_GOAL,)),
    ]


def main() -> None:
    options = read_options("flood", __doc__, runs=20)
    show_machine()
    floods: list[Flood] = []
    with Server(SCRIPT) as server:
        for number in range(options.runs):
            flood = run_once(options.program, server)
            floods.append(flood)
            progress(f"run {number + 1}: {flood.shown:.2f} s, {flood.processor_per_chunk:.2f} ms per chunk")
    show(figures_of(floods))
    show_machine()


if __name__ == "__main__":
    main()
