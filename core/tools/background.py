"""What the model can do with a background command: read its output, stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from core.cancel import CancelReason, Cause
from core.engine.tool import Tool, ToolContext, ToolError, ToolOutput
from core.operations.events import Shown
from core.operations.operation import CancelAnswer
from core.permissions.access import Access, AccessKind, Workspace

if TYPE_CHECKING:
    from core.operations.session_operations import SessionOperations
    from core.session.background import BackgroundCommands

STOP_WAIT_S = 3.0
"""How long the model's own stop of a command waits for its end, in seconds."""


class BackgroundArguments(BaseModel):
    """The id of a background command."""

    id: str = Field(min_length=1, description="The id that `shell` answered with.")


class _BackgroundTool(Tool[BackgroundArguments]):
    arguments = BackgroundArguments
    grace_s = 4.0

    def __init__(self, commands: BackgroundCommands) -> None:
        self._commands = commands

    def title(self, arguments: BackgroundArguments, workspace: Workspace) -> str:
        return arguments.id

    def access(self, arguments: BackgroundArguments, workspace: Workspace) -> Access:
        # It touches only what the conversation itself was allowed to start.
        return Access(AccessKind.READ, arguments.id)

    def concurrent(self, arguments: BackgroundArguments) -> bool:
        return True

    def _output(self, identifier: str) -> str:
        """The output of a command so far. Raises `ToolError` if there is no such command."""
        output = self._commands.output(identifier)
        if output is None:
            raise ToolError(f"There is no background command {identifier!r}.")
        return output


class BackgroundOutput(_BackgroundTool):
    """Reads the output of a background command."""

    name = "background_output"
    description = "Read the output so far of a background command, and whether it still runs."

    async def run(self, arguments: BackgroundArguments, context: ToolContext) -> ToolOutput:
        output = self._output(arguments.id)
        return ToolOutput(f"{self._commands.describe(arguments.id)}\n{output}", Shown(output))


class BackgroundStop(_BackgroundTool):
    """Stops a background command for the model, and waits for its end."""

    name = "background_stop"
    description = "Stop a background command and everything that it has started."

    def __init__(self, commands: BackgroundCommands, operations: SessionOperations) -> None:
        super().__init__(commands)
        self._operations = operations

    async def run(self, arguments: BackgroundArguments, context: ToolContext) -> ToolOutput:
        self._output(arguments.id)
        reason = CancelReason(Cause.CLIENT, "the model", remind=False)
        result = await self._operations.cancel_and_wait(arguments.id, reason, wait=STOP_WAIT_S)
        match result.answer:
            case CancelAnswer.TIMEOUT:
                text = "It was asked to stop, but it has not ended yet."
            case CancelAnswer.NOT_FOUND:
                text = "It had ended already."
            case _:
                text = "It was stopped, and everything that it had started."
        return ToolOutput(text, Shown(text))
