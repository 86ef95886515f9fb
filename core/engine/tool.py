"""What a tool is. Adding one is one file with a class like this and one line in `core.tools.toolbox`.

A tool never decides whether it may run, never catches the cancel of its token, and never outlives it: what it
starts ends before `run` is left. Whatever it cannot do it says with a `ToolError`, which the model reads.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import BaseModel

from core.access import Access, AccessKind, Workspace
from core.errors import CaesuraError
from core.events import Shown
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.cancel import CancelToken
    from core.progress import Progress
    from core.records import PreImage

__all__ = [
    "Access",
    "AccessKind",
    "Shown",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolOutput",
    "Workspace",
]


class ToolError(CaesuraError):
    """The call cannot do what was asked. The message is for the model: what happened, what to do instead."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a running call may use. All of it is always there.

    `token` is bound around `run` already. `ask` asks for something that came up only now, such as the host a
    web address leads to; it raises `core.permissions.Denied` if the answer is no. `keep_preimage` is awaited
    with a file as it is right before it is changed: it returns when that is safe, or cannot be made so in
    time, of which the person has been told. `tell` is a sentence for the person.
    """

    turn_id: int
    call_id: str
    token: CancelToken
    workspace: Workspace
    progress: Progress
    ask: Callable[[Access], Awaitable[None]]
    keep_preimage: Callable[[PreImage], Awaitable[None]]
    tell: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """`text` is for the model, `shown` for the person. `failed` marks a result that is no success though the
    tool did its part, such as a command that ended with an error."""

    text: str
    shown: Shown
    failed: bool = field(default=False, kw_only=True)


ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)


class Tool(Protocol[ArgumentsT]):
    """One tool. `description` and the fields of `arguments` are what the model knows of it.

    `deadline_s` is how long a call may take unless its arguments say otherwise. `grace_s` is how long a
    stopped call may take to end before the turn goes on without it and names it as unconfirmed (U10).
    """

    name: str
    description: str
    arguments: type[ArgumentsT]
    grace_s: float

    def title(self, arguments: ArgumentsT, workspace: Workspace) -> str:
        """What the call does, on one line, without the name of the tool: a path, a command, an address."""
        ...

    def access(self, arguments: ArgumentsT, workspace: Workspace) -> Access:
        """What it needs permission for. Must not read files or wait."""
        ...

    def concurrent(self, arguments: ArgumentsT) -> bool:
        """Whether it changes nothing, so that it may run at the same time as its neighbours."""
        ...

    def deadline_s(self, arguments: ArgumentsT) -> float | None:
        """Seconds after which it is stopped; None for never."""
        ...

    async def preview(self, arguments: ArgumentsT, context: ToolContext) -> Shown | None:
        """What it would do, such as a diff, for the person who is asked. Raises `ToolError` like `run`."""
        ...

    async def run(self, arguments: ArgumentsT, context: ToolContext) -> ToolOutput:
        """Do it. Raises `ToolError`; leaves `CancelledError` alone."""
        ...
