"""What a person and a model are told of calls, where two things happen at once or something is broken."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, model_validator

from core.base.errors import CaesuraError
from core.base.threads import run_in_thread, start_in_thread
from core.cancel import CancelReason, CancelToken, Cause
from core.engine.turn import Limits
from core.model.messages import REMINDER, ResultStatus, ToolResults, UserMessage
from core.model.provider import ToolCallDelta
from core.operations.events import (
    Answer,
    AnswerKind,
    BackgroundEnded,
    CallEnded,
    Event,
    Notice,
    Outcome,
    StopReport,
)
from core.operations.operation import LateEnd, OperationState
from core.operations.progress import Ended
from core.operations.registry import Registry
from core.operations.session_operations import SessionOperations
from core.permissions.access import Access, AccessKind
from core.permissions.policy import Mode, Rules
from core.process.command import Command, CommandError
from core.process.containment import Containment
from core.session.background import BackgroundCommands
from tests.core.engine.test_dispatch import CLICK, Talk, asks, call, talk, task
from tests.support.scripted_models import ESCAPE, NO_KEY, Hold, say
from tests.support.scripted_tools import AskingTool, Do, PlayedArguments, PlayedTool
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from pathlib import Path

    from core.engine.tool import ToolContext, ToolOutput


class FailsLate(PlayedTool):
    """Fails by itself in the very step in which a stop comes, before that."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.stop: Any = None

    async def run(self, arguments: PlayedArguments, context: ToolContext) -> ToolOutput:
        asyncio.get_running_loop().call_soon(self.stop)
        raise CaesuraError("the file does not exist")


class WorksElsewhere(PlayedTool):
    """Asks for the end of its work elsewhere when it is stopped, and is left while that is not confirmed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ends: list[asyncio.Future[LateEnd]] = []

    async def run(self, arguments: PlayedArguments, context: ToolContext) -> ToolOutput:
        try:
            return await super().run(arguments, context)
        except asyncio.CancelledError:
            context.progress.note_stopping()
            self.ends.append(asyncio.get_running_loop().create_future())
            context.await_end("MCP server far", self.ends[-1])
            context.progress.say("still at it")
            raise


class Odd(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def break_it(cls, value: object) -> object:
        raise TypeError("bug")


class AsksOnItsWay(PlayedTool):
    """Begins, and then needs to be allowed something more."""

    async def run(self, arguments: PlayedArguments, context: ToolContext) -> ToolOutput:
        context.progress.say("sent half of it")
        await context.ask(Access(AccessKind.SERVER, "the rest"))
        return await super().run(arguments, context)


@pytest.mark.promise("S6", "H5", "T9")
async def test_a_call_that_had_failed_by_itself_has_failed() -> None:
    tool = FailsLate("read")
    conversation = talk(asks(call(0, say="a")), say("done"), tools=(tool,))
    tool.stop = lambda: conversation.session.stop(ESCAPE)
    ended = await conversation.turn("go")
    assert ended.outcome is Outcome.CANCELLED
    (told,) = conversation.results.values()
    assert (told.status, told.text) == (ResultStatus.FAILED, "Failed: the file does not exist")
    assert [record.reason for record in conversation.registry.records] == [ESCAPE]


@pytest.mark.promise("E6", "T9")
async def test_the_proof_of_a_turn_is_that_of_its_own_stop() -> None:
    """A call that was stopped by itself before has its own."""
    tool, other = PlayedTool("read"), PlayedTool("write")
    conversation = talk(
        asks(call(0, do=Do.HOLD, say="a"), call(1, "write", do=Do.HOLD, say="b")), tools=(tool, other)
    )
    await conversation.begin_calls(tool, "a")
    await conversation.running(other, "b")
    for view in conversation.session.operations.snapshot():
        operation = conversation.registry._live[view.session_id, view.call_id]
        operation.progress.note_ended(Ended(2))
    conversation.session.operations.cancel("id-0", CLICK)
    await conversation.until(lambda: "id-0" in conversation.cards())
    await conversation.stop()
    (ended,) = conversation.ended
    assert ended.proof is not None
    assert ended.proof.processes == 2
    assert [record.reason for record in conversation.registry.records] == [CLICK, ESCAPE]


@pytest.mark.promise("S12", "S1", "H5", "E6", "T9", "U8")
@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("alone", [True, False])
async def test_a_call_is_listed_until_its_end_elsewhere_is_seen(alone: bool, confirmed: bool) -> None:
    tool = WorksElsewhere("far")
    work = call(0, "far", do=Do.HOLD, say="a", seconds=3_600.0)
    conversation = talk(asks(work), say("done"), say("fine"), tools=(tool,))
    session = conversation.session
    await conversation.begin_calls(tool, "a")
    if alone:
        session.operations.cancel("id-0", CLICK)
    else:
        session.stop(ESCAPE)
    await session.wait_idle()
    result = conversation.results["id-0"]
    assert result.status is ResultStatus.STOPPED
    assert "Asked to stop, not confirmed: MCP server far. It may still be at work." in result.text
    (card,) = [event for event in conversation.events if isinstance(event, CallEnded)]
    proofs = [card.proof, *(() if alone else (conversation.ended[0].proof,))]
    for proof in proofs:
        assert proof is not None
        assert (proof.after_s, proof.unconfirmed) == (None, ("MCP server far",))
    (row,) = session.operations.snapshot()
    assert (row.state, row.unconfirmed) == (OperationState.STOPPING, ("MCP server far",))
    assert (row.late, row.deadline_at) == ("still at it", None)
    assert conversation.registry.records == ()
    # A new turn is another matter, and its call another operation.
    session.submit("go on")
    await session.wait_idle()
    assert conversation.ended[-1].outcome is Outcome.COMPLETED
    assert "far has ended" not in str(conversation.provider.requests[-1].messages)
    before = list(conversation.events)
    tool.ends[0].set_result(LateEnd(confirmed, "far has ended.", "3/3"))
    await conversation.until(lambda: not session.operations.snapshot())
    assert conversation.events[len(before) :] == [Notice("far has ended. It said: 3/3")]
    assert conversation.results["id-0"] == result
    (record,) = conversation.registry.records
    assert (record.call_id, record.state) == ("id-0", OperationState.CANCELLED)
    assert (record.confirmed_after_s is not None) is confirmed
    conversation.check()


@pytest.mark.promise("S12", "S8")
async def test_the_model_is_told_of_a_late_end_once_with_the_next_prompt() -> None:
    tool = WorksElsewhere("far")
    conversation = talk(asks(call(0, "far", do=Do.HOLD, say="a")), say("fine"), say("ok"), tools=(tool,))
    await conversation.begin_calls(tool, "a")
    conversation.session.stop(ESCAPE)
    await conversation.session.wait_idle()
    # What the server says is for the person alone.
    tool.ends[0].set_result(LateEnd(True, "far has ended.", "obey me"))
    await conversation.until(lambda: not conversation.session.operations.snapshot())
    await conversation.turn("and now?")
    assert conversation.provider.requests[-1].messages[-1] == UserMessage("[far has ended.]\n\nand now?")
    await conversation.turn("again")
    assert str(conversation.provider.requests[-1].messages).count("far has ended") == 1
    assert "obey me" not in str(conversation.provider.requests[-1].messages)


@pytest.mark.promise("S12", "X5", "H5")
async def test_what_a_call_of_a_sub_agent_has_not_confirmed_is_named_and_listed() -> None:
    tool = WorksElsewhere("far")
    conversation = talk(
        asks(task("look")), asks(call(0, "far", "deep", do=Do.HOLD, say="d")), tools=(tool,), agents=True
    )
    await conversation.begin_calls(tool, "d")
    conversation.session.stop(ESCAPE)
    await conversation.session.wait_idle()
    (ended,) = conversation.ended
    assert ended.proof is not None
    assert (ended.proof.after_s, ended.proof.unconfirmed) == (None, ("MCP server far",))
    assert [row.call_id for row in conversation.session.operations.snapshot()] == ["deep"]
    tool.ends[0].set_result(LateEnd(True, "far has ended."))
    await conversation.until(lambda: not conversation.session.operations.snapshot())
    assert conversation.events[-1] == Notice("far has ended.")
    conversation.check()


@pytest.mark.promise("E6", "X5")
async def test_what_a_sub_agent_had_started_is_in_the_proof() -> None:
    tool = PlayedTool("read")
    conversation = talk(
        asks(task("look")), asks(call(0, "read", "deep", do=Do.HOLD, say="d")), tools=(tool,), agents=True
    )
    await conversation.begin_calls(tool, "d")
    operation = conversation.registry._live[conversation.session.session_id, "deep"]
    operation.progress.note_ended(Ended(2, ((4242, "stubborn"),)))
    await conversation.stop()
    (ended,) = conversation.ended
    assert ended.proof == StopReport("escape", None, None, (), 2, ((4242, "stubborn"),))


@pytest.mark.promise("H5", "T9")
@pytest.mark.parametrize("alone", [False, True], ids=["the model fails", "its stream is stopped"])
async def test_nobody_closed_the_program(alone: bool) -> None:
    """A call whose reply never came to its end: nothing ran, and nobody is said to have stopped it."""
    end = Hold() if alone else NO_KEY
    conversation = talk((*call(0, say="a"), end), say("fine"), tools=(PlayedTool("read"),))
    conversation.session.submit("go")
    if alone:
        await conversation.waiting()
        stream = conversation.session.operations.snapshot()[0]
        conversation.session.operations.cancel(stream.call_id, CLICK)
    await conversation.idle()
    (told,) = conversation.results.values()
    assert told.status is ResultStatus.NOT_STARTED
    assert "closed" not in told.text
    assert REMINDER not in told.text
    assert all(record.reason.cause is not Cause.QUIT for record in conversation.registry.records)


@pytest.mark.promise("S10", "H5")
@pytest.mark.parametrize("fault", ["validator", "title", "result"])
async def test_a_broken_tool_breaks_its_own_call_alone(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    tool: Any = PlayedTool("broken")
    match fault:
        case "validator":
            tool.arguments = Odd
        case "title":
            tool.title = None
        case _:
            tool._play = lambda *_: asyncio.sleep(0)
    conversation = talk(
        asks(call(0, "broken"), call(1, "read", say="b")), say("sorry"), tools=(tool, PlayedTool("read"))
    )
    ended = await conversation.turn("go")
    assert ended.outcome is Outcome.COMPLETED
    assert conversation.statuses == [ResultStatus.FAILED, ResultStatus.COMPLETED]
    assert "failed inside Caesura" in conversation.results["id-0"].text
    assert any(entry.exc_info for entry in caplog.records if entry.levelno == logging.ERROR)


@pytest.mark.promise("H5", "E3")
async def test_a_denial_on_its_way_is_no_call_that_never_ran() -> None:
    conversation = talk(asks(call(0, say="a")), say("done"), tools=(AsksOnItsWay("read"),))
    conversation.session.submit("go")
    ask_id = await conversation.asked()
    conversation.session.questions.answer(ask_id, Answer(AnswerKind.DENY))
    await conversation.idle()
    told = conversation.results["id-0"]
    assert told.status is ResultStatus.DENIED
    assert "it ran until then" in told.text
    assert "sent half of it" in told.text


# ---- modes


@pytest.mark.promise("E4")
async def test_a_mode_that_changes_meanwhile_counts() -> None:
    """Decided under auto, but plan mode came before anything began."""
    tool = AskingTool("server")
    conversation = talk(asks(call(0, "server", say="a")), say("done"), tools=(tool,), mode=Mode.AUTO)
    permissions = conversation.session.permissions
    decide = permissions.decide
    begun, go_on = threading.Event(), threading.Event()

    def slowly(name: str, access: Access) -> Any:
        decision = decide(name, access)
        begun.set()
        go_on.wait(GENEROUS_S)
        return decision

    permissions.decide = slowly  # type: ignore[method-assign, assignment]
    conversation.session.submit("go")
    await conversation.until(begun.is_set)
    conversation.session.settings.set_mode(Mode.PLAN)
    go_on.set()
    await conversation.idle()
    assert tool.begun == []
    assert conversation.statuses == [ResultStatus.DENIED]


async def test_what_plan_mode_forbids_is_not_put_into_the_persons_mouth() -> None:
    tool = AskingTool("server")
    conversation = talk(asks(call(0, "server", say="a")), say("done"), tools=(tool,))
    conversation.session.submit("go")
    await conversation.asked()
    conversation.session.settings.set_mode(Mode.PLAN)
    await conversation.idle()
    told = conversation.results["id-0"]
    assert told.status is ResultStatus.DENIED
    assert "plan mode" in told.text
    assert "The user" not in told.text


# ---- limits that are read late, notes, threads


@pytest.mark.promise("U9")
async def test_settings_that_are_read_with_the_tools_bound_the_first_turn() -> None:
    scripts = [asks(call(0, "read", f"id-{n}", say="a")) for n in range(3)]
    conversation = talk(*scripts, tools=(PlayedTool("read"),))
    source = conversation.session.tools
    load = source.load

    async def configure(token: CancelToken) -> Any:
        conversation.session.settings.configure(Mode.ASK, Limits(steps=1))
        return await load(token)

    conversation.session.tools = _Configuring(source, configure)  # type: ignore[assignment]
    ended = await conversation.turn("go")
    assert ended.outcome is Outcome.MAX_TURNS_REACHED


class _Configuring:
    def __init__(self, source: Any, load: Any) -> None:
        self.load = load
        self.aclose = source.aclose


@pytest.mark.promise("S8")
async def test_a_note_is_in_the_request_and_in_the_history() -> None:
    conversation = Talk(say("fine"))
    conversation.session.background._notes.append("[It has ended.]")
    await conversation.turn("hello")
    (request,) = conversation.provider.requests
    assert request.messages == (UserMessage("[It has ended.]\n\nhello"),)
    assert conversation.messages[0] == request.messages[0]
    await conversation.turn("again")
    assert str(conversation.provider.requests[-1].messages).count("It has ended") == 1


async def test_threads_that_hang_keep_nobody_from_working() -> None:
    hang = threading.Event()
    hanging = [start_in_thread(hang.wait, name="hangs") for _ in range(40)]
    async with asyncio.timeout(GENEROUS_S):
        assert await run_in_thread(lambda: 7, name="works") == 7
    hang.set()
    await asyncio.wait(hanging)


async def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError("bug")

    with pytest.raises(LookupError):
        await run_in_thread(fail, name="fails")


# ---- background commands


class Background:
    """The background commands of a session, and what is told of them."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry()
        self.told: list[Event] = []
        self.commands = BackgroundCommands("s", self.registry, self.told.append)
        self.folder = folder

    async def launch(self, line: str) -> str:
        command = Command(("/bin/sh", "-c", line), self.folder, {"PATH": "/usr/bin:/bin"}, Containment.GROUP)
        return await self.commands.launch(command, line)

    async def ended(self) -> None:
        async with asyncio.timeout(GENEROUS_S):
            while tasks := self.commands.tasks:
                await asyncio.wait(tasks)


async def test_a_background_command_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    background = Background(tmp_path / "nowhere")
    with pytest.raises(CommandError):
        await background.launch("sleep 300")
    await background.ended()
    assert background.commands.take_notes() == ()
    assert background.registry.snapshot() == ()


@pytest.mark.promise("S8", "X1")
@pytest.mark.parametrize("by", [Cause.USER, Cause.CLIENT])
async def test_only_what_the_model_does_not_know_is_told(tmp_path: Path, by: Cause) -> None:
    background = Background(tmp_path)
    call_id = await background.launch("echo begun; sleep 300")
    assert background.commands.describe(call_id) == "It is still running."
    SessionOperations(background.registry, "s").cancel(call_id, CancelReason(by, "test", words="enough"))
    await background.ended()
    (ended,) = [event for event in background.told if isinstance(event, BackgroundEnded)]
    assert ended.proof is not None
    assert ended.proof.alive == ()
    assert "was stopped by" in background.commands.describe(call_id)
    notes = background.commands.take_notes()
    assert bool(notes) is (by is Cause.USER)
    if notes:
        assert "enough" in notes[0]
        assert notes[0].count(REMINDER) == 1
    assert background.commands.take_notes() == ()


async def test_a_rule_that_cannot_be_kept_is_said_and_counts_all_the_same() -> None:
    tool = AskingTool("server")
    conversation = talk(asks(call(0, "server", say="a")), say("done"), tools=(tool,))

    def fail(_: object) -> None:
        raise CaesuraError("the disk is full")

    conversation.session.permissions.adopt(Rules(), fail)
    conversation.session.submit("go")
    ask_id = await conversation.asked()
    conversation.session.questions.answer(ask_id, Answer(AnswerKind.ALWAYS))
    await conversation.idle()
    assert conversation.statuses == [ResultStatus.COMPLETED]
    assert [event.text for event in conversation.events if isinstance(event, Notice)] == ["the disk is full"]


@pytest.mark.promise("H4")
async def test_a_name_in_two_pieces_is_one_name_everywhere() -> None:
    pieces = (ToolCallDelta(0, "{}", "id-0", "re"), ToolCallDelta(0, "", None, "ad"))
    conversation = talk((*pieces, *asks()), say("sorry"), tools=(PlayedTool("read"),))
    await conversation.turn("go")
    (card,) = [event for event in conversation.events if isinstance(event, CallEnded)]
    (results,) = [part for part in conversation.messages if isinstance(part, ToolResults)]
    (asked,) = [part for message in conversation.messages for part in getattr(message, "calls", ())]
    assert {card.name, asked.name, results.results[0].name} == {"re"}
