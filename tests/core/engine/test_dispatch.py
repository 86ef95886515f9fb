"""Calls of one reply: stopped one by one, asked about, ordered; and what the model is told of each."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

import core.engine.dispatch
from core.cancel import CancelReason, Cause
from core.engine.turn import Limits
from core.model.messages import (
    REMINDER,
    AssistantMessage,
    FinishReason,
    ResultStatus,
    ToolResults,
    UserMessage,
)
from core.model.provider import Finished, Phase, TextDelta, ToolCallDelta
from core.operations.events import (
    Answer,
    AnswerKind,
    CallEnded,
    CallNamed,
    Outcome,
    QuestionAsked,
    QuestionClosed,
)
from core.operations.operation import CancelAnswer, OperationKind, OperationState
from tests.support.scripted_models import (
    ESCAPE,
    MODEL,
    NO_KEY,
    SHORT,
    USAGE,
    Conversation,
    Hold,
    Script,
    assert_accepted,
    assert_in_order,
    say,
)
from tests.support.scripted_tools import AskingTool, Do, PlayedTool, equipped

if TYPE_CHECKING:
    from core.model.messages import ToolResult

CALLED = Finished(FinishReason.TOOL_CALLS, USAGE, MODEL)
CLICK = CancelReason(Cause.USER, "click", words="too slow")


def call(
    index: int, name: str = "read", call_id: str | None = None, **arguments: Any
) -> tuple[ToolCallDelta, ...]:
    """One call, its arguments in two pieces."""
    text = json.dumps(arguments)
    given = f"id-{index}" if call_id is None else call_id
    return (
        ToolCallDelta(index, text[:2], given or None, name),
        ToolCallDelta(index, text[2:]),
    )


def asks(*calls: tuple[ToolCallDelta, ...], text: str = "") -> Script:
    """A reply that asks for these calls."""
    return (*((TextDelta(text),) if text else ()), *(delta for each in calls for delta in each), CALLED)


class Talk(Conversation):
    """With what its calls were told."""

    @property
    def results(self) -> dict[str, ToolResult]:
        found = [part for part in self.messages if isinstance(part, ToolResults)]
        return {result.call_id: result for part in found for result in part.results}

    @property
    def statuses(self) -> list[ResultStatus]:
        return [result.status for result in self.results.values()]

    def cards(self) -> dict[str, ResultStatus]:
        return {event.call_id: event.status for event in self.events if isinstance(event, CallEnded)}

    async def begin_calls(self, tool: PlayedTool, *names: str) -> None:
        """Send a prompt, and wait until these calls of `tool` run."""
        self.session.submit("go")
        await self.running(tool, *names)

    async def idle(self) -> None:
        await super().idle()
        self.check()

    async def running(self, tool: PlayedTool, *names: str) -> None:
        await self.until(lambda: sorted(tool.running) == sorted(names))

    async def asked(self, count: int = 1) -> str:
        await self.until(lambda: len(self.session.questions.open) == count)
        return self.session.questions.open[0].ask_id

    def check(self) -> None:
        """What holds after every turn, whatever became of it."""
        assert self.registry.snapshot() == ()
        assert self.session.questions.open == ()
        assert_in_order(self.events)
        for request in self.provider.requests:
            assert_accepted(request.messages)
        cards = self.cards()
        assert {call_id: result.status for call_id, result in self.results.items()}.items() <= cards.items()
        asked = {event.question.ask_id for event in self.events if isinstance(event, QuestionAsked)}
        assert asked == {event.ask_id for event in self.events if isinstance(event, QuestionClosed)}


def talk(*scripts: Script, tools: tuple[PlayedTool, ...], **equipment: Any) -> Talk:
    return Talk(*scripts, equipment=equipped(*tools, **equipment))


# ---- the loop


@pytest.fixture
def tool() -> PlayedTool:
    return PlayedTool("read")


@pytest.mark.promise("H4", "S9", "H6")
async def test_results_go_back_until_a_reply_asks_for_nothing(tool: PlayedTool) -> None:
    conversation = talk(
        asks(call(0, say="a"), call(1, say="b"), text="look"),
        asks(call(0, "read", "x", say="c")),
        say("done"),
        tools=(tool,),
    )
    ended = await conversation.turn("go")
    assert (ended.outcome, ended.text) == (Outcome.COMPLETED, "look\n\ndone")
    assert [len(request.messages) for request in conversation.provider.requests] == [1, 3, 5]
    assert [spec.name for spec in conversation.provider.requests[0].tools] == ["read"]
    assert [(r.call_id, r.status, r.text) for r in conversation.results.values()] == [
        ("id-0", ResultStatus.COMPLETED, "a"),
        ("id-1", ResultStatus.COMPLETED, "b"),
        ("x", ResultStatus.COMPLETED, "c"),
    ]
    assert [len(step.messages) for step in conversation.session.record.plain_steps] == [3, 2, 1]
    assert conversation.session.record.usage.output_tokens == 3 * USAGE.output_tokens


@pytest.mark.promise("S1")
async def test_a_call_is_listed_from_its_naming_on() -> None:
    conversation = talk((*call(0, say="a"), Hold()), tools=(PlayedTool("read"),))
    await conversation.begin("go")
    stream, named = conversation.session.operations.snapshot()
    assert stream.kind is OperationKind.STREAM
    assert (named.call_id, named.kind, named.title) == ("id-0", OperationKind.CALL, "read")
    assert (named.state, named.phase) == (OperationState.SCHEDULED, Phase.BEFORE_CALL)
    await conversation.stop()
    # Its arguments had come to their end, so the model will see that it asked, and that nothing ran.
    assert conversation.cards() == {"id-0": ResultStatus.NOT_STARTED}
    assert conversation.statuses == [ResultStatus.NOT_STARTED]


async def test_a_stop_of_a_queued_call_lets_none_overtake_those_before_it() -> None:
    write = PlayedTool("write", changing=True)
    conversation = talk(
        asks(*(call(number, "write", do=Do.HOLD, say=f"w{number}") for number in range(3))),
        say("done"),
        tools=(write,),
    )
    await conversation.begin_calls(write, "w0")
    assert conversation.session.operations.cancel("id-1", CLICK).answer is CancelAnswer.CANCELLED
    await conversation.until(lambda: "id-1" in conversation.cards())
    for _ in range(20):
        await asyncio.sleep(0)
    assert write.running == ["w0"]
    conversation.session.operations.cancel("id-0", CLICK)
    await conversation.running(write, "w2")
    conversation.session.operations.cancel("id-2", CLICK)
    await conversation.idle()


async def test_reading_calls_run_together_and_changing_ones_in_order() -> None:
    read, write = PlayedTool("read"), PlayedTool("write", changing=True)
    conversation = talk(
        asks(
            call(0, "read", do=Do.HOLD, say="r0"),
            call(1, "read", do=Do.HOLD, say="r1"),
            call(2, "write", do=Do.HOLD, say="w2"),
            call(3, "read", do=Do.HOLD, say="r3"),
        ),
        say("done"),
        tools=(read, write),
    )
    await conversation.begin_calls(read, "r0", "r1")
    assert write.begun == []
    for number in (0, 1):
        assert conversation.session.operations.cancel(f"id-{number}", CLICK).answer is CancelAnswer.CANCELLED
    await conversation.running(write, "w2")
    assert sorted(read.begun) == ["r0", "r1"]
    conversation.session.operations.cancel("id-2", CLICK)
    await conversation.running(read, "r3")
    conversation.session.operations.cancel("id-3", CLICK)
    await conversation.idle()
    assert conversation.statuses == [ResultStatus.STOPPED] * 4


# ---- stopping one of several


@pytest.mark.promise("S5", "S4", "H5", "S8", "S2")
async def test_the_middle_one_of_three_is_stopped_and_the_turn_goes_on(tool: PlayedTool) -> None:
    conversation = talk(
        asks(call(0, say="a"), call(1, do=Do.HOLD, say="b"), call(2, say="c")), say("I see"), say("again"),
        tools=(tool,),
    )  # fmt: skip
    await conversation.begin_calls(tool, "b")
    result = conversation.session.operations.cancel("id-1", CLICK)
    assert (result.answer, result.title) == (CancelAnswer.CANCELLED, "read")
    await conversation.idle()
    assert conversation.session.operations.cancel("id-1", CLICK).answer is CancelAnswer.NOT_FOUND
    assert conversation.outcomes == [Outcome.COMPLETED]
    assert conversation.statuses == [ResultStatus.COMPLETED, ResultStatus.STOPPED, ResultStatus.COMPLETED]
    told = conversation.results["id-1"].text
    assert told.startswith("Stopped after ")
    assert "the user stopped this call" in told
    assert "too slow" in told
    assert "b so far" in told
    await conversation.turn("more")
    # The reminder is in the one result, and is not given again (S8).
    sent = conversation.provider.requests[-1].messages
    assert str(sent).count(REMINDER) == 1
    (record,) = conversation.registry.records
    assert (record.reason, record.phase, record.call_id) == (CLICK, Phase.IN_CALL, "id-1")


@pytest.mark.promise("S8")
@pytest.mark.parametrize("remind", [True, False])
async def test_the_reminder_is_optional(tool: PlayedTool, remind: bool) -> None:
    conversation = talk(asks(call(0, do=Do.HOLD, say="a")), say("done"), tools=(tool,))
    await conversation.begin_calls(tool, "a")
    conversation.session.operations.cancel("id-0", CancelReason(Cause.CLIENT, "caesura stop", remind=remind))
    await conversation.idle()
    assert (REMINDER in conversation.results["id-0"].text) is remind


@pytest.mark.promise("S4", "H5")
async def test_a_queued_call_is_stopped_before_it_starts() -> None:
    tool = PlayedTool("write", changing=True)
    conversation = talk(
        asks(call(0, "write", do=Do.HOLD, say="a"), call(1, "write", say="b")), say("done"), tools=(tool,)
    )
    await conversation.begin_calls(tool, "a")
    conversation.session.operations.cancel("id-1", CLICK)
    await conversation.until(lambda: "id-1" in conversation.cards())
    assert [view.call_id for view in conversation.session.operations.snapshot()] == ["id-0"]
    conversation.session.operations.cancel("id-0", CLICK)
    await conversation.idle()
    assert conversation.statuses == [ResultStatus.STOPPED, ResultStatus.NOT_STARTED]
    assert tool.begun == ["a"]
    assert conversation.results["id-1"].text.startswith("Not started: the user stopped this call")


@pytest.mark.promise("S4", "S1")
async def test_a_call_is_stopped_while_the_reply_still_streams(tool: PlayedTool) -> None:
    conversation = talk((*call(0, say="a"), Hold()), tools=(tool,))
    await conversation.begin("go")
    conversation.session.operations.cancel("id-0", CLICK)
    await conversation.until(lambda: "id-0" in conversation.cards())
    assert [view.kind for view in conversation.session.operations.snapshot()] == [OperationKind.STREAM]
    await conversation.stop()
    assert conversation.cards() == {"id-0": ResultStatus.NOT_STARTED}


@pytest.mark.promise("S6", "S10")
async def test_a_result_of_the_same_tick_counts(tool: PlayedTool) -> None:
    conversation = talk(asks(call(0, do=Do.SWALLOW, say="real")), say("done"), tools=(tool,))
    await conversation.begin_calls(tool, "real")
    conversation.session.operations.cancel("id-0", CLICK)
    await conversation.idle()
    told = conversation.results["id-0"]
    assert (told.status, told.text) == (ResultStatus.COMPLETED, "real")
    (record,) = conversation.registry.records
    assert record.state is OperationState.READY


@pytest.mark.promise("U7", "H5")
async def test_what_fails_because_of_a_stop_is_stopped(
    tool: PlayedTool, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = talk(asks(call(0, do=Do.BREAK_ON_STOP, say="a")), say("done"), tools=(tool,))
    await conversation.begin_calls(tool, "a")
    conversation.session.operations.cancel("id-0", CLICK)
    await conversation.idle()
    assert conversation.statuses == [ResultStatus.STOPPED]
    assert "bug" not in conversation.results["id-0"].text


@pytest.mark.promise("U10", "S11", "S7", "S1")
@pytest.mark.parametrize("forced", [False, True])
async def test_a_deaf_tool_cannot_hold_the_turn(forced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.engine.dispatch, "FORCED_GRACE_S", SHORT)
    tool = PlayedTool("read", grace_s=3_600.0 if forced else SHORT)
    conversation = talk(asks(call(0, do=Do.DEAF, say="a")), say("done"), tools=(tool,))
    await conversation.begin_calls(tool, "a")
    result = await conversation.session.operations.cancel_and_wait("id-0", CLICK, wait=SHORT)
    assert result.answer is CancelAnswer.TIMEOUT
    if forced:
        assert conversation.session.operations.cancel("id-0", CLICK).answer is CancelAnswer.ALREADY_CANCELLED
    await conversation.session.wait_idle()
    told = conversation.results["id-0"]
    assert told.status is ResultStatus.STOPPED
    assert "not confirmed" in told.text
    (left,) = conversation.session.operations.snapshot()
    assert left.state is OperationState.STOPPING
    before = list(conversation.events)
    tool.released.set()
    await conversation.until(lambda: not conversation.session.operations.snapshot())
    assert conversation.events == before
    conversation.check()


@pytest.mark.promise("U9", "H5")
async def test_a_deadline_stops_its_call_alone(tool: PlayedTool) -> None:
    conversation = talk(asks(call(0, do=Do.HOLD, say="a", seconds=SHORT)), say("done"), tools=(tool,))
    ended = await conversation.turn("go")
    assert ended.outcome is Outcome.COMPLETED
    assert "its deadline was over" in conversation.results["id-0"].text


# ---- approval


@pytest.mark.promise("E3", "E4", "H5")
@pytest.mark.parametrize("answer", [AnswerKind.ONCE, AnswerKind.SESSION, AnswerKind.DENY])
async def test_a_call_waits_for_its_answer(answer: AnswerKind) -> None:
    tool = AskingTool("server")
    conversation = talk(asks(call(0, "server", say="a")), say("done"), tools=(tool,))
    conversation.session.submit("go")
    ask_id = await conversation.asked()
    (view,) = conversation.session.operations.snapshot()
    assert (view.state, view.phase) == (OperationState.SCHEDULED, Phase.WAITING_FOR_APPROVAL)
    (question,) = conversation.session.questions.open
    assert question.preview is not None
    assert question.preview.text == "would say a"
    assert tool.begun == []
    assert conversation.session.questions.answer(ask_id, Answer(answer, "not that"))
    await conversation.idle()
    assert not conversation.session.questions.answer(ask_id, Answer(AnswerKind.ONCE))
    (told,) = conversation.results.values()
    if answer is AnswerKind.DENY:
        assert told.status is ResultStatus.DENIED
        assert told.text.startswith("Denied, it did not run")
        assert "not that" in told.text
        assert tool.begun == []
    else:
        assert (told.status, tool.begun) == (ResultStatus.COMPLETED, ["a"])


@pytest.mark.promise("E4", "S4", "E3")
@pytest.mark.parametrize("alone", [True, False], ids=["the call", "the turn"])
async def test_a_stop_closes_the_question(alone: bool) -> None:
    tool = AskingTool("server")
    conversation = talk(
        asks(call(0, "server", say="a"), call(1, "server", say="b")), say("done"), tools=(tool,)
    )
    conversation.session.submit("go")
    ask_id = await conversation.asked()
    if alone:
        conversation.session.operations.cancel("id-0", CLICK)
        await conversation.until(lambda: conversation.session.questions.open[:1] != ())
        await conversation.until(
            lambda: (
                bool(conversation.session.questions.open)
                and conversation.session.questions.open[0].call_id == "id-1"
            )
        )
        assert conversation.session.questions.answer(
            conversation.session.questions.open[0].ask_id, Answer(AnswerKind.ONCE)
        )
    else:
        conversation.session.stop(ESCAPE)
    await conversation.idle()
    assert not conversation.session.questions.answer(ask_id, Answer(AnswerKind.ONCE))
    expected = [ResultStatus.NOT_STARTED, ResultStatus.COMPLETED if alone else ResultStatus.NOT_STARTED]
    assert conversation.statuses == expected
    assert "while the user was asked" in conversation.results["id-0"].text
    assert tool.begun == (["b"] if alone else [])
    closed = [event for event in conversation.events if isinstance(event, QuestionClosed)]
    assert closed[0].answer is None


# ---- stopping all


@pytest.mark.promise("H4", "H5", "E4", "U8")
async def test_esc_ends_all_calls_and_keeps_the_step() -> None:
    tool, slow = PlayedTool("read"), PlayedTool("write", changing=True)
    conversation = talk(
        asks(call(0, say="a"), text="first"),
        asks(
            call(0, "read", "b0", say="b"),
            call(1, "write", "b1", do=Do.CHANGE, say="c"),
            call(2, "write", "b2", say="d"),
        ),
        say("fine"),
        tools=(tool, slow),
    )
    await conversation.begin_calls(slow, "c")
    await conversation.stop()
    (ended,) = conversation.ended
    assert (ended.outcome, ended.returned_prompt, ended.text) == (Outcome.CANCELLED, None, "first")
    assert conversation.statuses == [
        ResultStatus.COMPLETED,
        ResultStatus.COMPLETED,
        ResultStatus.STOPPED,
        ResultStatus.NOT_STARTED,
    ]
    assert "the user stopped the turn" in conversation.results["b1"].text
    assert "/workspace/changed" in conversation.results["b1"].text
    assert REMINDER not in str(conversation.results)
    conversation.session.resume()
    await conversation.idle()
    assert conversation.outcomes[-1] is Outcome.COMPLETED


@pytest.mark.promise("U9")
@pytest.mark.parametrize("seconds", [0, -1.0])
async def test_no_time_is_no_request(seconds: float) -> None:
    conversation = talk(say("never"), tools=(), limits=Limits(seconds=seconds))
    ended = await conversation.turn("go")
    assert (ended.outcome, ended.returned_prompt) == (Outcome.TIMEOUT, "go")
    assert conversation.provider.requests == []


@pytest.mark.promise("U9")
async def test_the_deadline_of_a_turn_ends_the_work_before_it_is_reported() -> None:
    seconds = 0.05
    while True:
        tool = PlayedTool("read")
        alive: list[list[str]] = []

        def look(_: object, alive: list[list[str]] = alive, tool: PlayedTool = tool) -> None:
            alive.append(list(tool.running))

        script = asks(call(0, do=Do.HOLD, say="a"))
        conversation = talk(script, say("never"), tools=(tool,), limits=Limits(seconds=seconds))
        conversation.session.subscribe(look)
        assert (await conversation.turn("go")).outcome is Outcome.TIMEOUT
        if tool.begun or seconds > 60:
            break
        # A loaded machine took longer than this to begin the call.
        seconds *= 10
    assert tool.begun == ["a"]
    assert alive[-1] == []
    assert "the deadline of the turn" in conversation.results["id-0"].text


@pytest.mark.promise("U6")
async def test_a_turn_may_take_so_many_steps(tool: PlayedTool) -> None:
    scripts = [asks(call(0, "read", f"id-{n}", say="a")) for n in range(5)]
    conversation = talk(*scripts, say("done"), tools=(tool,), limits=Limits(steps=2))
    ended = await conversation.turn("go")
    assert ended.outcome is Outcome.MAX_TURNS_REACHED
    assert ended.error is not None
    assert "2 steps" in ended.error
    assert len(conversation.provider.requests) == 2
    conversation.session.resume()
    await conversation.idle()
    assert len(conversation.provider.requests) == 4


async def test_a_failure_in_a_later_step_keeps_the_earlier_ones() -> None:
    conversation = talk(asks(call(0, say="a")), (NO_KEY,), tools=(PlayedTool("read"),))
    ended = await conversation.turn("go")
    assert (ended.outcome, ended.returned_prompt) == (Outcome.ERROR, None)
    assert len(conversation.session.record.plain_steps) == 1


# ---- calls that are none


ODD = [
    (ToolCallDelta(0, "{", "id-0", "read"), "no JSON object"),
    (ToolCallDelta(0, "[1]", "id-0", "read"), "no JSON object"),
    (ToolCallDelta(0, '{"do": "fly"}', "id-0", "read"), "not valid: do:"),
    (ToolCallDelta(0, "{}", "id-0", "reed"), "There is no tool 'reed'. The tools are: read"),
    (ToolCallDelta(0, "{}", "id-0", None), "There is no tool ''"),
    (ToolCallDelta(0, '{"do": "fail", "say": "fly"}', "id-0", "read"), "cannot fly"),
    (ToolCallDelta(0, '{"do": "break"}', "id-0", "read"), "failed inside Caesura"),
]


@pytest.mark.promise("H5", "S9")
@pytest.mark.parametrize(("delta", "words"), ODD, ids=[words for _, words in ODD])
async def test_a_call_that_is_none_goes_back_as_an_error(delta: ToolCallDelta, words: str) -> None:
    conversation = talk((delta, CALLED), say("sorry"), tools=(PlayedTool("read"),))
    ended = await conversation.turn("go")
    assert ended.outcome is Outcome.COMPLETED
    (told,) = conversation.results.values()
    assert told.status is ResultStatus.FAILED
    assert words in told.text


@pytest.mark.promise("S3", "H4")
async def test_empty_duplicate_and_repeated_ids_are_told_apart(tool: PlayedTool) -> None:
    conversation = talk(
        asks(*(call(n, "read", given, do=Do.HOLD, say=str(n)) for n, given in enumerate(["x", "x", ""]))),
        asks(call(0, "read", "x", say="again")),
        say("done"),
        tools=(tool,),
    )
    await conversation.begin_calls(tool, "0", "1", "2")
    ids = [view.call_id for view in conversation.session.operations.snapshot()]
    assert len(set(ids)) == 3
    assert all(ids)
    for call_id in ids:
        assert conversation.session.operations.cancel(call_id, CLICK).answer is CancelAnswer.CANCELLED
    await conversation.idle()
    assert len(conversation.results) == 4


@pytest.mark.promise("S3")
async def test_the_same_id_in_another_session_is_another_call(tool: PlayedTool) -> None:
    one = talk(asks(call(0, do=Do.HOLD, say="one")), say("done"), tools=(tool,))
    two = Talk(
        asks(call(0, do=Do.HOLD, say="two")), say("done"), registry=one.registry, equipment=equipped(tool)
    )
    for each in (one, two):
        each.session.submit("go")
    await one.running(tool, "one", "two")
    one.session.operations.cancel("id-0", CLICK)
    await one.session.wait_idle()
    assert tool.running == ["two"]
    two.session.stop(ESCAPE)
    await two.idle()
    one.check()


# ---- sub-agents


def task(words: str) -> tuple[ToolCallDelta, ...]:
    return call(0, "agent", "", task=words)


async def _three_deep() -> tuple[Talk, PlayedTool, list[str]]:
    tool = PlayedTool("read")
    conversation = talk(
        asks(task("outer")),
        asks(task("middle")),
        asks(task("inner")),
        asks(call(0, "read", "", do=Do.HOLD, say="deep")),
        say("after"),
        tools=(tool,),
        agents=True,
    )
    await conversation.begin_calls(tool, "deep")
    calls = [view for view in conversation.session.operations.snapshot() if view.kind is OperationKind.CALL]
    assert [view.title for view in calls] == ["agent", "agent", "agent", "read"]
    assert [view.parent_id for view in calls] == [None, *[view.call_id for view in calls[:-1]]]
    return conversation, tool, [view.call_id for view in calls]


@pytest.mark.promise("X5", "S9", "H4")
async def test_esc_ends_sub_agents_three_deep() -> None:
    conversation, tool, _ = await _three_deep()
    await conversation.stop()
    assert tool.running == []
    assert conversation.outcomes == [Outcome.CANCELLED]
    assert conversation.statuses == [ResultStatus.STOPPED]
    assert set(conversation.cards().values()) == {ResultStatus.STOPPED}
    assert len(conversation.cards()) == 4


@pytest.mark.promise("X5", "S5")
async def test_the_middle_sub_agent_is_stopped_and_the_outer_one_is_told() -> None:
    conversation, tool, ids = await _three_deep()
    conversation.session.operations.cancel(ids[1], CLICK)
    await conversation.idle()
    assert tool.running == []
    assert conversation.outcomes == [Outcome.COMPLETED]
    cards = conversation.cards()
    assert [cards[call_id] for call_id in ids] == [ResultStatus.COMPLETED, *[ResultStatus.STOPPED] * 3]
    # The outer sub-agent's next request says that the user stopped the call, and why.
    outer = conversation.provider.requests[-2].messages
    assert isinstance(outer[-1], ToolResults)
    assert "too slow" in outer[-1].results[0].text
    assert "late" not in str(conversation.results)


async def test_a_sub_agent_starts_with_an_empty_conversation_and_answers_once() -> None:
    conversation = talk(
        asks(task("look"), text="secret"),
        say("found it"),
        say("done"),
        tools=(PlayedTool("read"),),
        agents=True,
    )
    ended = await conversation.turn("go")
    assert (ended.outcome, ended.text) == (Outcome.COMPLETED, "secret\n\ndone")
    assert conversation.provider.requests[1].messages == (UserMessage("look"),)
    (told,) = conversation.results.values()
    assert told.text == "found it"
    assert conversation.session.record.usage.output_tokens == 3 * USAGE.output_tokens
    replies = [part for part in conversation.messages if isinstance(part, AssistantMessage)]
    assert [reply.text for reply in replies] == ["secret", "done"]
    named = [event for event in conversation.events if isinstance(event, CallNamed)]
    assert [event.name for event in named] == ["agent"]


@pytest.mark.promise("T5", "H4", "S9")
async def test_the_end_of_the_program_leaves_no_call_open(tool: PlayedTool) -> None:
    conversation = talk(asks(call(0, do=Do.HOLD, say="a")), tools=(tool,))
    await conversation.begin_calls(tool, "a")
    turn = conversation.task()
    turn.cancel()
    await asyncio.wait([turn])
    assert turn.cancelled()
    await conversation.until(lambda: not conversation.session.operations.snapshot())
    assert conversation.statuses == [ResultStatus.STOPPED]
    conversation.check()
