"""An MCP server: started when first needed, started again when it has died or does not answer a stop.

Each start makes a `Connection` with one owner task, in which everything of the SDK is entered and left. A
connection that did not answer a stop is given up: it serves the calls that it has, the next call gets a new
connection, and after its last call it is killed.

Nothing in the protocol confirms the end of a call that was stopped: servers need not answer it any more. So
its end counts as seen only when it is answered all the same, or when all processes of the server have ended.
Until then it is listed as asked to stop and not confirmed (S12).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from core.cancel import shielded
from core.engine.tool import ToolError
from core.tools.mcp.connection import Connection
from core.tools.mcp.stopped_call import StoppedCall

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from core.cancel import CancelReason
    from core.config.schema import ServerSettings
    from core.engine.tool import ToolContext, ToolOutput
    from core.operations.operation import LateEnd
    from core.permissions.access import Workspace
    from core.tools.mcp.offer import Offer
    from core.tools.mcp.types import RemoteTool

log = logging.getLogger(__name__)

_T = TypeVar("_T")

RETRY_AFTER_S = 30.0
"""A server that did not start is not tried again by itself before; a call to it tries at once."""

REFRESH_WITHIN_S = 1.0
"""How long a server may take to list its tools anew before the old list is used."""

CONFIRM_WITHIN_S = 0.25
"""How long a server that has read a stop may take to answer the call before the turn goes on without that."""

CLOSED_WITHIN_S = 8.0


class ServerState(StrEnum):
    NOT_STARTED = "not started"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    ENDED = "ended, starts again when it is called"
    CLOSED = "closed"


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
        self._connections: set[Connection] = set()
        self._offer: Offer | None = None
        self._request_numbers = itertools.count(1)
        self._unconfirmed: dict[asyncio.Task[LateEnd], StoppedCall] = {}
        self._told_of: CancelReason | None = None
        self._owners: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def tools(self) -> tuple[RemoteTool, ...]:
        """What it offers, or offered when it was last there."""
        return () if self._offer is None else self._offer.tools

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of its list cannot be used, and why."""
        return () if self._offer is None else self._offer.left_out

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """The tools of calls that it was asked to stop and has not confirmed (S12)."""
        return tuple(call.tool for call in self._unconfirmed.values())

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
        return ServerState.FAILED if self._offer is None else ServerState.ENDED

    async def refresh(self, patience_s: float) -> None:
        """Bring `tools` up to date, in bounded time; `error` says what failed."""
        connection = self._connection
        if self._closed:
            return
        if self._offer is not None:
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
        """Call a tool, under a bound token. Raises `ToolError`; after a stop see `_stop`."""
        connection = await self._connect()
        session = connection.session
        assert session is not None
        connection.calls += 1
        request_id = f"call-{next(self._request_numbers)}"
        request = self._spawn(session.call(request_id, tool, arguments, context.progress.say), tool)
        try:
            await asyncio.wait({request})
        except asyncio.CancelledError:
            stopped = StoppedCall(self.name, tool, connection, request, context.progress, time.monotonic())
            await self._stop(stopped, session.stop(request_id), context)
            raise
        finally:
            connection.calls -= 1
            if connection.given_up and connection.calls == 0:
                connection.kill()
        return request.result()

    def _spawn(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """A task of its own for a request, which goes on when its caller is stopped."""
        request = asyncio.create_task(work, name=f"MCP {self.name}: {name}")
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        # A caller that was stopped does not look at what the request has raised.
        request.add_done_callback(lambda done: done.cancelled() or done.exception())
        return request

    async def _stop(self, call: StoppedCall, asking: Coroutine[Any, Any, None], context: ToolContext) -> None:
        """Ask the server to end a call, and wait for that a moment; a second stop kills the server.

        One that has not read the stop within its grace is given up (U10).
        """
        loop = asyncio.get_running_loop()
        call.progress.note_stopping()

        def kill(_: CancelReason) -> None:
            loop.call_soon_threadsafe(call.connection.kill)

        forcing = context.token.on_force(kill)
        end = self._spawn(call.wait_ended(), f"end of {call.tool}")
        end.add_done_callback(lambda _: forcing.close())
        asked = self._spawn(asking, f"stop of {call.tool}")
        with shielded(self.settings.grace):
            await asyncio.wait({end, asked}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({end}, timeout=CONFIRM_WITHIN_S if _has_come_through(asked) else None)
        if end.done() and end.result().confirmed:
            context.progress.say(end.result().text)
            return
        if not _has_come_through(asked):
            log.warning("the MCP server %s did not answer a stop in time", self.name)
            call.connection.give_up()
        self._leave(call, end, context)

    def _leave(self, call: StoppedCall, end: asyncio.Task[LateEnd], context: ToolContext) -> None:
        """Have the turn go on, with the call listed until its end is known."""
        context.await_end(f"MCP server {self.name}", end)
        if end.done():
            return
        self._unconfirmed[end] = call
        reason, self._told_of = self._told_of, context.token.reason
        # Once for several that were stopped together.
        if reason is None or reason is not self._told_of:
            next_ = "It is ended now" if call.connection.given_up else f"/mcp restart {self.name} ends it"
            context.notify(
                f"The MCP server {self.name} was asked to stop {call.tool} and has not confirmed it: it may"
                f" still be at work. {next_}."
            )
        end.add_done_callback(self._unconfirmed.pop)

    async def restart(self) -> str:
        """End it with all that it does, start it again, and say what came of it. Raises `ToolError`."""
        if self._closed:
            raise ToolError(f"The MCP server {self.name} is closed.")
        old = tuple(self._connections)
        for connection in old:
            connection.close()
        for connection in old:
            await connection.ended.wait()
        connection = self._live()
        await connection.wait_settled()
        if self.settings.url:
            ended = "Its connection was closed; what it was doing may go on there."
        elif all(connection.gone for connection in old):
            ended = "All its processes have ended."
        else:
            ended = "Not all of its processes were seen to end."
        if connection.session is None:
            return f"The MCP server {self.name} did not start again. {ended} {connection.error}".rstrip()
        count = len(self.tools)
        tools = "1 tool" if count == 1 else f"{count} tools"
        return f"The MCP server {self.name} was started again, with {tools}. {ended}"

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
                self.name, self.settings, self._workspace, self._environment, self._take_offer
            )
            self._connection = connection
            self._connections.add(connection)
            owner = asyncio.create_task(connection.own(), name=f"MCP server {self.name}")
            self._owners.add(owner)
            owner.add_done_callback(self._owners.discard)
            owner.add_done_callback(lambda _: self._connections.discard(connection))
        return connection

    def _take_offer(self, offer: Offer) -> None:
        self._offer = offer

    async def aclose(self) -> None:
        """End it with all that it has started; bounded."""
        self._closed = True
        for connection in self._connections:
            connection.close()
        left: set[asyncio.Task[Any]] = {*self._owners, *self._requests}
        if left:
            with shielded(CLOSED_WITHIN_S):
                await asyncio.wait(left)


def _has_come_through(request: asyncio.Task[None]) -> bool:
    """Whether the server has answered it."""
    return request.done() and not request.cancelled() and request.exception() is None
