"""A real terminal for tests and benchmarks: a pty, a screen, and the answers that programs ask terminals for.

Why it exists: what Esc does can only be proven with the byte itself, through a line discipline, to a process
of its own. This is the side of the terminal emulator.

What it must never do: hide a sequence that it does not know from `raw`, or write a key in more than one
`write`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import termios
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support.emulator import Emulator
from tests.support.key_encoding import encode_key
from tests.support.live_processes import marked
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_MARK: Final = "CAESURA_TEST_TERMINAL"
_FRAME_END: Final = re.compile(rb"(?<=\x1b\[\?2026l)")


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """Output as one read returned it; `at` in seconds of `time.monotonic`."""

    at: float
    data: bytes


class Terminal:
    """Run `argv` as the leader of a session on a terminal of its own, for as long as the block lasts.

    `env` is laid over this process' environment; None as a value removes a name. `kitty` says whether the
    terminal knows the kitty keyboard protocol; `press` uses it once the program has asked for it.
    `background` is what it answers when asked for it, such as `ffff/ffff/ffff`; empty for no answer. With
    `emulate=False` the screen stays empty (drawing it costs more than most programs do); `raw` and the modes
    are kept all the same.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        columns: int = 80,
        lines: int = 24,
        kitty: bool = False,
        background: str = "1e1e/1e1e/1e1e",
        emulate: bool = True,
        cwd: Path | None = None,
    ) -> None:
        self._argv = list(argv) if cwd is None else ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *argv]
        self._id = uuid.uuid4().hex
        self._env = _environment(env or {}, self._id)
        self.raw: list[Arrival] = []
        self.pid = 0
        self.started_at = 0.0
        self.exited_at: float | None = None
        self.exit_code: int | None = None
        self._emulator = Emulator(columns, lines, kitty=kitty, draw=emulate, answer=self._answer)
        self._emulator.background = background
        self._changed = threading.Condition()
        self._watched: Callable[[], bool] | None = None
        self._result: bool | Exception = False
        self._master, self._slave = pty.openpty()
        self._set_size(columns, lines)
        self._attributes = termios.tcgetattr(self._slave)
        self._stop_read, self._stop_write = os.pipe()
        self._threads = [
            threading.Thread(target=self._read, name="terminal-reader", daemon=True),
            threading.Thread(target=self._reap, name="terminal-reaper", daemon=True),
        ]

    def __enter__(self) -> Self:
        tty = os.ttyname(self._slave)
        program = shutil.which(self._argv[0]) or self._argv[0]
        self.started_at = time.monotonic()
        # Opening the terminal after setsid makes it the controlling one.
        self.pid = os.posix_spawn(
            program,
            self._argv,
            self._env,
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM],
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, tty, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
        )
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.exit_code is None:
                os.killpg(self.pid, signal.SIGKILL)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.write(self._stop_write, b"\0")
        for thread in self._threads:
            thread.join()
        for descriptor in (self._master, self._slave, self._stop_read, self._stop_write):
            if descriptor >= 0:
                os.close(descriptor)

    # What the user does

    def write(self, data: bytes) -> float:
        """Send bytes in one `write`, and return the time just before it."""
        at = time.monotonic()
        written = os.write(self._master, data)
        while written < len(data):
            written += os.write(self._master, data[written:])
        return at

    def press(self, *keys: str) -> float:
        """Press keys one after the other: names (`escape`, `ctrl+c`, `shift+enter`, `pageup`) or single
        characters.

        Returns the time just before the first.
        """
        return self.write(
            "".join(encode_key(key, kitty_flags=self._emulator.kitty_flags) for key in keys).encode()
        )

    def type(self, text: str) -> float:
        """Type `text`, each character as a key."""
        return self.press(*("enter" if character == "\n" else character for character in text))

    def paste(self, text: str) -> float:
        """Paste as the terminal does: in brackets when the program wants them."""
        if 2004 in self.modes:
            text = f"\x1b[200~{text}\x1b[201~"
        return self.write(text.encode())

    def mouse_click(self, x: int, y: int) -> float:
        """Press and release the left button on cell (x, y), counted from 0."""
        return self.write(f"{_mouse(0, x, y)}{_mouse(0, x, y, final='m')}".encode())

    def mouse_drag(self, start: tuple[int, int], end: tuple[int, int]) -> float:
        """Drag with the left button from one cell to another."""
        return self.write(
            f"{_mouse(0, *start)}{_mouse(32, *start)}{_mouse(32, *end)}{_mouse(0, *end, final='m')}".encode()
        )

    def mouse_wheel(self, x: int, y: int, *, notches: int) -> float:
        """Turn the wheel over cell (x, y); positive is down, towards the end."""
        return self.write((_mouse(65 if notches > 0 else 64, x, y) * abs(notches)).encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, of which the program is told by SIGWINCH."""
        with self._changed:
            self._emulator.resize(columns, lines)
        self._set_size(columns, lines)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, not to its children."""
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Close the terminal window."""
        os.write(self._stop_write, b"\0")
        self._threads[0].join()
        os.close(self._master)
        self._master = -1

    # What the user sees

    @property
    def screen(self) -> list[str]:
        """The lines on the screen, padded to its width."""
        with self._changed:
            return list(self._emulator.screen.display)

    @property
    def text(self) -> str:
        """The screen as one string, without trailing blanks."""
        return "\n".join(line.rstrip() for line in self.screen)

    @property
    def cells(self) -> dict[int, dict[int, Any]]:
        """A copy of pyte's cells by line and column: `data`, `fg`, `bg`, `bold`, `reverse` ..."""
        with self._changed:
            return {line: copy.copy(cells) for line, cells in self._emulator.screen.buffer.items()}

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and line of the cursor."""
        with self._changed:
            return self._emulator.screen.cursor.x, self._emulator.screen.cursor.y

    @property
    def output(self) -> bytes:
        """All output so far."""
        return b"".join(arrival.data for arrival in self.raw)

    @property
    def modes(self) -> set[int]:
        """The private modes that are on, such as 1049 for the alternate screen."""
        return self._emulator.modes

    @property
    def titles(self) -> list[str]:
        """The window titles that were set, in order."""
        return self._emulator.titles

    def wait_for(self, wanted: str | Callable[[list[str]], bool], *, timeout: float = GENEROUS_S) -> float:
        """Wait until a text or a state is on the screen; returns when that was noticed.

        A predicate gets the lines of the screen. Raises AssertionError with the screen when it does not come.
        """
        if isinstance(wanted, str):
            name = wanted
            return self._wait(
                lambda: any(name in line for line in self._emulator.screen.display), wanted, timeout
            )
        predicate = wanted
        return self._wait(
            lambda: predicate(list(self._emulator.screen.display)), "the state asked for", timeout
        )

    def wait_for_output(self, wanted: bytes, *, after: int = 0, timeout: float = GENEROUS_S) -> float:
        """Wait until the output from arrival number `after` on contains `wanted`; returns when it arrived.

        Needs no emulation; looks at each arrival once.
        """
        index, window = after, b""
        at = 0.0

        def arrived() -> bool:
            nonlocal index, window, at
            while index < len(self.raw):
                window = window[-len(wanted) :] + self.raw[index].data
                at = self.raw[index].at
                index += 1
                if wanted in window:
                    return True
            return False

        self._wait(arrived, repr(wanted), timeout)
        return at

    def wait_exit(self, *, timeout: float = GENEROUS_S) -> int:
        """Wait until the program has ended; its exit code, negative for a signal."""
        self._wait(lambda: self.exit_code is not None, "the end of the program", timeout)
        assert self.exit_code is not None
        return self.exit_code

    # What is left afterwards

    def terminal_restored(self) -> bool:
        """Whether the terminal is as the program found it; `unrestored` says what is not."""
        return not self.unrestored()

    def unrestored(self) -> list[str]:
        """What the program has not put back: attributes, modes, kitty flags. Call it after `wait_exit`."""
        self._drain()
        left = self._emulator.unrestored()
        if termios.tcgetattr(self._slave) != self._attributes:
            left.append("terminal attributes differ")
        return left

    def processes(self) -> list[int]:
        """Every living process that was started from this terminal's program, itself included.

        Found by their environment, so that daemonised ones count too.
        """
        return marked(f"{_MARK}={self._id}")

    # The wires

    def _wait(self, state: Callable[[], bool], what: str, timeout: float) -> float:
        with self._changed:
            self._watched, self._result = state, False
            self._look()
            reached = self._changed.wait_for(lambda: self._result, timeout)
            self._watched = None
            if isinstance(reached, Exception):
                raise reached
            if not reached:
                shown = "\n".join(f"|{line}|" for line in self._emulator.screen.display)
                ended = "" if self.exit_code is None else f" (the program ended with {self.exit_code})"
                raise AssertionError(f"after {timeout:g} s still not: {what}{ended}\n{shown}")
            return time.monotonic()

    def _look(self) -> None:
        """See whether the state that is waited for is reached. The threads look themselves, at the end of
        each frame: on a loaded machine, who waits would come too late for each of them."""
        if self._watched is not None and not self._result:
            try:
                self._result = self._watched()
            except Exception as error:  # noqa: BLE001 - raised to the one that waits
                self._result = error
        if self._result:
            self._changed.notify_all()

    def _drain(self) -> None:
        """Wait until the reader has seen everything that was written: a reader that is idle twice in a
        row."""
        for _ in range(2):
            wait_until(
                lambda: not select.select([self._master], [], [], 0)[0], what="all output has been read"
            )
            with self._changed:
                pass

    def _read(self) -> None:
        while True:
            ready = select.select([self._master, self._stop_read], [], [])[0]
            if self._stop_read in ready:
                os.read(self._stop_read, 1)
                return
            with self._changed:
                try:
                    data = os.read(self._master, 1 << 16)
                except OSError:
                    return
                self.raw.append(Arrival(time.monotonic(), data))
                for piece in _FRAME_END.split(data):
                    self._emulator.feed(piece)
                    self._look()

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        at = time.monotonic()
        with self._changed:
            self.exited_at = at
            self.exit_code = os.waitstatus_to_exitcode(status)
            self._look()

    def _answer(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def _mouse(button: int, x: int, y: int, *, final: str = "M") -> str:
    return f"\x1b[<{button};{x + 1};{y + 1}{final}"


def _environment(changes: Mapping[str, str | None], mark: str) -> dict[str, str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "TEXTUAL", "TMUX"))
    }
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", _MARK: mark}
    for name in ("NO_COLOR", "ESCDELAY", "COLUMNS", "LINES", "TERM_PROGRAM", "LC_TERMINAL", "COLORFGBG"):
        environment.pop(name, None)
    for name, value in changes.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment
