"""Queued prompts in the application: stop-and-send, the list and its keys over a real session (E8)."""

from __future__ import annotations

import pytest

from core.cancel import CancelReason, Cause
from core.model.messages import AssistantMessage, UserMessage
from core.operations.events import Status
from tests.tui.stage import Stage, Stubborn, staged
from tui.composer.prompt import Prompt
from tui.composer.queue_list import QueueEditor, QueueRows
from tui.terminal.interrupt import InterruptKey

ESCAPE, CTRL_C = InterruptKey.ESCAPE, InterruptKey.CTRL_C


async def running(stage: Stage, *queued: str) -> None:
    """A turn in which something was said, and what waits behind it."""
    await stage.ask("hello")
    await stage.say("half of it")
    for text in queued:
        await stage.send(text)


def asked(stage: Stage) -> list[str]:
    """The prompts that the model was asked, without what it is told of a stop."""
    last = [request.messages[-1] for request in stage.model.requests]
    return [message.text.rpartition("\n\n")[2] for message in last if isinstance(message, UserMessage)]


# -- Ctrl+S --


@pytest.mark.promise("E8", "H2")
async def test_ctrl_s_stops_the_turn_and_sends_what_is_written_before_all_that_waits(stage: Stage) -> None:
    await running(stage, "second", "third")
    await stage.press(*"now")
    assert "Ctrl+S stops and sends" in stage.status
    await stage.press("ctrl+s")
    await stage.model.asked()
    await stage.until_said("Stopped by Ctrl+S after 1.2 ms: connection closed.")
    assert asked(stage) == ["hello", "now"]
    assert stage.session.queue.texts == ("second", "third")
    assert stage.session.queue.paused
    assert stage.pane.prompt.is_empty
    # What was stopped is known to the model.
    reply = stage.model.requests[-1].messages[1]
    assert isinstance(reply, AssistantMessage)
    assert (reply.text, reply.interrupted) == ("half of it", True)
    await stage.finish()
    assert asked(stage) == ["hello", "now"]
    assert stage.session.queue.paused


@pytest.mark.promise("E8", "E7")
async def test_a_second_ctrl_s_while_stopping_neither_forces_nor_sends_twice(stage: Stage) -> None:
    stage.model.manner = stubborn = Stubborn()
    await running(stage)
    await stage.press(*"now", "ctrl+s")
    assert stage.does(Status.STOPPING)
    assert "Esc forces" in stage.status
    stage.let_go()
    await stage.press("ctrl+s", "ctrl+s")
    assert not stubborn.forced.is_set()
    assert [prompt.text for prompt in stage.session.queue.prompts] == ["now"]
    stage.model.manner = Stubborn()
    stage.session.force()
    await stage.model.asked()
    assert asked(stage) == ["hello", "now"]
    assert stage.session.queue.prompts == ()
    stage.session.stop(CancelReason(Cause.USER, "the test"))
    stage.session.force()
    await stage.until(lambda: stage.does(Status.IDLE))
    assert asked(stage) == ["hello", "now"]


@pytest.mark.promise("E8")
async def test_ctrl_s_while_idle_sends_what_is_written_else_what_waits(stage: Stage) -> None:
    await stage.press("ctrl+s")
    assert "nothing is written, nothing is queued" in stage.status
    await running(stage, "second", "third")
    await stage.press("escape")
    await stage.until(lambda: stage.does(Status.IDLE))
    for number, text in enumerate(("other", ""), start=2):
        stage.let_go()
        await stage.press(*text, "ctrl+s")
        await stage.model.asked()
        await stage.finish()
        assert len(asked(stage)) == number
    assert asked(stage) == ["hello", "other", "second"]
    assert stage.session.queue.texts == ("third",)
    assert stage.session.queue.paused


@pytest.mark.promise("E8", "U1")
async def test_ctrl_s_takes_what_was_typed_before_it_and_nothing_behind(stage: Stage) -> None:
    await running(stage)
    await stage.type_at_once("now")
    await stage.press("ctrl+s", *"then")
    await stage.model.asked()
    assert asked(stage) == ["hello", "now"]
    assert stage.pane.prompt.draft == "then"


@pytest.mark.promise("E8", "U1")
async def test_an_esc_that_overtakes_ctrl_s_holds_the_prompt(stage: Stage) -> None:
    await running(stage)
    sent = Prompt.StopAndSend("sent before the stop")
    assert await stage.press_at_once(ESCAPE)
    stage.pane.post_message(sent)
    await stage.until(lambda: "1 queued: Ctrl+G sends" in stage.status)
    await stage.until_said("Stopped by Esc")
    assert asked(stage) == ["hello"]


@pytest.mark.promise("E8")
async def test_ctrl_s_on_a_command_obeys_it(stage: Stage) -> None:
    await running(stage)
    await stage.press(*"/queue", "ctrl+s")
    await stage.until_said("No prompt is queued.")
    assert stage.does(Status.RUNNING)


# -- the queue --


@pytest.mark.promise("E8")
async def test_a_stop_pauses_the_queue_and_ctrl_g_goes_on_with_it_over_a_draft(stage: Stage) -> None:
    await running(stage, "second", "third")
    await stage.press(*"draft", "escape")
    await stage.until(lambda: stage.does(Status.IDLE))
    assert "2 queued: Ctrl+G sends" in stage.status
    await stage.press("ctrl+g")
    await stage.model.asked()
    stage.model.finish()
    await stage.model.asked()
    assert asked(stage) == ["hello", "second", "third"]
    assert stage.pane.prompt.draft == "draft"
    assert not stage.pane.queue.display


@pytest.mark.promise("E1", "E2")
async def test_esc_in_the_list_goes_back_and_outside_of_it_stops(stage: Stage) -> None:
    gate = stage.app.interrupt_gate
    await running(stage, "second")
    assert "Esc stops" in stage.status
    assert gate.is_armed(ESCAPE)
    await stage.press("tab", "e", "!")
    for _ in ("the editor", "the list"):
        assert "Esc closes" in stage.status
        assert not gate.is_armed(ESCAPE)
        assert gate.is_armed(CTRL_C)
        await stage.press("escape")
        assert stage.does(Status.RUNNING)
    assert stage.focused() is stage.pane.prompt
    assert "Esc stops" in stage.status
    assert await stage.press_at_once(ESCAPE)
    await stage.until_said("Stopped by Esc")


@pytest.mark.promise("E2")
@pytest.mark.parametrize("keys", [("tab",), ("tab", "e")])
async def test_ctrl_c_stops_the_turn_from_the_list_and_from_its_editor(
    stage: Stage, keys: tuple[str, ...]
) -> None:
    await running(stage, "second")
    await stage.press(*keys)
    assert await stage.press_at_once(CTRL_C)
    await stage.until_said("Stopped by Ctrl+C")
    assert stage.session.queue.texts == ("second",)


@pytest.mark.promise("E8")
async def test_a_prompt_is_edited_in_place_while_its_turn_comes_and_then_sent(stage: Stage) -> None:
    await running(stage, "second")
    await stage.press(*"draft", "tab", "e", "!")
    await stage.finish()
    assert asked(stage) == ["hello"]
    await stage.press("enter")
    await stage.model.asked()
    assert asked(stage) == ["hello", "second!"]
    assert stage.pane.prompt.draft == "draft"
    assert stage.focused() is stage.pane.prompt
    # The composer of the pane is found beside the one in the list.
    assert not isinstance(stage.pane.prompt, QueueEditor)


@pytest.mark.promise("E8")
async def test_commands_list_remove_and_bring_back(stage: Stage) -> None:
    await running(stage, "second\nline", "third")
    await stage.send("/queue")
    await stage.until_said("2 queued: sent after this reply.")
    await stage.until_said("1. second ↵ line")
    await stage.send("/drop 2")
    await stage.until_said("Removed “third”: /undrop brings it back.")
    await stage.send("/drop 2")
    await stage.until_said("There is no queued prompt '2': /queue lists them.")
    stage.pane.prompt.clear_undoable()
    await stage.send("/drop")
    await stage.until_said("Removed the queued prompt: /undrop brings it back.")
    await stage.send("/undrop")
    await stage.send("/undrop")
    assert stage.session.queue.texts == ("second\nline", "third")
    assert not stage.session.queue.paused


@pytest.mark.promise("E8")
async def test_what_is_brought_back_while_idle_waits_for_the_person(stage: Stage) -> None:
    await running(stage, "second")
    await stage.send("/drop 1")
    await stage.finish()
    await stage.send("/undrop")
    assert stage.session.queue.paused
    assert asked(stage) == ["hello"]


@pytest.mark.promise("E8", "E3")
async def test_an_open_question_has_the_room_and_the_list_one_line(stage: Stage) -> None:
    await stage.open_question()
    stage.session.submit("second")
    await stage.until(lambda: stage.pane.queue.display)
    assert stage.pane.query_one(QueueRows).size.height == 0
    assert stage.pane.prompt.region.bottom < stage.app.size.height
    assert "Esc denies" in stage.status


@pytest.mark.promise("E8")
@pytest.mark.parametrize("size", [(80, 24), (140, 45), (20, 5), (40, 12)])
async def test_the_status_line_is_in_sight_whatever_is_open(size: tuple[int, int]) -> None:
    async with staged(size) as stage:
        await running(stage, *(f"prompt {number}\n" + "line\n" * 10 for number in range(9)))
        await stage.press("tab", "e")
        status = stage.app.query_one("StatusLine")
        assert status.region.bottom == size[1]
        assert status.region.height == 1
        assert stage.pane.query_one(QueueEditor).size.height >= 1
