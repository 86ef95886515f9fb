"""The process of an MCP server: a command like any other, held by a keeper, but with something to talk to.

A server lives long and reads its standard input, which commands do not get. So the command is a few lines of
Python that connect a socket of ours to its input and output and then become the server. The socket is what a
server has in most other programs too. All else is as for every command: the server ends with Caesura, by
SIGKILL too (X7), it ends with all that it has started (X1), and no key of a provider is in its environment.

What it writes to its standard error goes to the log, never to the screen, and only so much of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.cancel import Cancelled, CancelReason, CancelToken, Cause, shielded
from core.output_ring import OutputRing
from core.processes import Command, CommandError, RunningCommand, run_command
from core.threads import run_in_thread
from core.tools.base import ToolError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

log = logging.getLogger(__name__)

MOST_LINE_BYTES = 8 * 1024 * 1024
"""A message that is longer is not read: the connection ends there."""

EOF_WITHIN_S = 0.5
"""How long a server may take to end by itself once its input is closed."""

TERM_WITHIN_S = 0.5
"""How long it may take after SIGTERM; then it is killed."""

END_WITHIN_S = 5.0
"""The keeper's own bounds are shorter; past this one the end is not confirmed."""

LOGGED_LINES = 500
"""Of its standard error, in one life of a server: the log has room for others too."""

LOGGED_CHARS = 500

_CHUNK_BYTES = 64 * 1024

# Python ignores these two signals, and what is ignored stays so in the program that it becomes.
_BOOT = """
import os, signal, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
os.dup2(link.fileno(), 0)
os.dup2(link.fileno(), 1)
link.close()
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]} could not be started: {error.strerror}")
"""


class StderrLog(OutputRing):
    """What a server says besides its messages: the latest of it kept, the first of it logged."""

    __slots__ = ("_left", "_name", "_partial")

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._partial = b""
        self._left = LOGGED_LINES

    def add(self, data: bytes) -> None:
        super().add(data)
        if self._left <= 0:
            return
        *lines, rest = (self._partial + data).split(b"\n", self._left)
        self._partial = rest[: LOGGED_CHARS * 4]
        for line in lines:
            log.info("MCP server %s: %s", self._name, line.decode("utf-8", "replace")[:LOGGED_CHARS])
        self._left -= len(lines)
        if self._left <= 0:
            log.info("MCP server %s: it has written much; what it writes on is not logged", self._name)


class ServerProcess:
    """One life of a server: made by `server_process`, and over when its block is left.

    `gone` says afterwards whether it is certain that nothing of it lives.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._token = CancelToken.detached(f"MCP server {name}")
        self._running = RunningCommand()
        self._running.output = StderrLog(name)
        self._keeping: asyncio.Task[None] | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._hurried = False

    @property
    def gone(self) -> bool:
        end = self._running.end
        return self._keeping is None or (end is not None and end.confirmed and not end.alive)

    def last_words(self) -> str:
        """The last lines that it has written to its standard error, after what it is; empty for none."""
        tail = self._running.tail(5).strip()
        return f" It said: {tail[-1000:]}" if tail else ""

    def hurry(self) -> None:
        """Leave it no grace at its end."""
        self._hurried = True

    async def write(self, data: bytes) -> None:
        """Send it bytes; returns when they are on their way. Raises `OSError` when it is gone."""
        assert self._writer is not None
        self._writer.write(data)
        await self._writer.drain()

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Its standard output, line by line, until that closes. Raises `ToolError` for a line without end."""
        assert self._reader is not None
        partial = bytearray()
        while True:
            try:
                chunk = await self._reader.read(_CHUNK_BYTES)
            except OSError:
                chunk = b""
            if not chunk:
                return
            *lines, rest = chunk.split(b"\n")
            for number, line in enumerate(lines):
                whole = bytes(partial) + line if partial else line
                partial.clear()
                yield whole
                if number % 64 == 63:
                    await asyncio.sleep(0)
            partial += rest
            if len(partial) > MOST_LINE_BYTES:
                raise ToolError(
                    f"The MCP server {self._name} sent a message of more than"
                    f" {MOST_LINE_BYTES // 1024 // 1024} MB; the connection was ended. Ask it for less."
                )

    async def _start(self, argv: tuple[str, ...], cwd: Path, environment: Mapping[str, str]) -> None:
        look = partial(shutil.which, argv[0], path=environment.get("PATH"))
        program = await run_in_thread(look, name="look for a server")
        if program is None:
            raise ToolError(
                f"The MCP server {self._name} was not started: the program “{argv[0]}” was not found."
                " Install it, or correct the command in the config."
            )
        make = partial(tempfile.mkdtemp, prefix="caesura-mcp-")
        folder = await run_in_thread(make, name="folder of a server")
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.setblocking(False)
            address = str(Path(folder, "s"))
            listener.bind(address)
            listener.listen(1)
            boot = (sys.executable, "-I", "-S", "-c", _BOOT, address, program, *argv[1:])
            self._keeping = asyncio.create_task(
                self._keep(Command(boot, cwd, environment)), name=f"keep MCP server {self._name}"
            )
            await self._connect(listener, self._keeping)
        finally:
            listener.close()
            # In the same step, for a cancel must not leave it behind; it is two calls of the kernel.
            shutil.rmtree(folder, ignore_errors=True)

    async def _connect(self, listener: socket.socket, keeping: asyncio.Task[None]) -> None:
        accepting = asyncio.ensure_future(asyncio.get_running_loop().sock_accept(listener))
        try:
            await asyncio.wait({accepting, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                keeping.result()
                raise ToolError(f"The MCP server {self._name} ended at its start.{self.last_words()}")
            self._reader, self._writer = await asyncio.open_connection(sock=accepting.result()[0])
        finally:
            accepting.cancel()

    async def _keep(self, command: Command) -> None:
        try:
            with self._token.bind():
                await run_command(command, self._token, self._running)
        except Cancelled:
            pass
        except CommandError as error:
            raise ToolError(f"The MCP server {self._name} was not started: {error}") from error

    async def _end(self) -> None:
        """Close its input, then ask, then kill; come back when nothing of it lives. Bounded."""
        keeping = self._keeping
        if keeping is None:
            return
        try:
            if self._writer is not None and not self._hurried:
                with contextlib.suppress(OSError):
                    self._writer.write_eof()
                with shielded(EOF_WITHIN_S):
                    await asyncio.wait({keeping})
        finally:
            self._token.cancel(CancelReason(Cause.CLIENT, "its connection was closed"))
            loop = asyncio.get_running_loop()
            forcing = loop.call_later(0 if self._hurried else TERM_WITHIN_S, self._token.force)
            with shielded(END_WITHIN_S):
                await asyncio.wait({keeping})
            forcing.cancel()
            if self._writer is not None:
                self._writer.transport.abort()
        if keeping.done() and not keeping.cancelled() and (error := keeping.exception()) is not None:
            log.info("%s", error)


@contextlib.asynccontextmanager
async def server_process(
    name: str, argv: tuple[str, ...], cwd: Path, environment: Mapping[str, str]
) -> AsyncIterator[ServerProcess]:
    """Run a server for as long as the block lasts. Raises `ToolError` when it does not start."""
    process = ServerProcess(name)
    try:
        await process._start(argv, cwd, environment)
        yield process
    finally:
        await process._end()
