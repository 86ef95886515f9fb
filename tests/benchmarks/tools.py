"""How long from the key to the last dead process: `python -m tests.benchmarks.tools`.

A model's server asks for a shell command; once its tree is up, the byte of Esc is written to the terminal at
a random moment. The kernel says of each process of the tree when it ended (pidfd), wherever it has moved
itself; the last one counts. A tree of which something is alive five seconds later counts as alive.

The second part is the panel: 50 operations alive, ten of them with 100 lines of output a second and unfolded
in turn, while keys are typed. Measured is the time from a key's byte until the terminal gets its echo.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, 21 November 2026, load average 1.1), in ms:

    sleep                            67 stops  median 1.70  p95  3.46  p99  4.54
    ignores TERM, three processes    67 stops  median 2.08  p95  3.39  p99  3.93
    setsid and double fork           67 stops  median 2.35  p95  3.44  p99  3.95
    all: the last process dead      201 stops  median 2.07  p95  3.44  p99  3.95  max 4.54, none alive
    key echo, 50 rows, ten outputs   300 keys  median 4.48  p95 16.67  p99 31.76  max 51.34
"""

from __future__ import annotations

import glob
import json
import os
import random
import select
import shlex
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks.measure import (
    PLACEHOLDER,
    Figure,
    Goal,
    Measure,
    Options,
    Unit,
    progress,
    read_options,
    show,
    show_machine,
    wait_idle,
)
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Call, Script, in_turn
from tests.support.stubborn_processes import MARK, STUBBORN_TREES, StubbornTree, living
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.servers.base import Server
    from tests.support.terminal import Terminal

ALIVE_AFTER_S = 5.0
SEED = 3
STOP_GOALS = (Goal(Measure.MEDIAN, 15),)
ECHO_GOALS = (Goal(Measure.P95, 40),)
TREES = ("sleep", "ignores TERM", "double fork")


@dataclass(slots=True)
class Tree:
    """One kind of tree; `ends` are milliseconds from the key, `alive` counts those that were not ended."""

    kind: StubbornTree
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    ends: list[float] = field(default_factory=list)
    alive: int = 0

    @property
    def command(self) -> str:
        return f"{MARK}={self.mark} {shlex.join(self.kind.argv)}"


def shell(command: str, call_id: str | None = None, **more: object) -> Call:
    return Call(
        call_id or f"call_{uuid.uuid4().hex[:8]}", "shell", (json.dumps({"command": command, **more}),)
    )


def stop_once(terminal: Terminal, server: Server, tree: Tree, chance: random.Random) -> None:
    mark = tree.mark
    server.script = Script(text=("I run it.",), calls=(shell(tree.command),))
    terminal.type("go\n")
    # The shell itself carries no mark; it ends with the rest, or the turn would not.
    wait_until(lambda: len(living(mark)) >= tree.kind.processes, what=f"{tree.kind.name} is up")
    time.sleep(chance.uniform(0.05, 0.15))
    poller, watched = select.poll(), set[int]()
    for pid in living(mark):
        fd = os.pidfd_open(pid)
        watched.add(fd)
        poller.register(fd, select.POLLIN)
    pressed = terminal.press("escape")
    last = pressed
    while watched and time.monotonic() < pressed + ALIVE_AFTER_S:
        for fd, _ in poller.poll(100):
            last = time.monotonic()
            poller.unregister(fd)
            os.close(fd)
            watched.remove(fd)
    for fd in watched:
        os.close(fd)
    wait_idle(terminal, since=pressed)
    if living(mark):
        tree.alive += 1
    else:
        tree.ends.append((last - pressed) * 1000)


def allowing(*commands: str) -> str:
    """A config.toml in which these commands are not asked about."""
    return "[permissions]\nallow = " + json.dumps([f"shell({glob.escape(line)})" for line in commands])


def measure_stops(options: Options, trees: list[Tree]) -> None:
    chance = random.Random(SEED)
    runs = -(-options.runs // len(trees))
    with (
        ThreadedServer(PROTOCOLS["openai"].server(Script())) as server,
        options.program.run(server, config=allowing(*(tree.command for tree in trees))) as terminal,
    ):
        terminal.wait_for_output(PLACEHOLDER)
        for tree in trees:
            progress(f"{runs} stops: {tree.kind.name}")
            for _ in range(runs):
                stop_once(terminal, server, tree, chance)


def measure_echo(options: Options, keys: int) -> list[float]:
    """Milliseconds from a key to its echo, with the panel open and full."""
    chatty = "while :; do echo line $((n+=1)); sleep 0.01; done"
    calls = [shell("sleep 300", background=True) for _ in range(40)]
    calls += [shell(chatty, background=True) for _ in range(10)]
    echoes: list[float] = []
    with ThreadedServer(PROTOCOLS["openai"].server(Script())) as server:
        server.script = in_turn(Script(text=("I start them.",), calls=tuple(calls)), Script(text=("done",)))
        with options.program.run(server, config=allowing("sleep 300", chatty)) as terminal:
            terminal.wait_for_output(PLACEHOLDER)
            sent = terminal.type("go\n")
            server.wait_request(2, timeout=120)
            wait_idle(terminal, since=sent)
            terminal.press("ctrl+t")
            terminal.wait_for_output(b"Running: 50")
            # The chatty ones were started last: their output is unfolded, row by row.
            for key in (*("down",) * 40, *("enter", "down") * 10, "tab"):
                terminal.press(key)
            terminal.wait_for_output(b"line 1")
            time.sleep(1)
            chance = random.Random(SEED)
            for number in range(keys):
                time.sleep(chance.uniform(0.02, 0.06))
                letter = "abcdefghij"[number % 10]
                count = len(terminal.raw)
                pressed = terminal.type(letter)
                seen = terminal.wait_for_output(letter.encode(), after=count)
                echoes.append((seen - pressed) * 1000)
            terminal.press("ctrl+c")
    return echoes


def main() -> None:
    options = read_options("tools", __doc__, runs=201)
    show_machine()
    trees = [Tree(kind) for name in TREES for kind in STUBBORN_TREES if kind.name == name]
    measure_stops(options, trees)
    everything = [value for tree in trees for value in tree.ends]
    figures = [Figure(tree.kind.name, Unit.MS, tree.ends, STOP_GOALS) for tree in trees]
    figures.append(Figure("all: the last process dead", Unit.MS, everything, STOP_GOALS))
    show(figures)
    alive = sum(tree.alive for tree in trees)
    print(f"alive: {alive} of {alive + len(everything)}")
    progress("keys with a full panel")
    show([Figure("key echo, 50 rows, ten outputs", Unit.MS, measure_echo(options, 300), ECHO_GOALS)])
    show_machine()


if __name__ == "__main__":
    main()
