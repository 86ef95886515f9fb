"""Background commands through a real terminal: they outlive Esc and the turn, but never the program."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.test_headless import assert_nothing_is_left, run
from tests.e2e.tools import (
    Panel,
    call,
    calls,
    card,
    commands_in,
    finish,
    last_results,
    shell,
    wait_card,
    wait_commands,
)
from tests.servers.script import Script, in_turn
from tests.support.program import Caesura, running, talk_to
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.openai import OpenAIServer

STARTED: Final = "Started in the background as "
SAID: Final = Script(text=("That is all.",))


@pytest.fixture(scope="module")
def shared(server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caesura]:
    home = tmp_path_factory.mktemp("background")
    (home / "work").mkdir()
    options = (*talk_to(server), "--mode", "auto")
    with running(home, *options, columns=100, lines=40, cwd=home / "work") as app:
        yield app


@pytest.fixture
def folder(app: Caesura) -> Path:
    """The workspace, with two named pipes that nobody writes to."""
    for name in ("one", "two"):
        (app.home / "work" / name).unlink(missing_ok=True)
        os.mkfifo(app.home / "work" / name)
    return app.home / "work"


def launch(app: Caesura, server: OpenAIServer, command: str) -> str:
    """Have a command started in the background, by a turn that comes to its end; its id."""
    script = in_turn(calls(shell(command, background=True)), SAID)
    exchange = app.send(server, "start it", script)
    (told,) = last_results(server.wait_request(exchange.index + 2).request)
    app.wait_block("That is all.")
    assert told.text.startswith(STARTED)
    return told.text.removeprefix(STARTED).rstrip(".")


def next_prompt(app: Caesura, server: OpenAIServer, prompt: str) -> str:
    """Send a prompt; all that the model gets as the person's next message."""
    exchange = app.send(server, prompt, SAID)
    app.wait_block("That is all.")
    return exchange.request.conversation.messages[-1].text


@pytest.mark.promise("S5", "S8", "X1", "X2")
def test_it_outlives_esc_and_is_stopped_by_its_row_with_words(
    app: Caesura, server: OpenAIServer, folder: Path
) -> None:
    script = calls(shell("echo hello; cat one", background=True), shell("cat two"))
    exchange = app.send(server, "start both", script)
    both = wait_commands(folder, ["cat one", "cat two"], "cat")
    app.terminal.press("escape")
    assert app.wait_stopped().startswith("1 process ended, 0 alive.")
    alive = wait_commands(folder, ["cat one"], "cat")
    assert alive.items() <= both.items()
    assert len(server.exchanges) == exchange.index + 1
    app.wait_status("1 in background")

    panel = Panel(app)
    panel.open()
    panel.wait_row("echo hello; cat one")
    app.terminal.press("enter")
    app.terminal.wait_for("│ hello")
    panel.select("echo hello; cat one")
    app.terminal.press("w")
    app.terminal.type("no longer needed\n")
    panel.wait(lambda rows: not rows)
    wait_commands(folder, [], "cat")
    assert "stopped by the panel after" in wait_card(app, "echo hello", "0 alive")
    panel.close()

    told = next_prompt(app, server, "what now")
    assert told.startswith("[The background command ")
    assert told.endswith(
        ' (echo hello; cat one) was stopped by the user. The user says: "no longer needed". '
        "Do not run it again unless the user asks for it.]\n\nwhat now"
    )
    assert next_prompt(app, server, "and now") == "and now"
    assert server.complaints == []


@pytest.mark.promise("S1")
def test_its_end_by_itself_is_told_once(app: Caesura, server: OpenAIServer, folder: Path) -> None:
    identifier = launch(app, server, "cat one")
    wait_commands(folder, ["cat one"], "cat")
    finish(folder / "one", "said by one\n")
    assert wait_card(app, "cat one", "ended").startswith("✓ background")
    told = next_prompt(app, server, "what now")
    assert told == f"[The background command {identifier} (cat one) has ended with exit code 0.]\n\nwhat now"
    assert next_prompt(app, server, "and now") == "and now"


@pytest.mark.promise("H5", "S7")
def test_the_model_reads_it_and_stops_it_and_is_not_told_that_somebody_else_did(
    app: Caesura, server: OpenAIServer, folder: Path
) -> None:
    identifier = launch(app, server, "echo hello; cat one")
    wait_commands(folder, ["cat one"], "cat")
    script = in_turn(
        calls(call("background_output", id=identifier)), calls(call("background_stop", id=identifier)), SAID
    )
    exchange = app.send(server, "look at it and end it", script)
    (read,) = last_results(server.wait_request(exchange.index + 2).request)
    (stopped,) = last_results(server.wait_request(exchange.index + 3).request)
    app.wait_block("That is all.")
    assert read.text == "It is still running.\nhello\n"
    assert stopped.text == "It was stopped, and everything that it had started."
    assert commands_in(folder, "cat") == {}
    assert "stopped by the model after" in card(app.frame(), "echo hello")
    assert next_prompt(app, server, "what now") == "what now"


@pytest.mark.promise("X1")
def test_a_run_without_a_screen_ends_it_at_its_own_end(tmp_path: Path, server: OpenAIServer) -> None:
    (tmp_path / "work").mkdir()
    os.mkfifo(tmp_path / "work" / "one")
    server.script = in_turn(calls(shell("cat one", background=True)), SAID)
    options = (*talk_to(server), "--mode", "auto", "--json", "start it")
    with run(tmp_path, *options, cwd=tmp_path / "work") as finished:
        assert finished.wait() == 0
        # It had been started, and not only asked for.
        (told,) = last_results(server.exchanges[-1].request)
        assert told.text.startswith(STARTED)
        assert commands_in(tmp_path / "work", "cat") == {}
        assert json.loads(finished.rest())["outcome"] == "completed"
        assert_nothing_is_left(finished)


@pytest.mark.promise("X1")
def test_quit_asks_first_and_then_ends_it(app: Caesura, server: OpenAIServer, folder: Path) -> None:
    """The last one here: the shared program ends with it."""
    launch(app, server, "cat one")
    alive = wait_commands(folder, ["cat one"], "cat")
    app.terminal.press("ctrl+q")
    assert "1 background command" in app.wait_block("again quits")
    # To go on is no answer.
    assert next_prompt(app, server, "not yet") == "not yet"
    assert commands_in(folder, "cat") == alive
    app.terminal.type("/quit\n")
    assert app.terminal.wait_exit() == 0
    assert commands_in(folder, "cat") == {}
    assert app.terminal.unrestored() == []
    wait_until(lambda: app.terminal.processes() == [], what="no process is left")
