"""What a session is given besides a model: its tools, its permissions, its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.base.values import Value
from core.engine.toolset import ToolSource
from core.engine.turn import NO_LIMITS, Limits
from core.storage.journal import NullJournal

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.engine.turn import TurnServices
    from core.operations.session_operations import SessionOperations
    from core.permissions.access import Workspace
    from core.permissions.policy import Permissions
    from core.session.after_turn import AfterTurn
    from core.session.background import BackgroundCommands
    from core.session.settings import SessionSettings
    from core.storage.journal import Journal


class ToolHost(Protocol):
    """What the tools of a session need of it: `core.session.session.Session`."""

    workspace: Workspace
    permissions: Permissions
    background: BackgroundCommands
    after_turn: AfterTurn
    operations: SessionOperations
    settings: SessionSettings

    @property
    def services(self) -> TurnServices:
        """What a turn of this session runs with, for its sub-agents."""

    def notify(self, text: str) -> None:
        """Publish a sentence for the person about the session itself."""


class SessionTools(ToolSource, Protocol):
    """The tools of one session: a source that knows its servers and can be closed."""

    async def prepare(self) -> None:
        """Read the settings and import what tools need, in a thread: before a turn has to wait for it."""

    @property
    def server_names(self) -> tuple[str, ...]:
        """The MCP servers, as far as they are known."""

    def describe_servers(self) -> str:
        """Describe MCP servers, their tools and states for the person."""

    async def restart_server(self, name: str) -> str:
        """End an MCP server with all that it does, start it again, and say what came of it. Raises
        `CaesuraError`."""

    async def aclose(self) -> None:
        """End the servers; bounded."""


class SessionDependencies(Value):
    """Permissions, tools and limits of a session. `make_tools` gets the session that the tools are for,
    `make_journal` the id of a new session."""

    permissions: Permissions
    make_tools: Callable[[ToolHost], SessionTools]
    limits: Limits = NO_LIMITS
    mode_chosen: bool = False
    """The mode is the person's own choice, which no setting changes."""
    jobs: bool = False
    """The session may make requests for itself: a title, notes."""
    make_journal: Callable[[str], Journal] = lambda _: NullJournal()
