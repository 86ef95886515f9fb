"""The calls of one reply: named, ordered, asked about, run, stopped one by one, each with one true result.

A call is an operation from the moment the model names it (S1). Calls that change nothing run at the same
time as their neighbours, the others wait for all before them. Stopping one touches no other (S5). Whatever
happens, every call ends once, with one of five results (H4, H5): completed, failed, denied, stopped, not
started.

Nothing here is bound to a token but the work of a call itself: who writes the results must outlive a stop.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from core.approval import Approval
from core.call import Call
from core.cancel import CancelReason, Cause
from core.events import (
    CallEnded,
    CallNamed,
    CallStarted,
    Event,
    Notice,
)
from core.messages import ToolResult, read_arguments
from core.model import Phase
from core.operations import OperationKind, OperationState
from core.results import failed
from core.supervision import END_OF_PROGRAM, Graces, supervise
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from core.access import Access
    from core.approval import Desk
    from core.cancel import CancelToken
    from core.journal import Piece
    from core.model import ToolSpec
    from core.operations import Operation, Registry
    from core.records import PreImage
    from core.results import Told
    from core.tools.base import Tool, ToolContext, ToolOutput

log = logging.getLogger(__name__)

FORCED_GRACE_S = 0.5
"""How long a call may take to end after its second stop, which kills what it has started (S11)."""

MOST_AT_ONCE = 32
"""How many calls of one reply run at the same time; the others wait for a place."""

TITLE_LIMIT = 400
"""Characters of a title: it is shown on one line, and looked at ten times a second."""


class Toolset(Protocol):
    """The tools of one request."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]: ...

    @property
    def tools(self) -> Mapping[str, Tool[Any]]: ...


@dataclass(frozen=True, slots=True)
class FixedTools:
    """A toolset that is its own source."""

    specs: tuple[ToolSpec, ...] = ()
    tools: Mapping[str, Tool[Any]] = field(default_factory=dict)

    async def load(self, token: CancelToken) -> Toolset:
        return self


class ToolSource(Protocol):
    """Where a turn gets its tools from, anew for each request: servers come and go."""

    async def load(self, token: CancelToken) -> Toolset:
        """The tools there are now. Runs under `token`, bound; bounded in time whatever a server does."""
        ...


class CallRecord(Protocol):
    """Where calls are written down while their step runs (H8)."""

    def take(self, piece: Piece) -> None: ...

    async def begin_call(self, call_id: str) -> None: ...

    async def keep_preimage(self, preimage: PreImage) -> None: ...


@dataclass(frozen=True, slots=True)
class CallHome:
    """Where the calls of a reply belong. `parent_id` and `agent` are those of a sub-agent that makes them."""

    turn_id: int
    session_id: str
    token: CancelToken
    registry: Registry
    desk: Desk
    emit: Callable[[Event], None]
    stragglers: set[asyncio.Task[Any]]
    record: CallRecord
    parent_id: str | None = None
    agent: str = ""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A call whose tool is known and whose arguments have been read."""

    call: Call
    tool: Tool[Any]
    arguments: Any
    concurrent: bool


class Calls:
    """The calls of one reply. `name` while it streams, `run` when it is whole, `abandon` if it never is."""

    def __init__(self, home: CallHome) -> None:
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Call] = {}
        self._closed = False
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    @property
    def ids(self) -> dict[int, str]:
        """The ids in use, by the provider's index."""
        return {index: call.call_id for index, call in self._calls.items()}

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """One result for each call, in the order of their naming. Every call must have ended."""
        return tuple(call.result for call in self._calls.values())

    @property
    def all(self) -> tuple[Call, ...]:
        return tuple(self._calls.values())

    # -- while the reply streams --

    def name(self, index: int, given_id: str, name: str) -> None:
        """The model has named a call: it is listed, and can be stopped, from now on (S1, S3)."""
        home = self._home
        operation = home.registry.open(
            home.session_id,
            OperationKind.CALL,
            name or "(no name)",
            home.token,
            call_id=self._free_id(given_id),
            parent_id=home.parent_id,
            phase=Phase.BEFORE_CALL,
        )
        home.desk.call_ids.add(operation.call_id)
        approval = Approval(home.desk, self._emit, home.turn_id, operation, home.agent)
        call = self._calls[index] = Call(operation, name, approval, home.token)
        self._emit(CallNamed(home.turn_id, call.call_id, call.name, home.parent_id))
        # A queued call ends with its stop and not when its turn comes (S4).
        call.drop = operation.token.on_cancel(
            lambda _: _ignore(self._loop.call_soon_threadsafe(self._drop, call))
        )

    def _free_id(self, given_id: str) -> str:
        taken = self._home.desk.call_ids
        if given_id and given_id not in taken:
            return given_id
        stem = f"{given_id}_" if given_id else "call_"
        while (free := stem + uuid.uuid4().hex[:8]) in taken:
            pass
        return free

    def _emit(self, event: Event) -> None:
        if not self._closed:
            self._home.emit(event)

    def _drop(self, call: Call) -> None:
        if call.told is None and call.work is None and not self._closed:
            self._end(call, call.unstarted(), OperationState.CANCELLED)

    # -- when it has ended --

    async def run(self, arguments: Mapping[int, str], tools: Mapping[str, Tool[Any]]) -> None:
        """Run the calls of a complete reply to their ends; never raises what a call raises.

        `arguments` are JSON texts by the provider's index. Cancelled from outside it leaves the calls to
        `abandon`.
        """
        for index, text in arguments.items():
            self._calls[index].arguments = text
        waiting = [call for call in self._calls.values() if call.told is None]
        ready = [entry for call in waiting if (entry := self._prepare(call, tools)) is not None]
        attending = [
            self._loop.create_task(self._attend(entry, before), name=f"call {entry.call.call_id}")
            for entry, before in _in_order(ready)
        ]
        try:
            if attending:
                await asyncio.wait(attending)
        finally:
            for task in attending:
                if not task.done():
                    task.cancel()

    def abandon(self, arguments: Mapping[int, str], reason: CancelReason | None) -> None:
        """Give every call that has none a result, now: the turn is over. Nothing is told of it later (U8).

        `reason` is why the reply was stopped; None if nobody stopped it.
        """
        for index, call in self._calls.items():
            call.arguments = arguments[index]
            if call.told is not None:
                continue
            call.approval.close()
            if call.work is None:
                self._end(call, call.unstarted(reason), OperationState.CANCELLED)
            elif call.work.done():
                self._tell_end(call, call.outcome(call.work))
            else:
                # At once, and not when the task that attends to it gets round to it.
                call.operation.token.cancel(CancelReason(Cause.QUIT, END_OF_PROGRAM))
                self._tell_end(call, call.stopped(unconfirmed=True))
        self._closed = True

    def _prepare(self, call: Call, tools: Mapping[str, Tool[Any]]) -> _Ready | None:
        """Find the tool and read the arguments. What is wrong with them goes back to the model."""
        from pydantic import ValidationError

        tool = tools.get(call.name)
        if tool is None:
            self._end(call, failed(_no_such_tool(call.name, tools)), OperationState.ERROR)
            return None
        fields = read_arguments(call.arguments)
        if fields is None:
            error = f"The arguments of {call.name} are no JSON object. Call it again with valid JSON."
            self._end(call, failed(error), OperationState.ERROR)
            return None
        try:
            arguments = tool.arguments.model_validate(fields)
            title = tool.title(arguments, self._home.desk.workspace)
            concurrent = tool.concurrent(arguments)
        except ValidationError as error:
            self._end(call, failed(_invalid(call.name, error)), OperationState.ERROR)
            return None
        except Exception as error:  # noqa: BLE001 - a tool's fault must stay its own
            self._end(call, call.failure(error), OperationState.INTERNAL_ERROR)
            return None
        call.title = " ".join(title[:TITLE_LIMIT].split())
        call.operation.detail = call.title
        return _Ready(call, tool, arguments, concurrent)

    async def _attend(self, entry: _Ready, before: tuple[Call, ...]) -> None:
        """See one call to its end and write its result."""
        call = entry.call
        if call.told is not None:
            return
        try:
            self._tell_end(call, await self._supervised(entry, before))
        except Exception as error:  # noqa: BLE001 - whatever it is, the call gets its result
            self._tell_end(call, call.failure(error))

    async def _supervised(self, entry: _Ready, before: tuple[Call, ...]) -> Told:
        call = entry.call
        work = self._loop.create_task(self._work(entry, before), name=f"work of {call.call_id}")
        call.work = work
        work.add_done_callback(lambda done: _look_at(done, call.operation))
        graces = Graces(entry.tool.grace_s, FORCED_GRACE_S)
        done = await supervise(work, call.operation.token, graces, self._home.stragglers)
        return call.outcome(work) if done else call.stopped(unconfirmed=True)

    async def _work(self, entry: _Ready, before: tuple[Call, ...]) -> ToolOutput:
        call, tool, home = entry.call, entry.tool, self._home
        try:
            with call.operation as operation, operation.token.bind():
                for other in before:
                    await other.done.wait()
                async with self._places:
                    self._emit(CallStarted(home.turn_id, call.call_id, call.title))
                    context = self._context(call)
                    await call.approval.permit(
                        call.name,
                        tool.access(entry.arguments, home.desk.workspace),
                        lambda: tool.preview(entry.arguments, context),
                    )
                    await home.record.begin_call(call.call_id)
                    operation.start(Phase.IN_CALL)
                    call.began_at = time.monotonic()
                    if (seconds := tool.deadline_s(entry.arguments)) is not None:
                        operation.limit(seconds)
                    return await tool.run(entry.arguments, context)
        finally:
            call.ended_at = time.monotonic()

    def _context(self, call: Call) -> ToolContext:
        from core.tools.base import ToolContext

        async def ask(access: Access) -> None:
            # The person's time is not the call's.
            left = call.operation.unlimit()
            await call.approval.permit(call.name, access)
            call.operation.enter(Phase.IN_CALL)
            if left is not None:
                call.operation.limit(left)

        def tell(text: str) -> None:
            self._emit(Notice(text))

        async def keep(preimage: PreImage) -> None:
            # Only an edit needs it, and has it imported by then.
            from core.file_history import keep_in_time

            await keep_in_time(preimage, self._home.record.keep_preimage, tell)

        return ToolContext(
            turn_id=self._home.turn_id,
            call_id=call.call_id,
            token=call.operation.token,
            workspace=self._home.desk.workspace,
            progress=call.operation.progress,
            ask=ask,
            keep_preimage=keep,
            tell=tell,
        )

    # -- ends --

    def _end(self, call: Call, told: Told, state: OperationState) -> None:
        """End a call whose work never began."""
        call.operation.end(state)
        self._tell_end(call, told)

    def _tell_end(self, call: Call, told: Told) -> None:
        if call.told is not None or self._closed:
            return
        call.told = told
        self._home.record.take(call.result)
        survivors = call.operation.progress.survivors
        self._home.desk.survivors.update((survivor.pid, survivor) for survivor in survivors)
        call.done.set()
        if call.drop is not None:
            call.drop.close()
        self._emit(
            CallEnded(
                self._home.turn_id,
                call.call_id,
                call.name,
                call.title,
                told.status,
                told.shown,
                call.arguments,
                call.seconds,
                told.proof,
                self._home.parent_id,
            )
        )


def _in_order(ready: Iterable[_Ready]) -> Iterator[tuple[_Ready, tuple[Call, ...]]]:
    """Each call with those that must have ended before it begins."""
    changing: list[Call] = []
    before: list[Call] = []
    for entry in ready:
        if entry.concurrent:
            yield entry, tuple(changing)
        else:
            # All of them and not the last alone: that one may be stopped while it waits for the others.
            yield entry, tuple(before)
            changing.append(entry.call)
        before.append(entry.call)


def _look_at(work: asyncio.Task[ToolOutput], operation: Operation) -> None:
    """The end of the task of a call, also of one that was cancelled before its first step (S9)."""
    if operation.state.live:
        operation.end(OperationState.CANCELLED)
    if not work.cancelled():
        work.exception()  # looked at, for who waited for it may be gone


def _no_such_tool(name: str, tools: Mapping[str, Tool[Any]]) -> str:
    known = ", ".join(sorted(tools)) or "none"
    return f"There is no tool {name!r}. The tools are: {known}."


def _invalid(name: str, error: Any) -> str:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    return f"The arguments of {name} are not valid: {problems}. Call it again with these mended."


def _ignore(_: object) -> None:
    return None
