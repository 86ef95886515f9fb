"""One MCP server: started when first needed, kept, started anew when it has died or does not answer a stop.

Each life of a server is a `Connection` with one owner task, in which everything of the SDK is entered and
left. A connection that did not answer a stop is given up: it serves the calls that it has, the next call gets
a new one, and with its last call it is killed.

It must never import the SDK in the event loop (it takes half a second), wait for a server without a bound,
or take a server's silence for the end of what it was doing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from core.cancel import shielded
from core.threads import run_in_thread
from core.tools.base import ToolError
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from types import ModuleType

    from core.access import Workspace
    from core.cancel import CancelReason
    from core.tools.base import ToolContext, ToolOutput
    from core.tools.mcp_wire import WireSession

log = logging.getLogger(__name__)

_T = TypeVar("_T")

START_WITHIN_S = 60.0
"""A server that is not there by then, as when a package runner has to fetch it first, is given up."""

RETRY_AFTER_S = 30.0
"""A server that did not start is not tried again by itself before; a call to it tries at once."""

REFRESH_WITHIN_S = 1.0
"""How long a server may take to list its tools anew before the old list is used."""

CLOSE_WITHIN_S = 1.5
"""For a server to end by itself; past this it is killed."""

CLOSED_WITHIN_S = 8.0


@dataclass(frozen=True, slots=True)
class McpServerConfig:
    """How to reach a server: `command` over stdio, or `url` over streamable HTTP; one of the two.

    `environment` is added to that of the command, `headers` to each request. `grace_s` is how long, in
    seconds, it may take to answer after a stop.
    """

    name: str
    command: tuple[str, ...] | None = None
    url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = 2.0

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            raise ValueError(f"the MCP server {self.name} needs either a command or a url")

    @property
    def where(self) -> str:
        return self.url or " ".join(self.command or ())


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """A tool as its server names it. `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read_only: bool


class ServerState(StrEnum):
    NOT_STARTED = "not started"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    ENDED = "ended, starts again when it is called"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ServerView:
    """A picture of a server. `error` says why it is not there, if it is not."""

    name: str
    where: str
    state: ServerState
    error: str
    tools: tuple[RemoteTool, ...]


class ConnectionLost(ToolError):
    """The server is gone, or was given up, with requests unanswered."""


def _load_wire() -> ModuleType:
    from core.tools import mcp_wire

    return mcp_wire


class Connection:
    """One life of a server. `settled`: it is ready or it never will be. `ended`: its owner task is done.

    `gone` tells, once it has ended, whether it is certain that nothing of the server lives.
    """

    def __init__(
        self,
        config: McpServerConfig,
        workspace: Workspace,
        environment: Mapping[str, str],
        on_tools: Callable[[tuple[RemoteTool, ...]], None],
    ) -> None:
        self.config = config
        self.workspace = workspace
        self.environment = environment
        self.on_tools = on_tools
        self.started_at = time.monotonic()
        self.session: WireSession | None = None
        self.error = ""
        self.words = ""
        """What the server said last, known at its end."""
        self.gone = False
        self.hurried = False
        self.given_up = False
        self.calls = 0
        self.waiting = 0
        self.settled = asyncio.Event()
        self.ended = asyncio.Event()
        self.current = asyncio.Event()
        """Set while the tools that were told last are what the server offers."""
        self.over = asyncio.Event()
        self.on_kill: Callable[[], None] | None = None
        self._scope = anyio.CancelScope()

    @property
    def usable(self) -> bool:
        """Whether a call may be given to it, or wait for it."""
        return not (self.over.is_set() or self.given_up or self.hurried)

    async def own(self) -> None:
        """The whole life, in the owner task. Raises nothing of its own; `error` says what went wrong."""
        name = self.config.name
        try:
            wire = await run_in_thread(_load_wire, name="import of mcp")
            with self._scope:
                self._scope.deadline = anyio.current_time() + START_WITHIN_S
                async with wire.open_session(self) as self.session:
                    self._scope.deadline = math.inf
                    self.settled.set()
                    await self.over.wait()
                    self._scope.deadline = anyio.current_time() + CLOSE_WITHIN_S
            if self.settled.is_set():
                self.error += self.words if self.error else ""
            else:
                late = anyio.current_time() >= self._scope.deadline
                why = f"did not come up within {START_WITHIN_S:.0f} s" if late else "was stopped at its start"
                self.error = f"The MCP server {name} {why}."
        except Exception as error:  # noqa: BLE001 - whatever a server or the SDK does must end this life only
            self.error = self._told(error)
            log.info("MCP server %s: %s", name, self.error)
        finally:
            self.session = None
            self.over.set()
            self.settled.set()
            self.current.set()
            self.ended.set()

    def _told(self, error: BaseException) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, ConnectionLost):
            return f"The MCP server {self.config.name} ended at its start.{self.words}"
        if isinstance(error, ToolError):
            return str(error)
        log.error("the connection to the MCP server %s broke", self.config.name, exc_info=error)
        return f"The connection to the MCP server {self.config.name} broke ({type(error).__name__})."

    def lost(self) -> None:
        """The server has closed its side."""
        if not self.over.is_set():
            self.error = f"The MCP server {self.config.name} ended by itself."
        self.over.set()

    def close(self) -> None:
        """Let it end in peace, if it is there, within its bounds."""
        if self.session is None:
            self.kill()
        self.over.set()

    def kill(self) -> None:
        """Have it end now."""
        self.hurried = True
        self.over.set()
        if self.on_kill is not None:
            self.on_kill()
        self._scope.cancel()

    def give_up(self) -> None:
        """It did not answer: no more calls for it, and its end with the last one that it has."""
        self.given_up = True
        if self.calls == 0:
            self.kill()

    async def wait_settled(self, patience_s: float = math.inf) -> None:
        """Wait until it is ready or failed, or for `patience_s`.

        A start that nobody waits for any more because of stops is stopped too.
        """
        self.waiting += 1
        try:
            with anyio.move_on_after(patience_s):
                await self.settled.wait()
        except asyncio.CancelledError:
            if self.waiting == 1 and not self.settled.is_set():
                self.kill()
                with shielded(CLOSE_WITHIN_S):
                    await self.ended.wait()
            raise
        finally:
            self.waiting -= 1


class McpServer:
    """A server of the config, in all its lives."""

    def __init__(self, config: McpServerConfig, workspace: Workspace, environment: Mapping[str, str]) -> None:
        self.config = config
        self._workspace = workspace
        self._environment = environment
        self._connection: Connection | None = None
        self._tools: tuple[RemoteTool, ...] | None = None
        self._owners: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def tools(self) -> tuple[RemoteTool, ...]:
        """What it offers, or offered when it was last there."""
        return self._tools or ()

    def view(self) -> ServerView:
        connection = self._connection
        error = "" if connection is None else connection.error
        return ServerView(self.config.name, self.config.where, self._state(connection), error, self.tools)

    def _state(self, connection: Connection | None) -> ServerState:
        if self._closed:
            return ServerState.CLOSED
        if connection is None:
            return ServerState.NOT_STARTED
        if not connection.settled.is_set():
            return ServerState.STARTING
        if connection.usable:
            return ServerState.READY
        return ServerState.FAILED if self._tools is None else ServerState.ENDED

    async def refresh(self, patience_s: float) -> None:
        """See to it that `tools` is known, within bounds; what goes wrong is said by `view`."""
        connection = self._connection
        if self._closed:
            return
        if self._tools is not None:
            if connection is not None and connection.usable:
                with anyio.move_on_after(REFRESH_WITHIN_S):
                    await connection.current.wait()
            return
        now = time.monotonic()
        if connection is not None and not connection.usable and now < connection.started_at + RETRY_AFTER_S:
            return
        connection = self._live()
        left = connection.started_at + patience_s - now
        if left > 0:
            await connection.wait_settled(left)

    async def call(self, tool: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Call a tool, under a bound token. Raises `ToolError`.

        A stop tells the server, and waits in its grace for it to answer something else; see `_confirm`.
        """
        connection = await self._connect()
        session = connection.session
        assert session is not None
        connection.calls += 1
        request = self._spawn(session.call(tool, arguments, context.progress.say), tool)
        try:
            await asyncio.wait({request})
        except asyncio.CancelledError:
            request.cancel()
            await self._confirm(connection, request, context)
            raise
        finally:
            connection.calls -= 1
            if connection.given_up and connection.calls == 0:
                connection.kill()
        return request.result()

    def _spawn(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """A task of its own for a request: a cancelled one may take the SDK seconds, and we do not wait."""
        request = asyncio.create_task(work, name=f"MCP {self.config.name}: {name}")
        self._requests.add(request)
        request.add_done_callback(self._forget)
        return request

    def _forget(self, request: asyncio.Task[Any]) -> None:
        self._requests.discard(request)
        if not request.cancelled():
            request.exception()  # looked at, for who waited for it may have been stopped

    async def _confirm(
        self, connection: Connection, request: asyncio.Task[ToolOutput], context: ToolContext
    ) -> None:
        """After a stop: the server was told and still answers, or it has ended; else it is named (U10).

        Nothing in the protocol confirms the end of a call. A server that answers has read the notice.
        A second stop kills it.
        """
        loop = asyncio.get_running_loop()

        def kill(_: CancelReason) -> None:
            loop.call_soon_threadsafe(connection.kill)

        answer = self._spawn(self._answers(connection, request), "ping")
        with context.token.on_force(kill), shielded(self.config.grace_s):
            await asyncio.wait({answer})
        broken = not answer.done() or answer.cancelled() or answer.exception() is not None
        if broken or not answer.result():
            answer.cancel()
            name = f"MCP server {self.config.name}"
            context.progress.note_unconfirmed(name)
            context.progress.say(f"{name} was told to stop and has not answered; it will be started anew.")
            log.warning("%s did not answer a stop within %.1f s", name, self.config.grace_s)
            connection.give_up()

    async def _answers(self, connection: Connection, request: asyncio.Task[ToolOutput]) -> bool:
        """Whether the server is there, or gone for certain. Waits as long as that is open."""
        await asyncio.wait({request})
        session = connection.session
        try:
            if session is not None:
                await session.ping()
                return True
        except ConnectionLost:
            pass
        await connection.ended.wait()
        return connection.gone

    async def _connect(self) -> Connection:
        connection = self._live()
        await connection.wait_settled()
        if connection.session is None:
            raise ToolError(connection.error or f"The MCP server {self.config.name} ended. Try again.")
        return connection

    def _live(self) -> Connection:
        """The connection there is, or the start of a new one."""
        if self._closed:
            raise ToolError(f"The MCP server {self.config.name} is closed.")
        connection = self._connection
        if connection is None or not connection.usable:
            connection = Connection(self.config, self._workspace, self._environment, self._told_tools)
            self._connection = connection
            owner = asyncio.create_task(connection.own(), name=f"MCP server {self.config.name}")
            self._owners.add(owner)
            owner.add_done_callback(self._owners.discard)
        return connection

    def _told_tools(self, tools: tuple[RemoteTool, ...]) -> None:
        self._tools = tools

    async def aclose(self) -> None:
        """End it with all that it has started; bounded."""
        self._closed = True
        connection = self._connection
        if connection is not None:
            connection.close()
        left: set[asyncio.Task[Any]] = {*self._owners, *self._requests}
        if left:
            with shielded(CLOSED_WITHIN_S):
                await asyncio.wait(left)
