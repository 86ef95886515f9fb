"""What the benchmarks share: the program on a pty, a server in a process of its own, and figures.

Why it exists: a figure is only worth its way of measuring, so there is one. Keys are written to a real
terminal, the end is what a server's socket or the terminal's output says, and both are times of
`time.monotonic`, which the processes of one machine share.

What it must never do: ask the program itself how fast it was, or count a run that did not end as a fast one.

Known limits: the terminal's reader and the server take a share of the same processors; on a machine of two
that is the greater part of the spread above the median. Processor time is counted in ticks of 10 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
import threading
from bisect import bisect_right
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Final, Protocol, Self

import psutil  # type: ignore[import-untyped]

from tests.servers.record import Moment, Seen
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NO_JOBS: Final = "[jobs]\ntitles = false\nmemory = false\n"
"""For who measures replies: a server that answers all requests alike makes a flood of a title."""
ROOT: Final = Path(__file__).resolve().parent.parent.parent
COLUMNS: Final = 120
LINES: Final = 40
PATIENCE_S: Final = 60.0
"""After this long without the awaited state a run is given up with an error."""

STOPPABLE: Final = b"Esc stops"
IDLE: Final = b"idle"
PLACEHOLDER: Final = b"sk anything"
"""Without its first letter, which stands under the cursor and is drawn by itself."""


class Served(Protocol):
    """A model's server, in whatever process."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Program:
    """How the program under test is started, without the options that choose the model."""

    command: tuple[str, ...]

    @contextmanager
    def run(
        self,
        server: Served,
        *more: str,
        kitty: bool = False,
        config: str = "",
        files: Mapping[str, str] | None = None,
        columns: int = COLUMNS,
        lines: int = LINES,
    ) -> Iterator[Terminal]:
        """The program on a terminal of its own, in a home of its own, with `server` as its model.

        `more` are options of its command line, `config` is its config.toml, `files` are texts by their paths
        beside it.

        Quits it and waits until none of its processes is left.
        """
        with TemporaryDirectory(prefix="caesura-benchmark-") as home, ExitStack() as stack:
            environment: dict[str, str | None] = {
                # What a developer's shell says of Python, such as to keep no compiled files, no user has.
                **{name: None for name in os.environ if name.startswith("PYTHON")},
                "HOME": home,
                "OPENAI_API_KEY": "sk-benchmark",
                **{f"XDG_{name}_HOME": f"{home}/{name}" for name in ("CONFIG", "DATA", "STATE", "CACHE")},
            }
            settings = Path(home, "CONFIG", "caesura", "config.toml")
            settings.parent.mkdir(parents=True)
            settings.write_text(config)
            for name, text in (files or {}).items():
                path = settings.parent / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            argv = [*self.command, "--model", "openai/gpt-4o", "--api-base", server.url, *more]
            terminal = stack.enter_context(
                Terminal(argv, env=environment, columns=columns, lines=lines, kitty=kitty, emulate=False)
            )
            yield terminal
            terminal.signal(signal.SIGTERM)
            terminal.wait_exit()
            wait_until(lambda: not terminal.processes(), what="every process has ended")


class Server:
    """`tests.servers` as a process: `with Server("slow") as server:`. What it sees is kept in order."""

    def __init__(self, script: str) -> None:
        self._argv = [sys.executable, "-m", "tests.servers", "openai", "--script", script]
        self._changed = threading.Condition()
        self._seen: list[Seen] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def change_script(self, script: str) -> None:
        """Answer the requests that follow with `script`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{script}\n")
        self._process.stdin.flush()

    def count(self, moment: Moment) -> int:
        """How often `moment` has been seen."""
        with self._changed:
            return sum(seen.event is moment for seen in self._seen)

    def wait(self, moment: Moment, number: int) -> Seen:
        """The `moment` of that number, from 0. Raises TimeoutError when it does not come."""
        found = self._find(lambda seen: seen.event is moment, number, PATIENCE_S)
        if found is None:
            raise TimeoutError(f"the server did not see: {moment}")
        return found

    def wait_closed(self, connection: int, timeout: float) -> float | None:
        """When the peer closed that connection; None if it is still open after `timeout` seconds."""
        found = self._find(
            lambda seen: seen.event is Moment.CLOSED and seen.connection == connection and seen.by_peer,
            0,
            timeout,
        )
        return None if found is None else found.at

    def _find(self, wanted: Callable[[Seen], bool], number: int, timeout: float) -> Seen | None:
        found: list[Seen] = []

        def is_there() -> bool:
            found[:] = [seen for seen in self._seen if wanted(seen)]
            return len(found) > number

        with self._changed:
            return found[number] if self._changed.wait_for(is_there, timeout) else None

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            fields = json.loads(line)
            seen = Seen(**{**fields, "event": Moment(fields["event"])})
            with self._changed:
                self._seen.append(seen)
                self._changed.notify_all()


def arrivals_until(terminal: Terminal, at: float) -> int:
    """How many reads had returned output by then: what came later begins at that number."""
    return bisect_right(terminal.raw, at, key=lambda arrival: arrival.at)


def wait_idle(terminal: Terminal, *, since: float) -> float:
    """When the status line, after `since`, first said that nothing runs any more."""
    return terminal.wait_for_output(IDLE, after=arrivals_until(terminal, since), timeout=PATIENCE_S)


def wait_busy(terminal: Terminal, *, since: float) -> float:
    """When the status line, after `since`, first offered to stop."""
    return terminal.wait_for_output(STOPPABLE, after=arrivals_until(terminal, since), timeout=PATIENCE_S)


def processor_seconds(terminal: Terminal) -> float:
    """User and system time so far, of all processes of the program that are alive."""
    return sum(processor_seconds_of(terminal).values())


def processor_seconds_of(terminal: Terminal) -> dict[int, float]:
    """User and system time so far of each process of the program that is alive, by its pid."""
    found = {}
    for pid in terminal.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            found[pid] = times.user + times.system
    return found


def memory_bytes(terminal: Terminal) -> int:
    """Memory of all processes of the program, shared pages counted once where the system says so (PSS)."""
    total = 0
    for pid in terminal.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            info = psutil.Process(pid).memory_full_info()
            total += getattr(info, "pss", info.rss)
    return total


class Unit(Enum):
    MS = "ms"
    S = "s"
    MB = "MB"
    RATIO = "x"
    PERCENT = "%"
    KB = "kB"


class Measure(Enum):
    MEDIAN = "median"
    P95 = "p95"
    P99 = "p99"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Goal:
    """`measure` of a figure is to be `most` at most, in the figure's unit."""

    measure: Measure
    most: float


@dataclass(frozen=True, slots=True)
class Figure:
    """Values of one kind, in `unit`, and what is wanted of them."""

    name: str
    unit: Unit
    values: Sequence[float]
    goals: tuple[Goal, ...] = ()

    def of(self, measure: Measure) -> float:
        match measure:
            case Measure.MEDIAN:
                return statistics.median(self.values)
            case Measure.P95:
                return percentile(self.values, 95)
            case Measure.P99:
                return percentile(self.values, 99)
            case Measure.MAX:
                return max(self.values)

    def verdict(self) -> str:
        """What became of the goals, in words."""
        told = []
        for goal in self.goals:
            value = self.of(goal.measure)
            word = "reached" if value <= goal.most else f"missed by {value - goal.most:.3g}"
            told.append(f"{goal.measure.value} {goal.most:g} {word}")
        return ", ".join(told)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def show(figures: Sequence[Figure]) -> None:
    """Print a table, one figure a line."""
    width = max(len(figure.name) for figure in figures)
    heads = "".join(f"{measure.value:>9}" for measure in Measure)
    print(f"\n{'':{width}} {'n':>5}{heads}       goal")
    for figure in figures:
        if figure.values:
            cells = "".join(f"{figure.of(measure):9.2f}" for measure in Measure)
            count = len(figure.values)
            print(f"{figure.name:{width}} {count:5d}{cells} {figure.unit.value:5} {figure.verdict()}")
        else:
            print(f"{figure.name:{width}}     0  nothing measured")


def show_machine() -> None:
    """Print what else decides about the figures: how many processors, and how busy they are."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, load average {load}", flush=True)


def progress(text: str) -> None:
    """A line about one run, for who waits."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Options:
    program: Program
    runs: int


def read_options(name: str, description: str | None, *, runs: int) -> Options:
    """The options that all benchmarks have; `runs` is how many there are without one."""
    parser = argparse.ArgumentParser(
        prog=f"tests.benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=runs, help=f"how many, {runs} by default")
    parser.add_argument(
        "--command",
        type=shlex.split,
        metavar="WORDS",
        help="measure this command, such as an installed `caesura`, instead of this checkout",
    )
    chosen = parser.parse_args()
    return Options(Program(tuple(chosen.command or _checkout())), chosen.runs)


def _checkout() -> list[str]:
    return [sys.executable, str(ROOT / "caesura.py")]
