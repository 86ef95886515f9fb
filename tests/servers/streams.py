"""A server of streams on the loopback, for tests that write each answer by hand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from providers.demo.connections import Connections

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable


@contextlib.asynccontextmanager
async def stream_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    encryption: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve each connection on a free port, which is yielded. A connection ends with its `serve`."""

    async def connected(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=encryption)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await serve(reader, writer)
            # A peer that is gone, which `serve` may have taken for an end, is sent nothing more.
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        finally:
            writer.close()

    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    connections = Connections(listener, connected)
    try:
        yield listener.getsockname()[1]
    finally:
        await connections.close()
