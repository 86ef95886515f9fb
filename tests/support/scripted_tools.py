"""Tools for the tests of dispatch and engine: they do what their arguments say, and end by the token only."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import BaseModel

from core.engine.tool import ToolContext, ToolError, ToolOutput
from core.engine.toolset import Toolset
from core.operations.events import Shown
from core.permissions.access import Access, AccessKind, Workspace
from core.permissions.policy import Mode, Permissions
from core.session.dependencies import SessionDependencies
from core.tools.agent import SubAgent
from core.tools.schema import spec_of
from tests.support.no_tools import NoTools

if TYPE_CHECKING:
    from core.engine.turn import Limits
    from core.session.dependencies import ToolHost

WORKSPACE = Workspace(Path("/workspace"))


class Do(StrEnum):
    """What a call of `PlayedTool` does."""

    RETURN = "return"
    FAIL = "fail"
    BREAK = "break"
    HOLD = "hold"
    """Wait, until the token ends it."""
    SWALLOW = "swallow"
    """Wait, and take the cancel for a hiccup: return a result."""
    DEAF = "deaf"
    """Wait, and ignore the token, until `released` is set."""
    BREAK_ON_STOP = "break on stop"
    CHANGE = "change"
    """Change a file, say so, then hold."""


class PlayedArguments(BaseModel):
    do: Do = Do.RETURN
    say: str = "result"
    seconds: float | None = None


class PlayedTool:
    """`changing` tools run in order; `kind` decides whether the person is asked."""

    description = "Does what it is told to."
    arguments = PlayedArguments
    grace_s = 3_600.0

    def __init__(
        self,
        name: str,
        *,
        changing: bool = False,
        kind: AccessKind = AccessKind.READ,
        grace_s: float = 3_600.0,
    ) -> None:
        self.name = name
        self.grace_s = grace_s
        self.running: list[str] = []
        self.begun: list[str] = []
        self.released = asyncio.Event()
        self._changing = changing
        self._kind = kind

    def title(self, arguments: PlayedArguments, workspace: Workspace) -> str:
        return f"{arguments.do} {arguments.say}"

    def access(self, arguments: PlayedArguments, workspace: Workspace) -> Access:
        return Access(self._kind, arguments.say)

    def concurrent(self, arguments: PlayedArguments) -> bool:
        return not self._changing

    def deadline_s(self, arguments: PlayedArguments) -> float | None:
        return arguments.seconds

    async def preview(self, arguments: PlayedArguments, context: ToolContext) -> Shown | None:
        return Shown(f"would say {arguments.say}")

    async def run(self, arguments: PlayedArguments, context: ToolContext) -> ToolOutput:
        self.begun.append(arguments.say)
        self.running.append(arguments.say)
        try:
            return await self._play(arguments, context)
        finally:
            self.running.remove(arguments.say)

    async def _play(self, arguments: PlayedArguments, context: ToolContext) -> ToolOutput:
        output = ToolOutput(arguments.say, Shown(arguments.say))
        match arguments.do:
            case Do.RETURN:
                await asyncio.sleep(0)
                return output
            case Do.FAIL:
                raise ToolError(f"cannot {arguments.say}")
            case Do.BREAK:
                raise LookupError("bug")
            case Do.HOLD:
                context.progress.say(f"{arguments.say} so far")
                await asyncio.Event().wait()
            case Do.CHANGE:
                context.progress.note_change(Path("/workspace/changed"))
                await asyncio.Event().wait()
            case Do.SWALLOW:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    return output
            case Do.BREAK_ON_STOP:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    raise LookupError("bug") from None
            case Do.DEAF:
                with anyio.CancelScope(shield=True):
                    await self.released.wait()
                return output
        raise AssertionError("only the token ends this")


class AskingTool(PlayedTool):
    """Every call of it is asked about."""

    def __init__(self, name: str, *, changing: bool = True) -> None:
        super().__init__(name, changing=changing, kind=AccessKind.SERVER)


def equipped(
    *tools: PlayedTool, mode: Mode = Mode.ASK, limits: Limits | None = None, agents: bool = False
) -> SessionDependencies:
    """A session's equipment with these tools, and the one for sub-agents."""

    def make(session: ToolHost) -> NoTools:
        table: dict[str, Any] = {tool.name: tool for tool in tools}
        if agents:
            table["agent"] = SubAgent(lambda: session.services)
        return NoTools(tuple(spec_of(tool) for tool in table.values()), table)

    permissions = Permissions(WORKSPACE, mode=mode)
    if limits is None:
        return SessionDependencies(permissions, make)
    return SessionDependencies(permissions, make, limits)


__all__ = ["WORKSPACE", "AskingTool", "Do", "PlayedArguments", "PlayedTool", "Toolset", "equipped"]
