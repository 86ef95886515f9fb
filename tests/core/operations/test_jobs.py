"""Background jobs: no stop of a turn reaches them, their own control does, and nothing waits for them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import core.operations.jobs
from core.cancel import CancelReason, CancelToken, Cause
from core.model.messages import FinishReason, Usage, UserMessage
from core.model.provider import Finished, ModelRequest, Phase, TextDelta, ToolCallDelta
from core.operations.jobs import JobContext, JobKind, Jobs
from core.operations.operation import CancelAnswer, OperationKind, OperationState
from core.operations.registry import Registry
from core.operations.session_operations import SessionOperations
from core.operations.supervise import Graces
from tests.support.bound_tasks import rounds
from tests.support.scripted_models import (
    DONE,
    ENDLESS,
    ESCAPE,
    MODEL,
    NO_KEY,
    QUIT,
    REPLY,
    REPLY_TEXT,
    SHORT,
    SOME,
    USAGE,
    Break,
    CancelItself,
    Conversation,
    Deaf,
    Hold,
    Script,
    ScriptedProvider,
    Swallow,
    say,
)
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.provider import Emit
    from core.operations.operation import OperationView

REQUEST = ModelRequest(MODEL, (UserMessage("name it"),))
STOP = CancelReason(Cause.USER, "panel")
QUICK = Graces(SHORT, SHORT)
SLOW = Graces(ENDLESS, ENDLESS)
CALL = ToolCallDelta(0, "{}", "id", "shell")
HUNG: Script = (*SOME, Hold())


class CallPolicy:
    """The jobs of one session, what they brought, and what they cost."""

    def __init__(self, *scripts: Script, graces: Graces = SLOW, registry: Registry | None = None) -> None:
        self.provider = ScriptedProvider(*scripts)
        self.registry = registry or Registry()
        self.stragglers: set[asyncio.Task[Any]] = set()
        self.answers: list[str] = []
        self.spent: list[Usage] = []
        self.jobs = self.make(graces)

    def make(self, graces: Graces = SLOW, *, enabled: bool = True) -> Jobs:
        return Jobs(
            "s",
            self.provider,
            self.registry,
            self.stragglers,
            spend=lambda usage, asked, answered: self.spent.append(usage),
            enabled=enabled,
            graces=graces,
        )

    async def ask(self, asking: JobContext) -> None:
        self.answers.append(await asking.complete(REQUEST))

    def start(self, kind: JobKind = JobKind.TITLE) -> bool:
        return self.jobs.start(kind, self.ask, detail=MODEL)

    def views(self) -> tuple[OperationView, ...]:
        return self.registry.snapshot("s")

    async def waiting(self) -> None:
        async with asyncio.timeout(GENEROUS_S):
            await self.provider.waiting.wait()

    async def until(self, state: Callable[[], bool]) -> None:
        deadline = time.monotonic() + GENEROUS_S
        while not state():
            assert time.monotonic() < deadline
            await asyncio.sleep(0)

    async def ended(self) -> None:
        """Wait until no job is left, and see that nothing of it is."""
        async with asyncio.timeout(GENEROUS_S):
            while tasks := self.jobs.tasks:
                await asyncio.wait(tasks)
        await rounds()
        assert self.views() == ()
        assert not self.stragglers
        assert self.provider.streaming == 0


@pytest.mark.promise("C4", "S9", "H6")
async def test_a_job_is_listed_while_it_runs_brings_its_answer_and_leaves_nothing() -> None:
    desk = CallPolicy(REPLY)
    assert desk.start()
    (view,) = desk.views()
    assert (view.kind, view.title, view.detail) == (OperationKind.JOB, "title", MODEL)
    await desk.until(lambda: any(view.phase is Phase.STREAMING for view in desk.views()))
    (view,) = desk.views()
    assert view.state is OperationState.RUNNING
    assert view.deadline_at is not None
    await desk.ended()
    assert desk.answers == [REPLY_TEXT]
    assert desk.spent == [USAGE]
    assert desk.registry.records == ()


@pytest.mark.promise("C4")
async def test_esc_stops_the_turn_and_no_job_which_its_own_control_does() -> None:
    registry = Registry()
    talk = Conversation(HUNG, registry=registry)
    desk = CallPolicy(HUNG, registry=registry)
    session = talk.session
    desk.jobs = Jobs(
        session.session_id,
        desk.provider,
        registry,
        desk.stragglers,
        spend=lambda usage, asked, answered: desk.spent.append(usage),
        graces=SLOW,
    )
    desk.start()
    await desk.waiting()
    assert session.stop(ESCAPE) is False
    await talk.stopped()
    assert session.force() is False
    await rounds()
    (view,) = session.operations.snapshot()
    assert (view.kind, view.state) == (OperationKind.JOB, OperationState.RUNNING)
    result = await session.operations.cancel_and_wait(view.call_id, STOP, wait=GENEROUS_S)
    assert result.answer is CancelAnswer.CANCELLED
    await desk.ended()
    assert desk.answers == []
    assert desk.spent == []
    assert registry.records[-1].reason is STOP
    assert registry.records[-1].phase is Phase.STREAMING
    assert (await talk.stopped()).outcome.value == "cancelled"


class TokenProvider(ScriptedProvider):
    """No cancel of a task reaches it: it ends by the token that it was given, and by nothing else."""

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        self.waiting.set()
        with anyio.CancelScope(shield=True):
            await token.wait_cancelled()
        token.check()
        raise AssertionError("the token was not cancelled")


@pytest.mark.promise("C4")
async def test_the_provider_has_the_token_of_the_job() -> None:
    desk = CallPolicy()
    desk.provider = TokenProvider()
    desk.jobs = desk.make()
    desk.start()
    await desk.waiting()
    SessionOperations(desk.registry, "s").cancel(desk.views()[0].call_id, STOP)
    await desk.ended()
    assert [record.state for record in desk.registry.records] == [OperationState.CANCELLED]


@pytest.mark.promise("C4", "T7")
async def test_jobs_wait_for_each_other_and_each_can_be_stopped_before_it_begins() -> None:
    desk = CallPolicy(HUNG, REPLY)
    desk.start(JobKind.MEMORY)
    await desk.waiting()
    desk.start(JobKind.TITLE)
    await rounds()
    running, waiting = desk.views()
    assert (running.state, waiting.state) == (OperationState.RUNNING, OperationState.SCHEDULED)
    assert len(desk.provider.requests) == 1
    await SessionOperations(desk.registry, "s").cancel_and_wait(waiting.call_id, STOP, wait=GENEROUS_S)
    assert desk.views() == (running,)
    desk.start(JobKind.TITLE)
    SessionOperations(desk.registry, "s").cancel(running.call_id, STOP)
    await desk.ended()
    assert desk.answers == [REPLY_TEXT]


@pytest.mark.parametrize(
    ("kind", "answers"), [(JobKind.TITLE, ["third"]), (JobKind.MEMORY, ["first", "third"])]
)
async def test_a_newer_title_replaces_all_before_it_and_a_newer_memory_what_waits(
    kind: JobKind, answers: list[str]
) -> None:
    open_end = Deaf()
    script = (TextDelta("first"), open_end, DONE) if kind is JobKind.MEMORY else HUNG
    desk = CallPolicy(script, say("third"))
    desk.start(kind)
    await desk.waiting()
    desk.start(kind)
    desk.start(kind)
    open_end.released.set()
    await desk.ended()
    assert desk.answers == answers
    assert len(desk.provider.requests) == 2


@pytest.mark.promise("C4", "U10")
@pytest.mark.parametrize("script", [HUNG, (*SOME, Swallow(), DONE), (Break(ValueError("torn")),)])
async def test_quitting_ends_the_running_and_the_waiting_and_none_starts_after_it(script: Script) -> None:
    desk = CallPolicy(script)
    desk.start(JobKind.MEMORY)
    await desk.waiting()
    desk.start(JobKind.TITLE)
    desk.jobs.token.cancel(QUIT)
    assert desk.start() is False
    await desk.ended()
    assert desk.answers == []
    assert desk.spent == []
    assert {record.reason for record in desk.registry.records} == {QUIT}
    assert len(desk.registry.records) == 2


@pytest.mark.promise("C4", "U10", "S1")
@pytest.mark.parametrize("reason", [STOP, QUIT], ids=["its own stop", "quit"])
async def test_a_deaf_provider_holds_neither_the_end_nor_the_next_job(reason: CancelReason) -> None:
    deaf = Deaf()
    desk = CallPolicy((*SOME, deaf, TextDelta("late"), DONE), REPLY, graces=QUICK)
    desk.start(JobKind.MEMORY)
    await desk.waiting()
    (view,) = desk.views()
    if reason is QUIT:
        desk.jobs.token.cancel(reason)
    else:
        SessionOperations(desk.registry, "s").cancel(view.call_id, reason)
        assert desk.start(JobKind.TITLE)
    await desk.until(lambda: not desk.jobs.tasks)
    assert desk.answers == ([] if reason is QUIT else [REPLY_TEXT])
    (left,) = desk.views()
    assert (left.call_id, left.state) == (view.call_id, OperationState.STOPPING)
    assert len(desk.stragglers) == 1
    spent = list(desk.spent)
    deaf.released.set()
    await desk.until(lambda: not desk.stragglers)
    await desk.ended()
    assert desk.spent == spent
    assert "late" not in "".join(desk.answers)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ((*SOME, NO_KEY), "no key"),
        ((*SOME, ValueError("torn")), "failed unexpectedly"),
        ((*SOME, CancelItself()), ""),
        ((*SOME, Finished(FinishReason.LENGTH, USAGE, MODEL)), "not whole: cut by length"),
        ((*SOME, Finished(FinishReason.OTHER, USAGE, MODEL)), "not whole: ended for an unknown reason"),
        ((DONE,), "not whole: empty"),
        (
            (ToolCallDelta(0, "{}", "id", "shell"), Finished(FinishReason.TOOL_CALLS, USAGE, MODEL)),
            "not whole",
        ),
    ],
)
async def test_what_fails_is_a_line_in_the_log_and_the_next_job_runs(
    script: Script, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    desk = CallPolicy(script, REPLY)
    desk.start(JobKind.MEMORY)
    desk.start(JobKind.TITLE)
    await desk.ended()
    assert desk.answers == [REPLY_TEXT]
    assert told in caplog.text
    assert all("part" not in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == bool(told)


async def test_a_model_that_cannot_stop_talking_is_stopped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(core.operations.jobs, "MOST_CHARACTERS", 10)
    desk = CallPolicy((TextDelta("12345"), TextDelta("123456"), Hold()))
    desk.start()
    await desk.ended()
    assert desk.answers == []
    assert "longer than 10 characters" in caplog.text
    assert desk.registry.records == ()


async def test_a_job_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.operations.jobs, "DEADLINE_S", SHORT)
    desk = CallPolicy(HUNG)
    desk.start()
    await desk.ended()
    assert [record.reason.cause for record in desk.registry.records] == [Cause.DEADLINE]


async def test_none_is_started_where_they_are_off() -> None:
    desk = CallPolicy(REPLY)
    desk.jobs = desk.make(enabled=False)
    assert desk.start() is False
    assert desk.views() == ()
    assert desk.provider.requests == []


@pytest.mark.promise("T5", "S9")
@pytest.mark.parametrize("steps", range(9))
def test_the_end_of_the_event_loop_leaves_nothing(steps: int, caplog: pytest.LogCaptureFixture) -> None:
    desks: list[CallPolicy] = []

    async def main() -> None:
        desk = CallPolicy(REPLY)
        desks.append(desk)
        desk.start(JobKind.MEMORY)
        desk.start(JobKind.TITLE)
        await rounds(steps)

    asyncio.run(main())
    (desk,) = desks
    assert desk.views() == ()
    assert desk.jobs.tasks == ()
    assert caplog.text == ""


async def test_the_token_of_the_jobs_is_nobodys_child() -> None:
    token: CancelToken = CallPolicy(REPLY).jobs.token
    assert token.parent is None
