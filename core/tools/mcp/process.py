"""The process of an MCP server: a supervised command with a connection to its input and output.

A server reads its standard input, which commands do not get. So the command is a few lines of Python that
connect a socket to its input and output and then become the server. Otherwise a server is like every command:
it ends with Caesura, by SIGKILL too (X7), it ends with all that it has started (X1), and its environment has
no key of a provider.

Its standard error goes to the log, up to a limit, and never to the screen.
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
from typing import TYPE_CHECKING, Self

from core.base.threads import run_in_thread
from core.cancel import Cancelled, CancelReason, CancelToken, Cause, shielded
from core.engine.tool import ToolError
from core.process.command import Command, CommandError, RunningCommand, run_command
from core.process.output_buffer import OutputRing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

log = logging.getLogger(__name__)

MOST_LINE_BYTES = 16 * 1024 * 1024
"""The longest message in bytes; a longer one ends the connection."""

EOF_WITHIN_S = 0.5
"""Seconds that a server may take to end after its input is closed."""

TERM_WITHIN_S = 0.5
"""Seconds that it may take after SIGTERM; then it is killed."""

END_WITHIN_S = 5.0
"""How long its end may take, in seconds; after that it is not confirmed. Longer than the supervisor's own."""

LOGGED_LINES = 500
"""Lines of standard error that are logged for each start of a server."""

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
    """The standard error of a server: keeps the last part and logs the first."""

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
    """A server that runs for as long as the block of its `async with` lasts.

    Entering raises `ToolError` when it does not start. After the block `gone` tells whether all its processes
    were seen to have ended.
    """

    def __init__(self, name: str, argv: tuple[str, ...], cwd: Path, environment: Mapping[str, str]) -> None:
        self._name = name
        self._argv = argv
        self._cwd = cwd
        self._environment = environment
        self._token = CancelToken.detached(f"MCP server {name}")
        self._running = RunningCommand()
        self._running.output = StderrLog(name)
        self._supervising: asyncio.Task[None] | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._grace_skipped = False

    @property
    def gone(self) -> bool:
        end = self._running.end
        return self._supervising is None or (end is not None and end.confirmed and not end.alive)

    def stderr_tail(self) -> str:
        """A sentence with the last lines of its standard error; empty if there are none."""
        tail = self._running.output.tail(5).strip()
        return f" It said: {tail[-1000:]}" if tail else ""

    def skip_grace(self) -> None:
        """End it without a grace."""
        self._grace_skipped = True

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

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _start(self) -> None:
        look = partial(shutil.which, self._argv[0], path=self._environment.get("PATH"))
        program = await run_in_thread(look, name="look for a server")
        if program is None:
            raise ToolError(
                f"The MCP server {self._name} was not started: the program “{self._argv[0]}” was not found."
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
            boot = (sys.executable, "-I", "-S", "-c", _BOOT, address, program, *self._argv[1:])
            self._supervising = asyncio.create_task(
                self._supervise(Command(boot, self._cwd, self._environment)),
                name=f"keep MCP server {self._name}",
            )
            await self._connect(listener, self._supervising)
        finally:
            listener.close()
            # In the same step, for a cancel must not leave it behind; it is two calls of the kernel.
            shutil.rmtree(folder, ignore_errors=True)

    async def _connect(self, listener: socket.socket, supervising: asyncio.Task[None]) -> None:
        accepting = asyncio.ensure_future(asyncio.get_running_loop().sock_accept(listener))
        try:
            await asyncio.wait({accepting, supervising}, return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                supervising.result()
                raise ToolError(f"The MCP server {self._name} ended at its start.{self.stderr_tail()}")
            self._reader, self._writer = await asyncio.open_connection(sock=accepting.result()[0])
        finally:
            accepting.cancel()

    async def _supervise(self, command: Command) -> None:
        try:
            with self._token.bind():
                await run_command(command, self._token, self._running)
        except Cancelled:
            pass
        except CommandError as error:
            raise ToolError(f"The MCP server {self._name} was not started: {error}") from error

    async def _end(self) -> None:
        """Close its input, then send SIGTERM, then kill it; return when it has ended. Bounded."""
        supervising = self._supervising
        if supervising is None:
            return
        try:
            if self._writer is not None and not self._grace_skipped:
                with contextlib.suppress(OSError):
                    self._writer.write_eof()
                with shielded(EOF_WITHIN_S):
                    await asyncio.wait({supervising})
        finally:
            self._token.cancel(CancelReason(Cause.CLIENT, "its connection was closed"))
            loop = asyncio.get_running_loop()
            forcing = loop.call_later(0 if self._grace_skipped else TERM_WITHIN_S, self._token.force)
            with shielded(END_WITHIN_S):
                await asyncio.wait({supervising})
            forcing.cancel()
            if self._writer is not None:
                self._writer.transport.abort()
        if (
            supervising.done()
            and not supervising.cancelled()
            and (error := supervising.exception()) is not None
        ):
            log.info("%s", error)
