"""One conversation: its history, its queue, its running turn, its background commands, and who listens.

A session belongs to one event loop; only `stop` and `force` may be called from other threads. Front ends call
its methods and read its events, and never keep a state of their own about what is running (U4).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.approval import Desk
from core.background import BackgroundCommands
from core.cancel import Cancelled, CancelReason, CancelToken
from core.costs import Budget
from core.equipment import Equipment, talk_only
from core.errors import CaesuraError
from core.events import (
    Answer,
    BackOffEnded,
    CallEnded,
    CallNamed,
    CompactionEnded,
    Event,
    ModeChanged,
    Notice,
    Outcome,
    ParametersLeftOut,
    Question,
    QueueChanged,
    Shown,
    Status,
    StepCommitted,
    StopProof,
    Titled,
    TurnEnded,
    TurnStarted,
)
from core.history import History
from core.jobs import Jobs
from core.listeners import Listeners
from core.messages import AssistantMessage, ResultStatus, UserMessage
from core.model_in_use import ModelInUse
from core.questions import Questions
from core.steering import SessionError, Steering
from core.supervision import END_OF_PROGRAM
from core.threads import run_in_thread
from core.turn import Limits, Surroundings, Turn
from core.upkeep import Upkeep
from core.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.access import Workspace
    from core.compaction import CompactionHome, Fitter
    from core.journal import Opened
    from core.messages import Step, ToolCall, Usage
    from core.model import Effort, ModelChoice, ModelInfo, ModelProvider
    from core.operations import CancelResult, OperationView, Registry
    from core.permissions import Mode, Permissions
    from core.records import StoredStep
    from core.waits import BackOff

log = logging.getLogger(__name__)

CONTINUE_PROMPT = "Continue exactly where you were stopped, without repeating any of it."

FORCED_S = 1.0
"""How long the end of a turn may take once nothing is waited for any more, in seconds."""


class Session:
    """See the module. Make it inside a running event loop; `aclose` ends it. `opened` comes from the file."""

    def __init__(
        self,
        provider: ModelProvider,
        registry: Registry,
        choice: ModelChoice,
        equipment: Equipment | None = None,
        opened: Opened | None = None,
    ) -> None:
        given = equipment or talk_only()
        self.session_id = uuid.uuid4().hex[:12] if opened is None else opened.loaded.info.session_id
        self.token = CancelToken(f"session {self.session_id}")
        self._provider = provider
        self._registry = registry
        self._journal = given.make_journal(self.session_id) if opened is None else opened.journal
        self.record = History(choice, self._journal, self._on_commit)
        self.steering = Steering(self, opened.loaded.queue if opened is not None else ())
        self._turn_numbers = itertools.count(1)
        # Read by `stop` in any thread, written by the loop: one reference, so no lock (U5).
        self._turn: Turn | None = None
        self._compaction: CancelToken | None = None
        self._task: asyncio.Task[None] | None = None
        self._returned_prompt: str | None = None
        self._mode_chosen = given.mode_chosen
        self._unfinished = False
        self._open_calls: dict[str, CallNamed] = {}
        self._stragglers: set[asyncio.Task[Any]] = set()
        self._reconsidering: set[asyncio.Task[None]] = set()
        self._listeners = Listeners()
        self._waits = Waits()
        self.model = ModelInUse(
            self.record, provider, lambda: self.status is Status.IDLE, self._listeners.tell
        )
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self.read_only = ""
        self.notes_files: tuple[str, ...] = ()
        """The files of the project that the model was told: `AGENTS.md` and the like."""
        self._doubt_told = False
        self._limits = given.limits
        self._desk = Desk(given.permissions.workspace, given.permissions, Questions())
        self.background = BackgroundCommands(self.session_id, registry, self._listeners.tell)
        self.jobs = Jobs(
            self.session_id,
            provider,
            registry,
            self._stragglers,
            spend=self.record.spend_job,
            enabled=given.jobs,
        )
        self._tools = given.make_tools(self)
        if opened is not None:
            self._take_up(opened)
        workspace = given.permissions.workspace.root
        self.upkeep = Upkeep(self.record, self._journal, self.jobs, workspace, self._tell_title)
        if opened is not None and opened.loaded.info.title:
            self.upkeep.settle_title(opened.loaded.info.title)

    # -- what there is --

    @property
    def status(self) -> Status:
        turn, compaction = self._turn, self._compaction
        if turn is not None:
            return Status.STOPPING if turn.token.cancelled and not turn.committed else Status.RUNNING
        if compaction is not None:
            return Status.STOPPING if compaction.cancelled else Status.RUNNING
        return Status.IDLE

    @property
    def started_at(self) -> float | None:
        """`time.monotonic()` of the running turn's start."""
        return None if self._turn is None else self._turn.started_at

    @property
    def choice(self) -> ModelChoice:
        """The model that answers the next prompt."""
        return self.model.choice

    @property
    def info(self) -> ModelInfo:
        """What is known of the model."""
        return self.record.info

    @property
    def usage(self) -> Usage:
        return self.record.usage

    @property
    def history(self) -> tuple[Step, ...]:
        return tuple(stored.step for stored in self.record.steps)

    @property
    def context_used(self) -> int | None:
        """Tokens that the conversation fills, by the provider's count of its last complete reply."""
        last = self.record.last_usage
        return None if last is None else last.input_tokens + last.output_tokens

    @property
    def limits(self) -> Limits:
        """How far a turn may go."""
        return self._limits

    @property
    def back_off(self) -> BackOff | None:
        """The back-off that is over first, of those under way (R2)."""
        return self._waits.soonest

    @property
    def returned_prompt(self) -> str | None:
        """The prompt of the latest turn, if nothing of that was kept: it goes to an empty composer (H1)."""
        return self._returned_prompt

    @property
    def queued(self) -> tuple[str, ...]:
        """The prompts that wait."""
        return self.steering.queue_texts

    @property
    def queue_paused(self) -> bool:
        return self.steering.queue_paused

    @property
    def closed(self) -> bool:
        return self._closed

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
        self.steering.submit(text)

    def hold(self, text: str) -> None:
        """Queue a prompt and have it wait for the user: it was sent before a stop that overtook it.

        Raises `SessionError` for an empty prompt.
        """
        self.steering.hold(text)

    def resume(self) -> None:
        """Take up the turn that was stopped last (H9): `/continue`.

        Raises `SessionError` when a turn is running, nothing was stopped or the session is closed.
        """
        self._check_idle()
        if self._returned_prompt is not None:
            self._begin(UserMessage(self._returned_prompt), continued=True)
        elif self._interrupted:
            self._begin(UserMessage(CONTINUE_PROMPT), continued=True)
        else:
            raise SessionError("There is nothing to continue: the last reply came to its end.")

    def compact(self, keep: str = "") -> None:
        """Have the conversation summarised, so that less of it is sent: `/compact`, with what to keep (C2).

        Raises `SessionError` when a turn is running or the session is closed.
        """
        self._check_idle()
        token = self._compaction = self.token.child("compaction")
        task = asyncio.create_task(self._compact(token, keep), name=f"compaction of {self.session_id}")
        if self._compaction is token:
            self._task = task
        task.add_done_callback(lambda _: self._end_compaction(token))

    def uncompact(self) -> None:
        """Send again all that the newest summary stands for (C2). Raises `SessionError` if there is none."""
        self._check_idle()
        undone = self.record.undo_compaction()
        if undone is None:
            raise SessionError("There is nothing to take back: the whole conversation is sent as it is.")
        first = "first step is" if undone.upto == 1 else f"first {undone.upto} steps are"
        what = f"The {first}" if undone.upto else "The outputs of tools are"
        self.tell(f"{what} sent whole again. They are compacted anew when the model's window is nearly full.")

    def stop(self, reason: CancelReason) -> bool:
        """Stop the running turn or compaction; false when there is none or it is stopping already (U2).

        From any thread, at once, without a lock or a wait (U5).
        """
        turn, compaction = self._turn, self._compaction
        if turn is not None:
            return not turn.over and turn.token.cancel(reason)
        return compaction is not None and compaction.cancel(reason)

    def force(self) -> bool:
        """The second stop: no grace any more (E7). False unless a turn is stopping. From any thread."""
        turn, compaction = self._turn, self._compaction
        token = compaction if turn is None else turn.token
        return token is not None and token.force()

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
        from core.processes import kill_survivor

        survivors = self._desk.survivors
        for pid, survivor in tuple(survivors.items()):
            if await run_in_thread(partial(kill_survivor, survivor), name="kill"):
                survivors.pop(pid, None)
        return not survivors

    def send_queued(self) -> bool:
        """Send the next prompt of a queue that a stop has paused; false when there is none."""
        return self.steering.send_queued()

    def take_queue(self) -> tuple[str, ...]:
        """Empty the queue and hand its prompts back."""
        return self.steering.take_queue()

    async def prepare(self) -> None:
        """Have the settings read and the tools imported, before a turn has to wait for it."""
        await self._tools.prepare()

    def use_notes(self, system: str | None, files: tuple[str, ...], *, noting: bool) -> None:
        """Tell the model `system`, which has the notes of the workspace and its files in it, unless it is
        None; with `noting`, note more of them."""
        self.notes_files = files
        if system is not None:
            self.model.use_system(system)
        self.upkeep.notes_facts = noting

    def configure(self, mode: Mode, limits: Limits) -> None:
        """Take over what the settings say, unless it was chosen already."""
        if not self._mode_chosen:
            self.set_mode(mode)
        self._limits = self._limits.or_else(limits)

    def note_for_model(self, text: str) -> None:
        """Something that the model has to know, told with the next prompt; nothing if it is empty."""
        if text:
            self.background.give_back_notes((text,))

    def tell(self, text: str) -> None:
        """A sentence for the person about the session itself."""
        self._listeners.tell(Notice(text))

    async def describe_model(self) -> None:
        """Ask the catalogue about the model, and tell the listeners."""
        await self.model.describe()

    def use_model(self, choice: ModelChoice) -> None:
        """Have this model answer from the next turn on; a running one ends as it has begun."""
        self.model.use(choice)

    def use_effort(self, effort: Effort | None) -> None:
        """Have the model reason so long from the next turn on; None leaves it to the provider."""
        self.model.use_effort(effort)

    def retry_now(self) -> bool:
        """End the back-offs that are under way, so that the next attempts follow at once; false if there is
        none."""
        return self._waits.skip_all()

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
            self.token.cancel(reason)
            self.background.token.cancel(reason)
            self.jobs.token.cancel(reason)
            self._closing = asyncio.create_task(self._close(grace_s), name="close of a session")
        await asyncio.wait({self._closing})

    async def _close(self, grace_s: float) -> None:
        servers = asyncio.create_task(self._tools.aclose(), name="close of the servers")
        await self._wait_closed(servers, grace_s)
        # The grace is over for all: what has not ended is killed, and the turn names what has not (U10).
        self.token.force()
        self.background.token.force()
        self.jobs.token.force()
        left = await self._wait_closed(servers, FORCED_S)
        await self._journal.aclose()
        for task in left | {task for task in self._stragglers if not task.done()}:
            log.warning("%s has not ended in time", task.get_name())
            task.cancel()
        if servers.done() and not servers.cancelled() and (error := servers.exception()) is not None:
            log.error("the servers could not be closed", exc_info=error)

    async def _wait_closed(self, servers: asyncio.Task[None], seconds: float) -> set[asyncio.Task[Any]]:
        """Wait for all that is alive; what is left of it after `seconds`."""
        turn = {self._task} if self._task is not None else set[asyncio.Task[Any]]()
        alive = {
            servers,
            *turn,
            *self._stragglers,
            *self._reconsidering,
            *self.background.tasks,
            *self.jobs.tasks,
            *self.model.tasks,
        }
        alive = {task for task in alive if not task.done()}
        if not alive:
            return set()
        _, left = await asyncio.wait(alive, timeout=seconds)
        return left

    # -- how it is done --

    @property
    def _interrupted(self) -> bool:
        return self._unfinished and bool(self.record.steps)

    def _take_up(self, opened: Opened) -> None:
        """Be as the session was when it was closed, or when the program died."""
        self.record.restore(opened)
        self._desk.call_ids.update(call.call_id for call in self._calls_before())
        self.read_only = opened.read_only
        turns = self.record.turns
        self._turn_numbers = itertools.count(turns[-1].turn + 1 if turns else 1)
        if turns and turns[-1].outcome is not Outcome.COMPLETED:
            self._unfinished = True
            # As in `_end`: the prompt of `/continue` goes back to no composer.
            returned = not turns[-1].kept and turns[-1].prompt != CONTINUE_PROMPT
            self._returned_prompt = turns[-1].prompt if returned else None

    def _calls_before(self) -> Iterator[ToolCall]:
        """The calls of the history: their ids are taken (H4)."""
        for step in self.history:
            for message in step.messages:
                if isinstance(message, AssistantMessage):
                    yield from message.calls

    async def _compact(self, token: CancelToken, keep: str) -> None:
        from core.compaction import compact
        from core.summary import CompactionFailed

        try:
            await compact(self._compaction_home(), token, keep)
            await self.record.saved()
        except Cancelled:
            # A stop of ours, and its end is told; one from outside is no `Cancelled`.
            log.info("the compaction was stopped")
        except CompactionFailed as error:
            log.info("the compaction failed: %s", error)
        except CaesuraError as error:
            self.tell(str(error))
        except Exception:
            log.exception("a compaction failed unexpectedly")
            self.tell("The compaction failed inside Caesura; the log has the details. Nothing has changed.")

    def _end_compaction(self, token: CancelToken) -> None:
        """The session is idle again, and goes on with its queue if the compaction was let be."""
        if self._compaction is not token:
            return
        self._compaction = self._task = None
        self.model.settle()
        if token.cancelled:
            self.steering.pause()
        # Whoever shows what runs looks again.
        self.queue_changed(self.queued, paused=self.queue_paused)
        self.steering.begin_next()

    def _check_idle(self) -> None:
        self.check_open()
        if self.status is not Status.IDLE:
            raise SessionError("Something is running: stop it first, or let it end.")

    def begin_turn(self, text: str) -> None:
        self._begin(UserMessage(text))

    def check_open(self) -> None:
        """Raises `SessionError` if nothing can be submitted any more, or here."""
        if self._closed:
            raise SessionError("This session is closed: open another one.")
        if self.read_only:
            raise SessionError(self.read_only)

    def _begin(self, prompt: UserMessage, *, continued: bool = False) -> None:
        # The first frame is painted without what a turn needs.
        from core.engine import close_unrun, run_turn

        number = next(self._turn_numbers)
        token = self.token.child(f"turn {number}")
        turn = Turn(number, prompt, token, self.background.take_notes(), continued=continued)
        self._turn = turn
        self._returned_prompt = None
        self.record.begin(turn)
        if self._limits.dollars is None:
            # Else it is written when the budget has let it pass (H7).
            self.record.write_begin()
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
            # Of the turn: another one that was chosen meanwhile comes with the next.
            self.record.choice.model,
            self.record,
            self._make_fitter,
            self._on_event,
            self._stragglers,
            self._waits,
            self._tools,
            self._desk,
            lambda: self._limits,
        )

    def _make_fitter(self, turn: Turn) -> Fitter:
        from core.compaction import TurnFitter

        return TurnFitter(self._compaction_home(), turn.turn_id, turn.token)

    def _compaction_home(self) -> CompactionHome:
        from core.compaction import CompactionHome

        return CompactionHome(
            self.session_id,
            self._provider,
            self._registry,
            self.record.context,
            lambda: self.info,
            self.record.request,
            self.record.keep_compaction,
            self._on_event,
            self._stragglers,
            self._waits,
        )

    @property
    def surroundings(self) -> Surroundings:
        """What a turn of this session runs in: for its sub-agents."""
        return self._surroundings()

    def _tell_title(self, title: str) -> None:
        self._listeners.tell(Titled(title))

    def _on_commit(self, stored: StoredStep) -> None:
        if self._turn is not None:
            self.upkeep.step_committed(self._turn.prompt.text)
        answered = stored.step.model if self.info.members else ""
        self._listeners.tell(StepCommitted(stored.turn, stored.step.usage, self.usage, answered))
        dollars = self._limits.dollars
        if (
            dollars is not None
            and not self._doubt_told
            and (doubt := Budget(dollars).doubt(self.record.spending))
        ):
            self._doubt_told = True
            self.tell(doubt)

    def _on_reconsidered(self, task: asyncio.Task[None]) -> None:
        self._reconsidering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("open questions could not be looked at again", exc_info=error)

    def _on_event(self, event: Event) -> None:
        """Of the running turn only: what comes after its end, of what was left behind, is dropped (U8)."""
        if isinstance(event, CompactionEnded) and event.number is None:
            self.record.spend_beside(event.usage)
        if isinstance(event, Notice) or getattr(event, "turn_id", 0) is None:
            # What belongs to no turn: a sentence, a compaction that was asked for.
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
            case ParametersLeftOut():
                if not self.model.is_news(event):
                    return
            case CallNamed():
                self._open_calls[event.call_id] = event
            case CallEnded():
                self._open_calls.pop(event.call_id, None)
                if event.parent_id is None:
                    self.record.take_card(event)
            case _:
                pass
        self._listeners.tell(event)

    def _close_calls(self, turn_id: int) -> None:
        """No card is left open, and no wait, not even of a sub-agent that could not be waited for."""
        for call_id in self._waits.end_all():
            self._listeners.tell(BackOffEnded(turn_id, call_id))
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
        self.model.settle()
        if ended.returned_prompt == CONTINUE_PROMPT:
            # Nobody wrote it, so it goes back to no composer; what there was to continue is still there.
            ended = replace(ended, returned_prompt=None)
        self._returned_prompt = ended.returned_prompt
        changed = tuple(self.workspace.name(Path(path)) for path in self.record.changed)
        ended = replace(ended, changed=changed)
        completed = ended.outcome is Outcome.COMPLETED
        # A turn of which nothing was kept leaves things as they were, and so what there is to continue.
        self._unfinished = not completed and (self._unfinished or ended.returned_prompt is None)
        self._listeners.tell(ended)
        if completed:
            self.upkeep.turn_completed()
        else:
            self.steering.pause()
        self.steering.begin_next()

    def queue_changed(self, prompts: tuple[str, ...], *, paused: bool) -> None:
        self._journal.keep_queue(prompts, paused=paused)
        self._listeners.tell(QueueChanged(prompts, paused))
