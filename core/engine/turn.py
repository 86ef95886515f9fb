"""A turn before it runs: what it is, how far it may go, and what it needs around it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from core.base.values import Value
from core.model.messages import UserMessage
from core.operations.events import Status

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.context.compaction import ContextGuard
    from core.engine.approval import CallPolicy
    from core.engine.toolset import ToolSource
    from core.model.costs import Spend
    from core.model.messages import Message, Step, Usage
    from core.model.provider import ModelProvider, ModelRequest, ToolSpec
    from core.operations.backoffs import BackoffRegistry
    from core.operations.events import Event, TurnEnded
    from core.operations.registry import Registry
    from core.storage.journal import DraftEntry
    from core.storage.records import PreImage


class Limits(Value):
    """How far a turn may go. `steps` counts replies of the model, `seconds` the whole turn (U9), `dollars` is
    what the session may cost."""

    steps: int | None = None
    seconds: float | None = None
    dollars: float | None = None


NO_LIMITS = Limits()


@dataclass(slots=True)
class Turn:
    """One turn. Its token exists before any of its work starts (U1).

    `kept` means that the prompt is part of the history. `committed` is set together with the last step, in
    the same step of the event loop: from then on the turn ends as its last reply did, whatever is asked of it
    later (U6).
    `closed` means that the outcome is decided. `notes` go to the model before the prompt: what it has to
    know of things that ended since its last turn.
    """

    turn_id: int
    prompt: str
    token: CancelToken
    notes: tuple[str, ...] = ()
    started_at: float = field(default_factory=time.monotonic)
    continued: bool = False
    kept: bool = False
    committed: bool = False
    closed: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def status(self) -> Status:
        return Status.STOPPING if self.token.cancelled and not self.committed else Status.RUNNING

    @property
    def over(self) -> bool:
        """No stop can change how it ends: only its end is still to be saved and published."""
        return self.committed or self.closed

    @property
    def message(self) -> UserMessage:
        """The prompt as the model gets it."""
        return UserMessage("\n\n".join((*self.notes, self.prompt)))


class Record(Protocol):
    """Where the steps of a turn go: the history of a session, or that of a sub-agent."""

    @property
    def spending(self) -> Spend:
        """What the session has used and cost so far."""

    def messages(self) -> tuple[Message, ...]:
        """The conversation so far."""

    def request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest:
        """The request that asks for the next reply."""

    def write_begin(self) -> None:
        """No limit has refused the turn: from now on a crash should leave its trace. Once is enough."""

    def take(self, piece: DraftEntry) -> None:
        """A piece of the running step, which a crash should not lose."""

    async def begin_call(self, call_id: str) -> None:
        """A call of the running step is about to change the world. Bounded; raises nothing."""

    def commit(self, turn_id: int, step: Step) -> None:
        """Append one step. Synchronous: it is all there or not at all (H3)."""

    def spend(self, usage: Usage | None, model: str) -> None:
        """Count what `model` has used in a request of a sub-agent (H6); None where its provider has not
        counted it."""

    async def keep_preimage(self, preimage: PreImage) -> None:
        """Keep a file before it is changed; returns when that is durable. Raises `NotSaved`."""

    def end(self, ended: TurnEnded) -> None:
        """The turn has this outcome, which is published next."""

    async def saved(self) -> None:
        """Wait until all that was committed is durable. Raises `NotSaved` when it is not; bounded."""


class TurnServices(Value):
    """What a turn needs of its session.

    `record` is the conversation that the turn belongs to, `make_guard` makes what keeps its requests within
    the model's window, `emit` publishes events. `abandoned_tasks` keeps tasks that were left behind,
    `backoffs` the active back-offs. `note` keeps a sentence for the model until the next prompt. `parent_id`
    and `agent` are those of the sub-agent whose turn it is.
    """

    session_id: str
    provider: ModelProvider
    registry: Registry
    model: str
    record: Record
    make_guard: Callable[[TurnServices, Turn], ContextGuard]
    emit: Callable[[Event], None]
    abandoned_tasks: set[asyncio.Task[Any]]
    backoffs: BackoffRegistry
    tools: ToolSource
    policy: CallPolicy
    note: Callable[[str], None]
    limits: Callable[[], Limits] = lambda: NO_LIMITS
    parent_id: str | None = None
    agent: str = ""
