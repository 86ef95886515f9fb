"""Questions through a real terminal: they are answered by keys and clicks, and by nothing else."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.e2e.tools import (
    call,
    calls,
    card,
    click_on,
    last_results,
    shell,
    wait_question,
    write_config,
)
from tests.servers.script import Script, Stall, in_turn
from tests.support.program import Caesura, running, talk_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.openai import OpenAIServer
    from tests.servers.record import Exchange


@pytest.fixture(scope="module")
def shared(server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caesura]:
    home = tmp_path_factory.mktemp("asked")
    (home / "work").mkdir()
    write_config(home, allow=["ls -d ."])
    with running(home, *talk_to(server), columns=100, lines=34, cwd=home / "work") as app:
        yield app


def propose(app: Caesura, server: OpenAIServer, *commands: str) -> Exchange:
    """Have a reply ask for these commands; wait for the question about the first."""
    made = calls(*(shell(command) for command in commands))
    exchange = app.send(server, "make it", in_turn(made, Script(text=("So be it.",))))
    wait_question(app, commands[0])
    return exchange


def results_after(app: Caesura, server: OpenAIServer, exchange: Exchange) -> list[str]:
    """What the model is told next of the calls of `exchange`, once its turn has come to its end."""
    answer = server.wait_request(exchange.index + 2)
    app.wait_block("So be it.")
    return [result.text for result in last_results(answer.request)]


@pytest.mark.promise("E3")
@pytest.mark.parametrize("click", [False, True], ids=["y", "click"])
def test_allowed_once_it_runs_and_is_asked_about_again(
    app: Caesura, server: OpenAIServer, *, click: bool
) -> None:
    made = app.home / "work" / f"once {click}"
    command = f"mkdir '{made.name}'"
    for number in range(2):
        exchange = propose(app, server, command)
        assert made.exists() == bool(number)
        if click:
            click_on(app, "[y] allow once")
        else:
            app.terminal.press("y")
        (told,) = results_after(app, server, exchange)
        assert told.startswith("Exit code 1." if number else "Exit code 0."), told
        assert made.exists()


@pytest.mark.promise("E3", "H5")
@pytest.mark.parametrize(
    ("answer", "words"),
    [("n", ""), ("click", ""), ("r", ' The user says: "use the other folder".')],
    ids=["n", "click", "r"],
)
def test_denied_it_does_not_run_and_the_turn_goes_on(
    app: Caesura, server: OpenAIServer, answer: str, words: str
) -> None:
    exchange = propose(app, server, "mkdir denied", "ls -d .")
    if answer == "click":
        click_on(app, "[n] deny")
    else:
        app.terminal.press(answer)
    if words:
        app.terminal.type("use the other folder\n")
    first, second = results_after(app, server, exchange)
    assert first == f"Denied, it did not run: The user did not allow this call.{words}"
    assert second == "Exit code 0.\n."
    assert not (app.home / "work" / "denied").exists()
    assert "denied" in card(app.frame(), "mkdir denied")


def test_allowed_for_the_session_it_is_not_asked_about_again(app: Caesura, server: OpenAIServer) -> None:
    exchange = propose(app, server, "mkdir -p for-now")
    app.terminal.press("s")
    assert results_after(app, server, exchange) == ["Exit code 0."]
    script = in_turn(calls(shell("mkdir -p for-now")), Script(text=("So be it.",)))
    exchange = app.send(server, "again", script)
    assert results_after(app, server, exchange) == ["Exit code 0."]
    assert not (app.home / "config" / "caesura" / "permissions.toml").exists()


def test_allowed_always_is_kept(app: Caesura, server: OpenAIServer) -> None:
    exchange = propose(app, server, "mkdir -p for-good")
    app.terminal.press("a")
    assert results_after(app, server, exchange) == ["Exit code 0."]
    kept = tomllib.loads((app.home / "config" / "caesura" / "permissions.toml").read_text())
    assert kept["workspaces"] == {str(app.home / "work"): {"allow": ["shell(mkdir -p for-good)"]}}


@pytest.mark.promise("E2", "E3", "E4", "H5", "S4")
@pytest.mark.parametrize(("key", "source"), [("escape", "Esc"), ("ctrl+c", "Ctrl+C")])
def test_a_stop_key_denies_all_and_stops_the_turn(
    app: Caesura, server: OpenAIServer, key: str, source: str
) -> None:
    exchange = propose(app, server, "mkdir first", "mkdir second")
    assert "Esc denies" in app.status
    app.terminal.press(key)
    app.wait_stopped(source)
    assert "May shell do this?" not in app.terminal.text
    assert len(server.exchanges) == exchange.index + 1
    later = app.send(server, "why", Script(text=("No idea.",)))
    app.wait_block("No idea.")
    told = [result.text for result in later.request.conversation.results[-2:]]
    assert told == [
        "Not started: the user stopped the turn while the user was asked for permission, before it began.",
        "Not started: the user stopped the turn, before it began.",
    ]
    assert [name for name in ("first", "second") if (app.home / "work" / name).exists()] == []
    assert "not started" in card(app.frame(), "mkdir first")


@pytest.mark.promise("S4", "S5", "H5")
def test_a_stop_of_the_call_that_asks_leaves_the_next_its_turn(app: Caesura, server: OpenAIServer) -> None:
    exchange = propose(app, server, "mkdir unasked", "ls -d .")
    app.terminal.press("x")
    first, second = results_after(app, server, exchange)
    assert first.startswith("Not started: the user stopped this call while the user was asked")
    assert second == "Exit code 0.\n."
    assert not (app.home / "work" / "unasked").exists()


@pytest.mark.promise("E3")
def test_keys_that_were_typed_before_the_question_do_not_answer_it(
    app: Caesura, server: OpenAIServer
) -> None:
    script = Script(text=("I ", "make it."), calls=(shell("mkdir typed"),), fault=Stall(after=1))
    exchange = app.send(server, "make it", in_turn(script, Script(text=("So be it.",))))
    app.terminal.type("yes y")
    app.wait_composer("yes y")
    server.release(exchange)
    app.terminal.wait_for("May shell do this?")
    app.terminal.type("y")
    app.wait_composer("yes yy")
    # With a draft in the composer the question does not take the keys by it
    app.wait_for(lambda screen: "Tab or a click answers" in "\n".join(screen))
    assert server.exchanges[-1] is exchange
    assert not (app.home / "work" / "typed").exists()
    app.terminal.press("tab")
    wait_question(app, "mkdir typed")
    app.terminal.press("n")
    (told,) = results_after(app, server, exchange)
    assert told.startswith("Denied, it did not run")
    assert app.composer == "yes yy"


@pytest.mark.promise("E3", "E4")
def test_the_changes_are_on_the_screen_before_the_file_is_touched(app: Caesura, server: OpenAIServer) -> None:
    file = app.home / "work" / "poem.txt"
    before = "roses are red\nviolets are blue\n"
    file.write_text(before)
    edit = call("edit_file", path="poem.txt", old="violets are blue", new="violets are violet")
    for key in ("escape", "n", "y"):
        exchange = app.send(server, "mend it", in_turn(calls(edit), Script(text=("So be it.",))))
        wait_question(app, "-violets are blue")
        shown = app.terminal.text
        assert "+violets are violet" in shown
        assert " roses are red" in shown
        assert file.read_text() == before
        app.terminal.press(key)
        if key == "escape":
            app.wait_stopped()
        else:
            results_after(app, server, exchange)
        assert file.read_text() == (before.replace("blue", "violet") if key == "y" else before)
