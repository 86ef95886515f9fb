"""One conversation: its history, its queue, its running turn, its background commands, and who listens.

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
from functools import partial
from typing import TYPE_CHECKING, Any

from core.approval import Desk
from core.background import BackgroundCommands
from core.cancel import CancelReason, CancelToken
from core.engine import Limits, Surroundings, Turn, close_unrun, run_turn
from core.equipment import Equipment, talk_only
from core.errors import CaesuraError
from core.events import (
    Answer,
    CallEnded,
    CallNamed,
    Event,
    ModeChanged,
    ModelDescribed,
    Notice,
    Outcome,
    Question,
    QueueChanged,
    Shown,
    Status,
    StepCommitted,
    StopProof,
    TurnEnded,
    TurnStarted,
)
from core.listeners import Listeners
from core.messages import Message, ResultStatus, Step, Usage, UserMessage, sendable
from core.model import ModelInfo, ModelProvider, ModelRequest, ToolSpec
from core.processes import kill_survivor
from core.questions import Questions
from core.supervision import END_OF_PROGRAM
from core.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.access import Workspace
    from core.operations import CancelResult, OperationView, Registry
    from core.permissions import Mode, Permissions

log = logging.getLogger(__name__)

CONTINUE_PROMPT = "Continue exactly where you were stopped, without repeating any of it."

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

    def __init__(
        self,
        provider: ModelProvider,
        registry: Registry,
        choice: ModelChoice,
        equipment: Equipment | None = None,
    ) -> None:
        given = equipment or talk_only()
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
        self._mode_chosen = given.mode_chosen
        self._unfinished = False
        self._open_calls: dict[str, CallNamed] = {}
        self._stragglers: set[asyncio.Task[Any]] = set()
        self._reconsidering: set[asyncio.Task[None]] = set()
        self._listeners = Listeners()
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self._limits = given.limits
        self._desk = Desk(given.permissions.workspace, given.permissions, Questions())
        self.background = BackgroundCommands(self.session_id, registry, self._listeners.tell)
        self._tools = given.make_tools(self)

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

    @property
    def workspace(self) -> Workspace:
        return self._desk.workspace

    @property
    def permissions(self) -> Permissions:
        return self._desk.permissions

    @property
    def mode(self) -> Mode:
        return self._desk.permissions.mode

    @property
    def questions(self) -> tuple[Question, ...]:
        """The open questions, in the order in which they were asked."""
        return self._desk.questions.open

    @property
    def survivors(self) -> tuple[tuple[int, str], ...]:
        """Process id and name of what refused to end, as far as it has been seen."""
        return tuple((pid, survivor.name) for pid, survivor in self._desk.survivors.items())

    def operations(self) -> tuple[OperationView, ...]:
        """Everything of this session that is alive, oldest first."""
        return self._registry.snapshot(self.session_id)

    def tail(self, call_id: str, lines: int) -> str:
        """The latest lines of a live operation's output."""
        return self._registry.tail(self.session_id, call_id, lines)

    def describe_servers(self) -> str:
        return self._tools.describe_servers()

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on, in the session's loop; the result takes it back.

        A listener must not wait. What it raises is logged and disturbs neither the turn nor other listeners.
        """
        return self._listeners.subscribe(listener)

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

    def stop_call(self, call_id: str, reason: CancelReason) -> CancelResult:
        """Stop one operation; a second time, force it (S2, S11). From any thread."""
        return self._registry.cancel(self.session_id, call_id, reason)

    async def stop_call_and_wait(self, call_id: str, reason: CancelReason, *, wait: float) -> CancelResult:
        """`stop_call`, then wait up to `wait` seconds for the real end (S7)."""
        return await self._registry.cancel_and_wait(self.session_id, call_id, reason, wait=wait)

    def extend(self, call_id: str, seconds: float) -> bool:
        """Move the deadline of one operation; false if it has none."""
        return self._registry.extend(self.session_id, call_id, seconds)

    def answer(self, ask_id: str, answer: Answer) -> bool:
        """Answer an open question; false if it is not open any more."""
        return self._desk.questions.answer(ask_id, answer)

    def set_mode(self, mode: Mode) -> None:
        """Change what is done without a question; what is being asked is looked at again."""
        self._mode_chosen = True
        if mode is self._desk.permissions.mode:
            return
        self._desk.permissions.mode = mode
        self._listeners.tell(ModeChanged(mode))
        task = asyncio.create_task(self._desk.questions.reconsider(), name="questions under another mode")
        self._reconsidering.add(task)
        task.add_done_callback(self._on_reconsidered)

    async def kill_survivors(self) -> bool:
        """Kill again what refused to end; whether none of it is there any more."""
        survivors = self._desk.survivors
        for pid, survivor in tuple(survivors.items()):
            if await run_in_thread(partial(kill_survivor, survivor), name="kill"):
                survivors.pop(pid, None)
        return not survivors

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

    async def prepare(self) -> None:
        """Have the settings read and the tools imported, before a turn has to wait for it."""
        await self._tools.prepare()

    def configure(self, mode: Mode, limits: Limits) -> None:
        """Take over what the settings say, unless it was chosen already."""
        if not self._mode_chosen:
            self.set_mode(mode)
        self._limits = Limits(
            limits.steps if self._limits.steps is None else self._limits.steps,
            limits.seconds if self._limits.seconds is None else self._limits.seconds,
        )

    def tell(self, text: str) -> None:
        """A sentence for the person about the session itself."""
        self._listeners.tell(Notice(text))

    async def describe_model(self) -> None:
        """Ask the catalogue about the model, and tell the listeners."""
        self.info = await self._provider.describe(self.choice.model)
        self._listeners.tell(ModelDescribed(self.info))

    async def wait_idle(self) -> None:
        """Wait until no turn is running and none is queued to run."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self, reason: CancelReason, *, grace_s: float = 3.0) -> None:
        """Stop what runs, background commands and servers included, and wait for it (Q2).

        For `grace_s` at most in peace, and for `FORCED_S` after a kill. Nothing can be submitted any more. A
        second call waits for the same end.
        """
        if self._closing is None:
            self._closed = True
            self._queue_paused = True
            self.token.cancel(reason)
            self.background.token.cancel(reason)
            self._closing = asyncio.create_task(self._close(grace_s), name="close of a session")
        await asyncio.wait({self._closing})

    async def _close(self, grace_s: float) -> None:
        servers = asyncio.create_task(self._tools.aclose(), name="close of the servers")
        await self._wait_closed(servers, grace_s)
        # The grace is over for all: what has not ended is killed, and the turn names what has not (U10).
        self.token.force()
        self.background.token.force()
        left = await self._wait_closed(servers, FORCED_S)
        for task in left | {task for task in self._stragglers if not task.done()}:
            log.warning("%s has not ended in time", task.get_name())
            task.cancel()
        if servers.done() and not servers.cancelled() and (error := servers.exception()) is not None:
            log.error("the servers could not be closed", exc_info=error)

    async def _wait_closed(self, servers: asyncio.Task[None], seconds: float) -> set[asyncio.Task[Any]]:
        """Wait for all that is alive; what is left of it after `seconds`."""
        turn = {self._task} if self._task is not None else set[asyncio.Task[Any]]()
        alive = {servers, *turn, *self._stragglers, *self._reconsidering, *self.background.tasks}
        alive = {task for task in alive if not task.done()}
        if not alive:
            return set()
        _, left = await asyncio.wait(alive, timeout=seconds)
        return left

    # -- how it is done --

    @property
    def _interrupted(self) -> bool:
        return self._unfinished and bool(self._steps)

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
        token = self.token.child(f"turn {number}")
        turn = Turn(number, prompt, token, self.background.take_notes(), continued=continued)
        self._turn = turn
        self._returned_prompt = None
        self._listeners.tell(TurnStarted(number, prompt.text, turn.started_at, continued))
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
            self.choice.model,
            self._history,
            self._request,
            self._commit,
            self._spend,
            self._on_event,
            self._stragglers,
            self._tools,
            self._desk,
            lambda: self._limits,
        )

    @property
    def surroundings(self) -> Surroundings:
        """What a turn of this session runs in: for its sub-agents."""
        return self._surroundings()

    def _history(self) -> tuple[Message, ...]:
        return tuple(message for step in self._steps for message in step.messages)

    def _request(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> ModelRequest:
        choice = self.choice
        return ModelRequest(choice.model, sendable(messages), choice.system, choice.api_base, tools=tools)

    def _commit(self, turn_id: int, step: Step) -> None:
        self._steps.append(step)
        if step.usage is not None:
            self.usage += step.usage
            self._last_usage = step.usage
        self._listeners.tell(StepCommitted(turn_id, step.usage, self.usage))

    def _spend(self, usage: Usage) -> None:
        # Of a sub-agent that was left behind nothing counts any more (U8).
        if self._turn is not None:
            self.usage += usage

    def _on_reconsidered(self, task: asyncio.Task[None]) -> None:
        self._reconsidering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("open questions could not be looked at again", exc_info=error)

    def _on_event(self, event: Event) -> None:
        """Of the running turn only: what comes after its end, of what was left behind, is dropped (U8)."""
        if isinstance(event, Notice):
            self._listeners.tell(event)
            return
        if self._turn is None or getattr(event, "turn_id", None) != self._turn.turn_id:
            log.info("too late to be told: %s", type(event).__name__)
            return
        match event:
            case TurnEnded():
                self._close_calls(event.turn_id)
                self._end(event)
                return
            case CallNamed():
                self._open_calls[event.call_id] = event
            case CallEnded():
                self._open_calls.pop(event.call_id, None)
            case _:
                pass
        self._listeners.tell(event)

    def _close_calls(self, turn_id: int) -> None:
        """No card is left open, not even of a sub-agent that could not be waited for."""
        for call in self._open_calls.values():
            told = "It had not ended when the turn was over, and its end is not confirmed."
            proof = StopProof(END_OF_PROGRAM, None, None, (call.name,))
            self._listeners.tell(
                CallEnded(
                    turn_id,
                    call.call_id,
                    call.name,
                    "",
                    ResultStatus.STOPPED,
                    Shown(told),
                    "",
                    proof=proof,
                    parent_id=call.parent_id,
                )
            )
        self._open_calls.clear()

    def _end(self, ended: TurnEnded) -> None:
        """The session is idle before anybody hears of the end, so that a listener may submit at once."""
        if self._turn is not None and not self._turn.kept:
            self.background.give_back_notes(self._turn.notes)
        self._turn = None
        self._task = None
        if ended.returned_prompt == CONTINUE_PROMPT:
            # Nobody wrote it, so it goes back to no composer; what there was to continue is still there.
            ended = replace(ended, returned_prompt=None)
        self._returned_prompt = ended.returned_prompt
        completed = ended.outcome is Outcome.COMPLETED
        # A turn of which nothing was kept leaves things as they were, and so what there is to continue.
        self._unfinished = not completed and (self._unfinished or ended.returned_prompt is None)
        self._queue_paused = bool(self._queue) and (self._queue_paused or not completed)
        self._listeners.tell(ended)
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
        self._listeners.tell(QueueChanged(self.queued, self._queue_paused))
