"""The calls of one reply: named, ordered, asked about, run, stopped one by one, each with one true result.

A call is an operation from the moment the model names it (S1). Calls that change nothing run at the same
time as their neighbours, the others wait for all before them. Stopping one touches no other (S5). Whatever
happens, every call ends once, with one of five results (H4, H5): completed, failed, denied, stopped, not
started.

Only the work of a call is bound to a token: the code that writes the results must outlive a stop.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from core.base.values import Value
from core.cancel import END_OF_PROGRAM, CancelReason, Cause
from core.engine.approval import Approval
from core.engine.call import Call
from core.engine.results import cut_off, invalid_arguments, no_json_object, no_such_tool, not_whole
from core.model.messages import ToolResult, read_arguments
from core.model.provider import Phase
from core.operations.events import CallEnded, CallNamed, CallStarted, Notice
from core.operations.operation import OperationKind, OperationState
from core.operations.supervise import Graces, start_operation, supervise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from core.engine.results import CallOutcome
    from core.engine.tool import Tool, ToolContext, ToolOutput
    from core.engine.turn import Turn, TurnServices
    from core.model.reply_end import ReplyEnd
    from core.operations.events import Event
    from core.operations.operation import LateEnd
    from core.permissions.access import Access
    from core.storage.records import PreImage

log = logging.getLogger(__name__)

FORCED_GRACE_S = 0.5
"""How long a call may take to end after its second stop, which kills what it has started (S11)."""

MOST_AT_ONCE = 32
"""How many calls of one reply run at the same time; the others wait for a place."""

TITLE_LIMIT = 400
"""Characters of a title: it is shown on one line, and looked at ten times a second."""


class _ResolvedCall(Value):
    """A call whose tool is known and whose arguments have been read."""

    call: Call
    tool: Tool[Any]
    arguments: Any
    concurrent: bool


class Calls:
    """The calls of one reply. `name` while it streams, `run` when it is whole, `abandon` if it never is."""

    def __init__(self, turn: Turn, services: TurnServices) -> None:
        self._turn = turn
        self._services = services
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

    def name(self, index: int, given_id: str, name: str) -> None:
        """The model has named a call: it is listed, and can be stopped, from now on (S1, S3)."""
        turn, services = self._turn, self._services
        operation = services.registry.open(
            services.session_id,
            OperationKind.CALL,
            name or "(no name)",
            turn.token,
            call_id=self._free_id(given_id),
            parent_id=services.parent_id,
            phase=Phase.BEFORE_CALL,
        )
        services.policy.call_ids.add(operation.call_id)
        approval = Approval(services.policy, self._emit, turn.turn_id, operation, services.agent)
        call = self._calls[index] = Call(operation, name, approval, turn.token)
        self._emit(CallNamed(turn.turn_id, call.call_id, call.name, services.parent_id))

        def drop(_: CancelReason) -> None:
            self._loop.call_soon_threadsafe(self._drop, call)

        # A queued call ends with its stop and not when its turn comes (S4).
        call.drop = operation.token.on_cancel(drop)

    def _free_id(self, given_id: str) -> str:
        taken = self._services.policy.call_ids
        if given_id and given_id not in taken:
            return given_id
        stem = f"{given_id}_" if given_id else "call_"
        while (free := stem + uuid.uuid4().hex[:8]) in taken:
            pass
        return free

    def _emit(self, event: Event) -> None:
        if not self._closed:
            self._services.emit(event)

    def _drop(self, call: Call) -> None:
        if call.outcome is None and call.work is None and not self._closed:
            self._end(call, call.unstarted(), OperationState.CANCELLED)

    async def run(
        self, arguments: Mapping[int, str], tools: Mapping[str, Tool[Any]], *, cut: bool = False
    ) -> None:
        """Run the calls of a reply that has ended to their ends; never raises what a call raises.

        `arguments` are JSON texts by the provider's index. If the output limit has `cut` the reply, what it
        was cut in does not run. Cancelled from outside it leaves the calls to `abandon`.
        """
        for index, text in arguments.items():
            self._calls[index].arguments = text
        if cut:
            self._end_cut_calls()
        waiting = [call for call in self._calls.values() if call.outcome is None]
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

    def _end_cut_calls(self) -> None:
        """The last call was being written, also if it looks whole: a provider may have closed it. An earlier
        one was too if several were written at once."""
        *earlier, last = self._calls.values()
        for call in (*(call for call in earlier if read_arguments(call.arguments) is None), last):
            if call.outcome is None:
                self._end(call, cut_off(), OperationState.ERROR)

    def abandon(
        self, arguments: Mapping[int, str], reason: CancelReason | None, end: ReplyEnd | None = None
    ) -> None:
        """Give each call without a result one now: none runs any more. Nothing is published later (U8).

        `reason` is why the reply was stopped, `end` how it ended if it was not.
        """
        for index, call in self._calls.items():
            call.arguments = arguments[index]
            if call.outcome is not None:
                continue
            call.approval.close()
            if call.work is None:
                outcome = call.unstarted(reason) if end is None else not_whole(end)
                self._end(call, outcome, OperationState.CANCELLED)
            elif call.work.done():
                self._publish_end(call, call.outcome_of(call.work))
            else:
                # At once, and not when the task that attends to it gets round to it.
                call.operation.token.cancel(CancelReason(Cause.QUIT, END_OF_PROGRAM))
                self._publish_end(call, call.stopped(unconfirmed=True))
        self._closed = True

    def _prepare(self, call: Call, tools: Mapping[str, Tool[Any]]) -> _ResolvedCall | None:
        """Find the tool and read the arguments. What is wrong with them goes back to the model."""
        from pydantic import ValidationError

        tool, fields = tools.get(call.name), read_arguments(call.arguments)
        if tool is None or fields is None:
            wrong = no_such_tool(call.name, tools) if tool is None else no_json_object(call.name)
            self._end(call, wrong, OperationState.ERROR)
            return None
        try:
            arguments = tool.arguments.model_validate(fields)
            title = tool.title(arguments, self._services.policy.workspace)
            concurrent = tool.concurrent(arguments)
        except ValidationError as error:
            self._end(call, invalid_arguments(call.name, error), OperationState.ERROR)
            return None
        except Exception as error:  # noqa: BLE001 - a tool's fault must stay its own
            self._end(call, call.failure(error), OperationState.INTERNAL_ERROR)
            return None
        call.title = " ".join(title[:TITLE_LIMIT].split())
        call.operation.detail = call.title
        return _ResolvedCall(call, tool, arguments, concurrent)

    async def _attend(self, entry: _ResolvedCall, before: tuple[Call, ...]) -> None:
        """Run one call to its end and write its result."""
        call = entry.call
        if call.outcome is not None:
            return
        try:
            work = call.work = start_operation(call.operation, lambda: self._work(entry, before))
            graces = Graces(entry.tool.grace_s, FORCED_GRACE_S)
            done = await supervise(work, call.operation.token, graces, self._services.abandoned_tasks)
            outcome = call.outcome_of(work) if done else call.stopped(unconfirmed=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call gets its result
            outcome = call.failure(error)
        self._publish_end(call, outcome)

    async def _work(self, entry: _ResolvedCall, before: tuple[Call, ...]) -> ToolOutput:
        call, tool, services = entry.call, entry.tool, self._services
        try:
            for other in before:
                await other.done.wait()
            async with self._places:
                self._emit(CallStarted(self._turn.turn_id, call.call_id, call.title))
                context = self._context(call)
                await call.approval.permit(
                    call.name,
                    tool.access(entry.arguments, services.policy.workspace),
                    lambda: tool.preview(entry.arguments, context),
                )
                await services.record.begin_call(call.call_id)
                call.operation.start(Phase.IN_CALL)
                call.began_at = time.monotonic()
                if (seconds := tool.deadline_s(entry.arguments)) is not None:
                    call.operation.limit(seconds)
                return await tool.run(entry.arguments, context)
        finally:
            call.ended_at = time.monotonic()

    def _context(self, call: Call) -> ToolContext:
        from core.engine.tool import ToolContext

        async def ask(access: Access) -> None:
            # The person's time is not the call's.
            left = call.operation.unlimit()
            await call.approval.permit(call.name, access)
            call.operation.phase = Phase.IN_CALL
            if left is not None:
                call.operation.limit(left)

        def notify(text: str) -> None:
            self._emit(Notice(text))

        def await_end(name: str, end: asyncio.Future[LateEnd]) -> None:
            call.operation.await_end(name, end)
            end.add_done_callback(self._tell_late_end)

        async def keep(preimage: PreImage) -> None:
            # Only an edit needs it, and has it imported by then.
            from core.storage.file_history import keep_in_time

            await keep_in_time(preimage, self._services.record.keep_preimage, notify)

        return ToolContext(
            turn_id=self._turn.turn_id,
            call_id=call.call_id,
            token=call.operation.token,
            workspace=self._services.policy.workspace,
            progress=call.operation.progress,
            ask=ask,
            keep_preimage=keep,
            notify=notify,
            await_end=await_end,
        )

    def _tell_late_end(self, end: asyncio.Future[LateEnd]) -> None:
        """Tell of an end that was confirmed after its call was left; its result stays as it was (U8)."""
        if end.cancelled() or end.exception() is not None:
            return
        late = end.result()
        self._services.emit(Notice(f"{late.text} It said: {late.said}" if late.said else late.text))
        self._services.note(f"[{late.text}]")

    def _end(self, call: Call, outcome: CallOutcome, state: OperationState) -> None:
        """End a call whose work never began."""
        call.operation.end(state)
        self._publish_end(call, outcome)

    def _publish_end(self, call: Call, outcome: CallOutcome) -> None:
        if call.outcome is not None or self._closed:
            return
        call.outcome = outcome
        self._services.record.take(call.result)
        self._services.policy.unkilled.add(call.operation.progress.survivors)
        call.done.set()
        if call.drop is not None:
            call.drop.close()
        self._emit(
            CallEnded(
                self._turn.turn_id,
                call.call_id,
                call.name,
                call.title,
                outcome.status,
                outcome.shown,
                call.arguments,
                call.seconds,
                outcome.proof,
                self._services.parent_id,
            )
        )


def _in_order(ready: Iterable[_ResolvedCall]) -> Iterator[tuple[_ResolvedCall, tuple[Call, ...]]]:
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
