"""What a session is given besides a model: its tools, its permissions, its limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.access import Workspace
from core.dispatch import FixedTools, ToolSource
from core.journal import Unsaved
from core.permissions import Permissions
from core.turn import NO_LIMITS, Limits
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.journal import Journal
    from core.session import Session


class SessionTools(ToolSource, Protocol):
    """The tools of one session: a source that knows its servers and can be closed."""

    async def prepare(self) -> None:
        """Read the settings and import what tools need, in a thread: before a turn has to wait for it."""
        ...

    def describe_servers(self) -> str:
        """MCP servers, their tools and states, in words for the person."""
        ...

    async def aclose(self) -> None:
        """End the servers; bounded."""
        ...


@dataclass(frozen=True, slots=True)
class NoTools(FixedTools):
    """For a session that only talks."""

    async def prepare(self) -> None:
        """Nothing to prepare."""

    def describe_servers(self) -> str:
        return "There are no tools in this session."

    async def aclose(self) -> None:
        """Nothing to end."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """With what, and how far, turns may go. `make_tools` gets the session that it makes them for, and
    `make_journal` the id of a new one."""

    permissions: Permissions
    make_tools: Callable[[Session], SessionTools]
    limits: Limits = NO_LIMITS
    mode_chosen: bool = False
    """The mode is the person's own choice, which no setting changes."""
    jobs: bool = False
    """The session may make requests for itself: a title, notes."""
    make_journal: Callable[[str], Journal] = lambda _: Unsaved()


def talk_only() -> Equipment:
    """No tools, in the current folder."""
    return Equipment(Permissions(Workspace(Path.cwd())), lambda _: NoTools())
