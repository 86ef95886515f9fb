"""The first start as a person without settings has it: nothing there, a key in the environment, a server.

It needs a program that shows the first start when there is neither a model nor settings.
"""

from __future__ import annotations

import re
import signal
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.base import ThreadedServer
from tests.servers.ollama import OllamaServer
from tests.servers.openai import OpenAIServer
from tests.servers.script import Refusal, Refuse, Script, Silence
from tests.support.program import API_KEY, PROGRAM, SYNCHRONIZED, Caesura, environment
from tests.support.terminal import Terminal
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECRET = "gsk-typed-by-hand-5b7d20e1"
YES = Script(text=("Here ", "I am."))
NO_KEYS: dict[str, str | None] = {"OPENAI_API_KEY": None, "GROQ_API_KEY": None, "OLLAMA_HOST": None}


@contextmanager
def first_start(
    home: Path, env: Mapping[str, str] | None = None, *, lines: int = 24, columns: int = 80
) -> Iterator[Caesura]:
    """Start without a model, and wait for the first step."""
    terminal = Terminal(
        list(PROGRAM), env=environment(home) | NO_KEYS | dict(env or {}), columns=columns, lines=lines
    )
    with terminal:
        app = Caesura(terminal, home)
        wait(app, "Welcome to Caesura", "Try the demo")
        yield app


def wait(app: Caesura, *words: str) -> None:
    """Wait until all of these are on one whole frame."""
    app.terminal.wait_for(
        lambda screen: (
            SYNCHRONIZED not in app.terminal.modes
            and all(word in " ".join("\n".join(screen).split()) for word in words)
        ),
        timeout=GENEROUS_S,
    )


def wait_gone(app: Caesura, word: str) -> None:
    app.terminal.wait_for(lambda screen: not any(word in line for line in screen))


def settings(home: Path) -> dict[str, object]:
    path = home / "config" / "caesura" / "config.toml"
    return tomllib.loads(path.read_text()) if path.exists() else {}


def seen_in_files(home: Path, secret: str) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def choose(app: Caesura, name: str) -> None:
    """Move to the row of this name, wherever it is by now, and take it."""
    app.terminal.press("home")
    while (row := selected(app.frame())) and not row.startswith(f"› {name}"):
        app.terminal.press("down")
        app.wait_for(lambda screen, row=row: selected(screen) != row)  # type: ignore[misc]
    app.terminal.press("enter")


def selected(screen: list[str]) -> str:
    return next((line.strip("│ ") for line in screen if "› " in line), "")


def test_with_nothing_there_the_demo_is_a_key_away(tmp_path: Path) -> None:
    with first_start(tmp_path) as app:
        assert "Esc unused" in app.terminal.text
        app.terminal.press("escape")
        choose(app, "Try the demo")
        app.wait_block("You are connected to the built-in demo model")
        app.terminal.press("ctrl+q")
        assert app.terminal.wait_exit() == 0
        assert app.terminal.terminal_restored()
    assert "model" not in settings(tmp_path)


def test_ctrl_c_twice_leaves_and_nothing_is_written(tmp_path: Path) -> None:
    with first_start(tmp_path) as app:
        app.terminal.press("ctrl+c")
        wait(app, "Ctrl+C again quits")
        app.terminal.press("ctrl+c")
        assert app.terminal.wait_exit() == 0
        assert app.terminal.terminal_restored()
        assert app.terminal.processes() == []
    assert settings(tmp_path) == {}


@pytest.mark.promise("Q1")
def test_sigint_leaves_it_where_nothing_is_tested(tmp_path: Path) -> None:
    with first_start(tmp_path) as app:
        app.terminal.signal(signal.SIGINT)
        assert app.terminal.wait_exit() == 128 + signal.SIGINT
        assert app.terminal.terminal_restored()
        assert app.terminal.processes() == []
    assert settings(tmp_path) == {}


@pytest.mark.promise("Q1", "Q2")
def test_a_signal_ends_it_in_the_middle_of_a_test_too(tmp_path: Path) -> None:
    with (
        ThreadedServer(OpenAIServer(Script(fault=Silence()))) as server,
        first_start(tmp_path, {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": server.url}) as app,
    ):
        app.terminal.press("enter")
        exchange = server.wait_request(timeout=GENEROUS_S)
        # As the key does, it stops the test and no more than that.
        app.terminal.signal(signal.SIGINT)
        server.wait_closed(exchange)
        wait(app, "The test was stopped")
        app.terminal.press("enter")
        exchange = server.wait_request(2, timeout=GENEROUS_S)
        app.terminal.signal(signal.SIGTERM)
        assert app.terminal.wait_exit() == 128 + signal.SIGTERM
        server.wait_closed(exchange)
        assert app.terminal.terminal_restored()
        assert app.terminal.processes() == []
    assert settings(tmp_path) == {}


def test_a_key_of_the_environment_is_used_only_once_it_was_chosen(tmp_path: Path) -> None:
    with ThreadedServer(OpenAIServer(YES)) as server:
        with first_start(tmp_path, {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": server.url}) as app:
            wait_gone(app, "Looking for")
            wait(app, "› OpenAI", "key in OPENAI_API_KEY")
            assert server.connections == []
            app.terminal.press("enter")
            app.wait_status("idle")
            assert len(server.exchanges) == 1
            app.ask(server, "where are you?", YES)
            app.wait_block("Here I am.")
        model = settings(tmp_path)["model"]
        assert isinstance(model, str)
        assert model.startswith("openai/")
        with Terminal([*PROGRAM], env=environment(tmp_path, OPENAI_BASE_URL=server.url)) as again:
            again.wait_for(lambda screen: "idle" in screen[-1])
            assert "Welcome to Caesura" not in again.text


def test_a_server_on_this_machine_is_used_and_gets_no_key(tmp_path: Path) -> None:
    with ThreadedServer(OllamaServer(YES)) as server:
        address = f"127.0.0.1:{server.port}"
        keys = {"OPENAI_API_KEY": API_KEY, "OLLAMA_API_KEY": SECRET}
        with first_start(tmp_path, {"OLLAMA_HOST": address, **keys}) as app:
            wait(app, "Ollama", f"on this computer, {address}")
            choose(app, "Ollama")
            app.wait_status("idle")
            app.terminal.type("where are you?\n")
            app.wait_block("Here I am.")
        assert settings(tmp_path) == {
            "model": "ollama/llama3.1:latest",
            "providers": {"ollama": {"protocol": "ollama_chat", "api_base": server.url}},
        }
        sent = "".join(str(exchange.request.headers) for exchange in server.exchanges)
        assert not [key for key in keys.values() if key in sent]
        # And the next start goes there by itself.
        with Terminal([*PROGRAM], env=environment(tmp_path, OPENAI_API_KEY=None)) as terminal:
            again = Caesura(terminal, tmp_path)
            again.wait_status("idle")
            terminal.type("and now?\n")
            again.wait_block("Here I am.")


@pytest.mark.promise("P1", "P2", "E1", "Q2")
def test_esc_stops_the_test_of_a_key_and_closes_its_connection_and_so_does_a_quit(tmp_path: Path) -> None:
    silent = Script(fault=Silence())
    with (
        ThreadedServer(OpenAIServer(silent)) as server,
        first_start(tmp_path, {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": server.url}) as app,
    ):
        app.terminal.press("enter")
        exchange = server.wait_request(timeout=GENEROUS_S)
        wait(app, "Testing OpenAI", "Esc stops the test")
        app.terminal.write(b"\x1b")
        server.wait_closed(exchange)
        wait(app, "The test was stopped", "Test again")
        app.terminal.press("enter")
        exchange = server.wait_request(2, timeout=GENEROUS_S)
        app.terminal.press("ctrl+q")
        assert app.terminal.wait_exit() == 0
        server.wait_closed(exchange)
        assert app.terminal.terminal_restored()
        assert app.terminal.processes() == []
    assert settings(tmp_path) == {}


def test_a_typed_key_is_seen_nowhere_and_kept_where_the_person_says(tmp_path: Path) -> None:
    with ThreadedServer(OpenAIServer(Script(fault=Refuse(Refusal.WRONG_KEY)))) as server:
        with first_start(tmp_path, {"GROQ_API_BASE": server.url}) as app:
            choose(app, "Enter a key")
            wait(app, "Whose key is it?")
            app.terminal.type("groq\n")
            wait(app, "Enter a key · Groq")
            app.terminal.paste(SECRET)
            wait(app, f"{len(SECRET)} characters")
            app.terminal.press("enter")
            wait(app, "Groq: the test has not passed")
            server.script = YES
            app.terminal.press("enter")
            wait(app, "Where shall the key of Groq be kept?", "There is no keyring")
            assert seen_in_files(tmp_path, SECRET) == []
            app.terminal.press("enter")
            app.wait_status("idle")
            app.terminal.type("where are you?\n")
            app.wait_block("Here I am.")
            sent = {exchange.request.headers["authorization"] for exchange in server.exchanges}
            assert sent == {f"Bearer {SECRET}"}
            for pid in app.terminal.processes():
                for what in ("cmdline", "environ"):
                    assert SECRET.encode() not in Path(f"/proc/{pid}/{what}").read_bytes()
            assert SECRET.encode() not in app.terminal.output
        assert seen_in_files(tmp_path, SECRET) == []
        assert re.fullmatch("groq/.+", str(settings(tmp_path)["model"]))


def test_a_small_terminal_shows_what_can_be_done(tmp_path: Path) -> None:
    with first_start(tmp_path, columns=40, lines=10) as app:
        wait(app, "Esc unused")
        app.terminal.resize(100, 30)
        wait(app, "looks again")
