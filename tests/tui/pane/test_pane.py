"""One session on the screen: what the keys do to it, what is typed into it, and what the status line says."""

from __future__ import annotations

import pytest

from core.cancel import CancelReason, Cause
from core.model.messages import AssistantMessage, ToolResults
from core.model.provider import AttemptStarted
from core.operations.events import Status
from tests.tui.stage import ELAPSED_S, Stage, Stubborn, staged
from tui.composer.prompt import Prompt
from tui.keys.bindings import KeymapError, apply_keymap
from tui.keys.stop_keys import AFTERSHOCK_S, KEY_REPEAT_S, QUIT_WITHIN_S
from tui.terminal.interrupt import InterruptKey, Press

ESCAPE, CTRL_C = InterruptKey.ESCAPE, InterruptKey.CTRL_C


async def running(stage: Stage, *said: str) -> None:
    """Bring the stage to a turn in which `said` has been said."""
    await stage.ask("hello")
    if said:
        stage.model.say(*said)
        await stage.until_said(said[-1])


# -- what the status line says --


@pytest.mark.promise("E1", "E6", "E7", "U4")
async def test_the_status_line_says_what_runs_and_what_esc_does_at_every_moment(stage: Stage) -> None:
    stage.model.manner = Stubborn()
    assert stage.status == "idle Esc unused ask · openai/demo"
    await running(stage, "half of it")
    assert stage.status == "⠼ running 3.4s Esc stops ask · openai/demo"
    await stage.press("escape")
    assert stage.status == "⠼ stopping 3.4s Esc forces ask · openai/demo"
    assert "Stopped" not in stage.transcript
    await stage.press("escape")
    await stage.until_said("the model process did not answer and was killed")
    assert stage.status == "idle Esc unused ask · openai/demo"


@pytest.mark.promise("E1")
async def test_the_status_line_tells_how_long_nothing_has_come(stage: Stage) -> None:
    def silent_for(seconds: float) -> None:
        (stream,) = stage.session.operations.snapshot()
        assert stream.silence is not None
        assert stage.session.started_at is not None
        stage.later = stream.silence.since + seconds - stage.session.started_at - ELAPSED_S

    await running(stage)
    stage.model.give(AttemptStarted(600.0, 60.0))
    await stage.until(lambda: stage.session.operations.snapshot()[0].silence)
    # Nobody asks for a repaint; the row does it by itself.
    silent_for(42.5)
    await stage.until(lambda: "waiting for the first word 42 s, gives up at 600 s" in stage.status)
    await stage.say("half of it")
    await stage.until(lambda: "waiting" not in stage.status)
    silent_for(25.5)
    await stage.until(lambda: "nothing received for 25 s, gives up at 60 s" in stage.status)
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")
    assert stage.status.startswith("idle Esc unused")


@pytest.mark.promise("U4")
async def test_whoever_stops_a_turn_the_status_line_tells_it(stage: Stage) -> None:
    stage.model.manner = Stubborn()
    await running(stage)
    stage.session.stop(CancelReason(Cause.CLIENT, "caesura stop"))
    await stage.until(lambda: "stopping" in stage.status)
    stage.session.force()
    await stage.until(lambda: "idle" in stage.status)
    await stage.until_said("Stopped by caesura stop")


@pytest.mark.promise("H6")
async def test_the_context_used_is_what_the_provider_counted(stage: Stage) -> None:
    await running(stage)
    stage.model.finish()
    await stage.until(lambda: stage.status == "idle Esc unused ask · openai/demo · 12% of 128k")


# -- Esc --


@pytest.mark.promise("E1", "E6")
@pytest.mark.parametrize("key", InterruptKey)
async def test_a_stop_key_in_the_input_thread_stops_before_the_loop_hears_of_it(
    stage: Stage, key: InterruptKey
) -> None:
    stage.model.manner = Stubborn()
    await running(stage)
    press = stage.app.interrupt_gate.press(key)
    # Nothing has been awaited: the turn is stopped all the same, and the next frame says it.
    assert press is not None
    assert stage.does(Status.STOPPING)
    stage.pane.show_interrupted()
    assert stage.status.startswith("⠼ stopping")
    stage.session.force()
    await stage.until_said("Stopped by")


@pytest.mark.promise("E7")
async def test_a_second_press_forces_and_a_key_that_repeats_does_not(stage: Stage) -> None:
    stage.model.manner = Stubborn()
    await running(stage)
    stage.pane.stop_keys.interrupt(Press(ESCAPE, 100.0))
    assert stage.does(Status.STOPPING)
    stage.pane.stop_keys.interrupt(Press(ESCAPE, 100.0 + KEY_REPEAT_S / 2))
    await stage.pilot.pause()
    assert stage.does(Status.STOPPING)
    stage.pane.stop_keys.interrupt(Press(ESCAPE, 100.0 + KEY_REPEAT_S * 2))
    await stage.until_said("was killed")


@pytest.mark.promise("U2")
@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_stop_while_idle_leaves_the_next_turn_alone(stage: Stage, key: str) -> None:
    await stage.press(key)
    await running(stage)
    stage.model.say("whole")
    stage.model.finish()
    await stage.until(lambda: "12%" in stage.status)
    assert "Stopped" not in stage.transcript


@pytest.mark.promise("E1")
async def test_esc_never_clears_a_draft(stage: Stage) -> None:
    await stage.press(*"draft", "escape", "escape")
    assert stage.pane.prompt.draft == "draft"
    stage.pane.prompt.clear_undoable()
    await running(stage, "half of it")
    await stage.press(*"other", "escape")
    await stage.until_said("Stopped by Esc")
    assert stage.pane.prompt.draft == "other"


@pytest.mark.promise("U2")
async def test_several_turns_in_a_row_can_each_be_stopped(stage: Stage) -> None:
    for number in range(1, 4):
        await running(stage, f"reply {number}")
        await stage.press("escape")
        await stage.until_said("Stopped by Esc", times=number)
    assert len(stage.session.record.plain_steps) == 3


async def test_the_gate_is_armed_exactly_while_a_turn_runs(stage: Stage) -> None:
    gate = stage.app.interrupt_gate
    assert not stage.is_armed()
    stage.session.submit("hello")
    assert gate.is_armed(ESCAPE)
    assert gate.is_armed(CTRL_C)
    await stage.model.asked()
    await stage.finish()
    assert not stage.is_armed()
    await running(stage)
    assert stage.is_armed()
    stage.session.stop(CancelReason(Cause.USER, "escape"))
    assert stage.is_armed()
    await stage.until(lambda: stage.does(Status.IDLE))
    assert not stage.is_armed()


@pytest.mark.promise("E9")
async def test_no_key_map_takes_the_stop_away() -> None:
    for wish in (
        {"pane.stop": "f5"},
        {"pane.interrupt": "f5"},
        {"app.quit": "escape"},
        {"app.quit": "ctrl+c"},
    ):
        with pytest.raises(KeymapError):
            apply_keymap(wish)
    async with staged() as stage:
        stage.app.set_keymap(apply_keymap({"app.quit": "f10", "transcript.end": "f8"}))
        await running(stage)
        await stage.press("escape")
        await stage.until_said("Stopped by Esc")
        # Even one that nobody has checked: in a terminal, these keys do not come by way of the bindings.
        stage.app.set_keymap({"pane.stop": "f5", "pane.interrupt": "f6", "app.quit": "escape,ctrl+c"})
        await running(stage, "again")
        assert await stage.press_at_once(ESCAPE)
        await stage.until_said("Stopped by Esc", times=2)


# -- Ctrl+C --


@pytest.mark.promise("E2")
async def test_ctrl_c_stops_and_leaves_the_draft(stage: Stage) -> None:
    await running(stage, "half of it")
    await stage.press(*"draft", "ctrl+c")
    await stage.until_said("Stopped by Ctrl+C after 1.2 ms: connection closed.")
    # Meant for the turn that has just ended: a person who wants it to stop presses more than once.
    stage.now += AFTERSHOCK_S / 2
    await stage.press("ctrl+c")
    assert stage.pane.prompt.draft == "draft"
    stage.now += AFTERSHOCK_S
    await stage.press("ctrl+c")
    assert stage.pane.prompt.draft == ""
    assert stage.status.startswith("idle · cleared, Ctrl+Z brings it back")
    await stage.press("ctrl+z")
    assert stage.pane.prompt.draft == "draft"
    assert stage.app.is_running


@pytest.mark.promise("E2")
async def test_ctrl_c_twice_in_time_quits_when_idle_and_empty() -> None:
    async with staged() as stage:
        await stage.press("ctrl+c")
        assert stage.status.startswith("idle · Ctrl+C again quits")
        stage.now += QUIT_WITHIN_S + 0.1
        await stage.press("ctrl+c")
        assert stage.exit_code() is None
        stage.now += QUIT_WITHIN_S - 0.1
        await stage.press("ctrl+c")
        await stage.until(lambda: stage.exit_code() == 0)
    assert stage.does(Status.IDLE)


@pytest.mark.promise("E2")
async def test_the_first_of_two_is_forgotten_when_a_turn_begins(stage: Stage) -> None:
    await stage.press("ctrl+c")
    await running(stage)
    assert "quits" not in stage.status
    await stage.finish()
    await stage.press("ctrl+c")
    assert stage.status.startswith("idle · Ctrl+C again quits")
    assert stage.exit_code() is None


@pytest.mark.promise("E2")
@pytest.mark.parametrize("key", ["ctrl+shift+c", "super+c"])
async def test_a_copy_chord_never_stops(stage: Stage, key: str) -> None:
    await running(stage)
    await stage.press(*"copied", "ctrl+a", key)
    assert stage.does(Status.RUNNING)
    assert stage.pane.prompt.draft == "copied"


# -- prompts that wait --


@pytest.mark.promise("U3")
async def test_queued_prompts_wait_after_a_stop_until_they_are_sent_or_dropped(stage: Stage) -> None:
    await running(stage, "half of it")
    await stage.send("second")
    await stage.send("third")
    assert "running 3.4s · 2 queued Esc stops" in stage.status
    await stage.press("escape")
    await stage.until(lambda: stage.status.startswith("idle · 2 queued: Ctrl+G sends Esc unused"))
    assert len(stage.model.requests) == 1
    await stage.ask("/send")
    assert "second" in stage.transcript
    assert "· 1 queued Esc stops" in stage.status
    await stage.press("escape")
    await stage.until(lambda: stage.does(Status.IDLE))
    # A word of the moment covers the queue, and does not erase it.
    stage.now += AFTERSHOCK_S
    stage.pane.prompt.clear_undoable()
    await stage.press("ctrl+c")
    assert "Ctrl+C again quits" in stage.status
    await stage.send("/drop")
    assert stage.session.queue.texts == ()
    await stage.until(lambda: "quits" not in stage.status)
    assert "queued" not in stage.status
    assert len(stage.model.requests) == 2


@pytest.mark.promise("U3")
async def test_a_queue_goes_on_by_itself_after_a_normal_end(stage: Stage) -> None:
    await running(stage)
    await stage.send("second")
    stage.model.finish()
    await stage.model.asked()
    await stage.until(lambda: "second" in stage.transcript)
    assert "queued" not in stage.status


@pytest.mark.promise("U1")
async def test_a_prompt_that_a_stop_overtook_is_held(stage: Stage) -> None:
    await running(stage, "half of it")
    # Enter and Esc in one read: the input thread stops at once, Enter is still on its way.
    sent = Prompt.Submitted("sent before the stop")
    assert await stage.press_at_once(ESCAPE)
    stage.pane.post_message(sent)
    await stage.until(lambda: "1 queued: Ctrl+G sends" in stage.status)
    await stage.until_said("Stopped by Esc")
    assert len(stage.model.requests) == 1
    await stage.send("sent after it")
    await stage.model.asked()
    assert "sent after it" in stage.transcript
    assert "sent before the stop" not in stage.transcript


# -- commands --


@pytest.mark.promise("H2", "H9")
async def test_continue_takes_up_what_was_stopped(stage: Stage) -> None:
    await running(stage, "half of it")
    await stage.press("escape")
    await stage.until_said("/continue goes on, Esc Esc edits the prompt.")
    await stage.ask("/continue")
    reply = stage.model.requests[-1].messages[1]
    assert isinstance(reply, AssistantMessage)
    assert reply.text == "half of it"
    assert reply.interrupted


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("/continue", "There is nothing to continue: the last reply came to its end."),
        ("/contine", "There is no command /contine: did you mean /continue?"),
        ("/send", "Nothing was sent: no prompt is queued."),
        ("/drop", "No prompt is queued: there is nothing to drop."),
        ("/stop", "No turn is running: there is nothing to stop."),
        ("/stop 3", "There is no number 3: nothing is running."),
        ("/stop all", "one call is stopped by its number"),
        ("/running", "Nothing is running."),
        ("/kill", "There is nothing to kill: everything that was stopped has ended."),
        ("/mode", "The mode is ask."),
        ("/mode paln", "There is no mode 'paln': did you mean plan?"),
        ("/mode plan", "Mode plan: whatever would change something is refused."),
        ("/mcp", "There are no tools in this session."),
    ],
)
async def test_a_command_always_answers(stage: Stage, command: str, answer: str) -> None:
    await stage.send(command)
    assert answer in " ".join(stage.transcript.split())
    assert stage.model.requests == []
    # What was refused comes back, to be corrected.
    refused = answer.startswith(("There is no ", "There is nothing to continue", "one call"))
    assert stage.pane.prompt.draft == (command if refused else "")


@pytest.mark.promise("S5", "S8")
async def test_a_number_of_the_list_stops_that_call_and_takes_words(stage: Stage) -> None:
    await stage.run_three()
    await stage.send("/running")
    await stage.until_said("2. shell make test (running, for ")
    assert stage.pane.panel.display
    assert stage.focused() is stage.pane.prompt
    await stage.send("/stop 1")
    await stage.until(lambda: set(stage.shell.running) == {"make test", "find / -name core"})
    # Still the numbers of the list that the person sees.
    await stage.send("/stop 2 too slow")
    await stage.until(lambda: stage.shell.running == ["find / -name core"])
    await stage.send("/stop 2")
    await stage.until_said("It has ended already")
    await stage.send("/stop 3")
    await stage.model.asked()
    results = stage.model.requests[-1].messages[-1]
    assert isinstance(results, ToolResults)
    assert "too slow" in results.results[1].text
    await stage.send("/stop")
    await stage.until_said("Stopped by /stop")


async def test_quit_quits() -> None:
    async with staged() as stage:
        await stage.send("/quit")
        await stage.until(lambda: stage.exit_code() == 0)
    assert stage.does(Status.IDLE)


# -- the rest --


async def test_reasoning_is_folded_and_ctrl_r_shows_it(stage: Stage) -> None:
    await running(stage)
    stage.model.think("secret thoughts")
    await stage.until_said("Thinking… (2 words) ▸")
    assert "secret" not in stage.transcript
    await stage.press("ctrl+r")
    assert "secret thoughts" in stage.transcript


async def test_the_keys_of_the_transcript_work_from_the_prompt(stage: Stage) -> None:
    await running(stage)
    stage.model.say("".join(f"line {number}\n" for number in range(100)))
    await stage.until_said("line 99")
    transcript = stage.pane.transcript
    end = transcript.scroll_offset.y
    for key, reached in (("pageup", range(1, end)), ("ctrl+home", (0,)), ("pagedown", range(1, end))):
        await stage.press(key)
        assert transcript.scroll_offset.y in reached
    await stage.press("end")
    assert transcript.scroll_offset.y == end


@pytest.mark.parametrize("size", [(20, 5), (300, 100)])
async def test_it_works_in_a_terminal_of_any_size(size: tuple[int, int]) -> None:
    async with staged(size) as stage:
        await running(stage, "half of it")
        assert "half of it" in stage.rows
        assert stage.status.startswith("⠼ running")
        assert "Esc stops" in stage.status
        await stage.press(*"draft", "escape")
        await stage.until_said("Stopped by Esc")
        assert "draft" in stage.pane.prompt.render_line(0).text
        assert stage.pane.prompt.content_region.height == 1
        assert stage.app.screen.region.contains_region(stage.pane.prompt.region)
