"""What the model can do with a background command: read its output, stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from core.access import Access, AccessKind, Workspace
from core.cancel import CancelReason, Cause
from core.events import Shown
from core.operations import CancelAnswer
from core.tools.base import ToolContext, ToolError, ToolOutput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.background import BackgroundCommands
    from core.operations import CancelResult

STOP_WAIT_S = 3.0
"""How long the model's own stop of a command waits for its end, in seconds."""


class BackgroundArguments(BaseModel):
    """Which command."""

    id: str = Field(min_length=1, description="The id that `shell` answered with.")


class _BackgroundTool:
    arguments = BackgroundArguments
    grace_s = 4.0

    def title(self, arguments: BackgroundArguments, workspace: Workspace) -> str:
        return arguments.id

    def access(self, arguments: BackgroundArguments, workspace: Workspace) -> Access:
        # It touches only what the conversation itself was allowed to start.
        return Access(AccessKind.READ, arguments.id)

    def concurrent(self, arguments: BackgroundArguments) -> bool:
        return True

    def deadline_s(self, arguments: BackgroundArguments) -> float | None:
        return None

    async def preview(self, arguments: BackgroundArguments, context: ToolContext) -> Shown | None:
        return None


class BackgroundOutput(_BackgroundTool):
    """Reads what a background command has said."""

    name = "background_output"
    description = "Read the output so far of a background command, and whether it still runs."

    def __init__(self, commands: BackgroundCommands) -> None:
        self._commands = commands

    async def run(self, arguments: BackgroundArguments, context: ToolContext) -> ToolOutput:
        output = self._commands.output(arguments.id)
        if output is None:
            raise ToolError(f"There is no background command {arguments.id!r}.")
        return ToolOutput(f"{self._commands.describe(arguments.id)}\n{output}", Shown(output))


class BackgroundStop(_BackgroundTool):
    """Stops a background command for the model, and waits for its end."""

    name = "background_stop"
    description = "Stop a background command and everything that it has started."

    def __init__(
        self,
        commands: BackgroundCommands,
        stop: Callable[[str, CancelReason, float], Awaitable[CancelResult]],
    ) -> None:
        self._commands = commands
        self._stop = stop

    async def run(self, arguments: BackgroundArguments, context: ToolContext) -> ToolOutput:
        if self._commands.output(arguments.id) is None:
            raise ToolError(f"There is no background command {arguments.id!r}.")
        reason = CancelReason(Cause.CLIENT, "the model", remind=False)
        result = await self._stop(arguments.id, reason, STOP_WAIT_S)
        match result.answer:
            case CancelAnswer.TIMEOUT:
                text = "It was asked to stop, but it has not ended yet."
            case CancelAnswer.NOT_FOUND:
                text = "It had ended already."
            case _:
                text = "It was stopped, and everything that it had started."
        return ToolOutput(text, Shown(text))
