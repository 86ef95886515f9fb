"""A running child: how it is started, and how it is made sure that it has ended.

It must be started by a thread that lives as long as the child is to live: on Linux the kernel ends a child
that asked for it with the *thread* that started it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from core.base.own_python import python_command
from core.base.values import Value
from providers.sealing import without_keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

KILL_WITHIN_S = 1.0
"""How long the kernel may take to end a killed child."""

MOST_LOG_BYTES = 1_000_000

CODE = "from providers.worker.{role} import main; main({parent}, {lifeline}, {peer})"
"""What a child runs. Tests put something before it."""


class Role(StrEnum):
    """The kinds of child, by the module that each runs."""

    COMPILER = "compiler"
    STREAMER = "streamer"


class Child(Value):
    """`inbox` does not block, `outbox` does. `lifeline` is a pipe that the child watches: closed, it ends.

    `peer` is a socket to the child, on which it gets other sockets.
    """

    process: subprocess.Popen[bytes]
    inbox: int
    outbox: int
    lifeline: int
    peer: socket.socket

    @property
    def pid(self) -> int:
        return self.process.pid

    def pass_socket(self, stream_id: int, passed: socket.socket) -> bool:
        """Give the child a socket that belongs to a stream. False if it cannot get it now: it has not read
        earlier ones yet, of which the kernel keeps a bounded number, or it is gone."""
        try:
            socket.send_fds(self.peer, [str(stream_id).encode()], [passed.fileno()])
        except OSError:
            return False
        return True

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
            log.error("the process %d does not end although it was killed", self.pid)
            return False
        return True

    def close(self) -> None:
        """Give the pipes back, once nobody writes to them any more."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        os.close(self.lifeline)
        self.peer.close()


class Launch:
    """How children are started: all with the environment that there is now, a stream process with nothing of
    it that may be a key. Their standard error goes to the file that `log_file` names, which is called in the
    thread that starts one; None drops it."""

    def __init__(self, log_file: Callable[[], Path] | None) -> None:
        self.log_file = log_file
        self.code = CODE
        self.environment = {
            Role.COMPILER: dict(os.environ),
            Role.STREAMER: without_keys(os.environ),
        }


def start_child(role: Role, launch: Launch) -> Child:
    """Start a child. Raises `OSError`."""
    with contextlib.ExitStack() as childs, contextlib.ExitStack() as ours:
        lifeline_read, lifeline = os.pipe()
        childs.callback(os.close, lifeline_read)
        ours.callback(os.close, lifeline)
        peer, childs_peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        childs.enter_context(childs_peer)
        ours.enter_context(peer)
        process = _popen(role, lifeline_read, childs_peer.fileno(), launch)
        ours.pop_all()
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdin.fileno(), False)
    peer.setblocking(False)
    return Child(process, process.stdin.fileno(), process.stdout.fileno(), lifeline, peer)


def _popen(role: Role, lifeline: int, peer: int, launch: Launch) -> subprocess.Popen[bytes]:
    command = python_command(launch.code.format(role=role, parent=os.getpid(), lifeline=lifeline, peer=peer))
    with contextlib.ExitStack() as stack:
        errors = subprocess.DEVNULL
        if launch.log_file is not None:
            # Without a place for its log the process works as well.
            with contextlib.suppress(OSError):
                errors = stack.enter_context(_open_log(launch.log_file())).fileno()
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            env=launch.environment[role],
            pass_fds=(lifeline, peer),
            start_new_session=True,
        )


def _open_log(path: Path) -> BinaryIO:
    """Open for appending; one that has grown large starts anew."""
    too_large = path.exists() and path.stat().st_size > MOST_LOG_BYTES
    return path.open("wb" if too_large else "ab")
