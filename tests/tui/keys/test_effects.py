"""What the help says that a key does, against what the key does in the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.model.provider import BackedOff, BackingOff, Wait
from core.operations.events import Status
from tests.tui.stage import Stage, Stubborn
from tui.commands.table import COMMANDS
from tui.keys.bindings import BY_ID, KEYS, use_keymap
from tui.keys.effects import Effect, effects
from tui.keys.state import KeyState, Place, esc_action
from tui.keys.stop_keys import AFTERSHOCK_S, QUIT_WITHIN_S
from tui.lists.help_list import HelpList
from tui.lists.palette import Palette
from tui.pane.status_line import StatusLine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui.lists.base.overlay import Overlay

IDS = {
    "escape": "pane.stop",
    "ctrl+c": "pane.interrupt",
    "enter": "prompt.submit",
    "ctrl+s": "prompt.stop_and_send",
    "ctrl+g": "pane.send_queued",
    "tab": "pane.next",
    "shift+tab": "pane.next_mode",
    "ctrl+t": "pane.toggle_panel",
    "f9": "pane.kill",
    "f5": "pane.retry_now",
    "shift+enter": "prompt.newline",
}


def effect_of(binding_id: str, state: KeyState) -> Effect:
    return next(one.effect for one in effects(state) if one.binding_id == binding_id)


@pytest.fixture(autouse=True)
def own_keys() -> Iterator[None]:
    yield
    use_keymap({})


def state_of(stage: Stage) -> KeyState:
    return stage.pane.key_state


def traces(stage: Stage) -> tuple[object, ...]:
    """All that a key could have changed."""
    state = state_of(stage)
    return (
        stage.session.status,
        stage.pane.prompt.draft,
        stage.session.queue.texts,
        state.place,
        state.focus_targets,
        state.mode,
        len(stage.model.requests),
        stage.exit_code(),
    )


async def does(stage: Stage, key: str, words: str) -> None:
    """The help says that `key` does this; then press it. One that says that it does nothing does nothing."""
    state = state_of(stage)
    assert stage.app.query_one(StatusLine).view.esc is esc_action(state)
    effect = effect_of(IDS[key], state)
    assert effect.words == words
    before = traces(stage)
    await stage.press(key)
    assert effect.works is (not words.startswith("nothing now"))
    if not effect.works:
        assert traces(stage) == before


def at(stage: Stage, place: Place) -> bool:
    return state_of(stage).place is place


# -- in each state --


@pytest.mark.promise("E1", "E2")
async def test_idle_and_empty(stage: Stage) -> None:
    await does(stage, "enter", "nothing now: nothing is written")
    await does(stage, "ctrl+s", "nothing now: nothing is written or queued")
    await does(stage, "ctrl+g", "nothing now: no prompt is queued")
    await does(stage, "tab", "nothing now: nothing is open to go to")
    await does(stage, "f9", "nothing now: all that was stopped has ended")
    await does(stage, "f5", "nothing now: nothing waits to be tried again")
    await does(stage, "shift+tab", "Change the mode from ask to edits")
    assert stage.session.permissions.mode == "edits"
    await does(stage, "ctrl+t", "Show what is alive, and go there")
    assert at(stage, Place.PANEL)
    await does(stage, "escape", "Close the panel")
    assert at(stage, Place.COMPOSER)
    await stage.press("ctrl+t")
    await does(stage, "ctrl+s", "nothing now: it is for the composer")
    await does(stage, "shift+enter", "nothing now: it is for the composer")
    await does(stage, "tab", "Go to the composer")
    await does(stage, "ctrl+t", "Go to the panel of what is alive")
    await does(stage, "ctrl+t", "Close the panel")
    await does(stage, "escape", "nothing now: no turn runs; twice in a row goes back to an earlier prompt")
    await does(stage, "escape", "Go back to an earlier prompt")
    assert at(stage, Place.LIST)
    await does(stage, "enter", "Take the selected row, where the list has any to take")
    await does(stage, "tab", "Go to the composer")
    await does(stage, "tab", "Go to the list")
    await does(stage, "ctrl+c", "Close the list")
    assert at(stage, Place.COMPOSER)
    await does(stage, "ctrl+c", "Twice in a row: quit")
    await does(stage, "ctrl+c", "Quit")
    await stage.until(lambda: stage.exit_code() == 0)


@pytest.mark.promise("E1", "E2")
async def test_idle_and_written(stage: Stage) -> None:
    await stage.press(*"draft")
    await does(stage, "escape", "nothing now: no turn runs, and what is written stays")
    await does(stage, "shift+enter", "Break the line")
    assert stage.pane.prompt.draft == "draft\n"
    await does(stage, "ctrl+c", "Clear what is written; Ctrl+Z brings it back")
    assert stage.pane.prompt.is_empty
    await stage.press(*"sent")
    await does(stage, "ctrl+s", "Send what is written")
    await stage.model.asked()
    await stage.finish()
    await stage.press(*"sent")
    await does(stage, "enter", "Send what is written")
    await stage.model.asked()
    assert stage.does(Status.RUNNING)


@pytest.mark.promise("E1", "E2", "E8")
async def test_running_then_paused(stage: Stage) -> None:
    await stage.ask("hello")
    stage.model.say("half of it")
    await does(stage, "enter", "nothing now: nothing is written")
    await does(stage, "ctrl+s", "nothing now: write first what is to be sent")
    await stage.press(*"one")
    await does(stage, "enter", "Queue what is written; a command is obeyed at once")
    await stage.press(*"two", "enter")
    assert stage.session.queue.texts == ("one", "two")
    await does(stage, "ctrl+g", "nothing now: a turn runs, the queue is for after it")
    await does(stage, "tab", "Go to the queue")
    await does(stage, "enter", "Edit the selected prompt")
    assert at(stage, Place.QUEUE_EDITOR)
    await does(stage, "escape", "Leave the queued prompt as it was")
    await does(stage, "escape", "Go back to the composer")
    await does(stage, "escape", "Stop the turn and all its calls")
    await stage.until(lambda: stage.does(Status.IDLE))
    await does(stage, "ctrl+c", "nothing now: the turn has just been stopped")
    stage.now += AFTERSHOCK_S * 2
    await does(stage, "ctrl+g", "Go on with 2 queued prompts")
    await stage.model.asked()
    await stage.say("the beginning")
    await does(stage, "ctrl+c", "Stop the turn, from anywhere")
    await stage.until(lambda: stage.does(Status.IDLE))
    await does(stage, "ctrl+s", "Send the first queued prompt")
    await stage.model.asked()
    await stage.press(*"next")
    stage.let_go()
    await does(stage, "ctrl+s", "Stop the turn and send what is written next")
    await stage.model.asked()
    assert not stage.session.queue.texts


@pytest.mark.promise("E1", "E7", "E8")
@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_stopping(stage: Stage, key: str) -> None:
    stage.model.manner = Stubborn()
    await stage.ask("hello")
    await stage.press("escape")
    await stage.press(*"next")
    stage.let_go()
    await does(stage, "ctrl+s", "Send what is written as soon as the turn has ended")
    assert stage.session.queue.texts == ("next",)
    await does(stage, "ctrl+g", "nothing now: a turn runs, the queue is for after it")
    await does(stage, key, "Force the end: what has not stopped is killed")
    await stage.until_said("was killed")


@pytest.mark.promise("E1", "E3")
async def test_a_question_and_a_line_of_words(stage: Stage) -> None:
    await stage.open_question()
    stage.pane.prompt.focus()
    await stage.press(*"x")
    await does(stage, "tab", "Go to the question")
    await does(stage, "shift+enter", "nothing now: it is for the composer")
    await stage.press("r")
    assert at(stage, Place.WORDS)
    await does(stage, "ctrl+s", "nothing now: it is for the composer")
    await does(stage, "escape", "Close the line of words")
    assert at(stage, Place.QUESTION)
    await does(stage, "escape", "Deny what is asked, and stop the turn")
    await stage.until_said("Stopped by Esc")


@pytest.mark.promise("E1")
async def test_a_list_over_a_running_turn(stage: Stage) -> None:
    await stage.ask("hello")
    stage.pane.lists.open(HelpList(lambda: state_of(stage), COMMANDS))
    await stage.pilot.pause()
    assert at(stage, Place.LIST)
    await does(stage, "escape", "Close the list")
    assert at(stage, Place.COMPOSER)
    assert stage.does(Status.RUNNING)
    stage.pane.lists.open(HelpList(lambda: state_of(stage), COMMANDS))
    await stage.pilot.pause()
    await does(stage, "ctrl+c", "Stop the turn, from anywhere")
    await stage.until_said("Stopped by Ctrl+C")
    stage.now += QUIT_WITHIN_S * 2


@pytest.mark.promise("E1")
async def test_a_command_that_is_being_typed(stage: Stage) -> None:
    await stage.press("slash", *"mod")
    await stage.until(lambda: state_of(stage).completing)
    await does(stage, "tab", "Complete the command")
    assert stage.pane.prompt.draft == "/mode "
    await does(stage, "escape", "Close the list of commands")
    assert stage.pane.prompt.draft == "/mode "
    await stage.press("ctrl+c")
    await stage.press("slash", *"memo")
    await does(stage, "enter", "Complete the command; one that is whole is obeyed")
    assert stage.pane.prompt.draft == "/memory"
    await stage.press("ctrl+c")
    await stage.ask("hello")
    stage.model.say("half of it")
    await stage.press("slash", *"mo")
    # Merely visible: it keeps nobody from a stop.
    await does(stage, "escape", "Stop the turn and all its calls")
    await stage.until_said("Stopped by Esc")
    assert stage.pane.prompt.draft == "/mo"


@pytest.mark.parametrize(("key", "opened"), [("f1", HelpList), ("ctrl+p", Palette)], ids=["help", "palette"])
async def test_the_keys_that_open_a_list_do_so_from_anywhere(
    stage: Stage, key: str, opened: type[Overlay]
) -> None:
    await stage.ask("hello")
    for before in ("tab", "ctrl+t", "f1", "ctrl+p"):
        await stage.press(before, key)
        assert isinstance(stage.pane.lists.opened, opened)
        await does(stage, "escape", "Close the list")
    assert stage.does(Status.RUNNING)


@pytest.mark.promise("R2")
async def test_a_back_off(stage: Stage) -> None:
    await stage.ask("hello")
    wait = Wait(1_000)
    stage.model.give(BackingOff(wait, 2, 3, "openai/demo", "it is busy"))
    await stage.until(lambda: state_of(stage).waiting)
    await does(stage, "f5", "Try again at once")
    assert wait.skipped
    stage.model.give(BackedOff())
    await stage.until(lambda: not state_of(stage).waiting)
    await stage.send("/now")
    await stage.until_said("Nothing waits: there is nothing to try again.")


# -- the table --


def test_every_key_that_can_be_rebound_is_told_of_in_every_state() -> None:
    rebindable = {key.id for key in KEYS if key.rebindable} - {"prompt.copy"}
    for status in Status:
        for place in Place:
            for written in (False, True):
                state = KeyState(status, place, (Place.COMPOSER, place), written=written)
                told = {key.binding_id: key.effect for key in effects(state)}
                assert rebindable <= set(told)
                assert all(effect.works is not effect.words.startswith("nothing") for effect in told.values())


def test_the_names_are_those_of_the_keys_in_force() -> None:
    use_keymap({"pane.send_queued": "f8", "prompt.submit": "ctrl+enter,f10"})
    names = {key.binding_id: key.keys for key in effects(KeyState())}
    assert names["pane.send_queued"] == "F8"
    assert names["prompt.submit"] == "Ctrl+Enter or F10"
    assert names["pane.stop"] == "Esc"
    assert set(names) <= set(BY_ID)


def test_a_list_saves_with_its_own_key_alone() -> None:
    editing = KeyState(place=Place.LIST, focus_targets=(Place.COMPOSER, Place.LIST))
    assert effect_of("prompt.stop_and_send", editing).words == "Save, where something is edited"
    use_keymap({"prompt.stop_and_send": "f8"})
    assert effect_of("prompt.stop_and_send", editing).words == "nothing now: it is for the composer"


@pytest.mark.promise("E1")
@pytest.mark.parametrize(
    ("status", "said"),
    [(Status.IDLE, "Esc closes"), (Status.RUNNING, "Esc stops"), (Status.STOPPING, "Esc forces")],
)
def test_a_list_of_commands_keeps_nobody_from_a_stop(status: Status, said: str) -> None:
    assert esc_action(KeyState(status, written=True, completing=True)) == said
