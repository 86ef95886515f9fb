"""U2 to U4, H1, H2, H6 and H9 over several turns: what a session keeps, sends, queues and takes up again."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec.structs import replace

import core.engine.step
from core.cancel import CancelReason, Cause
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Part,
    Reasoning,
    Text,
    Usage,
    UserMessage,
)
from core.model.provider import FailureKind, ModelError, ReasoningDelta, TextDelta
from core.model.reply_end import ReplyEnd, note_for_model
from core.operations.events import (
    Event,
    ModelDescribed,
    Outcome,
    QueueChanged,
    Status,
    TurnEnded,
    TurnStarted,
)
from core.operations.operation import CancelAnswer
from core.operations.registry import Registry
from core.operations.supervise import Graces
from core.session.continuation import CONTINUE_PROMPT
from core.session.queue import SessionError
from tests.support.bound_tasks import rounds
from tests.support.scripted_models import (
    DONE,
    ESCAPE,
    MODEL,
    QUIT,
    SOME,
    STOPPED_ABOVE,
    STOPPED_UNSEEN,
    USAGE,
    Conversation,
    Deaf,
    Hold,
    Script,
    assert_accepted,
    assert_in_order,
    say,
)

STOPPED: Script = (*SOME, Hold())
FAILED = ModelError(FailureKind.OVERLOADED, "The model is overloaded: try again.")


def prompts(talk: Conversation) -> list[tuple[str, bool]]:
    return [(event.prompt, event.continued) for event in talk.events if isinstance(event, TurnStarted)]


def figures(talk: Conversation) -> tuple[Usage, int | None]:
    return talk.session.record.usage, talk.session.record.context_used


def stopped(part: Part) -> AssistantMessage:
    return AssistantMessage((part,), MODEL, None, interrupted=True, unfinished=ReplyEnd.STOPPED)


def failed(text: str) -> AssistantMessage:
    message = AssistantMessage((Text(text),), MODEL, None, interrupted=True, unfinished=ReplyEnd.FAILED)
    return replace(message, words=FAILED.kind)


def partial(text: str) -> AssistantMessage:
    return stopped(Text(text))


def whole(text: str) -> AssistantMessage:
    return AssistantMessage((Text(text),), MODEL, FinishReason.STOP)


# ---- stopping, turn by turn


@pytest.mark.promise("U2")
async def test_a_stop_while_idle_changes_nothing() -> None:
    talk = Conversation(say("one"), say("two"))
    for _ in range(2):
        assert not talk.session.stop(ESCAPE)
        assert not talk.session.force()
        assert (await talk.turn()).outcome is Outcome.COMPLETED
    assert talk.registry.records == ()
    assert_in_order(talk.events)


@pytest.mark.promise("U2", "U4")
async def test_several_turns_in_a_row_can_each_be_stopped() -> None:
    talk = Conversation(STOPPED)
    heard: list[Status] = []
    talk.session.subscribe(lambda _: heard.append(talk.session.status))
    for number in range(1, 4):
        reason = CancelReason(Cause.USER, f"stop {number}")
        await talk.begin("ask")
        began = talk.session.started_at
        assert talk.session.stop(reason)
        assert not talk.session.stop(ESCAPE)
        await talk.idle()
        assert (began is None, talk.session.started_at is None) == (False, True)
        proof = talk.ended[-1].proof
        assert proof is not None
        assert proof.source == reason.source
    # Told at the start, the text, the stop, the commit of the partial reply, and the end of each.
    assert heard == [Status.RUNNING] * 2 + [Status.STOPPING] * 2 + [Status.IDLE] + heard[5:]
    assert heard == heard[:5] * 3
    assert [record.reason.source for record in talk.registry.records] == ["stop 1", "stop 2", "stop 3"]
    assert_in_order(talk.events)


@pytest.mark.promise("U3", "S3")
async def test_another_panes_turn_keeps_running() -> None:
    registry = Registry()
    one, two = (Conversation(STOPPED, say("fine"), registry=registry) for _ in range(2))
    for talk in (one, two):
        await talk.begin("ask")
    assert len(registry.snapshot()) == 2
    one.session.stop(ESCAPE)
    await one.idle()
    assert one.outcomes == [Outcome.CANCELLED]
    assert (two.session.status, two.ended) == (Status.RUNNING, [])
    (view,) = registry.snapshot()
    assert one.session.operations.cancel(view.call_id, ESCAPE).answer is CancelAnswer.NOT_FOUND
    assert two.session.operations.cancel(view.call_id, QUIT).answer is CancelAnswer.CANCELLED
    await two.idle()
    assert two.outcomes == [Outcome.CANCELLED]


# ---- what is kept of a stopped turn


@pytest.mark.promise("H1", "H6")
@pytest.mark.parametrize(
    "script",
    [(Hold(),), (TextDelta(""), ReasoningDelta(""), Hold())],
    ids=["nothing", "empty deltas"],
)
async def test_nothing_shown_leaves_all_as_it_was(script: Script) -> None:
    talk = Conversation(say("first"), script, say("third"))
    await talk.turn("one")
    session = talk.session
    before = (
        session.record.plain_steps,
        session.record.usage,
        session.record.context_used,
        session.queue.texts,
        session.queue.paused,
    )
    ended = await talk.stopped("two")
    after = (
        session.record.plain_steps,
        session.record.usage,
        session.record.context_used,
        session.queue.texts,
        session.queue.paused,
    )
    assert after == before
    assert after[0][0] is before[0][0]
    assert (ended.returned_prompt, ended.text) == ("two", "")
    await talk.turn("three")
    assert talk.provider.requests[-1].messages == (UserMessage("one"), whole("first"), UserMessage("three"))


@pytest.mark.promise("H2", "H6")
async def test_something_shown_is_kept_marked_and_sent() -> None:
    thought: Script = (ReasoningDelta("hm"), Hold())
    talk = Conversation(STOPPED, (TextDelta("more"), FAILED), thought, say("end"))
    ended = await talk.stopped("one")
    assert (ended.returned_prompt, ended.text) == (None, "part")
    await talk.turn("two")
    await talk.stopped("three")
    await talk.turn("four")
    assert talk.outcomes == [Outcome.CANCELLED, Outcome.ERROR, Outcome.CANCELLED, Outcome.COMPLETED]
    assert talk.messages == [
        UserMessage("one"),
        partial("part"),
        UserMessage("two"),
        failed("more"),
        UserMessage("three"),
        stopped(Reasoning("hm")),
        UserMessage("four"),
        whole("end"),
    ]
    failure = note_for_model(ReplyEnd.FAILED, "overloaded", above=True)
    assert talk.provider.requests[-1].messages == (
        UserMessage("one"),
        partial("part"),
        UserMessage(f"{STOPPED_ABOVE}\n\ntwo"),
        failed("more"),
        UserMessage(f"{failure}\n\nthree\n\n{STOPPED_UNSEEN}\n\nfour"),
    )
    for request in talk.provider.requests:
        assert_accepted(request.messages)
    assert [step.usage for step in talk.session.record.plain_steps] == [None, None, None, USAGE]


@pytest.mark.promise("H6")
async def test_usage_is_the_providers_and_counted_once() -> None:
    usage = Usage(100, 10, 5, 2)
    talk = Conversation(
        say("one", usage=usage),
        say("two", usage=None),
        (TextDelta("part"), Hold()),
        (Hold(),),
        say("five", usage=USAGE),
    )
    assert figures(talk) == (Usage(0, 0), None)
    await talk.turn()
    assert figures(talk) == (usage, 110)
    await talk.turn()
    await talk.stopped()
    await talk.stopped()
    assert figures(talk) == (usage, 110)
    await talk.turn()
    assert figures(talk) == (usage + USAGE, 10)
    assert [step.usage for step in talk.session.record.plain_steps] == [usage, None, None, USAGE]


# ---- taking up a stopped turn


@pytest.mark.promise("H9", "H1")
async def test_a_turn_that_had_shown_nothing_is_sent_again() -> None:
    talk = Conversation((Hold(),), (Hold(),), (FAILED,), say("fine"))
    await talk.stopped("ask")
    for _ in range(3):
        talk.session.resume()
        if len(talk.provider.requests) < 2:
            await talk.waiting()
            talk.session.stop(ESCAPE)
        await talk.idle()
    assert talk.outcomes == [Outcome.CANCELLED, Outcome.CANCELLED, Outcome.ERROR, Outcome.COMPLETED]
    assert prompts(talk) == [("ask", False), ("ask", True), ("ask", True), ("ask", True)]
    assert [event.returned_prompt for event in talk.ended] == ["ask", "ask", "ask", None]
    assert {request.messages for request in talk.provider.requests} == {(UserMessage("ask"),)}
    assert talk.messages == [UserMessage("ask"), whole("fine")]


@pytest.mark.promise("H9", "H2")
async def test_a_turn_that_had_shown_something_goes_on_from_there() -> None:
    talk = Conversation(STOPPED, (Hold(),), (TextDelta("ial"), Hold()), say(" reply"))
    await talk.stopped("ask")
    for _ in range(3):
        talk.session.resume()
        if len(talk.provider.requests) < 3:
            await talk.waiting()
            await talk.stop()
    await talk.idle()
    assert prompts(talk) == [("ask", False), *[(CONTINUE_PROMPT, True)] * 3]
    # Nobody wrote the prompt of a resumption, so it goes into nobody's composer.
    assert [event.returned_prompt for event in talk.ended] == [None] * 4
    asked = UserMessage(f"{STOPPED_ABOVE}\n\n{CONTINUE_PROMPT}")
    assert [request.messages for request in talk.provider.requests[1:]] == [
        (UserMessage("ask"), partial("part"), asked),
        (UserMessage("ask"), partial("part"), asked),
        (UserMessage("ask"), partial("part"), asked, partial("ial"), asked),
    ]
    with pytest.raises(SessionError, match="nothing to continue"):
        talk.session.resume()


@pytest.mark.promise("H9")
async def test_what_cannot_be_taken_up() -> None:
    talk = Conversation(say("fine"), STOPPED, say("other"))
    with pytest.raises(SessionError, match="nothing to continue"):
        talk.session.resume()
    await talk.turn()
    with pytest.raises(SessionError, match="nothing to continue"):
        talk.session.resume()
    talk.session.submit("ask")
    with pytest.raises(SessionError, match="is running"):
        talk.session.resume()
    await talk.waiting()
    talk.session.stop(ESCAPE)
    with pytest.raises(SessionError, match="is running"):
        talk.session.resume()
    await talk.idle()
    # Whoever asks for something else has left the stopped turn behind.
    await talk.turn("other")
    with pytest.raises(SessionError, match="nothing to continue"):
        talk.session.resume()
    assert len(talk.provider.requests) == 3


# ---- the queue


@pytest.mark.promise("U3")
async def test_a_second_prompt_waits_for_the_first() -> None:
    talk = Conversation((TextDelta("one"), DONE), say("two"), say("three"))
    talk.session.submit("1")
    turn = talk.session.turn
    talk.session.submit("2")
    talk.session.submit("3")
    assert talk.session.turn is turn
    assert talk.session.queue.texts == ("2", "3")
    await talk.idle()
    assert prompts(talk) == [("1", False), ("2", False), ("3", False)]
    assert talk.messages[1::2] == [whole("one"), whole("two"), whole("three")]
    assert [event.prompts for event in talk.events if isinstance(event, QueueChanged)] == [
        ("2",),
        ("2", "3"),
        ("3",),
        (),
    ]
    assert_in_order(talk.events)


@pytest.mark.promise("U3")
@pytest.mark.parametrize("end", [Hold(), FAILED], ids=["stopped", "failed"])
async def test_a_queue_waits_for_the_user_after_a_stop(end: Hold | ModelError) -> None:
    talk = Conversation((TextDelta("part"), end), say("other"), say("two"), say("three"))
    talk.session.submit("1")
    talk.session.submit("2")
    talk.session.submit("3")
    if isinstance(end, Hold):
        await talk.waiting()
        talk.session.stop(ESCAPE)
    await talk.idle()
    assert (talk.session.queue.texts, talk.session.queue.paused) == (("2", "3"), True)
    assert talk.events[-1] == QueueChanged(("2", "3"), paused=True)

    await talk.turn("other")
    assert (talk.session.queue.texts, talk.session.queue.paused) == (("2", "3"), True)
    assert talk.session.queue.unpause()
    assert not talk.session.queue.unpause()
    await talk.idle()
    assert [prompt for prompt, _ in prompts(talk)] == ["1", "other", "2", "3"]
    assert (talk.session.queue.texts, talk.session.queue.paused) == ((), False)
    assert not talk.session.queue.unpause()
    assert_in_order(talk.events)


async def test_a_queue_can_be_taken_back() -> None:
    talk = Conversation(STOPPED, say("fine"))
    talk.session.submit("1")
    await talk.begin("2")
    await talk.stop()
    assert talk.session.queue.take_all() == ("2",)
    assert talk.events[-1] == QueueChanged((), paused=False)
    assert talk.session.queue.take_all() == ()
    await talk.turn("3")
    assert [prompt for prompt, _ in prompts(talk)] == ["1", "3"]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
async def test_an_empty_prompt_is_refused(text: str) -> None:
    talk = Conversation(say("fine"))
    with pytest.raises(SessionError, match="empty"):
        talk.session.submit(text)
    assert talk.events == []


# ---- the end of a session


@pytest.mark.promise("U4", "S9")
async def test_closing_stops_the_turn_and_waits_for_it() -> None:
    talk = Conversation(STOPPED)
    refused: list[SessionError] = []

    def again(event: Event) -> None:
        if isinstance(event, TurnEnded):
            try:
                talk.session.submit("again")
            except SessionError as error:
                refused.append(error)

    talk.session.subscribe(again)
    talk.session.submit("1")
    await talk.begin("2")
    await talk.session.aclose(QUIT)
    assert talk.session.status is Status.IDLE
    (ended,) = talk.ended
    assert ended.proof is not None
    assert ended.proof.source == "ctrl+c"
    assert talk.session.queue.texts == ("2",)
    assert talk.registry.snapshot() == ()
    assert len(refused) == 1
    with pytest.raises(SessionError, match="closed"):
        talk.session.submit("3")
    with pytest.raises(SessionError, match="closed"):
        talk.session.resume()
    assert not talk.session.queue.unpause()
    await talk.session.aclose(QUIT)
    assert len(talk.provider.requests) == 1
    assert_in_order(talk.events)


@pytest.mark.promise("U4", "U10")
async def test_closing_does_not_wait_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.engine.step, "GRACES", Graces(3_600.0, 0.001))
    talk = Conversation((TextDelta("part"), Deaf()))
    await talk.begin("ask")
    await talk.session.aclose(QUIT, grace_s=0.001)
    (ended,) = talk.ended
    assert ended.proof is not None
    assert ended.proof.unconfirmed == (MODEL,)
    # What was deaf to its token is left to the loop's own cancel.
    await talk.until(lambda: not talk.registry.snapshot())
    assert talk.provider.streaming == 0


# ---- listeners


async def test_a_listener_can_leave_even_while_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    talk = Conversation(say("fine"))
    heard: list[Event] = []

    def once(event: Event) -> None:
        heard.append(event)
        unsubscribe()
        unsubscribe()

    unsubscribe = talk.session.subscribe(once)
    await talk.turn()
    assert heard == talk.events[:1]
    assert caplog.text == ""


async def test_the_model_is_described() -> None:
    talk = Conversation(say("fine"))
    windows = [talk.session.record.info.context_window]
    await talk.session.model.describe()
    windows.append(talk.session.record.info.context_window)
    assert windows == [None, 1_000]
    assert talk.events == [ModelDescribed(talk.session.record.info)]


async def test_waiting_for_idle_waits_for_the_queue_too() -> None:
    talk = Conversation(say("fine"))
    await talk.session.wait_idle()
    talk.session.submit("1")
    talk.session.submit("2")
    waiting = asyncio.create_task(talk.session.wait_idle())
    await waiting
    await rounds()
    assert talk.outcomes == [Outcome.COMPLETED] * 2
