"""The queue of a session: stop-and-send, edits and removals while turns run, stop and end (E8)."""

from __future__ import annotations

import pytest

from core.cancel import CancelReason, Cause
from core.model.provider import TextDelta
from core.operations.events import Outcome, QueueChanged, Status, TurnStarted
from core.session.queue import SessionError
from tests.support.scripted_models import Conversation, Hold, assert_in_order, say

CTRL_S = CancelReason(Cause.USER, "Ctrl+S")
PART = (TextDelta("part"), Hold())


def started(talk: Conversation) -> list[str]:
    return [event.prompt for event in talk.events if isinstance(event, TurnStarted)]


def waits(talk: Conversation) -> tuple[list[str], bool]:
    """What waits, and whether for the person."""
    return list(talk.session.queue.texts), talk.session.queue.paused


@pytest.mark.promise("E8")
async def test_stop_and_send_goes_before_the_queue_and_pauses_it() -> None:
    talk = Conversation(PART, say("now"), say("two"))
    talk.session.submit("1")
    await talk.begin("2")
    talk.session.queue.stop_and_send("now", CTRL_S)
    assert talk.session.status is Status.STOPPING
    # Seen by whoever looks, and kept if the program dies now.
    assert waits(talk) == (["now", "2"], True)
    # A second one neither forces nor is lost.
    talk.session.queue.stop_and_send("then", CTRL_S)
    await talk.idle()
    assert started(talk)[:2] == ["1", "now"]
    assert talk.ended[0].outcome is Outcome.CANCELLED
    assert talk.ended[0].proof is not None
    assert talk.ended[0].proof.source == "Ctrl+S"
    assert started(talk)[2:] == ["then"]
    assert waits(talk) == (["2"], True)
    assert_in_order(talk.events)


@pytest.mark.promise("E8", "U6")
async def test_a_stop_that_comes_too_late_still_sends_it_next() -> None:
    talk = Conversation(say("one"), say("now"), say("two"))
    sent: list[str] = []

    def at_the_end(event: object) -> None:
        # Committed, and not over: from here on no stop changes the outcome.
        if type(event).__name__ == "StepCommitted" and not sent:
            sent.append("now")
            talk.session.queue.stop_and_send("now", CTRL_S)

    talk.session.subscribe(at_the_end)
    talk.session.submit("1")
    talk.session.submit("2")
    await talk.idle()
    assert started(talk) == ["1", "now"]
    assert talk.session.queue.paused
    assert talk.session.queue.unpause()
    await talk.idle()
    assert started(talk) == ["1", "now", "2"]


@pytest.mark.promise("E8")
async def test_idle_it_is_sent_at_once_and_an_empty_one_refused() -> None:
    talk = Conversation(say("fine"))
    with pytest.raises(SessionError, match="empty"):
        talk.session.queue.stop_and_send(" ", CTRL_S)
    talk.session.queue.stop_and_send("1", CTRL_S)
    await talk.idle()
    assert [ended.outcome for ended in talk.ended] == [Outcome.COMPLETED]


@pytest.mark.promise("E8")
async def test_one_of_a_paused_queue_is_sent_and_no_other() -> None:
    talk = Conversation(PART, say("three"))
    for text in "123":
        talk.session.submit(text)
    await talk.waiting()
    await talk.stop()
    assert not talk.session.queue.send_now(9, CTRL_S)
    assert talk.session.queue.send_now(talk.session.queue.prompts[1].queue_id, CTRL_S)
    await talk.idle()
    assert started(talk) == ["1", "3"]
    assert waits(talk) == (["2"], True)


@pytest.mark.promise("E8")
@pytest.mark.parametrize("kept", [True, False])
async def test_a_turn_that_ends_does_not_send_what_is_being_edited(kept: bool) -> None:
    talk = Conversation(say("one"), say("two"), say("three"))
    for text in "123":
        talk.session.submit(text)
    edited = talk.session.queue.prompts[0].queue_id
    assert talk.session.queue.begin_edit(edited)
    await talk.idle()
    assert started(talk) == ["1"]
    assert waits(talk) == (["2", "3"], False)
    if kept:
        assert talk.session.queue.edit(edited, "2!")
    else:
        talk.session.queue.end_edit()
    await talk.idle()
    assert started(talk) == ["1", "2!" if kept else "2", "3"]


@pytest.mark.promise("E8")
async def test_what_was_removed_comes_back_and_waits_where_nothing_runs() -> None:
    talk = Conversation(say("one"))
    talk.session.submit("1")
    talk.session.submit("2")
    (prompt,) = talk.session.queue.prompts
    assert talk.session.queue.remove(prompt.queue_id)
    assert not talk.session.queue.remove(prompt.queue_id)
    await talk.idle()
    assert [back.text for back in talk.session.queue.undo()] == ["2"]
    assert talk.session.queue.undo() == ()
    await talk.idle()
    assert started(talk) == ["1"]
    assert talk.events[-1] == QueueChanged(("2",), paused=True)


@pytest.mark.promise("E8", "Q2")
async def test_a_close_while_stopping_keeps_what_was_to_be_sent_next() -> None:
    talk = Conversation(PART)
    talk.session.submit("1")
    await talk.begin("2")
    talk.session.queue.stop_and_send("now", CTRL_S)
    await talk.session.aclose(CancelReason(Cause.QUIT, "ctrl+q"))
    assert started(talk) == ["1"]
    assert talk.session.queue.texts == ("now", "2")
