"""A session in a file, over random histories of people, models, ends and crashes: nothing is lost (H, C, E8).

What must be is said by `tests.core.session.conversation_model`. A model and tools that do what the test
orders make
every wait one for a state: after each rule the session has come to where it can go no further by itself.
A crash is a copy of the files as they are, opened by somebody new.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.engine.tool import ToolError, ToolOutput
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Reasoning,
    ResultStatus,
    ToolResults,
    Usage,
    UserMessage,
    sendable,
)
from core.model.provider import (
    FailureKind,
    Finished,
    ModelChoice,
    ModelError,
    ModelInfo,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.model.reply_end import ReplyEnd, note_for_model
from core.operations.events import (
    Action,
    Answer,
    AnswerKind,
    CallEnded,
    CallNamed,
    CompactionEnded,
    CompactionStarted,
    Event,
    Outcome,
    Shown,
    Status,
    TurnEnded,
)
from core.operations.operation import CancelAnswer, OperationKind
from core.operations.registry import Registry
from core.permissions.access import AccessKind
from core.permissions.policy import Permissions
from core.session.dependencies import SessionDependencies, ToolHost
from core.session.queue import SessionError
from core.session.session import Session
from core.storage.store import Store
from core.tools.schema import spec_of
from tests.core.session.conversation_model import (
    ASKING,
    CHANGING,
    NOTHING,
    TOOLS,
    CallModel,
    CallState,
    ConversationModel,
    Doing,
    KeptCall,
    KeptStep,
    KeptTurn,
    PieceKind,
    marks,
)
from tests.support.bound_tasks import rounds
from tests.support.no_tools import NoTools
from tests.support.scripted_models import (
    ESCAPE,
    MODEL,
    QUIT,
    ScriptedProvider,
    assert_accepted,
    assert_in_order,
)
from tests.support.scripted_tools import WORKSPACE, PlayedArguments, PlayedTool
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from core.cancel import CancelToken
    from core.engine.tool import ToolContext
    from core.model.messages import Message, Step
    from core.model.provider import Emit, ModelRequest
    from core.storage.journal import OpenedSession

WINDOW = 4_000
"""Tokens of the model; `FULL` and `NEARLY` are what its provider may say that a request has used of them."""
FULL, NEARLY = 3_600, 3_200
LONG = "word " * 300
POLL_S = 0.0002
PREFIXES = {
    ResultStatus.COMPLETED: "%",
    ResultStatus.FAILED: "Failed: ",
    ResultStatus.DENIED: "Denied, it did not run: ",
    ResultStatus.STOPPED: "Stopped",
    ResultStatus.NOT_STARTED: "Not started: ",
}

Order = TextDelta | ReasoningDelta | ToolCallDelta | Exception | Finished

FAILURES = (FailureKind.OVERLOADED, FailureKind.CONTEXT_TOO_LONG)


class DrivenModel(ScriptedProvider):
    """Does what it is told to in `orders`, else waits for its token. Refuses what a real one would."""

    def __init__(self) -> None:
        super().__init__(())
        self.orders: asyncio.Queue[Order] = asyncio.Queue()
        self.refusals: list[str] = []
        self._asks = False

    @property
    def waits(self) -> bool:
        """Whether it has a request and nothing more to say to it."""
        return self._asks and self.orders.empty()

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        try:
            assert_accepted(request.messages)
        except AssertionError as error:
            self.refusals.append(f"{error}: {request.messages}")
        self.orders = asyncio.Queue()
        return await super().stream(request, token, emit)

    async def describe(self, model: str) -> ModelInfo:
        return ModelInfo(model, context_window=WINDOW)

    async def _play(self, script: object, emit: Emit) -> Finished:
        while True:
            self._asks = True
            try:
                order = await self.orders.get()
            finally:
                self._asks = False
            match order:
                case Finished():
                    return order
                case Exception():
                    raise order
                case _:
                    emit(order)


class DrivenTool(PlayedTool):
    """Each call runs until the test lets it end; true in `gates` has it fail."""

    def __init__(self, name: str) -> None:
        kind = AccessKind.SERVER if name in ASKING else AccessKind.READ
        super().__init__(name, changing=name in CHANGING, kind=kind)
        self.gates: dict[str, asyncio.Future[bool]] = {}

    async def _play(self, arguments: PlayedArguments, context: ToolContext) -> ToolOutput:
        context.progress.say(f"{arguments.say} so far")
        gate = self.gates[arguments.say] = asyncio.get_running_loop().create_future()
        if await gate:
            raise ToolError("it broke")
        return ToolOutput(arguments.say, Shown(arguments.say))


class Life:
    """A session from its opening to its close, and all that was heard of it."""

    def __init__(self, store: Store, opened: OpenedSession | None = None) -> None:
        self.store = store
        self.provider = DrivenModel()
        self.registry = Registry()
        self.tools = {name: DrivenTool(name) for name in TOOLS}

        def make_tools(_: ToolHost) -> NoTools:
            table: dict[str, Any] = dict(self.tools)
            return NoTools(tuple(spec_of(tool) for tool in table.values()), table)

        equipment = SessionDependencies(
            Permissions(WORKSPACE),
            make_tools,
            make_journal=lambda session_id: store.create(session_id, "/workspace", MODEL),
        )
        self.session = Session(self.provider, self.registry, ModelChoice(MODEL), equipment, opened)
        self.events: list[Event] = []
        self.session.subscribe(self.events.append)
        self.seen = 0
        self.requests_seen = 0
        self.sealed: int | None = None
        """How many events there were when it was closed."""

    def each(self, kind: type[Any]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def flush(self) -> None:
        await self.session._journal.flush()

    async def aclose(self) -> None:
        await self.session.aclose(QUIT)
        self.sealed = len(self.events)


@dataclass(frozen=True)
class Elsewhere:
    """A session that nobody has open, as it must be when it is opened."""

    session_id: str
    model: ConversationModel


class NothingLostMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        # What is handed to the file meanwhile is a rule of its own here, and no matter of time.
        self.patch.setattr("core.session.history.DRAFT_S", 3_600.0)
        shared = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="caesura-", dir=shared if shared.is_dir() else None))
        self.runner = asyncio.Runner()
        self.folders = 0
        self.marks = 0
        self.expected_compactions = 0
        self.stopping_compaction = False
        self.summary_of: list[str] = []
        self.others: list[Elsewhere] = []
        self.lives: list[Life] = []
        self.folder = self.root / "0"

    # ---- how

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def call(self, action: Callable[[], Any]) -> Any:
        """Act in the loop, and let it go no further."""

        async def act() -> Any:
            return action()

        return self.run(act())

    def mark(self, letter: str) -> str:
        self.marks += 1
        return f"%{letter}{self.marks}%"

    def prompt(self, long: bool = False) -> str:
        return f"{self.mark('p')} {LONG if long else ''}".strip()

    @property
    def session(self) -> Session:
        return self.life.session

    def start(self, life: Life, model: ConversationModel) -> None:
        self.life, self.model = life, model
        self.lives.append(life)
        self.expected_compactions = 0
        self.run(life.session.model.describe())
        self.settle()

    @initialize()
    def open(self) -> None:
        self.store = Store(self.folder / "caesura.db")

        async def make() -> Life:
            return Life(self.store)

        self.start(self.run(make()), ConversationModel())

    def teardown(self) -> None:
        try:
            # Of a run that has failed there is nothing more to be said.
            self.run(self.leave() if sys.exc_info()[0] is None else self.give_up())
        finally:
            self.runner.close()
            self.patch.undo()
            shutil.rmtree(self.root, ignore_errors=True)

    async def give_up(self) -> None:
        await self.life.aclose()
        await self.store.aclose()

    async def leave(self) -> None:
        """The sessions that were left are as they were; nothing is alive at the end."""
        await self.life.aclose()
        for other in self.others:
            loaded = await self.store.load(other.session_id)
            assert steps_of([stored.step for stored in loaded.steps]) == expected_steps(other.model)
            for turn, expected in zip(turns_of(loaded.turns), other.model.turns, strict=True):
                # Whether anything was kept of a turn that has no end is said when it is opened.
                assert expected.outcome is None or turn == expected
                assert replace(turn, kept=expected.kept) == expected
        await self.store.aclose()
        await rounds()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    # ---- waiting for the session to come to rest

    def settle(self) -> None:
        self.run(self.come_to_rest())

    async def come_to_rest(self) -> None:
        await until(self.at_rest)
        while self.take_in():
            await until(self.at_rest)
        self.look_at_request()

    def at_rest(self) -> bool:
        life, model = self.life, self.model
        if (
            life.each(TurnEnded) < len(model.outcomes)
            or life.each(CompactionEnded) < self.expected_compactions
        ):
            return False
        if self.session.status is Status.IDLE and self.session._running is None:
            return True
        if life.provider.waits:
            return True
        return model.doing is Doing.CALLING and all(map(self.has_come_so_far, model.calls))

    def has_come_so_far(self, call: CallModel) -> bool:
        match call.state:
            case CallState.WAITING:
                return True
            case CallState.ASKING:
                return any(question.call_id == call.call_id for question in self.session.questions.open)
            case CallState.RUNNING:
                gate = self.life.tools[call.name].gates.get(call.mark)
                return gate is not None and not gate.done()
            case CallState.ENDED:
                return any(
                    isinstance(event, CallEnded) and event.call_id == call.call_id
                    for event in self.life.events
                )

    def take_in(self) -> bool:
        """What the session has decided by itself; whether there was anything."""
        life = self.life
        new, life.seen = life.events[life.seen :], len(life.events)
        ended = sum(isinstance(event, TurnEnded) for event in life.events[: life.seen - len(new)])
        changed = False
        for event in new:
            match event:
                case CompactionStarted():
                    self.model.summarising = event.action is Action.SUMMARISE
                case CompactionEnded():
                    changed = True
                    self.take_compaction(event)
                case TurnEnded():
                    if ended == len(self.model.outcomes):
                        # A compaction that came to nothing, or was of no help.
                        changed = True
                        assert event.outcome is Outcome.ERROR
                        assert not self.model.reply.started
                        assert re.search("too long|summar|compaction was stopped", str(event.error)), event
                        self.model.end(Outcome.ERROR)
                    assert event.outcome is self.model.outcomes[ended]
                    ended += 1
                case _:
                    pass
        return changed

    def take_compaction(self, event: CompactionEnded) -> None:
        model = self.model
        before = model.newest
        if event.number is not None:
            if event.action is Action.TRIM:
                upto, summary = (0, "") if before is None else (before.upto, before.summary)
                assert event.usage is None
            else:
                upto, summary = event.upto, event.summary
                assert model.upto < upto < len(model.steps), "the latest step is always kept"
                self.assert_summarised(upto)
            model.compacted(event.number, upto, summary, event.usage or NOTHING)
        elif event.usage is not None:
            model.refused_summary(event.usage)
        model.summarising = False
        if model.by_hand:
            model.compaction_over(stopped=self.stopping_compaction)
        self.stopping_compaction = False

    def assert_summarised(self, upto: int) -> None:
        """The author of a summary was shown all that it stands for, but for what was too much."""
        steps = marks(
            " ".join(mark for step in self.model.steps[self.model.upto : upto] for mark in step.marks)
        )
        earlier = marks(self.model.newest.summary) if self.model.newest is not None else []
        shown = [mark for mark in self.summary_of if not mark.startswith("%k")]
        assert shown[: len(earlier)] == earlier
        rest = shown[len(earlier) :]
        assert bool(rest) is bool(steps)
        assert rest == steps[len(steps) - len(rest) :], (rest, steps)

    def look_at_request(self) -> None:
        """The latest request holds what it must, each thing once and in order (H2, H4)."""
        life, model = self.life, self.model
        new, life.requests_seen = life.provider.requests[life.requests_seen :], len(life.provider.requests)
        for request in new:
            if not request.tools:
                self.summary_of = held_in(request.messages)
        if not new or not new[-1].tools or model.doing is not Doing.STREAMING or model.reply.started:
            return
        turn = model.turn
        assert turn is not None
        asked = [] if turn.kept else marks(turn.prompt)
        assert held_in(new[-1].messages) == model.request_marks + asked
        last = new[-1].messages[-1]
        if turn.kept:
            assert isinstance(last, ToolResults)
        else:
            assert isinstance(last, UserMessage)
            assert last.text.endswith(turn.prompt)
        text = "".join(message.text for message in new[-1].messages if isinstance(message, UserMessage))
        for end in ReplyEnd:
            for above in (True, False):
                words = ["", *(kind.value for kind in FAILURES)] if end is ReplyEnd.FAILED else [""]
                if notes := [note for each in words if (note := note_for_model(end, each, above=above))]:
                    assert sum(map(text.count, notes)) == model.notes.count((end, above)), notes

    def order(self, order: Order) -> None:
        self.life.provider.orders.put_nowait(order)
        self.settle()

    # ---- what people do

    @rule(long=st.booleans())
    def submit(self, long: bool) -> None:
        prompt = self.prompt(long)
        self.call(lambda: self.session.submit(prompt))
        self.model.submit(prompt)
        self.settle()

    @precondition(lambda self: self.model.doing is Doing.IDLE)
    @rule(
        used=st.lists(st.sampled_from([10, 20, 30, NEARLY, FULL]), min_size=1, max_size=4), long=st.booleans()
    )
    def exchange(self, used: list[int], long: bool) -> None:
        """Prompts and their whole replies."""
        for each in used:
            if self.model.doing is Doing.IDLE:
                self.submit(long)
            if self.model.doing is Doing.STREAMING:
                self.say(PieceKind.TEXT)
                self.finish_reply(Usage(each, 1))

    @precondition(lambda self: self.model.doing is Doing.IDLE or self.model.queue.prompts)
    @rule()
    def resume(self) -> None:
        prompt = self.model.continuing
        try:
            self.call(self.session.resume)
        except SessionError:
            assert prompt is None or self.model.doing is not Doing.IDLE
            return
        assert self.model.doing is Doing.IDLE
        assert prompt is not None
        self.model.begin(prompt, continued=True)
        self.settle()

    @precondition(lambda self: self.model.doing is not Doing.IDLE)
    @rule(
        then=st.sampled_from(
            ["", "force", "stop", "submit", "finish", "answer", "resume", "compact", "row", "row"]
        )
    )
    def stop(self, then: str) -> None:
        """Esc, and something else before anything has come of it; or a stop of one row."""
        if then == "row" and self.model.doing is not Doing.CALLING:
            self.stop_row()
            return
        prompt = self.prompt()
        question = next(iter(self.session.questions.open), None)

        def act() -> None:
            if then == "finish" and self.model.doing is Doing.STREAMING:
                # The end of the reply is there, and nobody has looked at it yet.
                self.life.provider.orders.put_nowait(Finished(FinishReason.STOP, Usage(1, 1), MODEL))
            assert self.session.stop(ESCAPE)
            match then:
                case "force":
                    assert self.session.force()
                case "stop":
                    assert not self.session.stop(ESCAPE)
                case "submit":
                    self.session.submit(prompt)
                    self.model.queue.add(prompt)
                case "answer" if question is not None:
                    assert not self.session.questions.answer(question.ask_id, Answer(AnswerKind.ONCE))
                case "resume":
                    with pytest.raises(SessionError):
                        self.session.resume()
                case "compact":
                    with pytest.raises(SessionError):
                        self.session.compact()
                case _:
                    pass

        self.call(act)
        self.stopped()
        self.settle()

    def stopped(self) -> None:
        if self.model.by_hand:
            self.stopping_compaction = True
            self.expected_compactions = self.life.each(CompactionEnded) + 1
        else:
            if self.model.summarising:
                self.model.summarising = False
            self.model.end(Outcome.CANCELLED, ReplyEnd.STOPPED)

    @precondition(lambda self: self.model.calls)
    @rule(which=st.integers(0, 7), again=st.booleans())
    def stop_call(self, which: int, again: bool) -> None:
        call = self.model.calls[which % len(self.model.calls)]
        answers = []

        def act() -> None:
            answers.append(self.session.operations.cancel(call.call_id, ESCAPE).answer)
            if again:
                answers.append(self.session.operations.cancel(call.call_id, ESCAPE).answer)

        self.call(act)
        if call.state is CallState.ENDED:
            assert set(answers) == {CancelAnswer.NOT_FOUND}
            return
        assert answers == [CancelAnswer.CANCELLED, CancelAnswer.ALREADY_CANCELLED][: len(answers)]
        self.model.stop_call(call)
        self.settle()

    def stop_row(self) -> None:
        """The row of a request or of a compaction, instead of the turn."""
        kinds = (OperationKind.STREAM, OperationKind.COMPACTION)
        (row,) = [row for row in self.session.operations.snapshot() if row.kind in kinds]
        self.call(lambda: self.session.operations.cancel(row.call_id, ESCAPE))
        if row.kind is OperationKind.STREAM:
            self.model.end(Outcome.CANCELLED, ReplyEnd.STOPPED)
        else:
            self.expected_compactions = self.life.each(CompactionEnded) + 1
        self.settle()

    @precondition(lambda self: self.session.questions.open)
    @rule(which=st.integers(0, 7), kind=st.sampled_from([*AnswerKind, AnswerKind.DENY]), worded=st.booleans())
    def answer(self, which: int, kind: AnswerKind, worded: bool) -> None:
        self.answer_one(which, kind, worded=worded)

    def answer_one(self, which: int, kind: AnswerKind, *, worded: bool = False) -> None:
        question = self.session.questions.open[which % len(self.session.questions.open)]
        (call,) = [call for call in self.model.calls if call.call_id == question.call_id]
        words = self.mark("w") if worded else ""
        assert self.call(lambda: self.session.questions.answer(question.ask_id, Answer(kind, words)))
        self.model.answer(call, kind, *marks(words))
        self.settle()

    # ---- the queue

    @rule(
        which=st.integers(0, 7),
        how=st.sampled_from(
            [
                "hold",
                "urgent",
                "send",
                "begin",
                "edit",
                "end",
                "remove",
                "take",
                "now",
                "undo",
                "remove",
                "undo",
            ]
        ),
    )
    def change_queue(self, which: int, how: str) -> None:
        waiting, queue = self.session.queue, self.model.queue
        match how:
            case "hold":
                prompt = self.prompt()
                self.call(lambda: self.session.queue.hold(prompt))
                queue.add(prompt)
                queue.pause()
            case "urgent":
                self.stop_and_send()
            case "undo" if queue.undo:
                assert self.call(waiting.undo)
                queue.put_back()
                if self.model.doing is Doing.IDLE:
                    queue.pause()
            case "send":
                sent = self.call(self.session.queue.unpause)
                if self.model.doing is Doing.IDLE:
                    queue.paused = False
                    assert sent is self.model.begin_next()
                else:
                    assert not sent
            case "take":
                assert self.call(self.session.queue.take_all) == queue.take_all()
            case "end":
                self.call(waiting.end_edit)
                queue.edited = None
                self.model.begin_next()
            case _ if queue.prompts:
                self.change_queued(which % len(queue.prompts), how)
            case _:
                pass
        self.settle()

    def change_queued(self, at: int, how: str) -> None:
        waiting, queue = self.session.queue, self.model.queue
        number, queue_id = queue.prompts[at].number, waiting.prompts[at].queue_id
        match how:
            case "begin":
                assert self.call(lambda: waiting.begin_edit(queue_id))
                queue.edited = number
            case "edit":
                text = self.prompt()
                assert self.call(lambda: waiting.edit(queue_id, text))
                queue.edit(number, text)
                self.model.begin_next()
            case "remove":
                assert self.call(lambda: waiting.remove(queue_id))
                queue.remove(number)
                self.model.begin_next()
            case "now":
                assert self.call(lambda: waiting.send_now(queue_id, ESCAPE))
                queue.make_urgent(number)
                if self.model.doing is Doing.IDLE:
                    self.model.begin_next()
                else:
                    queue.pause()
                    self.stopped()
            case _:
                pass

    def stop_and_send(self) -> None:
        prompt = self.prompt()
        idle = self.model.doing is Doing.IDLE
        self.call(lambda: self.session.queue.stop_and_send(prompt, ESCAPE))
        if idle:
            self.model.begin(prompt)
        else:
            self.model.queue.add(prompt, urgent=True)
            self.model.queue.pause()
            self.stopped()

    # ---- what the model does

    @precondition(lambda self: self.model.doing is Doing.STREAMING)
    @rule(kind=st.sampled_from([PieceKind.TEXT, PieceKind.TEXT, PieceKind.THOUGHT]), empty=st.booleans())
    def say_something(self, kind: PieceKind, empty: bool) -> None:
        self.say(kind, "" if empty else None)

    def say(self, kind: PieceKind, text: str | None = None) -> None:
        text = self.mark("t") if text is None else text
        reply = self.model.reply
        if kind is PieceKind.TEXT:
            reply.text += text
        else:
            reply.thought += text
        reply.note(kind, text)
        self.order(TextDelta(text) if kind is PieceKind.TEXT else ReasoningDelta(text))

    @precondition(lambda self: self.model.doing is Doing.STREAMING)
    @rule(name=st.sampled_from(TOOLS), given_id=st.sampled_from(["", "a", "a"]), whole=st.booleans())
    def ask_for_call(self, name: str, given_id: str, whole: bool) -> None:
        self.name_call(name, given_id, whole=whole)

    @precondition(lambda self: self.model.doing in (Doing.STREAMING, Doing.IDLE))
    @rule(
        calls=st.lists(
            st.tuples(st.sampled_from(TOOLS), st.sampled_from(["", "a", "a"])), min_size=1, max_size=3
        )
    )
    def ask_for_calls(self, calls: list[tuple[str, str]]) -> None:
        """A reply that ends with calls."""
        if self.model.doing is Doing.IDLE:
            self.submit(long=False)
        if self.model.doing is Doing.STREAMING:
            for name, given_id in calls:
                self.name_call(name, given_id, whole=True)
            self.finish_reply(Usage(20, 1))

    def name_call(self, name: str, given_id: str, *, whole: bool) -> None:
        mark = self.mark("c")
        text = json.dumps({"say": mark})
        cut = len(text) if whole else -1
        named = self.life.each(CallNamed)
        index = len(self.model.calls)
        self.life.provider.orders.put_nowait(ToolCallDelta(index, text[:cut], given_id or None, name))
        self.run(until(lambda: self.life.each(CallNamed) > named))
        *_, event = (event for event in self.life.events if isinstance(event, CallNamed))
        assert event.call_id.startswith(given_id)
        call = CallModel(event.call_id, name, mark, text[:cut], "" if whole else text[cut:])
        self.model.calls.append(call)
        self.model.reply.note(PieceKind.CALL, call=call)
        self.settle()

    @precondition(
        lambda self: self.model.doing is Doing.STREAMING and any(call.rest for call in self.model.calls)
    )
    @rule()
    def say_the_rest_of_the_arguments(self) -> None:
        call = next(call for call in self.model.calls if call.rest)
        rest, call.rest = call.rest, ""
        call.arguments += rest
        self.model.reply.note(PieceKind.MORE, call=call)
        self.order(ToolCallDelta(self.model.calls.index(call), rest))

    @precondition(lambda self: self.model.doing is Doing.STREAMING)
    @rule(
        used=st.sampled_from([None, 10, 20, NEARLY, FULL]),
        reason=st.sampled_from([None, None, FinishReason.LENGTH]),
    )
    def finish(self, used: int | None, reason: FinishReason | None) -> None:
        self.finish_reply(None if used is None else Usage(used, 1), reason)

    def finish_reply(self, usage: Usage | None, reason: FinishReason | None = None) -> None:
        reason = reason or (FinishReason.TOOL_CALLS if self.model.calls else FinishReason.STOP)
        self.life.provider.orders.put_nowait(Finished(reason, usage, MODEL))
        self.model.finish(usage, cut=reason is FinishReason.LENGTH)
        self.settle()

    @precondition(lambda self: self.model.doing is Doing.STREAMING)
    @rule(kind=st.sampled_from([*FAILURES, None]))
    def fail(self, kind: FailureKind | None) -> None:
        error = (
            LookupError("bug") if kind is None else ModelError(kind, "The request is too long: shorten it.")
        )
        if kind is not FailureKind.CONTEXT_TOO_LONG or self.model.reply.started:
            self.model.end(Outcome.ERROR)
        self.order(error)

    @precondition(lambda self: self.model.calls_in(CallState.RUNNING))
    @rule(which=st.integers(0, 7), fails=st.booleans())
    def tool_returns(self, which: int, fails: bool) -> None:
        self.let_return(which, fails=fails)

    @precondition(lambda self: self.model.doing is Doing.CALLING)
    @rule(fails=st.booleans())
    def all_tools_return(self, fails: bool) -> None:
        """The person allows all of it."""
        step = len(self.model.steps)
        while self.model.doing is Doing.CALLING and len(self.model.steps) == step:
            if self.session.questions.open:
                self.answer_one(0, AnswerKind.ONCE)
            else:
                self.let_return(0, fails=fails)

    def let_return(self, which: int, *, fails: bool) -> None:
        running = self.model.calls_in(CallState.RUNNING)
        call = running[which % len(running)]
        self.call(lambda: self.life.tools[call.name].gates[call.mark].set_result(fails))
        self.model.end_call(call, ResultStatus.FAILED if fails else ResultStatus.COMPLETED, call.mark)
        self.model.advance()
        self.settle()

    @precondition(lambda self: self.model.doing is Doing.IDLE)
    @rule()
    def nothing_happens(self) -> None:
        """Whoever comes too late, person or provider, changes nothing (U2, U8)."""
        events = list(self.life.events)

        def act() -> None:
            assert not self.session.force()
            assert not self.session.stop(ESCAPE)
            assert not self.session.questions.answer("none", Answer(AnswerKind.ONCE))
            for emit in self.life.provider.emits[-2:]:
                emit(TextDelta("%late%"))
                emit(ToolCallDelta(0, "{}", "late", "read"))

        self.call(act)
        self.run(rounds())
        assert self.life.events == events

    # ---- compaction

    @precondition(lambda self: self.model.doing is Doing.IDLE or self.model.steps)
    @rule(keep=st.booleans(), written=st.booleans())
    def compact(self, keep: bool, written: bool) -> None:
        words = self.mark("k") if keep else ""
        can, requests = self.model.can_compact(), len(self.life.provider.requests)
        try:
            self.call(lambda: self.session.compact(words))
        except SessionError:
            assert self.model.doing is not Doing.IDLE
            return
        assert self.model.doing is Doing.IDLE
        self.model.by_hand = can
        self.settle()
        assert len(self.life.provider.requests) == requests + can
        assert self.model.by_hand is can
        if can:
            assert marks(words) == self.summary_of[len(self.summary_of) - keep :]
            if written:
                self.write_summary("done")

    @precondition(lambda self: self.model.compactions)
    @rule()
    def uncompact(self) -> None:
        try:
            self.call(self.session.uncompact)
        except SessionError:
            assert self.model.doing is not Doing.IDLE or self.model.newest is None
            return
        assert self.model.doing is Doing.IDLE
        assert self.model.uncompact()

    @precondition(lambda self: self.model.doing is Doing.COMPACTING)
    @rule(how=st.sampled_from(["done", "done", "part", "too long", "long", "refused", "cut", "broken"]))
    def summarise(self, how: str) -> None:
        self.write_summary(how)

    def write_summary(self, how: str) -> None:
        used = Usage(50, 2)
        orders: Sequence[Order]
        match how:
            case "done":
                orders = (TextDelta(self.mark("s")), Finished(FinishReason.STOP, used, MODEL))
            case "part":
                orders = (TextDelta(self.mark("s")),)
            case "too long":
                orders = (TextDelta(LONG * 20), Finished(FinishReason.STOP, used, MODEL))
            case "long":
                orders = (ModelError(FailureKind.CONTEXT_TOO_LONG, "It is too long: shorten it."),)
            case "refused":
                orders = (Finished(FinishReason.CONTENT_FILTER, used, MODEL),)
            case "cut":
                orders = (TextDelta(self.mark("s")), Finished(FinishReason.LENGTH, used, MODEL))
            case _:
                orders = (ModelError(FailureKind.BROKEN_STREAM, "The stream broke: try again."),)
        for order in orders:
            self.life.provider.orders.put_nowait(order)
        if how not in ("part", "long"):
            self.expected_compactions = self.life.each(CompactionEnded) + 1
        self.settle()

    # ---- ends, and what follows

    @precondition(lambda self: self.model.turns_begun)
    @rule(anew=st.booleans())
    def restart(self, anew: bool) -> None:
        """Quit, also in the midst of it, and open it again: in this program or in another one."""
        self.close()
        if anew:
            self.run(self.store.aclose())
            self.store = Store(self.folder / "caesura.db")
        self.reopen(self.session.session_id, self.model.opened())

    def close(self) -> None:
        self.model.closed = True
        if self.model.by_hand:
            self.stopping_compaction = True
        elif self.model.turn is not None:
            self.model.end(Outcome.CANCELLED, ReplyEnd.INTERRUPTED)
        self.run(self.life.aclose())
        self.take_in()
        self.check()

    def reopen(self, session_id: str, model: ConversationModel) -> None:
        async def opened() -> Life:
            return Life(self.store, await self.store.open(session_id))

        self.start(self.run(opened()), model)

    @precondition(lambda self: self.model.turns_begun)
    @rule(drafted=st.booleans())
    def crash(self, drafted: bool) -> None:
        """Nothing is told to anybody: what is in the files is what there is."""
        if drafted and self.model.turn is not None:
            self.write_draft()
        self.run(self.life.flush())
        left, old, model = self.life, self.store, self.model.crashed()
        self.folders += 1
        copy = self.root / str(self.folders)
        copy.mkdir()
        for suffix in ("", "-wal", "-shm"):
            if (file := self.folder / f"caesura.db{suffix}").exists():
                shutil.copy(file, copy / file.name)
        self.folder, self.store = copy, Store(copy / "caesura.db")
        # Whatever it still does, it does elsewhere.
        self.run(left.aclose())
        self.run(old.aclose())
        self.reopen(left.session.session_id, model)

    @precondition(lambda self: self.model.turn is not None)
    @rule()
    def write_draft(self) -> None:
        """The half second is over."""
        self.call(self.session.record.write_draft)
        self.model.reply.drafted = len(self.model.reply.pieces)

    @precondition(lambda self: self.model.steps)
    @rule(count=st.integers(0, 20), how=st.sampled_from(["rewind", "ask again", "fork", "copy"]))
    def fork(self, count: int, how: str) -> None:
        """Go on in a copy of the first steps, or leave it; a rewind goes back to before a prompt."""
        steps = self.model.steps
        if how in ("fork", "copy"):
            self.take_fork(count % (len(steps) + 1), go_on=how == "fork")
            return
        prompts = [number for number, step in enumerate(steps) if step.prompt]
        self.take_fork(prompts[count % len(prompts)], go_on=True)
        if how == "ask again":
            self.submit(long=False)

    def take_fork(self, count: int, *, go_on: bool) -> None:
        self.run(self.life.flush())
        session_id: str = self.run(self.store.fork(self.session.session_id, count))
        forked = self.model.forked(count)
        if go_on:
            self.close()
            self.others.append(Elsewhere(self.session.session_id, self.model.opened()))
            self.reopen(session_id, forked)
        else:
            self.others.append(Elsewhere(session_id, forked))

    @precondition(lambda self: self.others and self.model.turns_begun)
    @rule(which=st.integers(0, 7))
    def open_another(self, which: int) -> None:
        other = self.others.pop(which % len(self.others))
        self.close()
        self.others.append(Elsewhere(self.session.session_id, self.model.opened()))
        self.reopen(other.session_id, other.model)

    # ---- what must hold after each step

    @invariant()
    def check(self) -> None:
        session, model = self.session, self.model
        assert steps_of(session.record.plain_steps) == expected_steps(model)
        assert turns_of(session.record.turns) == model.turns
        assert compactions_of(session.record.compactions) == [
            (each.number, each.upto, each.summary, each.undone) for each in model.compactions
        ]
        assert session.record.usage == model.usage
        assert session.continuation.returned_prompt == model.returned
        ids = [call.call_id for step in model.steps for call in step.calls]
        assert len(ids) == len(set(ids)), "an id came twice in one conversation"
        self.check_queue()
        self.check_operations()
        assert self.life.provider.refusals == []

    def check_queue(self) -> None:
        waiting, queue = self.session.queue, self.model.queue
        waits = [(prompt.text, prompt.urgent) for prompt in waiting.prompts]
        assert waits == [(prompt.text, prompt.urgent) for prompt in queue.prompts]
        assert waiting.paused is queue.paused
        edited = [at for at, prompt in enumerate(waiting.prompts) if prompt.queue_id == waiting.edited]
        assert edited == ([] if queue.edited is None else [queue.place(queue.edited)])

    def check_operations(self) -> None:
        model = self.model
        if model.closed:
            assert self.life.registry.snapshot() == ()
            return
        idle = model.doing is Doing.IDLE
        assert self.session.status is (Status.IDLE if idle else Status.RUNNING)
        asking = {call.call_id for call in model.calls_in(CallState.ASKING)}
        assert {question.call_id for question in self.session.questions.open} == asking
        live = {call.call_id for call in model.calls if call.state is not CallState.ENDED}
        rows = self.life.registry.snapshot()
        assert {row.call_id for row in rows if row.kind is OperationKind.CALL} == live
        assert len(rows) - len(live) == (model.doing in (Doing.STREAMING, Doing.COMPACTING))
        assert self.life.provider.streaming == (model.doing in (Doing.STREAMING, Doing.COMPACTING))

    @invariant()
    def events_come_in_order_and_not_too_late(self) -> None:
        of_turns = [event for event in self.life.events if getattr(event, "turn_id", 0) is not None]
        assert_in_order(of_turns, still_running=self.model.turn is not None)
        begun = [event.call_id for event in self.life.events if isinstance(event, CompactionStarted)]
        ended = [event.call_id for event in self.life.events if isinstance(event, CompactionEnded)]
        assert begun == ended + begun[len(ended) :]
        assert len(begun) - len(ended) == (self.model.doing is Doing.COMPACTING)
        for life in self.lives[:-1]:
            assert life.sealed == len(life.events)

    @invariant()
    def what_would_be_sent_is_accepted(self) -> None:
        if self.model.doing is Doing.IDLE:
            sent = sendable((*self.session.record.messages(), UserMessage("next")))
            assert_accepted(sent)
            assert held_in(sent) == self.model.request_marks

    @invariant()
    def the_file_is_as_the_memory(self) -> None:
        if self.model.doing is not Doing.IDLE or not self.model.turns:
            return

        async def look() -> None:
            record = self.session.record
            await self.life.flush()
            loaded = await self.store.load(self.session.session_id)
            assert loaded.steps == record.steps
            assert loaded.turns == record.turns
            assert loaded.compactions == record.compactions
            assert loaded.queue == self.session.queue.texts
            written = self.model.usage
            assert loaded.info.usage + self.model.beside == written
            assert loaded.info.steps == len(record.steps)

        self.run(look())


def held_in(messages: Sequence[Message]) -> list[str]:
    """The marks in a request, in order; those of the calls of a reply before those of their results."""
    found: list[str] = []
    for message in messages:
        match message:
            case UserMessage(text):
                found += marks(text)
            case AssistantMessage(parts):
                found += marks(message.text)
                assert not any(isinstance(part, Reasoning) for part in parts)
                found += [mark for call in message.calls for mark in marks(call.arguments)]
            case ToolResults(results):
                found += [mark for result in results for mark in marks(result.text)]
    return found


def steps_of(steps: Sequence[Step]) -> list[KeptStep]:
    return [step_of(step) for step in steps]


def step_of(step: Step) -> KeptStep:
    """A step as the model says it; what every step has to be is looked at here."""
    messages = list(step.messages)
    first = messages[0]
    prompt = None
    if isinstance(first, UserMessage):
        prompt = first.text
        del messages[0]
    reply, *rest = messages
    assert isinstance(reply, AssistantMessage)
    assert reply.interrupted is (reply.finish is None)
    results = rest[0].results if rest and isinstance(rest[0], ToolResults) else ()
    assert len(rest) == bool(results)
    assert [call.call_id for call in reply.calls] == [result.call_id for result in results]
    for result in results:
        assert result.text.startswith(PREFIXES[result.status]), result
    calls = tuple(
        KeptCall(call.call_id, call.name, call.arguments, result.status, tuple(marks(result.text)))
        for call, result in zip(reply.calls, results, strict=True)
    )
    thought = "".join(part.text for part in reply.parts if isinstance(part, Reasoning))
    return KeptStep(0, prompt, reply.text, thought, reply.end, calls, step.usage)


def expected_steps(model: ConversationModel) -> list[KeptStep]:
    return [
        KeptStep(0, step.prompt, step.text, step.thought, step.end, step.calls, step.usage)
        for step in model.steps
    ]


def turns_of(turns: Sequence[Any]) -> list[KeptTurn]:
    return [KeptTurn(turn.turn, turn.prompt, turn.continued, turn.outcome, turn.kept) for turn in turns]


def compactions_of(compactions: Sequence[Any]) -> list[tuple[int, int, str, bool]]:
    return [(each.number, each.upto, each.summary, each.undone) for each in compactions]


NothingLostMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=25, deadline=None, derandomize=True, database=None
)
TestNothingLostMachine = pytest.mark.promise(
    "H1", "H2", "H3", "H4", "H5", "H6", "H8", "H9", "E8", "C1", "C2", "C3", "S9", "U4", "U6", "U8"
)(NothingLostMachine.TestCase)
TestNothingLostMachine = pytest.mark.slow(TestNothingLostMachine)
