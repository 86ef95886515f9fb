"""One conversation: its history, its queue, its running turn, and who listens.

A session belongs to one event loop; only `stop` and `force` may be called from other threads. Front ends call
its methods and read its events, and never keep a state of their own about what is running (U4). The history
is in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.cancel import CancelReason, CancelToken, shielded
from core.engine import Surroundings, Turn, close_unrun, run_turn
from core.errors import CaesuraError
from core.events import (
    Event,
    ModelDescribed,
    Outcome,
    QueueChanged,
    Status,
    StepCommitted,
    TurnEnded,
    TurnStarted,
)
from core.messages import AssistantMessage, Message, Step, Usage, UserMessage, sendable
from core.model import ModelInfo, ModelProvider, ModelRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model import Finished
    from core.operations import Registry

log = logging.getLogger(__name__)

CONTINUE_PROMPT = "Continue exactly where your last reply was stopped, without repeating any of it."

FORCED_S = 1.0
"""How long the end of a turn may take once nothing is waited for any more, in seconds."""


class SessionError(CaesuraError):
    """The session cannot do that now."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model answers, and where. `model` is litellm's name; `api_base` None is the usual address."""

    model: str
    api_base: str | None = None
    system: str | None = None


class Session:
    """See the module. Make it inside a running event loop; `aclose` ends it."""

    def __init__(self, provider: ModelProvider, registry: Registry, choice: ModelChoice) -> None:
        self.session_id = uuid.uuid4().hex[:12]
        self.choice = choice
        self.info = ModelInfo(choice.model)
        self.token = CancelToken(f"session {self.session_id}")
        self.usage = Usage(0, 0)
        self._provider = provider
        self._registry = registry
        self._steps: list[Step] = []
        self._last_usage: Usage | None = None
        self._queue: deque[UserMessage] = deque()
        self._queue_paused = False
        self._turn_numbers = itertools.count(1)
        # Read by `stop` in any thread, written by the loop: one reference, so no lock (U5).
        self._turn: Turn | None = None
        self._task: asyncio.Task[None] | None = None
        self._returned_prompt: str | None = None
        self._stragglers: set[asyncio.Task[Finished]] = set()
        self._listeners: list[Callable[[Event], None]] = []
        self._untold: deque[Event] = deque()
        self._telling = False
        self._closed = False

    # -- what there is --

    @property
    def status(self) -> Status:
        turn = self._turn
        if turn is None:
            return Status.IDLE
        return Status.STOPPING if turn.token.cancelled else Status.RUNNING

    @property
    def started_at(self) -> float | None:
        """`time.monotonic()` of the running turn's start."""
        return None if self._turn is None else self._turn.started_at

    @property
    def history(self) -> tuple[Step, ...]:
        return tuple(self._steps)

    @property
    def context_used(self) -> int | None:
        """Tokens that the conversation fills, by the provider's count of its last complete reply."""
        last = self._last_usage
        return None if last is None else last.input_tokens + last.output_tokens

    @property
    def queued(self) -> tuple[str, ...]:
        return tuple(prompt.text for prompt in self._queue)

    @property
    def queue_paused(self) -> bool:
        return self._queue_paused

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on, in the session's loop; the result takes it back.

        A listener must not wait. What it raises is logged and disturbs neither the turn nor other listeners.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    # -- what one can do --

    def submit(self, text: str) -> None:
        """Start a turn with this prompt, or queue it behind the running one (U3).

        Raises `SessionError` for an empty prompt or a session that is closed.
        """
        if not text.strip():
            raise SessionError("The prompt is empty: write something first.")
        self._begin_or_queue(UserMessage(text))

    def hold(self, text: str) -> None:
        """Queue a prompt and have it wait for the user: it was sent before a stop that overtook it.

        Raises `SessionError` for an empty prompt.
        """
        if not text.strip():
            raise SessionError("The prompt is empty: write something first.")
        self._queue.append(UserMessage(text))
        self._queue_paused = True
        self._emit_queue()

    def resume(self) -> None:
        """Take up the turn that was stopped last (H9): `/continue`.

        Raises `SessionError` when a turn is running, nothing was stopped or the session is closed.
        """
        self._check_open()
        if self._turn is not None:
            raise SessionError("A turn is running: stop it first, or let it end.")
        if self._returned_prompt is not None:
            self._begin(UserMessage(self._returned_prompt), continued=True)
        elif self._interrupted:
            self._begin(UserMessage(CONTINUE_PROMPT), continued=True)
        else:
            raise SessionError("There is nothing to continue: the last reply came to its end.")

    def stop(self, reason: CancelReason) -> bool:
        """Stop the running turn; false when there is none or it is stopping already (U2).

        From any thread, at once, without a lock or a wait (U5).
        """
        turn = self._turn
        return turn is not None and not turn.committed and turn.token.cancel(reason)

    def force(self) -> bool:
        """The second stop: no grace any more (E7). False unless a turn is stopping. From any thread."""
        turn = self._turn
        return turn is not None and turn.token.force()

    def send_queued(self) -> bool:
        """Send the next prompt of a queue that a stop has paused; false when there is none."""
        if self._turn is not None or not self._queue or self._closed:
            return False
        self._queue_paused = False
        self._begin_next()
        return True

    def take_queue(self) -> tuple[str, ...]:
        """Empty the queue and hand its prompts back."""
        taken = self.queued
        self._queue.clear()
        self._queue_paused = False
        self._emit_queue()
        return taken

    async def describe_model(self) -> None:
        """Ask the catalogue about the model, and tell the listeners."""
        self.info = await self._provider.describe(self.choice.model)
        self._emit(ModelDescribed(self.info))

    async def wait_idle(self) -> None:
        """Wait until no turn is running and none is queued to run."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self, reason: CancelReason, *, grace_s: float = 3.0) -> None:
        """Stop what runs and wait for it, for `grace_s` at most; nothing can be submitted any more (Q2)."""
        self._closed = True
        self._queue_paused = True
        self.token.cancel(reason)
        with shielded(grace_s):
            if self._task is not None:
                await asyncio.wait({self._task})
            if self._stragglers:
                await asyncio.wait(self._stragglers)
        if self._task is not None:
            # The grace is over for the turn too: it ends now and names what has not (U10).
            self.token.force()
            with shielded(FORCED_S):
                await asyncio.wait({self._task})
        for straggler in self._stragglers:
            straggler.cancel()

    # -- how it is done --

    @property
    def _interrupted(self) -> bool:
        last = self._steps[-1].messages[-1] if self._steps else None
        return isinstance(last, AssistantMessage) and last.interrupted

    def _begin_or_queue(self, prompt: UserMessage) -> None:
        self._check_open()
        if self._turn is None:
            self._begin(prompt)
        else:
            self._queue.append(prompt)
            self._emit_queue()

    def _check_open(self) -> None:
        if self._closed:
            raise SessionError("This session is closed: open another one.")

    def _begin(self, prompt: UserMessage, *, continued: bool = False) -> None:
        number = next(self._turn_numbers)
        turn = Turn(number, prompt, self.token.child(f"turn {number}"), continued=continued)
        self._turn = turn
        self._returned_prompt = None
        self._emit(TurnStarted(number, prompt.text, turn.started_at, continued))
        around = self._surroundings()
        task = asyncio.create_task(run_turn(turn, around), name=f"turn {number} of {self.session_id}")
        # Where tasks start eagerly the turn may be over, and the next one begun, by now.
        if self._turn is turn:
            self._task = task
        task.add_done_callback(lambda _: close_unrun(turn, around))

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self.session_id,
            self._provider,
            self._registry,
            self._request,
            self._commit,
            self._on_event,
            self._stragglers,
        )

    def _request(self, prompt: Message) -> ModelRequest:
        said = (message for step in self._steps for message in step.messages)
        messages = sendable((*said, prompt))
        return ModelRequest(self.choice.model, messages, self.choice.system, self.choice.api_base)

    def _commit(self, turn_id: int, step: Step) -> None:
        self._steps.append(step)
        if step.usage is not None:
            self.usage += step.usage
            self._last_usage = step.usage
        self._emit(StepCommitted(turn_id, step.usage, self.usage))

    def _on_event(self, event: Event) -> None:
        if isinstance(event, TurnEnded):
            self._end(event)
        else:
            self._emit(event)

    def _end(self, ended: TurnEnded) -> None:
        """The session is idle before anybody hears of the end, so that a listener may submit at once."""
        self._turn = None
        self._task = None
        if ended.returned_prompt == CONTINUE_PROMPT:
            # Nobody wrote it, so it goes back to no composer; what there was to continue is still there.
            ended = replace(ended, returned_prompt=None)
        self._returned_prompt = ended.returned_prompt
        completed = ended.outcome is Outcome.COMPLETED
        self._queue_paused = bool(self._queue) and (self._queue_paused or not completed)
        self._emit(ended)
        if self._queue_paused:
            self._emit_queue()
        elif completed:
            self._begin_next()

    def _begin_next(self) -> None:
        """Go on with the queue, unless a listener was faster or the session is closing."""
        if self._queue and self._turn is None and not self._closed:
            self._begin(self._queue.popleft())
            self._emit_queue()

    def _emit_queue(self) -> None:
        self._emit(QueueChanged(self.queued, self._queue_paused))

    def _emit(self, event: Event) -> None:
        """Tell all listeners. What a listener causes is told after what it was just told, to every one."""
        self._untold.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                self._tell(self._untold.popleft())
        finally:
            self._telling = False

    def _tell(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except (Exception, asyncio.CancelledError):
                # A front end that fails must not take the turn with it. Nothing is awaited here, so a
                # CancelledError is such a failure and no cancel of the turn.
                log.exception("a listener failed at %s", type(event).__name__)
