"""An MCP server: started when first needed, started again when it has died or does not answer a stop.

Each start makes a `Connection` with one owner task, in which everything of the SDK is entered and left. A
connection that did not answer a stop is given up: it serves the calls that it has, the next call gets a new
connection, and after its last call it is killed.

Nothing here imports the SDK in the event loop (that takes half a second), waits for a server without a bound,
or takes a server's silence for the end of a call.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from core.base.threads import run_in_thread
from core.cancel import shielded
from core.engine.tool import ToolError
from core.tools.mcp.types import ConnectionLost, ServerLife

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from types import ModuleType

    from core.cancel import CancelReason
    from core.config.schema import ServerSettings
    from core.engine.tool import ToolContext, ToolOutput
    from core.permissions.access import Workspace
    from core.tools.mcp.sdk_session import WireSession
    from core.tools.mcp.types import RemoteTool

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


class ServerState(StrEnum):
    NOT_STARTED = "not started"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    ENDED = "ended, starts again when it is called"
    CLOSED = "closed"


def _load_sdk_session() -> ModuleType:
    from core.tools.mcp import sdk_session

    return sdk_session


@dataclass(eq=False)
class Connection(ServerLife):
    """One start of a server. `settled`: it is ready or has failed. `ended`: its owner task is done."""

    started_at: float = field(default_factory=time.monotonic)
    session: WireSession | None = None
    given_up: bool = False
    calls: int = 0
    waiting: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def usable(self) -> bool:
        """Whether a call may be given to it, or wait for it."""
        return not (self.over.is_set() or self.given_up or self.grace_skipped)

    async def own(self) -> None:
        """Run the connection in the owner task. Raises nothing of its own; `error` says what failed."""
        try:
            sdk = await run_in_thread(_load_sdk_session, name="import of mcp")
            with self.scope:
                self.scope.deadline = anyio.current_time() + START_WITHIN_S
                async with sdk.open_session(self) as self.session:
                    self.scope.deadline = math.inf
                    self.settled.set()
                    await self.over.wait()
                    self.scope.deadline = anyio.current_time() + CLOSE_WITHIN_S
            if self.settled.is_set():
                self.error += self.words if self.error else ""
            else:
                late = anyio.current_time() >= self.scope.deadline
                why = f"did not come up within {START_WITHIN_S:.0f} s" if late else "was stopped at its start"
                self.error = f"The MCP server {self.name} {why}."
        except Exception as error:  # noqa: BLE001 - whatever a server or the SDK does must end this life only
            self.error = self._told(error)
            log.info("MCP server %s: %s", self.name, self.error)
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
            return f"The MCP server {self.name} ended at its start.{self.words}"
        if isinstance(error, ToolError):
            return str(error)
        log.error("the connection to the MCP server %s broke", self.name, exc_info=error)
        return f"The connection to the MCP server {self.name} broke ({type(error).__name__})."

    def close(self) -> None:
        """End it with its graces, in bounded time."""
        if self.session is None:
            self.kill()
        self.over.set()

    def give_up(self) -> None:
        """Give it no more calls, and end it after the last one that it has."""
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
    """A server of the settings, with its current connection."""

    def __init__(
        self, name: str, settings: ServerSettings, workspace: Workspace, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.settings = settings
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

    @property
    def error(self) -> str:
        """Why it is not available, if it is not."""
        return "" if self._connection is None else self._connection.error

    @property
    def state(self) -> ServerState:
        connection = self._connection
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
        """Bring `tools` up to date, in bounded time; `error` says what failed."""
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
        request = asyncio.create_task(work, name=f"MCP {self.name}: {name}")
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        # A caller that was stopped does not look at what the request has raised.
        request.add_done_callback(lambda done: done.cancelled() or done.exception())
        return request

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
        with context.token.on_force(kill), shielded(self.settings.grace):
            await asyncio.wait({answer})
        broken = not answer.done() or answer.cancelled() or answer.exception() is not None
        if broken or not answer.result():
            answer.cancel()
            name = f"MCP server {self.name}"
            context.progress.note_unconfirmed(name)
            context.progress.say(f"{name} was told to stop and has not answered; it will be started anew.")
            log.warning("%s did not answer a stop within %.1f s", name, self.settings.grace)
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
            raise ToolError(connection.error or f"The MCP server {self.name} ended. Try again.")
        return connection

    def _live(self) -> Connection:
        """The connection there is, or the start of a new one."""
        if self._closed:
            raise ToolError(f"The MCP server {self.name} is closed.")
        connection = self._connection
        if connection is None or not connection.usable:
            connection = Connection(
                self.name, self.settings, self._workspace, self._environment, self._take_tools
            )
            self._connection = connection
            owner = asyncio.create_task(connection.own(), name=f"MCP server {self.name}")
            self._owners.add(owner)
            owner.add_done_callback(self._owners.discard)
        return connection

    def _take_tools(self, tools: tuple[RemoteTool, ...]) -> None:
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
