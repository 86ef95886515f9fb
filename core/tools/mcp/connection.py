"""One start of an MCP server, with one owner task in which everything of the SDK is entered and left.

Nothing here imports the SDK in the event loop, for that takes half a second, or waits for a server without a
bound.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from core.base.threads import run_in_thread
from core.cancel import shielded
from core.engine.tool import ToolError
from core.tools.mcp.types import ConnectionLost, ServerLife

if TYPE_CHECKING:
    from types import ModuleType

    from core.tools.mcp.sdk_session import WireSession

log = logging.getLogger(__name__)

START_WITHIN_S = 60.0
"""A server that is not there by then, as when a package runner has to fetch it first, is given up."""

CLOSE_WITHIN_S = 1.5
"""For a server to end by itself; past this it is killed."""


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
