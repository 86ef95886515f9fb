"""The tools of MCP servers as tools of Caesura, and the set of all servers.

No server is started before the tools are needed. A server that is not ready in time is left out of the
request. That is said once in the conversation, and `/mcp` says it as long as it is so; likewise what of a
server's list cannot be used.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import RootModel

from core.engine.tool import Tool, ToolError
from core.permissions.access import Access, AccessKind
from core.tools.mcp.result import one_line
from core.tools.mcp.server import McpServer, ServerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.cancel import CancelToken
    from core.config.schema import ServerSettings
    from core.engine.tool import ToolContext, ToolOutput
    from core.permissions.access import Workspace
    from core.tools.mcp.types import RemoteTool

PATIENCE_S = 10.0
"""How long the turn waits for the start of servers, all together."""

DEADLINE_S = 600.0
SETTLE_S = 1.0
"""What a stopped call may take beyond the grace of its server, to write down how it went."""

_NAME_CHARS = 64
_DESCRIPTION_CHARS = 4_000
_TITLE_CHARS = 160
_LEFT_OUT_NAMED = 3


class McpArguments(RootModel[dict[str, Any]]):
    """The arguments of a call as they are: the server validates them against its own schema."""


class McpTool(Tool[McpArguments]):
    """One tool of one server."""

    def __init__(self, name: str, server: McpServer, remote: RemoteTool) -> None:
        self.name = name
        self.description = _description(server.name, remote)
        self.arguments = _arguments(remote.schema)
        self.grace_s = server.settings.grace + SETTLE_S
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

    async def run(self, arguments: McpArguments, context: ToolContext) -> ToolOutput:
        return await self._server.call(self._remote.name, arguments.root, context)


class Servers:
    """All servers of the settings. `environment` is what commands may see: without keys of providers."""

    def __init__(
        self, settings: Mapping[str, ServerSettings], workspace: Workspace, environment: Mapping[str, str]
    ) -> None:
        self.servers = tuple(McpServer(name, one, workspace, environment) for name, one in settings.items())
        self._made: dict[str, McpTool] = {}
        self._told: frozenset[str] = frozenset()

    async def tools(self, token: CancelToken) -> tuple[Tool[Any], ...]:
        """What the servers offer now; starts those that have not been. Raises `Cancelled`.

        Takes `PATIENCE_S` at the most, and that once for each start.
        """
        with token.bind():
            async with anyio.create_task_group() as group:
                for server in self.servers:
                    group.start_soon(server.refresh, PATIENCE_S)
        # What they offered last, by unique names that stay the same as long as they offer it.
        tools: dict[str, Tool[Any]] = {}
        for server in self.servers:
            for remote in server.tools:
                name = tool_name(server.name, remote.name, tools)
                tools[name] = self._tool(name, server, remote)
        self._made = {name: tool for name, tool in self._made.items() if name in tools}
        return tuple(tools.values())

    def _tool(self, name: str, server: McpServer, remote: RemoteTool) -> McpTool:
        """The same object as long as the server offers the same: making one costs a millisecond."""
        known = self._made.get(name)
        if known is None or not known.stands_for(server, remote):
            known = self._made[name] = McpTool(name, server, remote)
        return known

    def news(self) -> tuple[str, ...]:
        """What the person has to know of servers and tools that are missing, each sentence once as long as it
        is so."""
        now = tuple(sentence for server in self.servers for sentence in _missing(server))
        news = tuple(sentence for sentence in now if sentence not in self._told)
        self._told = frozenset(now)
        return news

    async def restart(self, name: str) -> str:
        """End a server with all that it does, and start it again; what came of it. Raises `ToolError`."""
        for server in self.servers:
            if server.name == name:
                return await server.restart()
        known = ", ".join(server.name for server in self.servers) or "none"
        raise ToolError(f"There is no MCP server ‘{name}’. The servers are: {known}.")

    def describe(self) -> str:
        """Servers, states and tools, for `/mcp`."""
        if not self.servers:
            return "No MCP servers: name them in the config, under mcp."
        return "\n\n".join(map(_described, self.servers))

    async def aclose(self) -> None:
        """End all servers, with all that they have started; bounded."""
        async with anyio.create_task_group() as group:
            for server in self.servers:
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


def _missing(server: McpServer) -> tuple[str, ...]:
    """Sentences about what a server does not offer."""
    sentences: list[str] = []
    if server.state is ServerState.FAILED:
        sentences.append(
            f"{server.error} None of its tools can be used; /mcp restart {server.name} tries again."
        )
    elif server.state is ServerState.STARTING:
        sentences.append(
            f"The MCP server {server.name} is still starting: its tools come with a later request."
        )
    if left_out := server.left_out:
        named = "; ".join(one_line(tool, 100) for tool in left_out[:_LEFT_OUT_NAMED])
        more = len(left_out) - _LEFT_OUT_NAMED
        others = f"; and {more} more, see /mcp" if more > 0 else ""
        sentences.append(f"Of the MCP server {server.name} these tools are left out: {named}{others}.")
    return tuple(sentences)


def _described(server: McpServer) -> str:
    where = server.settings.url or " ".join(server.settings.command)
    lines = [f"{server.name}: {server.state} ({where})"]
    if server.error and server.state is not ServerState.READY:
        lines.append(f"  {server.error}")
    lines += [f"  asked to stop, not confirmed: {tool}" for tool in server.unconfirmed]
    lines += [f"  {tool.name}: {one_line(tool.description, 100)}".rstrip(": ") for tool in server.tools]
    lines += [f"  left out: {one_line(tool)}" for tool in server.left_out]
    return "\n".join(lines)
