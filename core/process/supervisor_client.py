"""The client of a supervisor: starts it, sends it requests, reads its reports and the output, and reaps it.

Requests are sent from any thread and never wait. The rest is for the thread of the event loop, except
`launch`, which runs programs and gets a thread of its own. When this process ends, however it ends, its
socket closes, and the supervisor ends the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.scheduling import run_as_usual
from core.base.threads import start_in_thread
from core.base.values import Value
from core.cancel import shielded
from core.process.containment import Containment, namespace_prefix
from core.process.process_table import Process, descendants, everyone, look_up, marked
from core.process.supervisor import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
PAUSE_S = 0.01
"""Seconds between two reads of the output. A full pipe slows a flood down, so it costs little here."""

DRAIN_BYTES = 1024 * 1024
"""How much is read at the end; more than a pipe holds."""

COUNT_EVERY_S = 0.5
REAP_WITHIN_S = 1.0
_PAUSES_S = tuple(0.0005 * 2**n for n in range(12))
FORCE_WITHIN_S = 0.5

MARK = "CAESURA_COMMAND"
"""A variable of all processes of a command, by which they are found if the supervisor was killed."""

_ROOT = str(Path(__file__).resolve().parents[2])
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from core.process.supervisor import main; main(int(sys.argv[2]))"
)
_SUPERVISOR_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""The supervisor needs no more, and the command can read the supervisor's environment."""


class CommandError(CaesuraError):
    """A command could not be started; no part of it has run."""


class Command(Value):
    """What to run. `argv[0]` is looked up in the PATH of `environment`, the command's whole environment."""

    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]
    containment: Containment | None = None
    """None: the best of this machine. Without namespaces it is a group; `CommandEnd` tells which it was."""


class FinalReport(Value):
    """The supervisor's last report. `alive` has the pids of the supervisor's own namespace."""

    at: float
    ended: int
    left_behind: int
    alive: tuple[Process, ...]


class Launched(Value):
    """A supervisor's process, and what really holds its command together."""

    process: subprocess.Popen[bytes]
    containment: Containment


class SupervisorClient:
    """For one command: `start`, then `wait_ended`, then `close`, whatever happens in between."""

    def __init__(self, on_output: Callable[[bytes], None], on_started: Callable[[], None]) -> None:
        """Open the socket and the pipe. Raises `CommandError` when there are no descriptors left."""
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_started = on_started
        self._has_output = False
        # A socket object and not a descriptor: a late stop finds it closed, and not another file.
        self._socket, self._their_socket, self._output, self._their_output = _open_channels()
        self._socket.setblocking(False)
        os.set_blocking(self._output, False)
        self._mark = os.urandom(8).hex()
        self._name = ""
        self._starting: asyncio.Future[Launched] | None = None
        self._ended = asyncio.Event()
        self._pause: asyncio.TimerHandle | None = None
        self._partial = b""
        self._asked_at = -COUNT_EVERY_S
        self.launched: Launched | None = None
        self.has_started = False
        self.exit_code: int | None = None
        self.count = 0
        self.failure: int | None = None
        self.final: FinalReport | None = None

    # -- from any thread --

    def stop(self) -> None:
        """Request the end of the tree, with a grace for processes that handle SIGTERM."""
        self._send(b"s")

    def kill(self) -> None:
        """Request that the tree is killed now."""
        self._send(b"k")

    def ask_count(self) -> None:
        """Request a count of the processes, unless one was requested just now."""
        now = time.monotonic()
        if now - self._asked_at >= COUNT_EVERY_S:
            self._asked_at = now
            self._send(b"c")

    def _send(self, word: bytes) -> None:
        # A closed socket has no reader. A full one is full of the same requests.
        with contextlib.suppress(OSError):
            self._socket.send(word)

    # -- the loop's thread --

    @property
    def ended(self) -> bool:
        """Whether no further report can come."""
        return self._ended.is_set()

    def error(self) -> CommandError | None:
        """Why the command has not run; None if it has."""
        if self.failure is not None:
            return CommandError(f"{self._name} could not be started: {os.strerror(self.failure)}.")
        has_run = self.has_started or self._has_output
        if self.launched is not None and not has_run and self.final is None:
            return CommandError(f"{self._name} could not be started: its keeper ended. The log has more.")
        return None

    async def start(self, command: Command) -> None:
        """Start the supervisor and read its reports. Raises `CommandError`."""
        self._name = _name(command)
        start = partial(launch, command, self._mark, self._their_socket, self._their_output)
        self._starting = start_in_thread(start, name="start of a command")
        self._loop.add_reader(self._socket, self._read_reports)
        self._loop.add_reader(self._output, self._read_output)
        self.launched = await asyncio.shield(self._starting)

    async def wait_ended(self) -> None:
        """Wait for the final report, or for the end of the supervisor without one."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
            if self._starting.exception() is not None:
                return
            self.launched = self._starting.result()
        await self._ended.wait()

    async def close(self) -> None:
        """Read the rest of the output, reap the supervisor and close everything."""
        try:
            if self.launched is not None:
                await self._reap(self.launched.process)
        finally:
            self._drain()
            self._loop.remove_reader(self._socket)
            self._loop.remove_reader(self._output)
            if self._pause is not None:
                self._pause.cancel()
            self._socket.close()
            os.close(self._output)
            if self._starting is None:
                self._their_socket.close()
                os.close(self._their_output)
            elif self.launched is None:
                self._starting.add_done_callback(_disown)

    async def end_by_force(self) -> tuple[Process, ...]:
        """Kill the supervisor and all that is found without it; return the processes that live on."""
        assert self.launched is not None
        end = partial(end_by_force, self.launched.process.pid, self._mark)
        return await asyncio.shield(start_in_thread(end, name="end of a command"))

    async def survivors(self) -> tuple[Process, ...]:
        """Processes that the supervisor could not end, with their pids in this process' namespace."""
        if self.final is None or not self.final.alive:
            return ()
        if self.launched is None or self.launched.containment is Containment.GROUP:
            return self.final.alive
        # A namespace has its own pids. The time of the start is the same in all.
        known = {(process.name, process.started) for process in self.final.alive}
        listing = await asyncio.shield(start_in_thread(everyone, name="process table"))
        return tuple(process for process in listing if (process.name, process.started) in known)

    def _read_reports(self) -> None:
        try:
            data = self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(line.decode())
        if not data:
            self._loop.remove_reader(self._socket)
            self._ended.set()

    def _take(self, line: str) -> None:
        match line.split():
            case ["started"]:
                self.has_started = True
                self.count = 1
                self._on_started()
            case ["failed", number]:
                self.failure = int(number)
            case ["count", number]:
                self.count = int(number)
            case ["exited", code]:
                self.exit_code = int(code)
            case ["end", at, ended, left_behind, *alive]:
                self.final = FinalReport(
                    float(at), int(ended), int(left_behind), tuple(_load_process(one) for one in alive)
                )
                self._ended.set()
            case _:
                log.error("a supervisor sent a report that cannot be read: %r", line)

    def _read_output(self) -> None:
        self._loop.remove_reader(self._output)
        if self._read_chunk() is not None:
            resume = partial(self._loop.add_reader, self._output, self._read_output)
            self._pause = self._loop.call_later(PAUSE_S, resume)

    def _read_chunk(self) -> int | None:
        """Read what is there; return how much it was, None at the end of the output."""
        try:
            data = os.read(self._output, CHUNK_BYTES)
        except BlockingIOError:
            return 0
        if data:
            self._has_output = True
            self._on_output(data)
        return len(data) or None

    def _drain(self) -> None:
        left = DRAIN_BYTES
        while left > 0 and (read := self._read_chunk()):
            left -= read

    async def _reap(self, process: subprocess.Popen[bytes]) -> None:
        # macOS raises ENOTCONN when the other end is gone.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        try:
            with shielded(REAP_WITHIN_S):
                for pause in _PAUSES_S:
                    if process.poll() is not None:
                        break
                    await asyncio.sleep(pause)
        finally:
            # The kernel holds it, for a network disk that does not answer for instance, or this task was
            # cancelled.
            if process.poll() is None:
                _wait_for(process)


def launch(command: Command, mark: str, control: socket.socket, output: int) -> Launched:
    """Start the supervisor of a command. `control` and `output` are its ends and are closed here.

    It runs programs, so it is for a thread. Raises `CommandError`.
    """
    run_as_usual()
    with control, open(output, "wb", buffering=0):
        order = _order(command, mark)
        prefix = None if command.containment is Containment.GROUP else namespace_prefix()
        try:
            process = subprocess.Popen(
                [*(prefix or ()), sys.executable, "-I", "-S", "-c", _BOOT, _ROOT, str(control.fileno())],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                bufsize=0,
                pass_fds=(control.fileno(),),
                start_new_session=True,
                env={name: os.environ[name] for name in _SUPERVISOR_VARIABLES if name in os.environ},
            )
        except OSError as error:
            raise CommandError(
                f"{_name(command)} could not be started: {error.strerror}. Try again."
            ) from None
    assert process.stdin is not None
    # The socket shows that a supervisor was killed already.
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(order.dump())
    return Launched(process, Containment.GROUP if prefix is None else Containment.NAMESPACE)


def end_by_force(root: int, mark: str) -> tuple[Process, ...]:
    """Kill `root`, its tree and everything with the mark; return what lives on. Blocks: for a thread.

    A process that is about to exit has no environment and perhaps another parent already, so one that was
    found is looked up by its pid until it has ended.
    """
    deadline = time.monotonic() + FORCE_WITHIN_S
    alive: dict[tuple[int, int], Process] = {}
    while True:
        found = (*descendants(root), *marked(f"{MARK}={mark}"), *alive.values())
        for pid in {root, *(process.pid for process in found)}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        known = {process.key for process in found}
        now = (look_up(pid) for pid in {process.pid for process in found})
        alive = {
            process.key: process for process in now if process and process.alive and process.key in known
        }
        if not alive or time.monotonic() > deadline:
            return tuple(alive.values())
        time.sleep(0.005)


def _open_channels() -> tuple[socket.socket, socket.socket, int, int]:
    with contextlib.ExitStack() as undo:
        try:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            output, their_output = os.pipe()
        except OSError as error:
            raise CommandError(
                f"No command can be started ({error.strerror}): stop others, then try again."
            ) from None
        undo.pop_all()
        return ours, theirs, output, their_output


def _order(command: Command, mark: str) -> Order:
    environment = {**command.environment, MARK: mark}
    if any("\0" in text for text in (*command.argv, str(command.cwd), *environment, *environment.values())):
        raise CommandError(f"{_name(command)} was not started: it contains a NUL, which no program can get.")
    try:
        return Order(
            os.fsencode(_executable(command)),
            os.fsencode(command.cwd),
            [os.fsencode(argument) for argument in command.argv],
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
        )
    except UnicodeEncodeError:
        raise CommandError(
            f"{_name(command)} was not started: it contains a character that cannot be encoded."
        ) from None


def _executable(command: Command) -> str:
    """The full path of the program. Raises `CommandError` if there is no such program or folder."""
    if not command.cwd.exists():
        raise CommandError(f"{_name(command)} was not started: there is no folder {command.cwd}.")
    if not command.cwd.is_dir():
        raise CommandError(f"{_name(command)} was not started: {command.cwd} is not a folder.")
    name = command.argv[0] if command.argv else ""
    path = str(command.cwd / name) if "/" in name else name
    found = shutil.which(path, path=command.environment.get("PATH", os.defpath))
    if found is None:
        raise CommandError(f"{_name(command)} was not found: check the name, or install it.")
    return str(command.cwd / found)


def _name(command: Command) -> str:
    name = command.argv[0] if command.argv else ""
    return f"The command “{name.encode('utf-8', 'replace').decode()}”"


def _load_process(text: str) -> Process:
    pid, started, name = text.split(":")
    return Process(int(pid), bytes.fromhex(name).decode("utf-8", "replace"), "?", 0, 0, int(started))


def _disown(starting: asyncio.Future[Launched]) -> None:
    """Reap the supervisor of a start that was given up. Its socket is closed, which ends it."""
    if not starting.cancelled() and starting.exception() is None:
        _wait_for(starting.result().process)


def _wait_for(process: subprocess.Popen[bytes]) -> None:
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
