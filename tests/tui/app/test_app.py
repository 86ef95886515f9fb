"""The application around its pane: the ways out, the theme, and what an error nobody expected looks like."""

from __future__ import annotations

import asyncio
import functools
import signal
from typing import TYPE_CHECKING

import pytest
from textual import events

from core.cancel import CancelReason, Cause
from core.model.provider import Phase
from core.operations.events import Status
from core.operations.operation import OperationKind, OperationState
from tests.tui.stage import Stage, Stubborn, staged
from tui.app.quitting import QUIT_ASKED_S
from tui.theme import choose as theme

if TYPE_CHECKING:
    from pathlib import Path

    from textual.pilot import Pilot

QUIT = CancelReason(Cause.QUIT, "quit")


# -- ways out --


@pytest.mark.parametrize("key", ["ctrl+q", "/quit"])
async def test_quitting_stops_the_turn_and_keeps_what_there_is(key: str) -> None:
    async with staged() as stage:
        await stage.ask("hello")
        await stage.say("half of it")
        if key.startswith("/"):
            await stage.send(key)
        else:
            await stage.press(key)
        await stage.until(lambda: stage.exit_code() == 0)
    assert stage.does(Status.IDLE)
    assert len(stage.session.record.plain_steps) == 1
    assert stage.registry.snapshot() == ()
    assert [record.reason.cause for record in stage.registry.records] == [Cause.QUIT]


@pytest.mark.parametrize("key", ["ctrl+q", "/quit"])
async def test_quitting_asks_first_while_a_background_command_lives(stage: Stage, key: str) -> None:
    background = stage.session.background.token
    operation = stage.registry.open(
        stage.session.session_id, OperationKind.BACKGROUND, "shell", background, detail="npm run dev"
    )
    operation.start(Phase.IN_CALL)

    async def ask_to_quit() -> None:
        await (stage.send(key) if key.startswith("/") else stage.press(key))

    await stage.ask("hello")
    stage.model.finish()
    await stage.until(lambda: "1 in background" in stage.status)
    await ask_to_quit()
    await stage.until_said("1 background command will be stopped.")
    assert stage.exit_code() is None
    # The question does not stand for ever.
    stage.later += QUIT_ASKED_S * 2
    await ask_to_quit()
    await stage.until_said("1 background command will be stopped.", times=2)
    assert stage.exit_code() is None
    operation.end(OperationState.CANCELLED)
    await ask_to_quit()
    await stage.until(lambda: stage.exit_code() == 0)


@pytest.mark.promise("Q1")
async def test_a_signal_never_asks(stage: Stage) -> None:
    session = stage.session
    kind = OperationKind.BACKGROUND
    with stage.registry.open(session.session_id, kind, "shell", session.background.token):
        stage.app.on_signal(signal.SIGTERM, 1)
        await stage.until(lambda: stage.exit_code() == 143)


@pytest.mark.promise("Q1")
async def test_quitting_twice_waits_for_nothing(stage: Stage) -> None:
    stage.model.manner = stubborn = Stubborn()
    await stage.ask("hello")
    stage.app.request_quit(QUIT, 3)
    await stage.pilot.pause()
    # The model does not listen, so the first one is still waiting; the second one has it killed.
    assert stage.exit_code() is None
    assert stage.does(Status.STOPPING)
    stage.app.request_quit(QUIT, 4)
    assert stage.exit_code() == 4
    await asyncio.sleep(0)
    assert stubborn.forced.is_set()
    await stage.until(lambda: stage.does(Status.IDLE))


@pytest.mark.promise("Q1")
async def test_sigint_stops_a_turn_and_the_next_one_forces(stage: Stage) -> None:
    stage.model.manner = Stubborn()
    await stage.ask("hello")
    stage.app.on_signal(signal.SIGINT, 1)
    await stage.until(lambda: "stopping" in stage.status)
    stage.app.on_signal(signal.SIGINT, 2)
    await stage.until_said("Stopped by SIGINT after 1.2 ms: the model process did not answer")
    assert stage.exit_code() is None


@pytest.mark.promise("Q1")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_while_idle_quits_with_its_code(
    stage: Stage, number: signal.Signals, code: int
) -> None:
    stage.app.on_signal(number, 1)
    await stage.until(lambda: stage.exit_code() == code)


async def test_the_end_of_every_turn_is_told_to_whoever_keeps_the_signals(stage: Stage) -> None:
    ended: list[Status] = []
    stage.app.on_idle_session = lambda: ended.append(stage.session.status)
    for _ in range(2):
        await stage.ask("hello")
        await stage.finish()
    assert ended == [Status.IDLE, Status.IDLE]


# -- looks --


async def test_the_theme_changes_with_a_command_and_back(stage: Stage) -> None:
    for name in (theme.LIGHT, theme.DARK, theme.LIGHT):
        await stage.send(f"/theme {name}")
        assert stage.app.current_theme.name == name
        assert stage.app.screen.styles.background.hex.lower() == stage.app.current_theme.background


async def test_an_unknown_theme_is_told_and_replaced() -> None:
    async with staged(theme_name="caesura-drak") as stage:
        await stage.until_said("There is no theme 'caesura-drak' (did you mean 'caesura-dark'?).")
        assert stage.app.current_theme.name == theme.DARK


async def test_a_broken_theme_file_never_keeps_the_application_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (theme.DARK, theme.LIGHT):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\ndark = true\n[colors]\nprimary = "blau"\n')
    monkeypatch.setattr(theme, "choose_theme", functools.partial(theme.choose_theme, folder=tmp_path))
    async with staged() as stage:
        await stage.until_said("primary 'blau' is not a colour")
        await stage.ask("hello")
        await stage.say("it works")
    assert "blau" in caplog.text


# -- failures --


class UnheardOfError(Exception):
    pass


async def fail(pilot: Pilot[object]) -> None:
    def burst() -> None:
        raise UnheardOfError("with a password in it")

    # Twice, for one failure often leads to the next.
    pilot.app.call_later(burst)
    pilot.app.screen.call_later(burst)


async def test_an_error_nobody_expected_is_one_sentence_and_goes_to_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = Stage().app
    await app.run_async(headless=True, auto_pilot=fail)
    assert app.return_code == 1
    captured = capfd.readouterr()
    told = " ".join((captured.out + captured.err).split())
    assert told == (
        "Caesura failed and had to close; caesura.log in the state folder has the details. Start it again to "
        "go on."
    )
    assert "UnheardOfError" in caplog.text
    assert "in burst" in caplog.text


async def test_what_fails_in_the_background_is_logged_and_the_screen_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()

    def fail_to_open_the_log() -> None:
        raise UnheardOfError

    stage.app._after_first_frame = fail_to_open_the_log
    async with stage.app.run_test() as stage.pilot:
        await stage.until(lambda: "a task in the background failed" in caplog.text)
        await stage.ask("hello")
        await stage.say("it works")


# -- what makes the model process ready --


async def test_a_letter_and_the_focus_of_the_terminal_announce_a_person(stage: Stage) -> None:
    """What had ended, because nobody needed it, is started again before the prompt is sent."""
    before = stage.active
    await stage.press("a")
    await stage.until(lambda: stage.active == before + 1)
    stage.app.post_message(events.AppFocus())
    await stage.until(lambda: stage.active == before + 2)


@pytest.mark.parametrize("size", [(1, 24), (2, 6), (3, 24), (5, 5)])
async def test_a_terminal_without_room_for_a_letter_ends_nothing(size: tuple[int, int]) -> None:
    async with staged(size) as stage:
        await stage.ask("hello")
        stage.model.say("I am here.")
        stage.model.finish()
        await stage.until(lambda: stage.session.record.steps)
