"""Real process trees, each hard to end in its own way, and how to tell that one is up and that it is gone.

A tree is recognised in the process table by `MARK=...` in its environment, which all of it inherits, wherever
it has moved itself; namespaced ones are visible from outside as well. Every tree prints `READY` once it is
what its name says; those that clean up print `CLEANED`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

MARK = "CAESURA_TEST_TREE"
PAUSE = "CAESURA_TEST_PAUSE_S"
"""How long those that fork or write without end pause each time, in seconds. Set it for a tree that lives
long: without it some take a whole processor."""
READY = "READY"
CLEANED = "CLEANED"


@dataclass(frozen=True, slots=True)
class StubbornTree:
    """`argv` starts it. `processes` is how many it has at least. `dawdles`: only force ends it soon."""

    name: str
    argv: tuple[str, ...]
    processes: int = 1
    cleans: bool = False
    dawdles: bool = False

    def environment(self, mark: str) -> dict[str, str]:
        return {**os.environ, MARK: mark}


def _shell(name: str, script: str, processes: int, *, dawdles: bool = False) -> StubbornTree:
    return StubbornTree(name, ("bash", "-c", script), processes, dawdles=dawdles)


def _python(name: str, script: str, processes: int = 1, *, cleans: bool = False) -> StubbornTree:
    heading = "import os, signal, subprocess, sys, time\nfrom signal import *\n"
    return StubbornTree(name, (sys.executable, "-I", "-S", "-c", heading + script), processes, cleans=cleans)


_REFORKING = """
signal(SIGTERM, SIG_IGN)
if os.fork() == 0:
    ready = True
    while True:
        if os.fork():
            os._exit(0)
        os.setsid()
        if ready:
            os.write(1, b"READY")
        ready = False
        time.sleep(float(os.environ.get("CAESURA_TEST_PAUSE_S", "0.002")))
time.sleep(3600)
"""

_TIDY = """
def tidy(*_):
    # Its clean-up has a process of its own, which must not be stopped with the rest.
    subprocess.run(["sleep", "0.05"], check=True)
    os.write(1, b"CLEANED")
    os._exit(7)
signal(SIGTERM, tidy)
os.write(1, b"READY")
while True:
    time.sleep(3600)
"""

_WAITING = """
pthread_sigmask(SIG_BLOCK, {SIGTERM})
print("READY", flush=True)
sigwait({SIGTERM})
time.sleep(0.1)
print("CLEANED", flush=True)
sys.exit(7)
"""

_ENDLESS = f"while :; do sleep ${{{PAUSE}:-0.01}}; done"

STUBBORN_TREES = (
    _shell("sleep", "echo READY; exec sleep 3600", 1),
    _shell("background child", "sleep 3600 & echo READY; wait", 2),
    _shell("ignores TERM", "trap '' TERM; sleep 3600 & sleep 3600 & echo READY; wait; sleep 3600", 3),
    _shell("setsid grandchild", "setsid bash -c 'sleep 3600 & sleep 3600' & echo READY; wait", 3),
    _shell("double fork", "( (setsid sleep 3600 & ) & ); echo READY; sleep 3600", 2),
    _shell(
        "nohup, closed pipes", "nohup sleep 3600 <&- >&- 2>&- & echo READY; exec <&- >&- 2>&-; sleep 3600", 2
    ),
    _python("re-forking daemon", _REFORKING, 2),
    _shell("stopped", "sleep 3600 & kill -STOP $!; echo READY; wait", 2),
    _shell("yes", f"echo READY; [ ${PAUSE} ] || exec yes; while echo y; do sleep ${PAUSE}; done", 1),
    _shell("full pipe", "echo READY; yes | sleep 3600", 2),
    _shell("opens /dev/tty", "cat; read -r line </dev/tty || echo READY; sleep 3600", 1),
    _python(
        "Python that ignores INT and TERM",
        "signal(SIGINT, SIG_IGN); signal(SIGTERM, SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '3600']); print('READY', flush=True); child.wait()",
        2,
    ),
    _python(
        "Python that blocks TERM",
        "pthread_sigmask(SIG_BLOCK, {SIGTERM}); print('READY', flush=True); time.sleep(3600)",
    ),
    _python("cleans up", _TIDY, cleans=True),
    _python("waits for TERM", _WAITING, cleans=True),
    _shell(
        "becomes another program",
        f"trap 'exec sleep 3600' TERM; echo READY; {_ENDLESS}",
        1,
    ),
    _shell(
        "forks in a loop", f"echo READY; while :; do /bin/true; [ ! ${PAUSE} ] || sleep ${PAUSE}; done", 1
    ),
    _shell("survives its children", "echo READY; while :; do sleep 3600 || true; done", 2),
    _shell(
        "dawdles",
        f"trap 'echo no' TERM; echo READY; {_ENDLESS}",
        1,
        dawdles=True,
    ),
)


def living(mark: str) -> dict[int, str]:
    """Who is alive of the trees with this mark: pid and name."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (directory / "environ").read_bytes().split(b"\0"):
                    found[int(directory.name)] = (directory / "comm").read_text().strip()
            except OSError:
                # It has ended since.
                continue
    return found


def remains(pids: set[int]) -> dict[int, str]:
    """Which of these pids the table still has, zombies included, with their state."""
    found = {}
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        found[pid] = stat.rpartition(")")[2].split()[0]
    return found
