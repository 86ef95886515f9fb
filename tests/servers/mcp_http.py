"""An MCP server over HTTP that introduces itself, lists one tool, and then leaves every request unanswered.

With `deaf=False` it answers pings all the same. `received` holds the methods that it got, in their order.
With `cut` it closes the connections of its calls, after `last_bytes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from tests.servers.streams import stream_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOOL = {"name": "hang", "inputSchema": {"type": "object"}}


class HangingServer:
    def __init__(self, *, deaf: bool) -> None:
        self.deaf = deaf
        self.received: list[str] = []
        self.url = ""
        self.open = 0
        self.cut = asyncio.Event()
        self.last_bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self.open -= 1

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("post "):
            writer.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            return True
        length = int(head.partition("content-length:")[2].split()[0])
        message = json.loads(await reader.readexactly(length))
        self.received.append(message["method"])
        result = self._result(message)
        if result is None and (message["method"] == "tools/call" or (self.deaf and self._in_call)):
            ends = [asyncio.ensure_future(one) for one in (reader.read(), self.cut.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            writer.write(self.last_bytes)
            return False
        body = (
            b""
            if result is None
            else json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        )
        status = "202 Accepted" if result is None else "200 OK"
        kind = "Content-Type: application/json"
        writer.write(f"HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return True

    @property
    def _in_call(self) -> bool:
        return "tools/call" in self.received

    def _result(self, message: dict[str, Any]) -> dict[str, Any] | None:
        match message["method"]:
            case "initialize":
                return {
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "http", "version": "1"},
                }
            case "tools/list":
                return {"tools": [TOOL]}
            case "ping" if not self.deaf:
                return {}
            case _:
                return None


@contextlib.asynccontextmanager
async def hanging_server(*, deaf: bool) -> AsyncIterator[HangingServer]:
    hanging = HangingServer(deaf=deaf)
    async with stream_server(hanging.serve) as port:
        hanging.url = f"http://127.0.0.1:{port}/mcp"
        yield hanging
