"""A sub-agent: a turn of its own, with its own history, under the token of the call that started it (X5).

Its calls are operations of the same session below this call. It shares permissions and questions with the
conversation, but not its history. After its end it changes nothing: its turn is closed by then (U8).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace
from pydantic import BaseModel, Field

from core.base.values import Value
from core.cancel import shielded
from core.context.compaction import NoCompaction
from core.engine.engine import run_turn
from core.engine.tool import Tool, ToolContext, ToolError, ToolOutput
from core.engine.toolset import Toolset
from core.engine.turn import Turn
from core.model.messages import AssistantMessage, Message, Step
from core.operations.events import (
    BackOffEnded,
    BackOffStarted,
    CallEnded,
    CallNamed,
    CallStarted,
    Event,
    ModelFailedOver,
    Notice,
    Outcome,
    QuestionAsked,
    QuestionClosed,
    Shown,
    ShownKind,
    TextArrived,
    TurnEnded,
)
from core.operations.progress import Ended
from core.permissions.access import Access, AccessKind, Workspace
from core.tools.schema import spec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.engine.toolset import ToolSource
    from core.engine.turn import TurnServices
    from core.model.costs import Spend
    from core.model.messages import Usage
    from core.model.provider import ModelRequest, ToolSpec
    from core.storage.journal import DraftEntry
    from core.storage.records import PreImage

DEEPEST = 4
"""How deep sub-agents may be nested."""

GRACE_S = 5.0
"""How long a stopped sub-agent may take: longer than any call of its own, at each depth."""

MARGIN_S = 0.5
"""Seconds by which a sub-agent abandons its turn before it is abandoned itself."""


class AgentArguments(BaseModel):
    """The task of a sub-agent."""

    task: str = Field(
        min_length=1,
        description="All that the sub-agent must know and do, and what to answer: it sees nothing else.",
    )


class _Nested(Value):
    """The tools of a sub-agent: those of its parent, but with an agent tool of its own."""

    source: ToolSource
    agent: SubAgent

    async def load(self, token: CancelToken) -> Toolset:
        outer = await self.source.load(token)
        tools = {name: tool for name, tool in outer.tools.items() if name != SubAgent.name}
        specs = tuple(spec for spec in outer.specs if spec.name != SubAgent.name)
        if self.agent.depth < DEEPEST:
            tools[SubAgent.name] = self.agent
            specs = (*specs, spec_of(self.agent))
        return Toolset(specs, tools)


@dataclass(slots=True)
class _SubAgentRecord:
    """The steps of a sub-agent, in memory only; passes on the events that the outer conversation shows."""

    outer: TurnServices
    context: ToolContext
    steps: list[Step] = field(default_factory=list)
    ended: TurnEnded | None = None

    @property
    def spending(self) -> Spend:
        return self.outer.record.spending

    def messages(self) -> tuple[Message, ...]:
        return tuple(message for step in self.steps for message in step.messages)

    def request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest:
        return self.outer.record.request(messages, tools)

    def write_begin(self) -> None:
        """Does nothing: the turn of the conversation is recorded as begun."""

    def take(self, piece: DraftEntry) -> None:
        """Does nothing: after a crash only the outer call is known to have run."""

    async def begin_call(self, call_id: str) -> None:
        """Does nothing: the outer call is recorded as begun."""

    def commit(self, turn_id: int, step: Step) -> None:
        self.steps.append(step)
        self.spend(step.usage, step.model)

    def spend(self, usage: Usage | None, model: str) -> None:
        self.outer.record.spend(usage, model)

    async def keep_preimage(self, preimage: PreImage) -> None:
        await self.outer.record.keep_preimage(preimage)

    def end(self, ended: TurnEnded) -> None:
        """Does nothing: the end is the result of the outer call."""

    async def saved(self) -> None:
        """Does nothing: it is saved with the step of the outer call."""

    def emit(self, event: Event) -> None:
        match event:
            case (
                CallNamed()
                | CallEnded()
                | QuestionAsked()
                | QuestionClosed()
                | Notice()
                | BackOffStarted()
                | BackOffEnded()
                | ModelFailedOver()
            ):
                self.outer.emit(event)
            case CallStarted(title=title):
                self.context.progress.say(title)
                self.outer.emit(event)
            case TextArrived(text=text):
                self.context.progress.write(text)
            case TurnEnded():
                self.ended = event
                if (proof := event.proof) is not None:
                    self.context.progress.note_ended(Ended(proof.processes, proof.alive))
                    for name in proof.unconfirmed:
                        self.context.progress.note_unconfirmed(name)
            case _:
                # The other events concern the sub-agent only.
                pass

    @property
    def answer(self) -> str:
        """The text of the last reply."""
        last = next((m for m in reversed(self.messages()) if isinstance(m, AssistantMessage)), None)
        return "" if last is None else last.text


class SubAgent(Tool[AgentArguments]):
    """Gives a task to a sub-agent. `services` returns the services of the turn of its call."""

    name = "agent"
    description = (
        "Give a task to a sub-agent with the same tools and a fresh, empty conversation. It works by itself "
        "and answers once, at its end. Good for searching much and reporting little. Several may run at once."
    )
    arguments = AgentArguments

    def __init__(self, services: Callable[[], TurnServices], depth: int = 0) -> None:
        self._services = services
        self.depth = depth
        self.grace_s = GRACE_S + DEEPEST - depth

    def title(self, arguments: AgentArguments, workspace: Workspace) -> str:
        return " ".join(arguments.task.split())

    def access(self, arguments: AgentArguments, workspace: Workspace) -> Access:
        return Access(AccessKind.AGENT, arguments.task)

    def concurrent(self, arguments: AgentArguments) -> bool:
        return True

    async def run(self, arguments: AgentArguments, context: ToolContext) -> ToolOutput:
        outer = self._services()
        inside = _SubAgentRecord(outer, context)
        turn = Turn(context.turn_id, arguments.task, context.token.child("sub-agent"))
        services = replace(
            outer,
            record=inside,
            make_guard=lambda _, __: NoCompaction(),
            emit=inside.emit,
            parent_id=context.call_id,
            agent=self.title(arguments, context.workspace)[:60],
        )
        services = replace(services, tools=_Nested(outer.tools, SubAgent(lambda: services, self.depth + 1)))
        task = asyncio.create_task(run_turn(turn, services), name=f"sub-agent {context.call_id}")
        try:
            await asyncio.wait({task})
        finally:
            if not task.done():
                # Stopped: its turn ends by its own token, and every call of it gets its result.
                # Sooner than whoever waits for this call gives it up.
                with shielded(self.grace_s - MARGIN_S):
                    await asyncio.wait({task})
                if not task.done():
                    task.cancel()
                    with shielded(MARGIN_S / 2):
                        await asyncio.wait({task})
        return _output(inside)


def _output(inside: _SubAgentRecord) -> ToolOutput:
    ended = inside.ended
    if ended is None:
        raise ToolError("The sub-agent ended without a word.")
    match ended.outcome:
        case Outcome.COMPLETED:
            answer = inside.answer or "(the sub-agent said nothing)"
            return ToolOutput(answer, Shown(answer, ShownKind.MARKDOWN))
        case Outcome.CANCELLED:
            text = (
                f"The sub-agent was stopped by the user before its end. What it said so far: {inside.answer}"
            )
        case Outcome.TIMEOUT:
            text = f"The sub-agent's time was over. What it said so far: {inside.answer}"
        case _:
            text = f"The sub-agent failed: {ended.error} What it said so far: {inside.answer}"
    return ToolOutput(text, Shown(text, ShownKind.MARKDOWN), failed=True)
