"""Which tools there are: the one place where a tool is added.

What tools import is heavy, so all of it is loaded in a thread, when the first turn needs it or before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

from core.dispatch import FixedTools
from core.threads import run_in_thread
from core.turn import Limits
from core.values import dataclass

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from core.config import Loaded
    from core.dispatch import Toolset
    from core.project_notes import ProjectNotes
    from core.session import Session
    from core.settings import Settings
    from core.tools.base import Tool
    from core.tools.mcp import Servers

log = logging.getLogger(__name__)


def builtin_tools(session: Session, settings: Settings) -> tuple[Tool[Any], ...]:
    """Every tool that Caesura has by itself, in the order in which a model is told of them."""
    from core.tools.agent import SubAgent
    from core.tools.background import BackgroundOutput, BackgroundStop
    from core.tools.edits import EditFile, WriteFile
    from core.tools.files import ReadFile
    from core.tools.search import Grep, ListFiles
    from core.tools.shell import Shell
    from core.tools.web import WebFetch

    secrets, containment = settings.secrets(), settings.containment
    return (
        Shell(session.background.launch, secrets=secrets, containment=settings.containment_of),
        BackgroundOutput(session.background),
        BackgroundStop(
            session.background,
            lambda call_id, reason, seconds: session.stop_call_and_wait(call_id, reason, wait=seconds),
        ),
        ReadFile(),
        WriteFile(),
        EditFile(),
        ListFiles(secrets=secrets, containment=containment),
        Grep(secrets=secrets, containment=containment, ripgrep=shutil.which("rg") or ""),
        WebFetch(secrets=secrets, containment=containment),
        SubAgent(lambda: session.surroundings),
    )


class Toolbox:
    """The tools of one session, its MCP servers' included; implements `core.equipment.SessionTools`."""

    def __init__(self, session: Session, settings: Settings) -> None:
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

        await self.prepare()
        assert self._servers is not None
        tools = {tool.name: tool for tool in (*self._builtin, *await self._servers.tools(token))}
        return FixedTools(tuple(spec_of(tool) for tool in tools.values()), tools)

    def describe_servers(self) -> str:
        return "The servers are not known yet." if self._servers is None else self._servers.describe()

    async def aclose(self) -> None:
        if self._servers is not None:
            await self._servers.aclose()

    def _build(self) -> tuple[tuple[Tool[Any], ...], Servers]:
        from core.processes import child_environment
        from core.tools.mcp import McpServerConfig, Servers
        from core.tools.schema import spec_of

        servers = [
            McpServerConfig(
                name,
                command=server.command or None,
                url=server.url or None,
                environment=server.env,
                headers=server.headers,
                grace_s=server.grace,
            )
            for name, server in self._settings.config.mcp.servers.items()
        ]
        environment = child_environment(os.environ, self._settings.secrets())
        built = Servers(servers, self._session.workspace, environment)
        builtin = builtin_tools(self._session, self._settings)
        for tool in builtin:
            spec_of(tool)
        return builtin, built

    def _told(self) -> _Told:
        """What holds, and what the model is told: the notes of this workspace, and the files of its project.
        Blocking."""
        from core.folders import config_folder
        from core.memory_file import MemoryFileError, load_memory, memory_folder
        from core.project_notes import ProjectNotes, read_project_notes
        from core.prompt import system_prompt

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
        self._session.permissions.adopt(
            allow=permissions.allow, ask=permissions.ask, deny=permissions.deny, keep=self._settings.keep_rule
        )
        limits = Limits(tools.max_steps, tools.deadline, tools.max_budget)
        self._session.configure(permissions.mode, limits)
        self._session.upkeep.asks_for_titles = config.jobs.titles
        self._session.upkeep.asks_for_titles = config.jobs.titles
        self._session.use_notes(told.system, told.project.files, noting=config.jobs.memory)
        for sentence in told.news:
            self._session.tell(sentence)


@dataclass(frozen=True, slots=True)
class _Told:
    """The settings, the system prompt, the files of the project that are in it, and what the person is told
    of them."""

    loaded: Loaded
    system: str
    project: ProjectNotes
    news: tuple[str, ...]
