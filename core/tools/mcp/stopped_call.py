"""A call of which its server was asked to stop it, and when its end counts as seen (S12)."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from core.base.values import Value
from core.operations.operation import LateEnd
from core.tools.mcp.result import one_line
from core.tools.mcp.types import ConnectionLost, NotAnswered

if TYPE_CHECKING:
    from core.engine.tool import ToolOutput
    from core.operations.progress import Progress
    from core.tools.mcp.connection import Connection

log = logging.getLogger(__name__)


class StoppedCall(Value):
    """`request` still waits for the answer of the server; `stopped_at` is `time.monotonic()` of the stop."""

    server: str
    tool: str
    connection: Connection
    request: asyncio.Task[ToolOutput]
    progress: Progress
    stopped_at: float

    async def wait_ended(self) -> LateEnd:
        """Wait until the call has ended for certain, or nothing can be heard of it any more."""
        await asyncio.wait({self.request})
        end = await self._end()
        log.info("%s %s", end.text, end.said)
        return end

    async def _end(self) -> LateEnd:
        server, error = f"the MCP server {self.server}", self.request.exception()
        if isinstance(error, ConnectionLost) and self.connection.settings.command:
            await self.connection.ended.wait()
        after = f"{time.monotonic() - self.stopped_at:.1f} s after the stop"
        late = self.progress.late
        match error:
            case None:
                text = f"{self.tool} of {server} went on to its end, {after}; its result was dropped."
                return LateEnd(True, text, one_line(self.request.result().text))
            case ConnectionLost() if self.connection.gone:
                return LateEnd(True, f"{self.tool} ended with all processes of {server}, {after}.", late)
            case NotAnswered():
                text = (
                    f"Whether {self.tool} of {server} has ended will not be known: its connection is closed."
                )
                return LateEnd(False, text, late)
            case _:
                return LateEnd(True, f"{self.tool} was ended by {server}, {after}.", one_line(str(error)))
