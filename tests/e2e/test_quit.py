"""Every way out: keys, signals, a closed terminal, a kill, a failure. Nothing is left behind."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.signal_app import RELEASE
from tests.support.live_processes import descendants
from tests.support.program import ROOT, Caesura, running, talk_to
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.openai import OpenAIServer

_START = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); "
SIGNAL_PROGRAM = (
    sys.executable,
    "-P",
    "-c",
    _START + "runpy.run_module('tests.e2e.signal_app', run_name='__main__')",
)

Exit = Callable[[Caesura], None]


def press(*keys: str) -> Exit:
    def act(app: Caesura) -> None:
        app.terminal.press(*keys)

    return act


def send(number: signal.Signals) -> Exit:
    return lambda app: app.terminal.signal(number)


def assert_nothing_is_left(app: Caesura) -> None:
    assert app.terminal.unrestored() == []
    wait_until(lambda: app.terminal.processes() == [], what="no process is left")
    assert "Traceback" not in app.terminal.output.decode(errors="replace")


def wait_model_process(app: Caesura) -> int:
    """The one that starts with the program, and with the first letter the other kind."""
    wait_until(lambda: descendants(app.terminal.pid), what="there are model processes")
    return descendants(app.terminal.pid)[0]


IDLE_EXITS = {
    "ctrl+q": (press("ctrl+q"), 0),
    "/quit": (press(*"/quit", "enter"), 0),
    "SIGINT": (send(signal.SIGINT), 130),
    "SIGTERM": (send(signal.SIGTERM), 143),
    "SIGHUP": (send(signal.SIGHUP), 129),
}


@pytest.mark.promise("Q1", "Q3")
@pytest.mark.parametrize(("leave", "code"), IDLE_EXITS.values(), ids=IDLE_EXITS)
def test_leaving_while_idle(tmp_path: Path, server: OpenAIServer, leave: Exit, code: int) -> None:
    with running(tmp_path, *talk_to(server), kitty=True) as app:
        wait_model_process(app)
        leave(app)
        assert app.terminal.wait_exit() == code
        assert_nothing_is_left(app)


@pytest.mark.promise("E2")
def test_ctrl_c_clears_a_draft_undoably_and_twice_quits(tmp_path: Path, server: OpenAIServer) -> None:
    with running(tmp_path, *talk_to(server)) as app:
        wait_model_process(app)
        app.terminal.type("a draft")
        app.wait_composer("a draft")
        # The first letter starts the process that a turn needs beside the one that the program starts.
        wait_until(lambda: len(descendants(app.terminal.pid)) == 2, what="both kinds of model process")
        app.terminal.press("ctrl+c")
        app.wait_composer("Ask anything")
        app.terminal.press("ctrl+z")
        app.wait_composer("a draft")
        app.terminal.press("ctrl+c")
        app.wait_composer("Ask anything")
        app.terminal.press("ctrl+c")
        app.wait_status("Ctrl+C again quits")
        assert app.terminal.exit_code is None
        app.terminal.press("ctrl+c")
        assert app.terminal.wait_exit() == 0
        assert_nothing_is_left(app)


@pytest.mark.promise("E2", "Q1", "Q3", "P1")
def test_ctrl_c_in_a_reply_stops_it_and_sigterm_ends_all_in_the_next(
    tmp_path: Path, server: OpenAIServer
) -> None:
    with running(tmp_path, *talk_to(server), kitty=True) as app:
        exchange = app.stream(server, "talk")
        app.terminal.press("ctrl+c")
        server.wait_closed(exchange)
        app.wait_stopped("Ctrl+C")

        exchange = app.stream(server, "talk again")
        app.terminal.signal(signal.SIGTERM)
        assert app.terminal.wait_exit() == 143
        server.wait_closed(exchange)
        assert_nothing_is_left(app)


@pytest.mark.promise("Q3", "P1")
def test_closing_the_terminal_in_the_middle_of_a_reply(tmp_path: Path, server: OpenAIServer) -> None:
    with running(tmp_path, *talk_to(server)) as app:
        exchange = app.stream(server, "talk")
        app.terminal.hang_up()
        assert app.terminal.wait_exit() == 129
        server.wait_closed(exchange)
        wait_until(lambda: app.terminal.processes() == [], what="no process is left")


@pytest.mark.promise("X7", "P1")
def test_what_it_started_ends_when_it_is_killed(tmp_path: Path, server: OpenAIServer) -> None:
    with running(tmp_path, *talk_to(server)) as app:
        exchange = app.stream(server, "talk")
        wait_model_process(app)
        app.terminal.signal(signal.SIGKILL)
        assert app.terminal.wait_exit() == -signal.SIGKILL
        server.wait_closed(exchange)
        wait_until(lambda: app.terminal.processes() == [], what="the model process has ended")


@contextmanager
def mischievous(home: Path, server: OpenAIServer) -> Iterator[Caesura]:
    env = {RELEASE: str(home / "release")}
    with running(home, *talk_to(server), env=env, program=SIGNAL_PROGRAM, kitty=True) as app:
        yield app


def block(app: Caesura) -> None:
    blocked = app.home / "release.blocked"
    blocked.unlink(missing_ok=True)
    (app.home / "release").unlink(missing_ok=True)
    app.terminal.press("f5")
    wait_until(blocked.exists, what="the event loop is blocked")


@pytest.mark.promise("E1", "P1", "Q1", "Q3")
def test_a_blocked_event_loop_holds_up_neither_esc_nor_sigterm(tmp_path: Path, server: OpenAIServer) -> None:
    with mischievous(tmp_path, server) as app:
        exchange = app.stream(server, "talk")
        block(app)
        app.terminal.press("escape")
        # The loop is released only when the socket is closed: that is the order that matters.
        server.wait_closed(exchange)
        (tmp_path / "release").touch()
        assert app.wait_stopped() == "connection closed. /continue goes on, Esc Esc edits the prompt."

        exchange = app.stream(server, "talk again")
        block(app)
        app.terminal.signal(signal.SIGTERM)
        assert app.terminal.wait_exit() == 143
        server.wait_closed(exchange)
        assert_nothing_is_left(app)


@pytest.mark.promise("Q3", "P1")
def test_a_failure_inside_ends_it_with_one_sentence(tmp_path: Path, server: OpenAIServer) -> None:
    with mischievous(tmp_path, server) as app:
        exchange = app.stream(server, "talk")
        app.terminal.press("f6")
        assert app.terminal.wait_exit() == 1
        server.wait_closed(exchange)
        assert_nothing_is_left(app)
        shown = " ".join(app.terminal.text.split())
        assert shown == (
            "Caesura failed and had to close; caesura.log in the state folder has the details. "
            "Start it again to go on."
        )
        assert "RuntimeError: on purpose" in app.logs()
        assert "action_fail" in app.logs()
