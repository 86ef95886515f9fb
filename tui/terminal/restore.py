"""Restores the terminal, in one way for every exit.

Purpose: normal exit, crash, signal and a blocked event loop must all leave the same terminal behind, and the
last of them gets no help from the loop or from Textual. So everything to undo is known here, and undone by
plain system calls from whichever thread comes first.

It must never wait without a limit (the terminal may be stopped, slow or gone), undo twice (which would pop
the shell's own kitty flags), or touch a terminal that was not taken.

Not solved: SIGKILL, and a C extension that blocks while it holds the interpreter lock, leave the terminal as
it is.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import signal
import termios
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVE: Final = (
    "\x1b\\"  # ends whatever sequence was cut in the middle
    "\x1b[?2026l"  # show what is drawn
    "\x1b[?2004l"  # bracketed paste
    "\x1b[?2048l"  # size reports in the input
    "\x1b[?2031l"  # reports of dark and light in the input
    "\x1b[?1016l\x1b[?1015l\x1b[?1006l\x1b[?1003l\x1b[?1000l"  # mouse
    "\x1b[?1004l"  # focus reports
    "\x1b]22;\x07"  # shape of the mouse pointer
    "\x1b[<u"  # kitty keys; the flags are kept per screen, so before the next line
    "\x1b[?1049l"  # the screen from before, and its cursor position
    "\x1b[?7h"  # wrap long lines
    "\x1b[?25h"  # cursor
    "\x1b[0m"
)

DRAIN_LIMIT: Final = 1.0
"""Seconds that a terminal gets to take the last frames."""
RESTORE_LIMIT: Final = 0.5
"""Seconds that a terminal gets to take `LEAVE`."""

_FLUSH_AT: Final = 1 << 16
_STEP: Final = 0.05


class TerminalOutput(io.TextIOBase):
    """The file that frames are written to.

    Unlike a plain file it survives a terminal that is gone, drops output after the terminal was given back,
    and can be told to stop waiting for a slow terminal.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._pending: list[str] = []
        self._size = 0
        self._sending = threading.Lock()
        self._give_up_at = float("inf")
        self._write_fd, self._chunk = _open_writable(fd)

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self._pending.append(text)
        self._size += len(text)
        if self._size >= _FLUSH_AT:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what was written. Returns only when it is sent, the time is up, or the terminal is gone."""
        text = "".join(self._pending)
        self._pending.clear()
        self._size = 0
        with self._sending:
            self._send(text.encode("utf-8", "replace"))

    def reopen(self) -> None:
        """Accept output again after `finish`."""
        self._give_up_at = float("inf")

    def finish(self, seconds: float) -> None:
        """Give unsent output `seconds` more; drop everything written after that."""
        self._give_up_at = min(self._give_up_at, time.monotonic() + seconds)

    def send_last(self, text: str, seconds: float) -> None:
        """Drop everything else and send `text`, from any thread, within about `seconds`."""
        self.finish(0)
        taken = self._sending.acquire(timeout=seconds)
        try:
            self._give_up_at = time.monotonic() + seconds
            self._send(text.encode())
        finally:
            self._give_up_at = 0.0
            if taken:
                self._sending.release()

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and time.monotonic() < self._give_up_at:
            try:
                if select.select([], [self._write_fd], [], _STEP)[1]:
                    rest = rest[os.write(self._write_fd, rest[: self._chunk]) :]
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                # The terminal is gone; the input side notices and reports it.
                self._give_up_at = 0.0

    def close(self) -> None:
        """Do nothing: the terminal stays open until the process ends."""


def _open_writable(fd: int) -> tuple[int, int]:
    """A descriptor for the terminal of `fd` whose writes do not block, and how much to write at once.

    The terminal is opened again because O_NONBLOCK set on `fd` would be shared with the shell. Where that is
    not allowed (after `su`), `fd` itself is used with portions that a ready terminal accepts.
    """
    with contextlib.suppress(OSError):
        return _reopen(os.ttyname(fd)), 1 << 16
    with contextlib.suppress(OSError):
        return _reopen("/dev/tty"), 1 << 16
    return fd, 256


def _reopen(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)


class Terminal:
    """The terminal that this process draws on, and whether it is taken at the moment."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self._input_fd = input_fd
        self._attributes: list[Any] | None = None
        self._lock = threading.Lock()
        self.taken = False
        self.output = TerminalOutput(output_fd)

    def take(self) -> None:
        """Remember the terminal's state. Call this before changing anything about it."""
        with contextlib.suppress(termios.error):
            self._attributes = termios.tcgetattr(self._input_fd)
        self.output.reopen()
        self.taken = True

    def restore(self) -> bool:
        """Give the terminal back. True for the call that did it; every other one does nothing.

        Callable from any thread, and bounded: about `RESTORE_LIMIT` seconds, twice that if a frame is stuck.
        """
        with self._lock:
            if not self.taken:
                return False
            with _not_stopped_in_background():
                self.output.send_last(LEAVE, RESTORE_LIMIT)
                # What was typed or moved while leaving is not meant for the shell.
                with contextlib.suppress(termios.error):
                    termios.tcflush(self._input_fd, termios.TCIFLUSH)
                if self._attributes is not None:
                    with contextlib.suppress(termios.error):
                        termios.tcsetattr(self._input_fd, termios.TCSANOW, self._attributes)
            self.taken = False
            return True


@contextlib.contextmanager
def _not_stopped_in_background() -> Iterator[None]:
    """Keep a background process from being stopped for touching the terminal, so that it can restore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_terminal: Terminal | None = None


def own_terminal(input_fd: int, output_fd: int) -> Terminal:
    """Create the one terminal of this process, which `restore_terminal` restores from now on."""
    global _terminal
    if _terminal is None:
        atexit.register(restore_terminal)
    _terminal = Terminal(input_fd, output_fd)
    return _terminal


def restore_terminal() -> bool:
    """Give the terminal back, if this process has taken it. True for the call that did it; from any
    thread."""
    return _terminal is not None and _terminal.restore()
