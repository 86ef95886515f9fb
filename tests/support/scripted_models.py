"""Models for the tests of the engine, which play a script, and a session around one that is listened to.

A wait in a script ends through the token and in no other way, or is deaf to it on purpose until the test lets
it go: a double that ended by itself would stay green while Esc is dead.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

import anyio

from core.cancel import CancelReason, CancelToken, Cause
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Reasoning,
    ToolResults,
    Usage,
    UserMessage,
    read_arguments,
)
from core.model.provider import (
    Closed,
    Closing,
    Emit,
    FailureKind,
    Finished,
    ModelChoice,
    ModelError,
    ModelInfo,
    ModelRequest,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.model.reply_end import ReplyEnd, note_for_model
from core.operations.events import (
    BackgroundEnded,
    BackOffEnded,
    BackOffStarted,
    CallEnded,
    CallNamed,
    CallStarted,
    CompactionEnded,
    CompactionStarted,
    Event,
    ModeChanged,
    ModelDescribed,
    ModelFailedOver,
    ModelSwitched,
    Notice,
    Outcome,
    ParametersLeftOut,
    QuestionAsked,
    QuestionClosed,
    QueueChanged,
    ReasoningArrived,
    StepCommitted,
    TextArrived,
    Titled,
    TurnEnded,
    TurnStarted,
    TurnStopping,
)
from core.operations.registry import Registry
from core.session.session import Session
from tests.support.no_tools import no_tools
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.model.messages import Message
    from core.session.dependencies import SessionDependencies

MODEL = "test/model"
USAGE = Usage(7, 3)
STOPPED_ABOVE = note_for_model(ReplyEnd.STOPPED, "", above=True)
"""What the model reads before the prompt after a reply that a person has stopped."""
STOPPED_UNSEEN = note_for_model(ReplyEnd.STOPPED, "", above=False)
"""The same if nothing of the reply is sent."""
ESCAPE = CancelReason(Cause.USER, "escape")
QUIT = CancelReason(Cause.QUIT, "ctrl+c")
NO_KEY = ModelError(FailureKind.NO_KEY, "There is no key: set one.", detail="detail")
"""Seconds after which a wait counts as a hang; never reached when all is well."""
ENDLESS, SHORT = 3_600.0, 0.001
"""Seconds of grace: one never ends within a test, the other is the one that must."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Say nothing more, until the token ends it."""


@dataclass(frozen=True, slots=True)
class Swallow:
    """Like `Hold`, but take the cancel for a hiccup and play the rest of the script in one go."""


@dataclass(frozen=True, slots=True)
class Break:
    """Like `Hold`, but fail with `error` because of the cancel, as libraries do."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Deaf:
    """Ignore the token until the test sets `released`, then go on with the script."""

    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class CancelItself:
    """Wait for a future of its own that is cancelled, though nobody asked for a stop."""


Delta = TextDelta | ReasoningDelta | ToolCallDelta | PhaseChanged | Closed
Action = Delta | Hold | Swallow | Break | Deaf | CancelItself | Exception | Finished
Script = tuple[Action, ...]

DONE = Finished(FinishReason.STOP, USAGE, MODEL)
REPLY: Script = (
    PhaseChanged(Phase.WAITING_FOR_HEADERS),
    PhaseChanged(Phase.STREAMING),
    ReasoningDelta("thin"),
    ReasoningDelta("king", "signature"),
    TextDelta("one "),
    TextDelta(""),
    TextDelta("two"),
    TextDelta(""),
    DONE,
)
REPLY_TEXT = "one two"
NOTHING: Script = (PhaseChanged(Phase.WAITING_FOR_HEADERS), TextDelta(""), ReasoningDelta("", "signature"))
"""The begin of a reply that has not shown anything yet."""
SOME: Script = (PhaseChanged(Phase.STREAMING), TextDelta("part"))
"""The begin of one that has."""


def say(*texts: str, usage: Usage | None = USAGE) -> Script:
    return (*map(TextDelta, texts), Finished(FinishReason.STOP, usage, MODEL))


class ScriptedProvider:
    """Plays one script for each request, in order; the last one again and again.

    `emits` keeps what the engine gave each request to emit into, for deltas that come too late.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[ModelRequest] = []
        self.emits: list[Emit] = []
        self.streaming = 0
        self.waiting = asyncio.Event()

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        token.check()
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append(request)
        self.emits.append(emit)
        self.streaming += 1
        emit(PhaseChanged(Phase.CONNECTING))
        try:
            return await self._play(script, emit)
        except asyncio.CancelledError:
            # The engine has bound the token around this.
            if token.cancelled:
                emit(Closed(Closing.CLOSED, time.monotonic()))
            raise
        finally:
            self.streaming -= 1

    async def describe(self, model: str) -> ModelInfo:
        return ModelInfo(model, context_window=1_000)

    async def _play(self, script: Script, emit: Emit) -> Finished:
        in_one_go = False
        for action in script:
            if not in_one_go:
                await asyncio.sleep(0)
            in_one_go = in_one_go or isinstance(action, Swallow)
            match action:
                case Finished():
                    return action
                case Exception():
                    raise action
                case Hold() | Swallow() | Break() | Deaf() | CancelItself():
                    await self._wait(action)
                case _:
                    emit(action)
        raise AssertionError("a script ends with Finished or an error")

    async def _wait(self, action: Hold | Swallow | Break | Deaf | CancelItself) -> None:
        self.waiting.set()
        try:
            match action:
                case Deaf(released):
                    with anyio.CancelScope(shield=True):
                        await released.wait()
                case CancelItself():
                    future = asyncio.get_running_loop().create_future()
                    future.cancel()
                    await future
                case _:
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            match action:
                case Swallow():
                    pass
                case Break(error):
                    raise error from None
                case _:
                    raise
        finally:
            self.waiting.clear()


class DrivenProvider(ScriptedProvider):
    """Does what it is told to in `orders`, one after the other, and otherwise waits for its token."""

    def __init__(self) -> None:
        super().__init__(())
        self.orders: asyncio.Queue[TextDelta | Exception | Finished] = asyncio.Queue()

    async def _play(self, script: Script, emit: Emit) -> Finished:
        while True:
            match await self.orders.get():
                case Finished() as finished:
                    return finished
                case Exception() as error:
                    raise error
                case delta:
                    emit(delta)


class Conversation:
    """A session with a scripted model, and all that its listener heard."""

    def __init__(
        self,
        *scripts: Script,
        registry: Registry | None = None,
        provider: ScriptedProvider | None = None,
        equipment: SessionDependencies | None = None,
    ) -> None:
        self.provider = provider or ScriptedProvider(*scripts)
        self.registry = registry or Registry()
        self.session = Session(self.provider, self.registry, ModelChoice(MODEL), equipment or no_tools())
        self.events: list[Event] = []
        self.session.subscribe(self.events.append)

    @property
    def ended(self) -> list[TurnEnded]:
        return [event for event in self.events if isinstance(event, TurnEnded)]

    @property
    def outcomes(self) -> list[Outcome]:
        return [event.outcome for event in self.ended]

    @property
    def messages(self) -> list[Message]:
        return [message for step in self.session.record.plain_steps for message in step.messages]

    @property
    def replies(self) -> list[str]:
        """The replies of the history."""
        return [message.text for message in self.messages if isinstance(message, AssistantMessage)]

    def task(self) -> asyncio.Task[object]:
        """The task of the running turn."""
        (task,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("turn ")]
        return task

    async def waiting(self) -> None:
        """Wait until the model waits in its script."""
        async with asyncio.timeout(GENEROUS_S):
            await self.provider.waiting.wait()

    async def idle(self) -> None:
        async with asyncio.timeout(GENEROUS_S):
            await self.session.wait_idle()

    async def until(self, state: Callable[[], bool]) -> None:
        """Wait for a state, one step of the event loop at a time."""
        deadline = time.monotonic() + GENEROUS_S
        while not state():
            assert time.monotonic() < deadline
            await asyncio.sleep(0)

    async def turn(self, text: str = "hello") -> TurnEnded:
        self.session.submit(text)
        await self.idle()
        return self.ended[-1]

    async def begin(self, text: str = "hello") -> None:
        """Send a prompt, and wait until the model waits in its script."""
        self.session.submit(text)
        await self.waiting()

    async def stop(self) -> None:
        assert self.session.stop(ESCAPE)
        await self.idle()

    async def stopped(self, text: str = "hello") -> TurnEnded:
        """A turn that is stopped where its script waits."""
        await self.begin(text)
        await self.stop()
        return self.ended[-1]


def assert_in_order(events: Iterable[Event], *, still_running: bool = False) -> None:
    """Each turn begins, says what it says and ends once; nothing of it comes later, none overlaps another."""
    running, finished = 0, set[int]()
    named, open_calls = set[str](), set[str]()
    for event in events:
        match event:
            case TurnStarted(turn_id):
                assert running == 0, f"turn {turn_id} began within another"
                assert turn_id not in finished
                running = turn_id
            case TurnEnded(turn_id):
                assert running == turn_id, f"turn {turn_id} ended twice, or before its begin"
                assert not open_calls, f"{open_calls} were left open"
                finished.add(turn_id)
                running = 0
            case CallNamed(turn_id, call_id) | CallEnded(turn_id, call_id):
                assert running == turn_id, f"{event} came when its turn was not running"
                if isinstance(event, CallNamed):
                    assert call_id not in named, f"{call_id} was named twice"
                    named.add(call_id)
                    open_calls.add(call_id)
                else:
                    assert call_id in open_calls, f"{call_id} ended twice, or before it was named"
                    open_calls.remove(call_id)
            case (
                TextArrived()
                | ReasoningArrived()
                | CallStarted()
                | QuestionAsked()
                | QuestionClosed()
                | StepCommitted()
                | CompactionStarted()
                | CompactionEnded()
                | TurnStopping()
                | BackOffStarted()
                | BackOffEnded()
                | ModelFailedOver()
                | ParametersLeftOut()
            ):
                assert running == event.turn_id, f"{event} came when its turn was not running"
                assert not isinstance(event, TextArrived | ReasoningArrived) or event.text
            case (
                QueueChanged()
                | ModelDescribed()
                | ModelSwitched()
                | Titled()
                | ModeChanged()
                | BackgroundEnded()
                | Notice()
            ):
                pass
            case _:
                assert_never(event)
    assert bool(running) is still_running, f"turn {running} never ended, or ended too early"


def assert_accepted(messages: Iterable[Message]) -> None:
    """What every provider asks of a request: roles take turns, and no reply is empty or only thought."""
    sent = tuple(messages)
    assert sent
    # What may come next: the results of these calls, a prompt or, behind a prompt or results, a reply.
    due: tuple[str, ...] = ()
    reply_may_follow = False
    previous: Message | None = None
    for message in sent:
        match message:
            case UserMessage(text):
                assert not due, f"{due} have no results"
                assert not isinstance(previous, UserMessage)
                assert text.strip()
                reply_may_follow = True
            case AssistantMessage(parts):
                assert reply_may_follow, "a reply to nothing"
                assert message.text.strip() or message.calls
                assert all(part.signature for part in parts if isinstance(part, Reasoning))
                assert all(read_arguments(call.arguments) is not None for call in message.calls)
                due, reply_may_follow = tuple(call.call_id for call in message.calls), False
            case ToolResults(results):
                assert tuple(result.call_id for result in results) == due
                assert due
                assert all(result.text.strip() for result in results)
                due, reply_may_follow = (), True
            case _:
                assert_never(message)
        previous = message
    assert not due
    assert isinstance(sent[-1], UserMessage | ToolResults)
