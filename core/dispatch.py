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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from core.approval import Approval
from core.cancel import Cancelled, CancelReason, Cause
from core.errors import CaesuraError
from core.events import (
    CallEnded,
    CallNamed,
    CallStarted,
    Event,
    StopProof,
)
from core.messages import ResultStatus, ToolResult, read_arguments
from core.model import Phase
from core.operations import OperationKind, OperationState
from core.permissions import Denied
from core.results import Told, completed, denied, failed, not_started, stopped
from core.supervision import END_OF_PROGRAM, Graces, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.access import Access
    from core.approval import Desk
    from core.cancel import CancelToken, Registration
    from core.model import ToolSpec
    from core.operations import Operation, Registry
    from core.tools.base import Tool, ToolContext, ToolOutput

log = logging.getLogger(__name__)

FORCED_GRACE_S = 0.5
"""How long a call may take to end after its second stop, which kills what it has started (S11)."""


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
    parent_id: str | None = None
    agent: str = ""


class Call:
    """One call. `told` is its result, from the moment that it has one; it never changes after."""

    def __init__(self, operation: Operation, name: str, approval: Approval) -> None:
        self.operation = operation
        self.approval = approval
        self.name = name
        self.arguments = ""
        self.title = ""
        self.told: Told | None = None
        self.began_at: float | None = None
        self.ended_at: float | None = None
        self.done = asyncio.Event()
        self.drop: Registration | None = None
        self.work: asyncio.Task[ToolOutput] | None = None

    @property
    def call_id(self) -> str:
        return self.operation.call_id

    @property
    def result(self) -> ToolResult:
        assert self.told is not None
        return ToolResult(self.call_id, self.name, self.told.status, self.told.text)


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
        call = self._calls[index] = Call(operation, name, approval)
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
            self._end(call, self._not_started(call), OperationState.CANCELLED)

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
            self._loop.create_task(
                self._attend(entry, _before(entry, ready[:place])), name=f"call {entry.call.call_id}"
            )
            for place, entry in enumerate(ready)
        ]
        try:
            if attending:
                await asyncio.wait(attending)
        finally:
            for task in attending:
                task.cancel()

    def abandon(self, arguments: Mapping[int, str]) -> None:
        """Give every call that has none a result, now: the turn is over. Nothing is told of it later (U8)."""
        for index, call in self._calls.items():
            call.arguments = arguments[index]
            if call.told is not None:
                continue
            # At once, and not when the task that attends to it gets round to it.
            call.operation.token.cancel(CancelReason(Cause.QUIT, END_OF_PROGRAM))
            call.approval.close()
            if call.work is None:
                self._end(call, self._not_started(call), OperationState.CANCELLED)
            else:
                self._tell_end(call, self._stopped(call, unconfirmed=True))
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
        except ValidationError as error:
            self._end(call, failed(_invalid(call.name, error)), OperationState.ERROR)
            return None
        try:
            call.title = tool.title(arguments, self._home.desk.workspace)
            concurrent = tool.concurrent(arguments)
        except Exception as error:  # noqa: BLE001 - a tool's fault must stay its own
            self._end(call, self._failure(call, error), OperationState.INTERNAL_ERROR)
            return None
        call.operation.detail = call.title
        return _Ready(call, tool, arguments, concurrent)

    async def _attend(self, entry: _Ready, before: tuple[Call, ...]) -> None:
        """See one call to its end and write its result."""
        call = entry.call
        if call.told is not None:
            return
        call.work = self._loop.create_task(self._work(entry, before), name=f"work of {call.call_id}")
        call.work.add_done_callback(lambda work: _look_at(work, call.operation))
        graces = Graces(entry.tool.grace_s, FORCED_GRACE_S)
        done = await supervise(call.work, call.operation.token, graces, self._home.stragglers)
        self._tell_end(
            call, self._outcome(call, call.work) if done else self._stopped(call, unconfirmed=True)
        )

    async def _work(self, entry: _Ready, before: tuple[Call, ...]) -> ToolOutput:
        call, tool, home = entry.call, entry.tool, self._home
        try:
            with call.operation as operation, operation.token.bind():
                for other in before:
                    await other.done.wait()
                self._emit(CallStarted(home.turn_id, call.call_id, call.title))
                context = self._context(call)
                await call.approval.permit(
                    call.name,
                    tool.access(entry.arguments, home.desk.workspace),
                    lambda: tool.preview(entry.arguments, context),
                )
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
            await call.approval.permit(call.name, access)
            call.operation.enter(Phase.IN_CALL)

        return ToolContext(
            turn_id=self._home.turn_id,
            call_id=call.call_id,
            token=call.operation.token,
            workspace=self._home.desk.workspace,
            progress=call.operation.progress,
            ask=ask,
        )

    # -- ends --

    def _outcome(self, call: Call, work: asyncio.Task[ToolOutput]) -> Told:
        """What came of it. A result that is there counts, also in the tick of a stop (S6)."""
        error = None if work.cancelled() else work.exception()
        if not work.cancelled() and error is None:
            return completed(work.result())
        token = call.operation.token
        if isinstance(error, Denied):
            return denied(error)
        if token.cancelled:
            if error is not None and not isinstance(error, Cancelled):
                log.info("call %s failed while it was being stopped: %r", call.call_id, error)
            return self._not_started(call) if call.began_at is None else self._stopped(call)
        return self._failure(call, error)

    def _failure(self, call: Call, error: BaseException | None) -> Told:
        if isinstance(error, CaesuraError):
            return failed(str(error), call.operation.progress)
        log.error("the tool %s failed unexpectedly", call.name, exc_info=error)
        return failed(
            f"The tool {call.name} failed inside Caesura; its effects are unknown.", call.operation.progress
        )

    def _not_started(self, call: Call) -> Told:
        reason = call.operation.token.reason
        return not_started(
            reason, alone=self._alone(reason), asked=call.approval.asked, proof=self._proof(call, reason)
        )

    def _stopped(self, call: Call, *, unconfirmed: bool = False) -> Told:
        reason = call.operation.token.reason or CancelReason(Cause.QUIT, END_OF_PROGRAM)
        seconds = (call.ended_at or time.monotonic()) - (call.began_at or call.operation.opened_at)
        proof = self._proof(call, reason, unconfirmed=unconfirmed)
        return stopped(reason, seconds, call.operation.progress, alone=self._alone(reason), proof=proof)

    def _alone(self, reason: CancelReason | None) -> bool:
        """Whether this call was stopped by itself and not with its turn."""
        return reason is not None and reason is not self._home.token.reason

    def _proof(
        self, call: Call, reason: CancelReason | None, *, unconfirmed: bool = False
    ) -> StopProof | None:
        if reason is None:
            return None
        progress = call.operation.progress
        named = (*((call.title or call.name,) if unconfirmed else ()), *progress.unconfirmed)
        ended = progress.ended
        at = call.ended_at or time.monotonic()
        after = None if named or ended.alive else max(0.0, at - reason.at)
        return StopProof(reason.source, after, None, named, ended.processes, ended.alive)

    def _end(self, call: Call, told: Told, state: OperationState) -> None:
        """End a call whose work never began."""
        call.operation.end(state)
        self._tell_end(call, told)

    def _tell_end(self, call: Call, told: Told) -> None:
        if call.told is not None or self._closed:
            return
        call.told = told
        survivors = call.operation.progress.survivors
        self._home.desk.survivors.update((survivor.pid, survivor) for survivor in survivors)
        call.done.set()
        if call.drop is not None:
            call.drop.close()
        ended_at = call.ended_at or time.monotonic()
        self._emit(
            CallEnded(
                self._home.turn_id,
                call.call_id,
                call.name,
                call.title,
                told.status,
                told.shown,
                call.arguments,
                None if call.began_at is None else ended_at - call.began_at,
                told.proof if told.status in (ResultStatus.STOPPED, ResultStatus.NOT_STARTED) else None,
                self._home.parent_id,
            )
        )


def _before(entry: _Ready, earlier: list[_Ready]) -> tuple[Call, ...]:
    """The calls that must have ended before this one begins."""
    return tuple(other.call for other in earlier if not (entry.concurrent and other.concurrent))


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
