"""What a call is going to touch, as the words between a tool and the permissions.

It must never import pydantic or a tool: `core.permissions` needs it before the first frame.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from core.values import dataclass


class AccessKind(StrEnum):
    """What a call does to the world; the modes of `core.permissions` decide by it."""

    READ = "read"
    EDIT = "edit"
    COMMAND = "command"
    NETWORK = "network"
    SERVER = "server"
    """A tool of an MCP server, of which nobody knows what it does."""
    AGENT = "agent"
    """Starts a sub-agent, which asks for itself."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a call is going to touch. `subject` is what rules match: a path, a command line, an address.

    `paths` are absolute; symbolic links in them are not resolved yet.
    """

    kind: AccessKind
    subject: str
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder that the conversation is about; relative paths of calls start there."""

    root: Path

    def path(self, given: str) -> Path:
        """The absolute path of what the model named; `~` is the home folder. Nothing is resolved."""
        return self.root / Path(given).expanduser()

    def name(self, path: Path) -> str:
        """The shortest name of a path: relative inside the workspace."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
