"""A session that has no tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.engine.toolset import Toolset
from core.permissions.access import Workspace
from core.permissions.policy import Permissions
from core.session.dependencies import SessionDependencies

if TYPE_CHECKING:
    from core.cancel import CancelToken


class NoTools(Toolset):
    """Tools that are a source as well, which always has the same ones: none, unless some are given."""

    async def load(self, token: CancelToken) -> Toolset:
        return self

    async def prepare(self) -> None:
        """Nothing to prepare."""

    @property
    def server_names(self) -> tuple[str, ...]:
        return ()

    def describe_servers(self) -> str:
        return "There are no tools in this session."

    async def restart_server(self, name: str) -> str:
        return f"{name} was started again."

    async def aclose(self) -> None:
        """Nothing to end."""


def no_tools() -> SessionDependencies:
    """No tools, in the current folder."""
    return SessionDependencies(Permissions(Workspace(Path.cwd())), lambda _: NoTools())
