"""The tools of MCP servers as tools of Caesura, and all servers together.

Nothing is started before the tools are asked for, and nobody waits long for a server: one that is not there
in time is left out of this request, and `/mcp` says why.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import RootModel

from core.access import Access, AccessKind
from core.tools.mcp_result import one_line
from core.tools.mcp_server import McpServer, McpServerConfig, RemoteTool, ServerState, ServerView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.access import Workspace
    from core.cancel import CancelToken
    from core.events import Shown
    from core.tools.base import Tool, ToolContext, ToolOutput

__all__ = ["McpServerConfig", "McpTool", "ServerState", "ServerView", "Servers", "tool_name"]

PATIENCE_S = 10.0
"""How long the turn waits for the start of servers, all together."""

DEADLINE_S = 600.0
SETTLE_S = 1.0
"""What a stopped call may take beyond the grace of its server, to write down how it went."""

_NAME_CHARS = 64
_DESCRIPTION_CHARS = 4_000
_TITLE_CHARS = 160


class McpArguments(RootModel[dict[str, Any]]):
    """The arguments of a call as they are: the server validates them against its own schema."""


class McpTool:
    """One tool of one server."""

    def __init__(self, name: str, server: McpServer, remote: RemoteTool) -> None:
        self.name = name
        self.description = _description(server.config.name, remote)
        self.arguments = _arguments(remote.schema)
        self.grace_s = server.config.grace_s + SETTLE_S
        self._server = server
        self._remote = remote

    def stands_for(self, server: McpServer, remote: RemoteTool) -> bool:
        return self._server is server and self._remote == remote

    def title(self, arguments: McpArguments, workspace: Workspace) -> str:
        return one_line(_compact(arguments), _TITLE_CHARS)

    def access(self, arguments: McpArguments, workspace: Workspace) -> Access:
        return Access(AccessKind.SERVER, f"{self.name} {_compact(arguments)}".rstrip())

    def concurrent(self, arguments: McpArguments) -> bool:
        return self._remote.read_only

    def deadline_s(self, arguments: McpArguments) -> float | None:
        return DEADLINE_S

    async def preview(self, arguments: McpArguments, context: ToolContext) -> Shown | None:
        return None

    async def run(self, arguments: McpArguments, context: ToolContext) -> ToolOutput:
        return await self._server.call(self._remote.name, arguments.root, context)


class Servers:
    """All servers of the config. `environment` is what commands may see: without keys of providers."""

    def __init__(
        self, configs: Sequence[McpServerConfig], workspace: Workspace, environment: Mapping[str, str]
    ) -> None:
        self._servers = tuple(McpServer(config, workspace, environment) for config in configs)
        self._made: dict[str, McpTool] = {}

    async def tools(self, token: CancelToken) -> tuple[Tool[Any], ...]:
        """What the servers offer now; starts those that have not been. Raises `Cancelled`.

        Takes `PATIENCE_S` at the most, and that once for each start.
        """
        with token.bind():
            async with anyio.create_task_group() as group:
                for server in self._servers:
                    group.start_soon(server.refresh, PATIENCE_S)
        return self.known_tools()

    def known_tools(self) -> tuple[Tool[Any], ...]:
        """What the servers offered last, by unique names that stay the same as long as they offer it."""
        tools: dict[str, Tool[Any]] = {}
        for server in self._servers:
            for remote in server.tools:
                name = tool_name(server.config.name, remote.name, tools)
                tools[name] = self._tool(name, server, remote)
        self._made = {name: tool for name, tool in self._made.items() if name in tools}
        return tuple(tools.values())

    def _tool(self, name: str, server: McpServer, remote: RemoteTool) -> McpTool:
        """The same object as long as the server offers the same: making one costs a millisecond."""
        known = self._made.get(name)
        if known is None or not known.stands_for(server, remote):
            known = self._made[name] = McpTool(name, server, remote)
        return known

    def views(self) -> tuple[ServerView, ...]:
        return tuple(server.view() for server in self._servers)

    def describe(self) -> str:
        """Servers, states and tools, for `/mcp`."""
        if not self._servers:
            return "No MCP servers: name them in the config, under mcp."
        return "\n\n".join(_described(view) for view in self.views())

    async def aclose(self) -> None:
        """End all servers, with all that they have started; bounded."""
        async with anyio.create_task_group() as group:
            for server in self._servers:
                group.start_soon(server.aclose)


def tool_name(server: str, tool: str, taken: Mapping[str, object]) -> str:
    """`mcp__SERVER__TOOL` as every provider accepts it: `[a-zA-Z0-9_-]`, 64 characters, not in `taken`.

    What had to be changed for it ends with a hash of the true name, so that two of them stay apart.
    """
    true = f"mcp__{server}__{tool}"
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", true)
    if name == true and len(name) <= _NAME_CHARS and name not in taken:
        return name
    for number in range(len(taken) + 1):
        mark = hashlib.sha256(f"{server}\0{tool}\0{number}".encode()).hexdigest()[:8]
        marked = f"{name[: _NAME_CHARS - 9]}_{mark}"
        if marked not in taken:
            return marked
    raise AssertionError("there are more names than taken ones")


def _arguments(schema: Mapping[str, Any]) -> type[McpArguments]:
    given = {"type": "object", "properties": {}, **schema}

    class Arguments(McpArguments):
        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return given

    return Arguments


def _description(server: str, remote: RemoteTool) -> str:
    text = remote.description
    if len(text) > _DESCRIPTION_CHARS:
        text = text[: _DESCRIPTION_CHARS - 1] + "…"
    return f"{text}\n(A tool of the MCP server {server}.)".lstrip()


def _compact(arguments: McpArguments) -> str:
    parts = (
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in arguments.root.items()
    )
    return ", ".join(parts)


def _described(view: ServerView) -> str:
    lines = [f"{view.name}: {view.state} ({view.where})"]
    if view.error and view.state is not ServerState.READY:
        lines.append(f"  {view.error}")
    lines += [f"  {tool.name}: {one_line(tool.description, 100)}".rstrip(": ") for tool in view.tools]
    return "\n".join(lines)
