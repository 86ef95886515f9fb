"""One conversation: its history, its queue, what runs in it, its background commands and its subscribers.

A session belongs to one event loop; only `stop`, `force` and `operations.cancel` may be called from other
threads. Front ends read its parts and events and keep no state of their own about what is running (U4).
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from core.cancel import CancelToken
from core.engine.approval import CallPolicy
from core.engine.questions import Questions
from core.engine.turn import Turn, TurnServices
from core.operations.backoffs import BackoffRegistry
from core.operations.events import (
    Event,
    Notice,
    Outcome,
    QueueChanged,
    Status,
    TurnEnded,
    TurnStarted,
)
from core.operations.jobs import Jobs
from core.operations.session_operations import SessionOperations
from core.operations.unkilled import UnkilledProcesses
from core.session.after_turn import AfterTurn
from core.session.background import BackgroundCommands
from core.session.closing import close
from core.session.compact import RunningCompaction, run_compaction, undo_compaction
from core.session.continuation import Continuation
from core.session.history import History, call_ids
from core.session.model_switch import ModelSelection
from core.session.queue import PromptQueue, SessionError
from core.session.settings import SessionSettings
from core.session.subscribers import Subscribers
from core.session.turn_events import TurnEvents
from core.storage.journal import QueuedPrompts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from core.cancel import CancelReason
    from core.context.compaction import ContextGuard
    from core.model.provider import ModelChoice, ModelProvider
    from core.operations.registry import Registry
    from core.session.dependencies import SessionDependencies
    from core.storage.journal import OpenedSession
    from core.storage.records import StoredStep


class Session:
    """Create inside a running event loop; call `aclose` when done. `opened` resumes a stored session.

    Its parts are read and used directly: `record` is the history, `queue` holds the prompts that wait,
    `model` is the choice of the model, `settings` has mode and limits, `operations` is everything that is
    alive, `backoffs` the waits before another attempt, `questions` what the person is asked, `unkilled` the
    processes that refused to end, `continuation` what `/continue` takes up.
    """

    closed = False
    read_only = ""
    """Why nothing can be submitted here; empty if it can."""
    _closing: asyncio.Task[None] | None = None
    # Read by `stop` in any thread, written by the loop: one reference, so no lock (U5).
    _running: Turn | RunningCompaction | None = None

    def __init__(
        self,
        provider: ModelProvider,
        registry: Registry,
        choice: ModelChoice,
        dependencies: SessionDependencies,
        opened: OpenedSession | None = None,
    ) -> None:
        self.session_id = uuid.uuid4().hex[:12] if opened is None else opened.loaded.info.session_id
        self.token = CancelToken(f"session {self.session_id}")
        self._provider = provider
        self._registry = registry
        self._journal = dependencies.make_journal(self.session_id) if opened is None else opened.journal
        subscribers = Subscribers()
        self.subscribe: Final = subscribers.subscribe
        self._emit: Callable[[Event], None] = subscribers.emit
        self._turn_numbers = itertools.count(1)
        # Not that of the widget in which a turn is begun: what the turn starts may outlive the widget.
        self._context = contextvars.copy_context()
        self._abandoned_tasks: set[asyncio.Task[Any]] = set()
        self.continuation = Continuation()

        self.record = History(choice, self._journal, self._on_commit)
        self.queue = PromptQueue(self, opened.loaded.queue if opened is not None else ())
        self.model = ModelSelection(self.record, provider, lambda: self.status is Status.IDLE, self._emit)
        self.operations = SessionOperations(registry, self.session_id)
        self.backoffs = BackoffRegistry()
        self.permissions = dependencies.permissions
        self.workspace = dependencies.permissions.workspace
        self.questions = Questions()
        self.settings = SessionSettings(
            dependencies.limits,
            self.permissions,
            self.questions,
            self.model,
            self._emit,
            mode_chosen=dependencies.mode_chosen,
        )
        self.unkilled = UnkilledProcesses()
        self._events = TurnEvents(self, self.record, self.model, self.backoffs, self._emit)
        self._policy = CallPolicy(self.workspace, self.permissions, self.questions, unkilled=self.unkilled)
        self.background = BackgroundCommands(self.session_id, registry, self._emit)
        self.jobs = Jobs(
            self.session_id,
            provider,
            registry,
            self._abandoned_tasks,
            spend=self.record.spend_job,
            enabled=dependencies.jobs,
        )
        self.tools = dependencies.make_tools(self)
        if opened is not None:
            self._restore(opened)
        root = self.workspace.root
        self.after_turn = AfterTurn(self.record, self._journal, self.jobs, root, self._emit)
        if opened is not None and opened.loaded.info.title:
            self.after_turn.settle_title(opened.loaded.info.title)

    # -- what there is --

    @property
    def turn(self) -> Turn | None:
        """The running turn."""
        return self._running if isinstance(self._running, Turn) else None

    @property
    def status(self) -> Status:
        running = self._running
        return Status.IDLE if running is None else running.status

    @property
    def started_at(self) -> float | None:
        """`time.monotonic()` of the running turn's start."""
        return None if (turn := self.turn) is None else turn.started_at

    # -- what one can do --

    def submit(self, text: str) -> None:
        """Start a turn with this prompt, or queue it behind the running one (U3). Raises `SessionError`."""
        self.queue.submit(text)

    def resume(self) -> None:
        """Continue the turn that was stopped last (H9): `/continue`.

        Raises `SessionError` when something is running, nothing was stopped or the session is closed.
        """
        self._check_idle()
        prompt = self.continuation.prompt(has_steps=bool(self.record.steps))
        self.begin_turn(prompt, continued=True)

    def compact(self, keep: str = "") -> None:
        """Have the conversation summarised, so that less of it is sent: `/compact`, with what to keep (C2).

        Raises `SessionError` when something is running or the session is closed.
        """
        self._check_idle()
        running = self._running = RunningCompaction(self.token.child("compaction"))
        work = run_compaction(self.services, self.record, running.token, keep, self.notify)
        running.task = self._create_task(work, f"compaction of {self.session_id}")
        running.task.add_done_callback(lambda _: self._end_compaction(running))

    def uncompact(self) -> None:
        """Send again all that the newest summary stands for (C2). Raises `SessionError` if there is none."""
        self._check_idle()
        self.notify(undo_compaction(self.record))

    def stop(self, reason: CancelReason) -> bool:
        """Stop the running turn or compaction; false when there is none or it is stopping already (U2).

        From any thread, at once, without a lock or a wait (U5).
        """
        running = self._running
        return running is not None and not running.over and running.token.cancel(reason)

    def force(self) -> bool:
        """The second stop, from any thread: it ends the grace period (E7). False if nothing is stopping."""
        running = self._running
        return running is not None and running.token.force()

    def notify(self, text: str) -> None:
        """Publish a sentence for the person about the session itself."""
        self._emit(Notice(text))

    async def wait_idle(self) -> None:
        """Wait until nothing is running and nothing is queued to run."""
        while (running := self._running) is not None:
            assert running.task is not None
            await asyncio.wait({running.task})

    async def aclose(self, reason: CancelReason, *, grace_s: float = 3.0) -> None:
        """Stop what runs, background commands and servers included, and wait for it (Q2).

        For `grace_s` seconds in peace, then shortly after a kill. Nothing can be submitted any more. A
        second call waits for the same end.
        """
        if self._closing is None:
            self.closed = True
            tokens = (self.token, self.background.token, self.jobs.token)
            for token in tokens:
                token.cancel(reason)
            work = close(tokens, self._alive, self.tools, self._journal, grace_s)
            self._closing = asyncio.create_task(work, name="close of a session")
        await asyncio.wait({self._closing})

    # -- how it is done --

    def _create_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=name, context=self._context.copy())

    def _alive(self) -> Iterator[asyncio.Task[Any]]:
        if self._running is not None and self._running.task is not None:
            yield self._running.task
        yield from self._abandoned_tasks
        yield from self.questions.tasks
        yield from self.background.tasks
        yield from self.jobs.tasks
        yield from self.model.tasks

    def _restore(self, opened: OpenedSession) -> None:
        """Be as the session was when it was closed, or when the program died."""
        self.record.restore(opened)
        # An id never comes twice in one conversation (H4).
        self._policy.call_ids.update(call_ids(self.record.steps))
        self.read_only = opened.read_only
        if turns := self.record.turns:
            self._turn_numbers = itertools.count(turns[-1].turn + 1)
            last = self.record.last_reply
            self.continuation.restore(turns[-1], None if last is None else last.end)

    def _end_compaction(self, ended: RunningCompaction) -> None:
        """Become idle, and send the next prompt unless the compaction was stopped."""
        if self._running is not ended:
            return
        self._running = None
        self.model.settle()
        if ended.token.cancelled:
            self.queue.pause()
        # The front ends look again at what runs.
        self.queue_changed()
        self.queue.begin_next()

    def _check_idle(self) -> None:
        self.check_open()
        if self.status is not Status.IDLE:
            raise SessionError("Something is running: stop it first, or let it end.")

    def check_open(self) -> None:
        """Raise `SessionError` if nothing can be submitted here any more."""
        if self.closed:
            raise SessionError("This session is closed: open another one.")
        if self.read_only:
            raise SessionError(self.read_only)

    def begin_turn(self, prompt: str, *, continued: bool = False) -> None:
        """Start a turn now. The session must be idle."""
        # Imported here because the first frame does not need the engine.
        from core.engine.engine import close_unrun, run_turn

        number = next(self._turn_numbers)
        token = self.token.child(f"turn {number}")
        turn = Turn(number, prompt, token, self.background.take_notes(), continued=continued)
        self._running = turn
        self.continuation.begin()
        self.record.begin(turn)
        if self.settings.limits.dollars is None:
            # Otherwise it is written when the budget has let it pass (H7).
            self.record.write_begin()
        self._emit(TurnStarted(number, prompt, turn.started_at, continued))
        services = self.services
        turn.task = self._create_task(run_turn(turn, services), f"turn {number} of {self.session_id}")
        turn.task.add_done_callback(lambda _: close_unrun(turn, services))

    @property
    def services(self) -> TurnServices:
        """What a turn of this session runs with, also the turns of its sub-agents."""
        return TurnServices(
            self.session_id,
            self._provider,
            self._registry,
            # The model of this turn: one that was chosen meanwhile answers from the next turn on.
            self.record.choice.model,
            self.record,
            self._make_guard,
            self._events.take,
            self._abandoned_tasks,
            self.backoffs,
            self.tools,
            self._policy,
            self.background.note,
            lambda: self.settings.limits,
        )

    def _make_guard(self, services: TurnServices, turn: Turn) -> ContextGuard:
        from core.context.compaction import TurnGuard

        return TurnGuard(services, self.record, turn.turn_id, turn.token)

    def _on_commit(self, stored: StoredStep) -> None:
        if (turn := self.turn) is not None:
            self.after_turn.step_committed(turn.prompt)
        self._events.step_committed(stored)

    def end_turn(self, ended: TurnEnded) -> None:
        """Become idle, then publish the end, so that a subscriber may submit at once."""
        if (turn := self.turn) is not None and not turn.kept:
            self.background.give_back_notes(turn.notes)
        self._running = None
        self.model.settle()
        changed = tuple(self.workspace.name(Path(path)) for path in self.record.changed)
        ended = replace(self.continuation.end(ended), changed=changed)
        self._emit(ended)
        if ended.outcome is Outcome.COMPLETED:
            self.after_turn.turn_completed()
        else:
            self.queue.pause()
        self.queue.begin_next()

    def queue_changed(self) -> None:
        """Store the queue and notify the subscribers."""
        prompts, paused = self.queue.texts, self.queue.paused
        self._journal.add(QueuedPrompts(prompts, paused=paused))
        self._emit(QueueChanged(prompts, paused))
