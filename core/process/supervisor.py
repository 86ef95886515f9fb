"""The supervisor of a command: a process that starts the command and ends it with its whole tree.

It is a process of its own, one per command. A stop then needs nothing of Caesura's event loop, and the end of
Caesura, by SIGKILL too, ends the command: the supervisor sees its control socket close (X7).
Where there are PID namespaces it is the first process of one, which no process can leave, signal or outlive.
Elsewhere on Linux it is a sub-reaper: orphans of any session become its children. In both cases no child left
means no descendant left.

Not solved without both (macOS): a process that leaves its parent and its process group between two looks at
the table is missed. It is also unknown whether a process ignores SIGTERM, so each gets the whole grace.

It must start fast: it imports `os`, `select`, `signal`, `time` and the process table, and ctypes only as a
sub-reaper. It never writes to the command's output.

The parent writes to the control socket: "s" stop, "k" kill now, "c" count. The supervisor answers in lines:
`started`, `failed ERRNO`, `count N`, `exited CODE`, and last
`end TIME ENDED LEFT_BEHIND [PID:TICKS:HEX_OF_NAME ...]` with the processes that are still alive.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from enum import Enum

from core.process.process_table import Process, descendants, relatives, signal_disposition

GRACE_S = 2.0
"""How long a process with a handler for SIGTERM may take to clean up."""

LINGER_S = 0.1
"""How long a process that the command did not wait for may run on: the `tee` of a `> >(tee log)`."""

BLOCKED_S = 0.05
"""A process that blocks SIGTERM and has not taken it by then is killed."""

KILL_S = 0.7
"""How long the kernel may take to end killed processes; after that they are reported alive."""

_IGNORED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP,
    signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
_ORPHANS_COME_TO_US = sys.platform == "linux"
_PR_SET_CHILD_SUBREAPER = 36


class Phase(Enum):
    RUNNING = "running"
    LINGERING = "lingering"
    SOFT = "soft"
    KILLING = "killing"


class Order:
    """What to run: the executable's path, where, with which arguments and environment."""

    __slots__ = ("arguments", "directory", "environment", "executable")

    def __init__(
        self, executable: bytes, directory: bytes, arguments: list[bytes], environment: dict[bytes, bytes]
    ) -> None:
        self.executable = executable
        self.directory = directory
        self.arguments = arguments
        self.environment = environment

    def dump(self) -> bytes:
        """Serialize it; no part can contain a NUL."""
        count = str(len(self.arguments)).encode()
        pairs = [name + b"=" + value for name, value in self.environment.items()]
        return b"\0".join([self.executable, self.directory, count, *self.arguments, *pairs, b"."])

    @classmethod
    def load(cls, data: bytes) -> Order:
        """Deserialize it. Raises `ValueError` if it was cut off, because its writer ended for instance."""
        *fields, end = data.split(b"\0")
        if end != b".":
            raise ValueError("the order is not complete")
        executable, directory, count, *rest = fields
        pairs = [pair.partition(b"=") for pair in rest[int(count) :]]
        return cls(executable, directory, rest[: int(count)], {name: value for name, _, value in pairs})


class Supervisor:
    """Supervises one command from its start to the end of the last process of its tree."""

    def __init__(self, control: int) -> None:
        self._control = control
        self._main = 0
        self._phase = Phase.RUNNING
        self._deadline = 0.0
        self._gone = False
        self._main_ended = False
        self._parent_lives = True
        self._left_behind = 0
        self._seen: dict[tuple[int, int], Process] = {}
        self._asked: dict[tuple[int, int], str] = {}
        self._blocked: dict[tuple[int, int], float] = {}
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self, order: Order) -> None:
        """Start the command unless a stop came first; return when no process of it is left."""
        self._listen(0)
        if self._stopping or not self._start(order):
            self._report_end([])
            return
        self._reap()
        while not self._gone and not self._killed_in_vain:
            self._advance()
            self._listen(self._patience())
            self._reap()
        self._report_end([] if self._gone else [process for process in self._tree() if process.alive])

    @property
    def _stopping(self) -> bool:
        return self._phase in (Phase.SOFT, Phase.KILLING)

    @property
    def _killed_in_vain(self) -> bool:
        return self._phase is Phase.KILLING and time.monotonic() > self._deadline

    def _start(self, order: Order) -> bool:
        try:
            os.chdir(order.directory)
            self._main = os.posix_spawn(
                order.executable,
                order.arguments,
                order.environment,
                # A group of its own: `kill 0` in a script must not reach this process. Not a session: the
                # leader of a session gets a controlling terminal by opening a terminal.
                setpgroup=0,
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        except OSError as error:
            self._report(f"failed {error.errno}")
            return False
        self._report("started")
        # From now on only the command has the output: it closes when its tree has ended.
        os.dup2(0, 1)
        os.dup2(0, 2)
        return True

    # -- events --

    def _listen(self, patience_ms: float | None) -> None:
        """Wait for the parent, for the end of a child or for the time-out; carry out what the parent says."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._parent_lives:
            poll.register(self._control, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(patience_ms)}
        if self._wake_read in ready:
            os.read(self._wake_read, 1 << 12)
        if self._control not in ready:
            return
        try:
            words = os.read(self._control, 1 << 12)
        except ConnectionError:
            words = b""
        if not words:
            self._parent_lives = False
        if not words or b"k" in words:
            self._kill()
        elif b"s" in words:
            self._soft()
        if b"c" in words:
            self._report(f"count {sum(process.alive for process in self._tree())}")

    def _reap(self) -> None:
        """Reap all ended children. On Linux no child left means that no descendant is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._gone = _ORPHANS_COME_TO_US or not self._tree()
                return
            if pid == 0:
                return
            if pid == self._main:
                self._main_ended = True
                self._report(f"exited {os.waitstatus_to_exitcode(status)}")

    def _patience(self) -> float | None:
        """How long to wait for an event before looking again, in milliseconds."""
        match self._phase:
            case Phase.RUNNING:
                return None
            case Phase.LINGERING:
                return max(0.0, self._deadline - time.monotonic()) * 1000 + 1
            case Phase.SOFT:
                # No event tells that an orphan has become a child.
                return 5.0
            case Phase.KILLING:
                return 1.0

    def _advance(self) -> None:
        now = time.monotonic()
        match self._phase:
            case Phase.RUNNING:
                if self._main_ended:
                    self._phase, self._deadline = Phase.LINGERING, now + LINGER_S
            case Phase.LINGERING:
                if now >= self._deadline:
                    self._soft()
            case Phase.SOFT:
                if now >= self._deadline:
                    self._kill()
                else:
                    self._soft_again(now)
            case Phase.KILLING:
                self._kill_tree()

    # -- ending --

    def _tree(self) -> list[Process]:
        if _ORPHANS_COME_TO_US:
            return descendants(os.getpid())
        return relatives(os.getpid(), {self._main, *(process.group for process in self._seen.values())})

    def _see(self) -> list[Process]:
        """The tree as it is now; remembers the processes that are new."""
        tree = self._tree()
        self._seen.update((process.key, process) for process in tree if process.alive)
        return tree

    def _note_left_behind(self) -> None:
        if self._main_ended and not self._stopping:
            self._left_behind = sum(process.alive for process in self._see())

    def _soft(self) -> None:
        """Send SIGTERM to all, parents first: a shell whose child ends first runs its next command."""
        if self._stopping:
            return
        self._note_left_behind()
        self._phase, self._deadline = Phase.SOFT, time.monotonic() + GRACE_S
        for process in self._see():
            self._ask_to_end(process)

    def _soft_again(self, now: float) -> None:
        """Send SIGTERM to processes that have lost their parent since; a new child of a living parent is its
        clean-up and is left alone.

        A process that got SIGTERM between its fork and its exec had its parent's handler: it is sent again.
        """
        orphaned = {os.getpid()}
        for process in self._see():
            asked_as = self._asked.get(process.key)
            if asked_as is None and process.parent in orphaned:
                orphaned.add(process.pid)
                self._ask_to_end(process)
            elif asked_as not in (None, process.name):
                self._ask_to_end(process)
            elif now > self._blocked.get(process.key, now) and signal_disposition(process.pid).pending:
                _send(process.pid, signal.SIGKILL)

    def _ask_to_end(self, process: Process) -> None:
        self._asked[process.key] = process.name
        standing = signal_disposition(process.pid)
        if standing.ignored:
            _send(process.pid, signal.SIGKILL)
            return
        _send(process.pid, signal.SIGTERM)
        _send(process.pid, signal.SIGCONT)
        if standing.blocked:
            self._blocked[process.key] = time.monotonic() + BLOCKED_S

    def _kill(self) -> None:
        if self._phase is not Phase.KILLING:
            self._note_left_behind()
            self._phase, self._deadline = Phase.KILLING, time.monotonic() + KILL_S
            self._kill_tree()

    def _kill_tree(self) -> None:
        if not self._main:
            return
        tree = self._see()
        # The first process of a namespace sees nobody but its own, and reaches all of them in one step that
        # no fork can slip through.
        if os.getpid() == 1:
            _send(-1, signal.SIGKILL)
            return
        for process in tree:
            _send(process.pid, signal.SIGSTOP)
        tree = self._see()
        # The groups too: there one step reaches all. None has strangers in it, as they are of our session or
        # of a descendant's.
        for group in {process.group for process in tree} - {os.getpgrp(), 0, 1}:
            _send(-group, signal.SIGKILL)
        for process in tree:
            _send(process.pid, signal.SIGKILL)

    # -- reports --

    def _report_end(self, alive: list[Process]) -> None:
        still = {process.key for process in alive}
        main = (self._main, 0) if self._main and not any(pid == self._main for pid, _ in self._seen) else None
        ended = len(self._seen.keys() - still) + (main is not None)
        names = [f"{process.pid}:{process.started}:{process.name.encode().hex()}" for process in alive]
        self._report(" ".join([f"end {time.monotonic()!r} {ended} {self._left_behind}", *names]))

    def _report(self, line: str) -> None:
        # The parent may have ended, or may read nothing: neither may hold up the work here.
        with contextlib.suppress(OSError):
            os.write(self._control, line.encode() + b"\n")


def _send(pid: int, number: signal.Signals) -> None:
    # It may have ended just now. It may belong to another user: then it is reported alive.
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _become_reaper() -> None:
    if _ORPHANS_COME_TO_US and os.getpid() != 1:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main(control: int) -> None:
    """Run the order from standard input; `control` is the descriptor of the control socket."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.set_inheritable(control, False)
    os.set_blocking(control, False)
    if os.getsid(0) != os.getpid():
        os.setsid()
    try:
        order = Order.load(_read_all(0))
    except ValueError:
        return
    os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), 0)
    _become_reaper()
    Supervisor(control).run(order)
    # The kernel cleans up the rest, at once.
    os._exit(0)


def _read_all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts)
