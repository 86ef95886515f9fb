"""`caesura config check --server` as a person runs it: Ctrl+C ends it, and what it prints can be run."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.providers.setup.test_discovery import Listener
from tests.servers.script import Refusal, Refuse, Script, Silence
from tests.support.program import API_KEY, ENDLESS, PROGRAM, environment, program_after
from tests.support.settings_examples import written
from tests.support.terminal import Terminal
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.openai import OpenAIServer
    from tests.servers.record import Request

IN_CHILD = f"import providers.worker.server_models as it; it.ANSWER_WITHIN_S = {2 * GENEROUS_S}; "
NO_LIMIT = (
    "import providers.client.spawn as spawn, providers.client.catalog_queries as queries; "
    f"spawn.CODE = {IN_CHILD!r} + spawn.CODE; queries.ANSWER_WITHIN_S = {2 * GENEROUS_S}"
)
CHECK = ("check", "--server", "team", "--model", "small")


def config_of(home: Path, url: str) -> Path:
    lines = f'[providers.team]\napi_base = "{url}"\nkey = "OPENAI_API_KEY"\ncontext_window = 8192\n'
    return written(home / "config" / "caesura" / "config.toml", lines)


def config(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in (os.environ | environment(home)).items() if value is not None}
    done = subprocess.run(
        [*PROGRAM, "config", *arguments],
        cwd=home,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=False,
    )
    assert API_KEY not in done.stdout + done.stderr
    return done


def on_a_terminal(home: Path, program: tuple[str, ...] = PROGRAM) -> Terminal:
    return Terminal([*program, "config", *CHECK], env=environment(home), emulate=False)


def refuse_tools(request: Request) -> Script:
    return Script(fault=Refuse(Refusal.BAD_REQUEST)) if request.body.get("tools") else Script()


@pytest.mark.promise("P1", "P2", "Q4")
@pytest.mark.parametrize("script", [ENDLESS, Script(fault=Silence())], ids=["streaming", "no headers"])
def test_ctrl_c_closes_the_connection_of_a_request(
    tmp_path: Path, server: OpenAIServer, script: Script
) -> None:
    server.script = script
    path = config_of(tmp_path, server.url)
    before, count = path.read_bytes(), len(server.exchanges)
    with on_a_terminal(tmp_path) as terminal:
        server.wait_for(lambda: any(asked.request.body for asked in server.exchanges[count:]))
        exchange = next(asked for asked in server.exchanges[count:] if asked.request.body)
        if script is ENDLESS:
            server.wait_deltas(exchange, 2)
        terminal.press("ctrl+c")
        server.wait_closed(exchange)
        assert exchange.closed_by_peer
        assert terminal.wait_exit() == 130
        assert b"Stopped: the connection is closed, and nothing was changed." in terminal.output
        assert b"Sent: " not in terminal.output
        assert terminal.unrestored() == []
    assert path.read_bytes() == before


@pytest.mark.promise("P2", "Q4")
def test_ctrl_c_closes_the_connection_of_a_list(tmp_path: Path) -> None:
    with Listener(holds=True) as silent:
        config_of(tmp_path, f"http://127.0.0.1:{silent.port}/v1")
        with on_a_terminal(tmp_path, program_after(NO_LIMIT)) as terminal:
            asyncio.run(until(lambda: silent.received))
            terminal.press("ctrl+c")
            assert silent.closed.wait(GENEROUS_S)
            assert terminal.wait_exit() == 130
            assert silent.connections == 1


def test_the_commands_that_it_prints_are_what_the_server_needs(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = refuse_tools
    config_of(tmp_path, server.url)
    found = config(tmp_path, *CHECK)
    assert (found.returncode, found.stderr) == (1, "")
    (command,) = [line for line in found.stdout.splitlines() if line.startswith("caesura ")]
    assert command == "caesura config set providers.team.tools false"
    assert config(tmp_path, *shlex.split(command)[2:]).returncode == 0
    again = config(tmp_path, *CHECK)
    assert (again.returncode, again.stderr) == (0, "")
    assert "Sent: 1 request " in again.stdout


def test_the_help_says_what_it_does(tmp_path: Path) -> None:
    told = config(tmp_path, "check", "--help").stdout
    assert "--server NAME" in told
    assert "--model MODEL" in told
