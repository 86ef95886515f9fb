"""A sub-agent: a turn of its own, with its own history, under the token of the call that started it (X5).

Its calls are operations of the same session beneath this call. It shares permissions and questions with the
conversation, never its history. After its end it changes nothing, for its turn is closed by then (U8).
"""

from __future__ import annotations

import asyncio
from dataclasses import field, replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from core.access import Access, AccessKind, Workspace
from core.cancel import shielded
from core.compaction import AsItIs
from core.dispatch import FixedTools
from core.engine import run_turn
from core.events import (
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
from core.messages import AssistantMessage, Message, Step, UserMessage
from core.progress import Ended
from core.tools.base import ToolContext, ToolError, ToolOutput
from core.tools.schema import spec_of
from core.turn import Turn
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.costs import Spending
    from core.dispatch import Toolset, ToolSource
    from core.journal import Piece
    from core.messages import Usage
    from core.model import ModelRequest, ToolSpec
    from core.records import PreImage
    from core.turn import Surroundings

DEEPEST = 4
"""How deep sub-agents may be nested."""

GRACE_S = 5.0
"""How long a stopped sub-agent may take: longer than any call of its own, at each depth."""

MARGIN_S = 0.5
"""By how much a sub-agent gives its turn up sooner than it is given up itself, in seconds."""


class AgentArguments(BaseModel):
    """What the model gives to a sub-agent."""

    task: str = Field(
        min_length=1,
        description="All that the sub-agent must know and do, and what to answer: it sees nothing else.",
    )


@dataclass(frozen=True, slots=True)
class _Nested:
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
        return FixedTools(specs, tools)


@dataclass(slots=True)
class _Conversation:
    """What the sub-agent has said and been told; and what of it the outer conversation sees."""

    outer: Surroundings
    context: ToolContext
    steps: list[Step] = field(default_factory=list)
    ended: TurnEnded | None = None

    @property
    def spending(self) -> Spending:
        return self.outer.record.spending

    def messages(self) -> tuple[Message, ...]:
        return tuple(message for step in self.steps for message in step.messages)

    def request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest:
        return self.outer.record.request(messages, tools)

    def write_begin(self) -> None:
        """The turn of the conversation is written down as begun."""

    def take(self, piece: Piece) -> None:
        """Nothing of it outlives a crash but that the outer call was running."""

    async def begin_call(self, call_id: str) -> None:
        """The outer call is written down as begun."""

    def commit(self, turn_id: int, step: Step) -> None:
        self.steps.append(step)
        self.spend(step.usage, step.model)

    def spend(self, usage: Usage | None, model: str) -> None:
        self.outer.record.spend(usage, model)

    async def keep_preimage(self, preimage: PreImage) -> None:
        await self.outer.record.keep_preimage(preimage)

    def end(self, ended: TurnEnded) -> None:
        """Its end is the result of the outer call."""

    async def saved(self) -> None:
        """It is saved with the step that the outer call belongs to."""

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
                # The rest is between the sub-agent and its model.
                pass

    @property
    def answer(self) -> str:
        """Its last words."""
        last = next((m for m in reversed(self.messages()) if isinstance(m, AssistantMessage)), None)
        return "" if last is None else last.text


class SubAgent:
    """Hands a task to a sub-agent. `around` gives the surroundings of the turn that its call belongs to."""

    name = "agent"
    description = (
        "Give a task to a sub-agent with the same tools and a fresh, empty conversation. It works by itself "
        "and answers once, at its end. Good for searching much and reporting little. Several may run at once."
    )
    arguments = AgentArguments

    def __init__(self, around: Callable[[], Surroundings], depth: int = 0) -> None:
        self._around = around
        self.depth = depth
        self.grace_s = GRACE_S + DEEPEST - depth

    def title(self, arguments: AgentArguments, workspace: Workspace) -> str:
        return " ".join(arguments.task.split())

    def access(self, arguments: AgentArguments, workspace: Workspace) -> Access:
        return Access(AccessKind.AGENT, arguments.task)

    def concurrent(self, arguments: AgentArguments) -> bool:
        return True

    def deadline_s(self, arguments: AgentArguments) -> float | None:
        return None

    async def preview(self, arguments: AgentArguments, context: ToolContext) -> Shown | None:
        return None

    async def run(self, arguments: AgentArguments, context: ToolContext) -> ToolOutput:
        outer = self._around()
        inside = _Conversation(outer, context)
        turn = Turn(context.turn_id, UserMessage(arguments.task), context.token.child("sub-agent"))
        around = replace(
            outer,
            record=inside,
            make_fitter=lambda _: AsItIs(),
            emit=inside.emit,
            parent_id=context.call_id,
            agent=self.title(arguments, context.workspace)[:60],
        )
        around = replace(around, tools=_Nested(outer.tools, SubAgent(lambda: around, self.depth + 1)))
        task = asyncio.create_task(run_turn(turn, around), name=f"sub-agent {context.call_id}")
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


def _output(inside: _Conversation) -> ToolOutput:
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
