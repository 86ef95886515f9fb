"""Random conversations with all strict vendors in turn, interrupted at any place: no step of them gets lost.

Each request is numbered. By the number the vendor knows what to say and where it ends, and checks that all
that was said before is there, and what it has said itself as it wants it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from core.cancel import CancelReason, Cause
from core.model.messages import AssistantMessage, ToolResults, read_arguments
from core.model.provider import ModelChoice, ModelInfo, ReasoningDelta, TextDelta, ToolCallDelta
from core.model.server_options import ServerOptions
from core.operations.events import CallStarted, Outcome, StepCommitted, TurnEnded
from core.operations.registry import Registry
from core.session.queue import SessionError
from core.session.session import Session
from tests.providers.comes_back import IDS, lost, messages_of
from tests.servers.base import Server, ThreadedServer
from tests.servers.conversation import Role
from tests.servers.frames import Frame
from tests.servers.script import Call, Cut, ErrorEvent, Fault, Reset, Script, Silence, Truncate
from tests.servers.strict import complaint
from tests.servers.vendors import VENDORS, Ids, Said, Spoken, Vendor
from tests.support.scripted_tools import Do, PlayedTool, equipped
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from core.cancel import CancelToken
    from core.model.provider import Delta, Emit, Finished, ModelProvider, ModelRequest
    from core.operations.events import Event
    from tests.servers.record import Request

NUMBER = "x-number"


class End(Enum):
    """How a reply ends."""

    WHOLE = auto()
    LENGTH = auto()
    STOPPED = auto()
    """By the person: before its first byte, or at some piece of it."""
    CUT = auto()
    TRUNCATED = auto()
    RESET = auto()
    FAILED = auto()


FAULTS: dict[End, Callable[[int], Fault]] = {
    End.CUT: Cut, End.TRUNCATED: Truncate, End.RESET: Reset, End.FAILED: ErrorEvent,
}  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A reply. `calls` are names of tools and what they do. `at` is how much of it comes: frames of the
    server or, until a stop, pieces."""

    thinks: bool
    speaks: bool
    calls: tuple[tuple[str, Do], ...]
    ids: Ids
    end: End
    at: int

    def said(self, number: int) -> Said:
        calls = tuple(
            Call(None, name, (f'{{"n": {number}, ', f'"do": "{do}", ', f'"say": "{place}"}}'))
            for place, (name, do) in enumerate(self.calls)
        )
        return Said(number, self.thinks, self.speaks, calls, self.ids)


PLAIN = Planned(True, True, (), Ids.OWN, End.WHOLE, 0)


@dataclass(frozen=True)
class VendorTurn:
    """One turn. The vendor's replies are these and then plain ones. A call that holds is stopped, `alone` or
    with its turn."""

    vendor: str
    replies: tuple[Planned, ...] = ()
    alone: bool = False
    continued: bool = False


def vendor_conversation(chance: Random) -> tuple[VendorTurn, ...]:
    """Some turns at random, each at another vendor or at the same."""
    some = chance.sample(sorted(VENDORS), chance.randint(1, 4))
    return tuple(
        VendorTurn(
            chance.choice(some),
            tuple(_planned(chance) for _ in range(chance.randint(0, 3))),
            chance.randrange(2) == 0,
            chance.randrange(3) == 0,
        )
        for _ in range(chance.randint(2, 7))
    )


def _planned(chance: Random) -> Planned:
    usual = (End.WHOLE, End.STOPPED, End.STOPPED)
    return Planned(
        thinks=chance.randrange(4) > 0,
        speaks=chance.randrange(3) > 0,
        calls=tuple(
            (chance.choice(("read", "write")), chance.choice((Do.RETURN, Do.RETURN, Do.FAIL, Do.HOLD)))
            for _ in range(chance.choice((0, 1, 1, 2, 3)))
        ),
        ids=chance.choice((Ids.OWN, Ids.OWN, Ids.OWN, Ids.SAME, Ids.NONE)),
        end=chance.choice((*usual, *usual, *End)),
        at=chance.randint(0, 14),
    )


@dataclass(frozen=True)
class Numbered:
    """The reply to one request, and what has to be in that."""

    spoken: Spoken
    planned: Planned
    expected: tuple[object, ...]
    on_silence: Callable[[], object]

    @property
    def returned(self) -> tuple[Any, ...]:
        items = self.spoken.returned
        return items if self.planned.ids is Ids.OWN else without_ids(items)


@dataclass
class Stage:
    """What vendors and session share: replies by their number and, by vendor, what of them was recorded and
    whether it was whole, and what is sealed."""

    servers: dict[str, Server] = field(default_factory=dict)
    replies: dict[int, Numbered] = field(default_factory=dict)
    recorded: dict[str, list[tuple[tuple[Any, ...], bool]]] = field(default_factory=lambda: defaultdict(list))
    seals: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    complaints: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Another conversation begins."""
        self.complaints.clear()
        self.recorded.clear()
        self.seals.clear()

    def of(self, request: Request) -> Numbered:
        return self.replies[int(request.headers[NUMBER])]


@contextmanager
def vendors_on_stage() -> Iterator[Stage]:
    """A server for each vendor, for as many conversations as one likes, one after the other."""
    stage = Stage()
    with ExitStack() as stack:
        for name, vendor in VENDORS.items():
            stage.servers[name] = stack.enter_context(ThreadedServer(_strict(vendor, stage)))
        yield stage


def _strict(vendor: Vendor, stage: Stage) -> Server:
    usual: type[Server] = vendor.server

    class Strict(usual):  # type: ignore[misc, valid-type]
        def complaint(self, request: Request) -> str | None:
            foreign = (seal for name, some in stage.seals.items() if name != vendor.name for seal in some)
            why = complaint(request, vendor.rules(foreign))
            if why is None and said_in(request) != stage.of(request).expected:
                why = f"{said_in(request)} instead of {stage.of(request).expected}"
            why = why or next(lost(messages_of(request), stage.recorded[vendor.name]), None)
            if why is not None:
                stage.complaints.append(f"{vendor}: {why}")
            return why

        def stream(self, script: Script, request: Request) -> Iterator[Frame]:
            reply = stage.of(request)
            frames, end = reply.spoken.frames, reply.spoken.end
            if reply.planned.end is End.LENGTH:
                frames, end = frames[: reply.planned.at], reply.spoken.cut_end
            return (Frame(data, is_delta=True) for data in (*frames, *end))

        def choose(self, request: Request) -> Script:
            reply = stage.of(request)
            planned = reply.planned
            if planned.end is End.STOPPED and planned.at == 0:
                reply.on_silence()
                return Script(fault=Silence())
            fault = FAULTS.get(planned.end)
            # Before its end, so that it does not get there.
            return Script(fault=fault and fault(min(planned.at, len(reply.spoken.frames))))

    return Strict()


def without_ids(made: Any) -> Any:
    match made:
        case dict():
            return {name: without_ids(value) for name, value in made.items() if name not in IDS}
        case list() | tuple():
            return type(made)(map(without_ids, made))
        case _:
            return made


def said_in(request: Request) -> tuple[object, ...]:
    """The replies and results in a request, without ids."""
    messages = request.conversation.messages
    return tuple(
        (message.text, tuple((call.name, call.arguments) for call in message.calls))
        if message.role is Role.ASSISTANT
        else tuple(result.text for result in message.results)
        for message in messages
        if message.role is not Role.USER
    )


def said_in_session(session: Session) -> tuple[object, ...]:
    """What a request has to have of the session: all that is recorded and can be sent."""
    said: list[object] = []
    for message in (message for step in session.record.plain_steps for message in step.messages):
        if isinstance(message, ToolResults):
            said.append(tuple(result.text for result in message.results))
        elif isinstance(message, AssistantMessage) and message.says_something:
            calls = ((call.name, _sent(call.arguments)) for call in message.calls)
            said.append((message.text, tuple(calls)))
    return tuple(said)


def _sent(arguments: str) -> object:
    read = read_arguments(arguments)
    return {"unreadable": arguments} if read is None else read


class Conversation:
    """One conversation: the session, its person, and the provider that numbers its requests."""

    def __init__(self, process: ModelProvider, stage: Stage) -> None:
        self._process = process
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._turn = VendorTurn(next(iter(VENDORS)))
        self._planned: list[Planned] = []
        self._ended: TurnEnded | None = None
        tools = PlayedTool("read"), PlayedTool("write", changing=True)
        self._session = Session(self, Registry(), self._choice(), equipped(*tools))
        self._session.subscribe(self._hear)

    async def play(self, turns: tuple[VendorTurn, ...]) -> None:
        """All of the turns, and then one more with each vendor that nothing is in the way of."""
        self._stage.forget()
        for turn in turns:
            await self._play(turn)
        for vendor in dict.fromkeys(turn.vendor for turn in turns):
            await self._play(VendorTurn(vendor))
            assert self._ended is not None
            assert self._ended.outcome is Outcome.COMPLETED, self._ended
        await self._session.aclose(CancelReason(Cause.QUIT, "quit"))

    async def _play(self, turn: VendorTurn) -> None:
        self._turn, self._planned = turn, list(turn.replies)
        self._session.model.use(self._choice())
        try:
            if not turn.continued:
                raise SessionError("The plan wants a prompt.")
            self._session.resume()
        except SessionError:
            self._session.submit(f"now {turn.vendor}")
        async with asyncio.timeout(GENEROUS_S):
            await self._session.wait_idle()
        assert self._stage.complaints == []

    def _choice(self) -> ModelChoice:
        return ModelChoice(VENDORS[self._turn.vendor].model, self._stage.servers[self._turn.vendor].url)

    def _stop(self) -> None:
        self._session.stop(CancelReason(Cause.USER, "escape"))

    def _hear(self, event: Event) -> None:
        match event:
            case CallStarted(call_id=call_id, title=title) if title.startswith(Do.HOLD):
                if self._turn.alone:
                    self._session.operations.cancel(call_id, CancelReason(Cause.USER, "click"))
                else:
                    self._stop()
            case StepCommitted():
                (reply,) = (
                    message
                    for message in self._session.record.plain_steps[-1].messages
                    if isinstance(message, AssistantMessage)
                )
                latest = self._stage.replies[len(self._stage.replies)]
                if reply.says_something:
                    whole = not reply.interrupted and reply.end.whole
                    self._stage.recorded[self._turn.vendor].append((latest.returned, whole))
            case TurnEnded():
                self._ended = event
            case _:
                pass

    # -- the provider of the session --

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        stage, name = self._stage, self._turn.vendor
        number = len(stage.replies) + 1
        planned = self._planned.pop(0) if self._planned else PLAIN
        spoken = VENDORS[name].say(planned.said(number))

        def stop_soon() -> None:
            self._loop.call_soon_threadsafe(self._stop)

        stage.replies[number] = Numbered(spoken, planned, said_in_session(self._session), stop_soon)
        stage.seals[name] += spoken.seals
        pieces = 0

        def take(delta: Delta) -> None:
            nonlocal pieces
            emit(delta)
            pieces += isinstance(delta, TextDelta | ReasoningDelta | ToolCallDelta)
            if planned.end is End.STOPPED and 0 < planned.at == pieces:
                self._stop()

        limits = ServerOptions(
            headers={NUMBER: str(number)}, first_byte_timeout=GENEROUS_S, idle_timeout=GENEROUS_S
        )
        asked = replace(request, server=limits, key_name="OPENAI_API_KEY")
        return await self._process.stream(asked, token, take)

    async def describe(self, model: str) -> ModelInfo:
        return ModelInfo(model)
