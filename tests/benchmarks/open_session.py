"""How fast a long session is there, and how smoothly one comes to its start.

`python -m tests.benchmarks.open_session`: 10,000 messages, in the real application on a pty. The program is
ready before; a key opens the session, which is in memory already: reading it from the file is no part of
this, and neither is the start of the program, which `startup` measures. The next key follows at once and
others at a fixed pace, until all of the session is prepared. Then it is paged through up to its start, and
jumped through. What the event loop was held up by is told by the program itself: see `opening_app`.

The goal for the first key is what of 300 ms the start of the program leaves over.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, 21 November 2026, load average 0.8 to 1.9), 6 runs:

    last words shown                        median 26 ms     max 34
    first key echoed                        median 24 ms     max 27
    key echo while it is prepared (407)     median 5.7 ms    p95 17.4  p99 23.9
    all of it prepared                      median 3.4 s     max 4.0
    longest stall meanwhile                 median 8.3 ms    max 9.2
    longest stall, paging to the start      median 14.6 ms   max 17.9
    longest stall, jumping to the start     median 4.1 ms    max 5.7
    a word of a reply, nothing above        median 0.13 ms   max 0.17
    a word of a reply, all above            median 0.12 ms   max 0.13
    memory, shown and not shown             median 86 and 61 MB

With others at work on the same processors (load average 3.4 to 4.5, 10 runs) the longest stall of paging had
a median of 52 ms and a maximum of 94; of these the program itself had worked for 18 at most.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.benchmarks.flood import KEY_EVERY_S, KEYS, echo_of
from tests.benchmarks.measure import (
    COLUMNS,
    LINES,
    PATIENCE_S,
    PLACEHOLDER,
    Figure,
    Goal,
    Measure,
    Unit,
    arrivals_until,
    memory_bytes,
    progress,
    read_options,
    show,
    show_machine,
)
from tests.benchmarks.opening_app import FIRST, LAST
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

MESSAGES = 10_000
MB = 1_000_000
OPEN_GOALS = (Goal(Measure.P95, 30),)
STALL_GOALS = (Goal(Measure.MAX, 50),)


@dataclass(frozen=True, slots=True)
class Opening:
    """Times in milliseconds, memory in bytes; `paged` and `jumped` are stalls of the way to the start,
    `flushes` what a word of a reply took before and afterwards."""

    shown: float
    echoes: tuple[float, ...]
    prepared: float
    stall: float
    paged: float
    jumped: float
    flushes: tuple[float, float]
    memory_before: int
    memory_after: int


class Record:
    """What the program notes: facts in order, each with the longest stall before it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, name: str) -> bool:
        return any(line.startswith(name) for line in self._lines())

    def stall(self, name: str) -> float:
        """Wait for the fact; milliseconds."""
        wait_until(lambda: self.has(name), what=f"it notes: {name}", timeout=PATIENCE_S)
        line = next(line for line in self._lines() if line.startswith(name))
        return float(line.rsplit(" ", 1)[1]) * 1000

    def _lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def open_once() -> Opening:
    with TemporaryDirectory(prefix="caesura-benchmark-") as folder:
        record = Record(path := Path(folder, "record"))
        argv = [sys.executable, "-m", "tests.benchmarks.opening_app", str(path), str(MESSAGES)]
        home: dict[str, str | None] = {"HOME": folder, "TEXTUAL_FPS": "120"}
        home |= {f"XDG_{name}_HOME": f"{folder}/{name}" for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        with Terminal(argv, env=home, columns=COLUMNS, lines=LINES, emulate=False) as terminal:
            terminal.wait_for_output(PLACEHOLDER)
            wait_until(lambda: record.has("ready"), what="the session is at hand", timeout=PATIENCE_S)
            opening = _open(terminal, record)
            terminal.press("ctrl+q")
            terminal.wait_exit()
            return opening


def _open(terminal: Terminal, record: Record) -> Opening:
    before = memory_bytes(terminal)
    bare = _stream(terminal, record, "streamed with 0 ")
    opened = terminal.press("f5")
    typed = [(KEYS[0], terminal.press(KEYS[0]))]
    shown = terminal.wait_for_output(LAST.encode(), after=arrivals_until(terminal, opened))
    prepared = _type_until_prepared(terminal, record, typed)
    stall = record.stall("open")
    echoes = tuple(echo_of(terminal, key, at) for key, at in typed)
    paged = _go(terminal, record, "f6", "page to start", FIRST)
    _go(terminal, record, "f7", "end", LAST)
    jumped = _go(terminal, record, "f8", "start", FIRST)
    after = memory_bytes(terminal)
    flushes = bare, _stream(terminal, record, f"streamed with {MESSAGES // 2} ")
    milliseconds = (shown - opened) * 1000, (prepared - opened) * 1000
    return Opening(milliseconds[0], echoes, milliseconds[1], stall, paged, jumped, flushes, before, after)


def _stream(terminal: Terminal, record: Record, name: str) -> float:
    terminal.press("f4")
    return record.stall(name)


def _type_until_prepared(terminal: Terminal, record: Record, typed: list[tuple[str, float]]) -> float:
    for key in itertools.islice(KEYS, 1, None):
        time.sleep(KEY_EVERY_S)
        if record.has("open"):
            break
        typed.append((key, terminal.press(key)))
    record.stall("open")
    return time.monotonic()


def _go(terminal: Terminal, record: Record, key: str, name: str, words: str) -> float:
    """Press `key`, wait until `words` are shown and the way there is noted; its longest stall."""
    pressed = terminal.press(key)
    terminal.wait_for_output(words.encode(), after=arrivals_until(terminal, pressed), timeout=PATIENCE_S)
    return record.stall(name)


def figures_of(openings: Sequence[Opening]) -> list[Figure]:
    first = [opening.echoes[0] for opening in openings]
    others = [echo for opening in openings for echo in opening.echoes[1:]]
    before = [opening.memory_before / MB for opening in openings]
    more = [(opening.memory_after - opening.memory_before) / MB for opening in openings]
    return [
        Figure("last words shown", Unit.MS, [opening.shown for opening in openings]),
        Figure("first key echoed", Unit.MS, first, OPEN_GOALS),
        Figure("key echo while it is prepared", Unit.MS, others),
        Figure("all of it prepared", Unit.S, [opening.prepared / 1000 for opening in openings]),
        Figure("longest stall meanwhile", Unit.MS, [opening.stall for opening in openings], STALL_GOALS),
        Figure("longest stall, paging to the start", Unit.MS, [o.paged for o in openings], STALL_GOALS),
        Figure("longest stall, jumping to the start", Unit.MS, [o.jumped for o in openings], STALL_GOALS),
        Figure("a word of a reply, nothing above", Unit.MS, [opening.flushes[0] for opening in openings]),
        Figure("a word of a reply, all above", Unit.MS, [opening.flushes[1] for opening in openings]),
        Figure("memory with the session, not shown", Unit.MB, before),
        Figure("more memory, shown", Unit.MB, more),
    ]


def main() -> None:
    options = read_options("open_session", __doc__, runs=10)
    show_machine()
    openings: list[Opening] = []
    for number in range(options.runs):
        openings.append(opening := open_once())
        progress(
            f"run {number + 1}: shown {opening.shown:.0f} ms, prepared {opening.prepared:.0f} ms, "
            f"stalls {opening.stall:.1f}, {opening.paged:.1f} and {opening.jumped:.1f} ms"
        )
    show(figures_of(openings))
    show_machine()


if __name__ == "__main__":
    main()
