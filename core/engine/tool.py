"""What a tool is. Adding one is one file with a class like this and one line in `core.tools.toolbox`.

A tool never decides whether it may run, never catches the cancel of its token, and never outlives it: what it
starts ends before `run` is left. What it cannot do it reports with a `ToolError`, which the model reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import BaseModel

from core.base.errors import CaesuraError
from core.base.values import Value
from core.operations.events import Shown
from core.permissions.access import Access, AccessKind, Workspace

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from core.cancel import CancelToken
    from core.model.images import Image
    from core.operations.operation import LateEnd
    from core.operations.progress import Progress
    from core.storage.records import PreImage

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


class ToolContext(Value):
    """What a running call may use. All of it is always there.

    `token` is bound around `run` already. `ask` asks for something that came up only now, such as the host a
    web address leads to; it raises `core.permissions.policy.Denied` if the answer is no. `keep_preimage` is
    awaited with a file as it is right before it is changed: it returns when that is safe, or cannot be made
    so in time, and the person has been notified. `notify` publishes a sentence for the person. `await_end`
    names who was asked to end the call and has not confirmed it: the call stays listed until then (S12).
    """

    turn_id: int
    call_id: str
    token: CancelToken
    workspace: Workspace
    progress: Progress
    ask: Callable[[Access], Awaitable[None]]
    keep_preimage: Callable[[PreImage], Awaitable[None]]
    notify: Callable[[str], None]
    await_end: Callable[[str, asyncio.Future[LateEnd]], None]


class ToolOutput(Value):
    """`text` is for the model, `images` too if it sees, `shown` for the person. `failed` marks a result that
    is no success though the tool did its part, such as a command that ended with an error."""

    text: str
    shown: Shown
    failed: bool = False
    images: tuple[Image, ...] = ()


ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)


class Tool(Protocol[ArgumentsT]):
    """One tool; a class of tools inherits it. `description` and the fields of `arguments` are what the model
    knows of it.

    `deadline_s` is how long a call may take unless its arguments say otherwise. `grace_s` is how long a
    stopped call may take to end before the turn goes on without it and names it as unconfirmed (U10).
    """

    name: str
    description: str
    arguments: type[ArgumentsT]
    grace_s: float

    def title(self, arguments: ArgumentsT, workspace: Workspace) -> str:
        """What the call does, on one line, without the name of the tool: a path, a command, an address."""

    def access(self, arguments: ArgumentsT, workspace: Workspace) -> Access:
        """What it needs permission for. Must not read files or wait."""

    def concurrent(self, arguments: ArgumentsT) -> bool:
        """Whether it changes nothing, so that it may run at the same time as its neighbours."""
        return False

    def deadline_s(self, arguments: ArgumentsT) -> float | None:
        """Seconds after which it is stopped; None for never."""
        return None

    async def preview(self, arguments: ArgumentsT, context: ToolContext) -> Shown | None:
        """What it would do, such as a diff, for the person who is asked. Raises `ToolError` like `run`."""
        return None

    async def run(self, arguments: ArgumentsT, context: ToolContext) -> ToolOutput:
        """Do it. Raises `ToolError`; leaves `CancelledError` alone."""
