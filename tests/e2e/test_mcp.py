"""MCP servers through a real terminal: what is missing is said, and a stop is told as far as it was seen."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import tomli_w

from tests.core.tools.mcp_calls import alive, received
from tests.e2e.test_headless import assert_nothing_is_left, run
from tests.e2e.tools import KILL, Panel, call, calls, last_results, wait_card
from tests.servers.script import Script
from tests.support.program import Caesura, running, talk_to
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.openai import OpenAIServer

SERVER: Final = Path(__file__).parents[1] / "servers" / "mcp_own.py"
SAID: Final = Script(text=("That is all.",))
NOT_CONFIRMED: Final = "asked to stop, not confirmed: MCP server own"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


@pytest.fixture
def home(tmp_path: Path, record: Path) -> Path:
    """With the settings of a server that has odd tools, and of one that there is not."""
    command = [sys.executable, "-I", str(SERVER), str(record), "odd"]
    servers = {"own": {"command": command}, "gone": {"command": ["no-such-program-of-ours"]}}
    folder = tmp_path / "config" / "caesura"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(tomli_w.dumps({"mcp": {"servers": servers}}))
    (tmp_path / "work").mkdir()
    return tmp_path


@pytest.fixture
def app(server: OpenAIServer, home: Path) -> Iterator[Caesura]:
    options = (*talk_to(server), "--mode", "auto")
    with running(home, *options, columns=120, lines=50, cwd=home / "work") as app:
        yield app


def wait_shown(app: Caesura, pattern: str) -> None:
    """Wait until the screen says this, over however many lines."""
    app.wait_for(lambda screen: re.search(pattern, " ".join(" ".join(screen).split())) is not None)


@pytest.mark.promise("S12", "E6")
def test_what_is_missing_is_said_and_a_stop_is_confirmed_by_a_restart(
    app: Caesura, server: OpenAIServer, record: Path
) -> None:
    app.send(server, "do it", calls(call("mcp__own__late")))
    wait_until(lambda: "tools/call" in received(record), what="the server has the call")
    wait_shown(app, "Of the MCP server own these tools are left out: null .*; and 4 more, see /mcp")
    wait_shown(app, "gone was not started: the program “no-such-program-of-ours” was not found")
    app.terminal.press("escape")
    wait_card(app, "mcp__own__late", f"stopped by Esc: {NOT_CONFIRMED}")
    app.wait_block(f"Stopped by Esc: {NOT_CONFIRMED}. ")
    wait_shown(app, "asked to stop late and has not confirmed it: .* /mcp restart own ends it")
    panel = Panel(app)
    panel.open()
    beneath = f"{NOT_CONFIRMED}; it goes on: 2/3 still at it"
    panel.wait(lambda rows: [beneath in " ".join(row.text.split()) for row in rows] == [True])
    assert panel.rows()[0].button == KILL
    panel.close()
    (old,) = [process.pid for process in alive(str(record)) if "-I" in process.cmdline()[:2]]
    app.terminal.type("/mcp restart own\n")
    wait_shown(app, "late ended with all processes of the MCP server own, .* It said: 2/3 still at it")
    wait_shown(app, r"own was started again, with \d+ tools. All its processes have ended")
    assert old not in [process.pid for process in alive(str(record))]
    assert received(record).count("started") == 2
    exchange = app.send(server, "and now?", SAID)
    app.wait_block("That is all.")
    messages = exchange.request.conversation.messages
    (result,) = [result for message in messages for result in message.results]
    assert "Asked to stop, not confirmed: MCP server own. It may still be at work." in result.text
    assert messages[-1].text.startswith("[late ended with all processes of the MCP server own, ")
    assert messages[-1].text.endswith("]\n\nand now?")
    assert last_results(exchange.request) == ()


@pytest.mark.promise("S12", "Q4")
def test_without_a_screen_it_is_said_as_well(server: OpenAIServer, home: Path, record: Path) -> None:
    server.script = calls(call("mcp__own__late"))
    options = (*talk_to(server), "--mode", "auto", "do it")
    with run(home, *options, cwd=home / "work") as stopped:
        wait_until(lambda: "tools/call" in received(record), what="the server has the call")
        stopped.process.send_signal(signal.SIGINT)
        assert stopped.wait() == 130
        errors = stopped.errors()
        assert_nothing_is_left(stopped)
    assert "Of the MCP server own these tools are left out: null" in errors
    assert "gone was not started: the program “no-such-program-of-ours” was not found" in errors
    assert "own was asked to stop late and has not confirmed it" in errors
    assert f"cancelled by SIGINT; {NOT_CONFIRMED}" in errors
