"""A session with an MCP server. The only module that imports the SDK.

It is imported in a thread, when the first server is needed: the SDK takes half a second. Everything here is
entered and left in the owner task of a connection; `call` and `stop` may be awaited in any task of the loop.

Calls and lists go through the SDK's dispatcher, not its session: that one forgets a call that was stopped,
with what the server still says of it, and refuses a whole list for one tool.

What servers ask of us: the workspace folder is told (roots); to use the model (sampling) and to ask the user
(elicitation) is not offered, and refused when it is asked for all the same.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import mcp_types as types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    jsonrpc_message_adapter,
)
from pydantic import TypeAdapter, ValidationError

from core.base.threads import run_in_thread
from core.cancel import shielded
from core.engine.tool import ToolError
from core.tools.mcp.offer import Offer, read_offer
from core.tools.mcp.process import ServerProcess
from core.tools.mcp.result import one_line, output_of
from core.tools.mcp.types import ConnectionLost, NotAnswered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.client._transport import TransportStreams
    from mcp.client.session import ClientRequestContext, IncomingMessage
    from mcp.shared.dispatcher import CallOptions
    from mcp.shared.transport_context import TransportContext

    from core.engine.tool import ToolOutput
    from core.tools.mcp.types import ServerLife

log = logging.getLogger(__name__)

MOST_PAGES = 50
MOST_TOOLS = 500
"""Of one server; what it offers beyond is left out, and said to be."""

WRITE_AHEAD = 256
"""Messages that may wait for a server that does not read: a stop must not wait for it."""

FLUSH_WITHIN_S = 0.2
LOGGED_GARBAGE = 20

_IN_THREAD_BYTES = 64 * 1024
"""A longer message is parsed outside of the event loop."""

_CALL_RESULT: TypeAdapter[types.CallToolResult] = TypeAdapter(types.CallToolResult)


_UNANSWERED = {CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR}
"""Errors that the SDK makes up where HTTP has brought no answer: they say nothing of the request."""


class WireSession:
    """A session that is initialised."""

    def __init__(self, dispatcher: JSONRPCDispatcher[TransportContext], connection: ServerLife) -> None:
        self._dispatcher = dispatcher
        self._name = connection.name
        self._over_http = bool(connection.settings.url)

    async def call(
        self, request_id: str, tool: str, arguments: dict[str, Any], say: Callable[[str], None]
    ) -> ToolOutput:
        """Call a tool. It waits for the answer after `stop` too, and so for as long as there is none.

        Raises `ToolError`: `NotAnswered` if the server has not answered.
        """

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            share = f"{progress:g}" if total is None else f"{progress:g}/{total:g}"
            say(f"{share} {one_line(message or '')}".rstrip())

        # Results are not checked against the tool's own schema: that is the server's business and not the
        # model's.
        options: CallOptions = {
            "request_id": request_id,
            "on_progress": on_progress,
            "cancel_on_abandon": False,
        }
        params = {"name": tool, "arguments": arguments}
        with self._errors():
            raw = await self._dispatcher.send_raw_request("tools/call", params, options)
            content, structured = raw.get("content") or [], raw.get("structuredContent")
            is_error = raw.get("isError") is True
            result = _CALL_RESULT.validate_python(
                {"content": content, "structuredContent": structured, "isError": is_error}, by_name=False
            )
        return await run_in_thread(lambda: output_of(result), name="result of a server")

    async def stop(self, request_id: str) -> None:
        """Ask the server to stop a call; return when it has answered something that was sent after that.

        That proves that it lives, and not that the call has ended. Raises `NotAnswered`.
        """
        await self._dispatcher.notify(
            "notifications/cancelled", {"requestId": request_id, "reason": "stopped"}
        )
        try:
            with self._errors():
                await self._dispatcher.send_raw_request("ping", None)
        except NotAnswered:
            raise
        except ToolError as error:
            log.debug("MCP server %s answers a ping with an error: %s", self._name, error)

    async def list_tools(self) -> Offer:
        listed: list[object] = []
        cursor: object = None
        for _ in range(MOST_PAGES):
            params = {} if cursor is None else {"cursor": cursor}
            with self._errors():
                page = await self._dispatcher.send_raw_request("tools/list", params)
            if not isinstance(tools := page.get("tools"), list):
                raise ToolError(
                    f"The MCP server {self._name} answered with something that is no list of tools."
                )
            listed += tools
            cursor = page.get("nextCursor")
            if cursor is None:
                break
        offer = read_offer(listed[:MOST_TOOLS])
        if cursor is not None or len(listed) > MOST_TOOLS:
            beyond = f"all after the first {min(len(listed), MOST_TOOLS)}"
            return Offer(offer.tools, (*offer.left_out, beyond))
        return offer

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the SDK into sentences for the model."""
        try:
            yield
        except MCPError as error:
            # A server may use that code as well.
            if error.code == CONNECTION_CLOSED and (self._over_http or error.message == "Connection closed"):
                raise ConnectionLost(
                    f"The MCP server {self._name} ended during the request; what it did is unknown."
                    " The next call starts it anew."
                ) from error
            kind = NotAnswered if self._over_http and error.code in _UNANSWERED else ToolError
            raise kind(f"The MCP server {self._name} answers: {error.message}") from error
        except ValidationError as error:
            raise ToolError(
                f"The MCP server {self._name} answered with something that is no valid result"
                f" ({error.error_count()} errors). What it did is unknown."
            ) from error
        except (RuntimeError, TimeoutError, OSError, anyio.BrokenResourceError) as error:
            raise NotAnswered(f"The request to the MCP server {self._name} failed: {error}") from error


@contextlib.asynccontextmanager
async def open_session(connection: ServerLife) -> AsyncIterator[WireSession]:
    """Start or reach the server, introduce us, list its tools. Raises `ToolError`."""

    async def tell_roots(context: ClientRequestContext) -> types.ListRootsResult:
        root = connection.workspace.root.absolute()
        return types.ListRootsResult(
            roots=[types.Root.model_validate({"uri": root.as_uri(), "name": root.name})]
        )

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            connection.current.clear()
            try:
                connection.on_offer(await session.list_tools())
            except ToolError as error:
                log.warning("the tools of the MCP server %s stay as they were: %s", connection.name, error)
            connection.current.set()

    async with _streams(connection) as (reading, writing):
        dispatcher: JSONRPCDispatcher[TransportContext] = JSONRPCDispatcher(reading, writing)
        client = ClientSession(
            dispatcher=dispatcher,
            list_roots_callback=tell_roots,
            message_handler=on_message,
            client_info=types.Implementation(name="caesura", version="1"),
        )
        async with client:
            session = WireSession(dispatcher, connection)
            with session._errors():
                await client.initialize()
            connection.on_offer(await session.list_tools())
            connection.current.set()
            yield session


@contextlib.asynccontextmanager
async def _streams(connection: ServerLife) -> AsyncIterator[TransportStreams]:
    settings = connection.settings
    if settings.url:
        async with _http_streams(connection.name, settings.url, settings.headers) as streams:
            yield streams
        return
    environment = {**connection.environment, **settings.env}
    process = ServerProcess(connection.name, settings.command, connection.workspace.root, environment)
    try:
        async with process:
            connection.on_kill = process.skip_grace
            try:
                async with _process_streams(process, connection) as streams:
                    yield streams
            finally:
                if connection.grace_skipped:
                    process.skip_grace()
    finally:
        connection.gone = process.gone
        connection.words = process.stderr_tail()


@contextlib.asynccontextmanager
async def _http_streams(name: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[TransportStreams]:
    # In a thread: it reads the certificates.
    http = await run_in_thread(lambda: create_mcp_http_client(dict(headers)), name="client of a server")
    try:
        async with http, streamable_http_client(url, http_client=http) as streams:
            yield streams
    except Exception as error:
        # The SDK lets it out of the task that sends, and all that waited for an answer sees an end.
        cause = _http_error(error)
        if cause is None:
            raise
        raise ToolError(
            f"The MCP server {name} cannot be reached at {url}: {str(cause) or type(cause).__name__}."
            " Look whether it runs, and at its url in the config."
        ) from error


def _http_error(error: BaseException) -> httpx2.HTTPError | None:
    """The first error of the network in a group, if there is one."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for part in error.exceptions if (found := _http_error(part))), None)
    return error if isinstance(error, httpx2.HTTPError) else None


@contextlib.asynccontextmanager
async def _process_streams(process: ServerProcess, connection: ServerLife) -> AsyncIterator[TransportStreams]:
    to_session, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writing, from_session = anyio.create_memory_object_stream[SessionMessage](WRITE_AHEAD)
    written = anyio.Event()
    async with to_session, reading, writing, from_session, anyio.create_task_group() as group:
        group.start_soon(_read, process, to_session, connection)
        group.start_soon(_write, process, from_session, written)
        try:
            yield reading, writing
        finally:
            writing.close()
            with shielded(FLUSH_WITHIN_S):
                await written.wait()
            group.cancel_scope.cancel()


async def _read(
    process: ServerProcess,
    to_session: MemoryObjectSendStream[SessionMessage | Exception],
    connection: ServerLife,
) -> None:
    garbage = 0
    async with to_session:
        try:
            async with contextlib.aclosing(process.lines()) as lines:
                async for line in lines:
                    message = await _parsed(line)
                    if message is not None:
                        await to_session.send(message)
                    elif line.strip():
                        garbage += 1
                        if garbage <= LOGGED_GARBAGE:
                            said = "MCP server %s wrote something that is no message: %.200r"
                            log.info(said, connection.name, line)
            connection.lost()
        except ToolError as error:
            connection.error = str(error)
            connection.kill()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            log.debug("MCP server %s wrote to a session that is closed", connection.name)


async def _parsed(line: bytes) -> SessionMessage | None:
    """The message of one line; None if it is none."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        if len(line) > _IN_THREAD_BYTES:
            message = await run_in_thread(
                lambda: jsonrpc_message_adapter.validate_json(line, by_name=False), name="long message"
            )
        else:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None
    return SessionMessage(message)


async def _write(
    process: ServerProcess, from_session: MemoryObjectReceiveStream[SessionMessage], written: anyio.Event
) -> None:
    try:
        async with from_session:
            async for sent in from_session:
                text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.write(text.encode() + b"\n")
    except OSError:
        log.debug("a message was not written: the server is gone")
    finally:
        written.set()
