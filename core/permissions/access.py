"""What a call is going to touch: the values between a tool and the permissions.

It must never import pydantic or a tool: `core.permissions.policy` needs it before the first frame.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING

from core.base.values import Value

if TYPE_CHECKING:
    from pathlib import Path


class AccessKind(StrEnum):
    """What a call does to the world; the modes of `core.permissions.policy` decide by it."""

    READ = "read"
    EDIT = "edit"
    COMMAND = "command"
    NETWORK = "network"
    SERVER = "server"
    """A tool of an MCP server, with unknown effects."""
    AGENT = "agent"
    """Starts a sub-agent, whose calls ask for themselves."""


class Access(Value):
    """What a call is going to touch. `subject` is what rules match: a path, a command line, an address.

    `paths` are absolute; symbolic links in them are not resolved yet.
    """

    kind: AccessKind
    subject: str
    paths: tuple[Path, ...] = ()


class Workspace(Value):
    """The folder that the conversation is about; relative paths of calls start there."""

    root: Path

    def path(self, given: str) -> Path:
        """The absolute path of what the model named; `~` is the home folder. Nothing is resolved.

        `~name` stays as it is: the home folder of another user takes a name service, which may need seconds.
        """
        is_home = given == "~" or given.startswith("~/")
        return self.root / (os.path.expanduser(given) if is_home else given)  # noqa: PTH111 - `Path`'s raises

    def name(self, path: Path) -> str:
        """The shortest name of a path: relative inside the workspace."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
