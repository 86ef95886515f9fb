"""A running model process: how it is started, and how it is made sure that it has ended.

It must be started by a thread that lives as long as the child is to live: on Linux the kernel ends a child
that asked for it with the *thread* that started it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from typing import TYPE_CHECKING, BinaryIO

from core.base.own_python import python_command
from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

KILL_WITHIN_S = 1.0
"""How long the kernel may take to end a killed child."""

MOST_LOG_BYTES = 1_000_000

CODE = "from providers.worker.main import main; main({parent}, {fd})"
"""What the model process runs. Tests put something before it."""


class Child(Value):
    """`inbox` does not block, `outbox` does. `lifeline` is a pipe that the child watches: closed, it ends."""

    process: subprocess.Popen[bytes]
    inbox: int
    outbox: int
    lifeline: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """Send SIGKILL and return at once, from any thread."""
        self.process.kill()

    def end(self) -> bool:
        """Kill it and wait for it; false when the kernel did not end it in time, so that nobody can say what
        it has open."""
        self.process.kill()
        try:
            self.process.wait(KILL_WITHIN_S)
        except subprocess.TimeoutExpired:
            # In the kernel's hands, as on a network disk that does not answer.
            log.error("the model process %d does not end although it was killed", self.pid)
            return False
        return True

    def close(self) -> None:
        """Give the pipes back, once nobody writes to them any more."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        os.close(self.lifeline)


def start_child(log_file: Callable[[], Path] | None) -> Child:
    """Start a model process whose standard error goes to `log_file`, or nowhere. Raises `OSError`."""
    lifeline_read, lifeline = os.pipe()
    try:
        process = _popen(lifeline_read, log_file)
    except OSError:
        os.close(lifeline)
        raise
    finally:
        os.close(lifeline_read)
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdin.fileno(), False)
    return Child(process, process.stdin.fileno(), process.stdout.fileno(), lifeline)


def _popen(lifeline_fd: int, log_file: Callable[[], Path] | None) -> subprocess.Popen[bytes]:
    command = python_command(CODE.format(parent=os.getpid(), fd=lifeline_fd))
    with contextlib.ExitStack() as stack:
        errors = subprocess.DEVNULL
        if log_file is not None:
            # Without a place for its log the process works as well.
            with contextlib.suppress(OSError):
                errors = stack.enter_context(_open_log(log_file())).fileno()
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            pass_fds=(lifeline_fd,),
            start_new_session=True,
        )


def _open_log(path: Path) -> BinaryIO:
    """Open for appending; one that has grown large starts anew."""
    too_large = path.exists() and path.stat().st_size > MOST_LOG_BYTES
    return path.open("wb" if too_large else "ab")
