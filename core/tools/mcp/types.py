"""The values of the MCP client: what a server offers, and the life of a connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from core.base.values import Value
from core.engine.tool import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.config.schema import ServerSettings
    from core.permissions.access import Workspace
    from core.tools.mcp.offer import Offer


class RemoteTool(Value):
    """A tool as its server names it. `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read_only: bool


class NotAnswered(ToolError):
    """The server has not answered a request, and will not: what became of it is unknown."""


class ConnectionLost(NotAnswered):
    """The server is gone, or was given up, with requests unanswered."""


@dataclass(eq=False)
class ServerLife:
    """What a session shares with the connection that owns it, `core.tools.mcp.server.Connection`.

    `environment` is that of its process, without the settings' own. After the end `gone` tells whether the
    server's processes were seen to have ended.
    """

    name: str
    settings: ServerSettings
    workspace: Workspace
    environment: Mapping[str, str]
    on_offer: Callable[[Offer], None]
    current: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the tools that were told last are what the server offers."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    on_kill: Callable[[], None] | None = None
    grace_skipped: bool = False
    gone: bool = False
    error: str = ""
    words: str = ""
    """The last lines of the server's standard error, known at its end."""

    def lost(self) -> None:
        """The server has closed its side."""
        if not self.over.is_set():
            self.error = f"The MCP server {self.name} ended by itself."
        self.over.set()

    def kill(self) -> None:
        """End it now, without a grace."""
        self.grace_skipped = True
        self.over.set()
        if self.on_kill is not None:
            self.on_kill()
        self.scope.cancel()
