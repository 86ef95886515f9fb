"""The list of all tools: the one place where a tool is added.

Tools import large modules, so they are imported in a thread, before the first turn needs them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

from core.base.threads import run_in_thread
from core.base.values import Value
from core.engine.toolset import Toolset
from core.engine.turn import Limits
from core.permissions.policy import Rules

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from core.config.load import Loaded
    from core.config.settings import Settings
    from core.context.project_notes import ProjectNotes
    from core.engine.tool import Tool
    from core.session.dependencies import ToolHost
    from core.tools.mcp.tools import Servers

log = logging.getLogger(__name__)


def builtin_tools(session: ToolHost, settings: Settings) -> tuple[Tool[Any], ...]:
    """All built-in tools, in the order in which the model gets them."""
    from core.tools.agent import SubAgent
    from core.tools.background import BackgroundOutput, BackgroundStop
    from core.tools.child_process import ModuleRunner
    from core.tools.edits import EditFile, WriteFile
    from core.tools.files import ReadFile
    from core.tools.search import Grep, ListFiles
    from core.tools.shell import Shell
    from core.tools.web import WebFetch

    secrets = settings.secrets()
    modules = ModuleRunner(secrets, settings.containment)
    return (
        Shell(session.background.launch, secrets=secrets, containment=settings.containment_of),
        BackgroundOutput(session.background),
        BackgroundStop(session.background, session.operations),
        ReadFile(),
        WriteFile(),
        EditFile(),
        ListFiles(modules),
        Grep(modules, shutil.which("rg") or ""),
        WebFetch(modules),
        SubAgent(lambda: session.services),
    )


class Toolbox:
    """The tools of one session, its MCP servers' included; implements
    `core.session.dependencies.SessionTools`."""

    def __init__(self, session: ToolHost, settings: Settings) -> None:
        self._session = session
        self._settings = settings
        self._preparing = asyncio.Lock()
        self._builtin: tuple[Tool[Any], ...] = ()
        self._servers: Servers | None = None

    async def prepare(self) -> None:
        async with self._preparing:
            if self._servers is not None:
                return
            self._builtin, self._servers = await run_in_thread(self._build, name="import of tools")
            told = await run_in_thread(self._told, name="settings and notes")
        self._configure(told)

    async def load(self, token: CancelToken) -> Toolset:
        from core.tools.schema import spec_of

        servers = await self._prepared()
        tools = {tool.name: tool for tool in (*self._builtin, *await servers.tools(token))}
        for sentence in servers.news():
            self._session.notify(sentence)
        return Toolset(tuple(spec_of(tool) for tool in tools.values()), tools)

    @property
    def server_names(self) -> tuple[str, ...]:
        servers = () if self._servers is None else self._servers.servers
        return tuple(server.name for server in servers)

    def describe_servers(self) -> str:
        return "The servers are not known yet." if self._servers is None else self._servers.describe()

    async def restart_server(self, name: str) -> str:
        return await (await self._prepared()).restart(name)

    async def _prepared(self) -> Servers:
        await self.prepare()
        assert self._servers is not None
        return self._servers

    async def aclose(self) -> None:
        if self._servers is not None:
            await self._servers.aclose()

    def _build(self) -> tuple[tuple[Tool[Any], ...], Servers]:
        from core.process.command import child_environment
        from core.tools.mcp.tools import Servers
        from core.tools.schema import spec_of

        environment = child_environment(os.environ, self._settings.secrets())
        servers = Servers(self._settings.config.mcp.servers, self._session.workspace, environment)
        builtin = builtin_tools(self._session, self._settings)
        for tool in builtin:
            spec_of(tool)
        return builtin, servers

    def _told(self) -> _Told:
        """What holds, and what the model is told: the notes of this workspace, and the files of its project.
        Blocking."""
        from core.base.folders import config_folder
        from core.context.memory_file import MemoryFileError, load_memory, memory_folder
        from core.context.project_notes import ProjectNotes, read_project_notes
        from core.context.system_prompt import system_prompt

        loaded = self._settings.load()
        config = loaded.config
        workspace = self._session.workspace.root
        memory, project = "", ProjectNotes()
        if config.jobs.memory:
            try:
                memory = load_memory(memory_folder(workspace))
            except MemoryFileError as error:
                log.warning("the notes of the workspace are not used: %s", error)
        if config.project_notes:
            project = read_project_notes(workspace, config_folder())
        news = self._settings.news((*loaded.errors, *loaded.notices, *project.refused))
        return _Told(loaded, system_prompt(workspace, memory, project), project, news)

    def _configure(self, told: _Told) -> None:
        """Take the settings over, in the session's loop."""
        config = told.loaded.config
        permissions, tools = config.permissions, config.tools
        rules = Rules(permissions.allow, permissions.ask, permissions.deny)
        self._session.permissions.adopt(rules, self._settings.keep_rule)
        limits = Limits(tools.max_steps, tools.deadline, tools.max_budget)
        self._session.settings.configure(permissions.mode, limits)
        self._session.after_turn.asks_for_titles = config.jobs.titles
        self._session.settings.use_notes(told.system, told.project.files)
        self._session.after_turn.notes_facts = config.jobs.memory
        for sentence in told.news:
            self._session.notify(sentence)


class _Told(Value):
    """The settings, the system prompt, the files of the project that are in it, and what the person is told
    of them."""

    loaded: Loaded
    system: str
    project: ProjectNotes
    news: tuple[str, ...]
