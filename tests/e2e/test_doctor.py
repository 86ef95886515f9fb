"""`caesura doctor`: what is said of this machine, without a screen, a request to a provider, or a secret."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.support.program import API_KEY, PROGRAM, ROOT, environment
from tests.support.terminal import Terminal
from tests.support.waiting import GENEROUS_S
from tui.terminal.query import reports_keys_in_full

TITLES = (
    *("Terminal", "Characters", "Keyboard", "Commands", "Configuration", "Keys", "Keyring", "Model"),
    *(
        "Proxies",
        "Certificates",
        "Model process",
        "Log",
        "Sessions",
        "Session file",
        "Disk",
        "Stops",
        "Versions",
    ),
)


def doctor(home: Path, *arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    changed = os.environ | environment(home, LANG="C.UTF-8", TERM="xterm-256color", **changes)
    return subprocess.run(
        [*PROGRAM, "doctor", *arguments],
        cwd=home,
        env={name: value for name, value in changed.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=GENEROUS_S,
    )


def states(told: str) -> dict[str, str]:
    return {finding["title"]: finding["state"] for finding in json.loads(told)["findings"]}


@pytest.mark.promise("P1")
def test_all_is_looked_at_and_stops_are_measured_without_a_request_or_a_secret(tmp_path: Path) -> None:
    with ThreadedServer(OpenAIServer()) as server:
        done = doctor(tmp_path, "--json", OPENAI_BASE_URL=server.url)
        assert server.exchanges == []
    assert done.stderr == ""
    found = states(done.stdout)
    assert set(TITLES) <= set(found)
    assert done.returncode == ("bad" in found.values())
    assert found["Stops"] in ("good", "warning")
    words = {finding["title"]: finding["words"] for finding in json.loads(done.stdout)["findings"]}
    assert words["Stops"].startswith("20 replies of the demo model stopped in mid-stream: p50 ")
    assert "OPENAI_API_KEY" in words["Keys"]
    assert "no keyring" in words["Keyring"]
    for hidden in (API_KEY, str(tmp_path), socket.gethostname()):
        assert len(hidden) < 3 or hidden not in done.stdout


@pytest.mark.promise("P9")
def test_proxies_and_certificates_are_told_without_a_password(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "caesura" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('[providers.team]\napi_base = "https://llm.example.com"\nca_file = "/nowhere/ca.pem"\n')
    done = doctor(tmp_path, HTTPS_PROXY="http://ada:pa55word@proxy.example.com:3128", XDG_CONFIG_HOME=None)
    assert "HTTPS_PROXY is http://…@proxy.example.com:3128" in done.stdout
    assert "Certificates: ca_file of team: /nowhere/ca.pem is not there" in done.stdout
    assert "pa55word" not in done.stdout + done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("arguments", [["doctor"], ["--version"]])
def test_a_disk_that_is_full_is_told_as_no_fault(tmp_path: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=tmp_path,
            env=os.environ | {k: v for k, v in environment(tmp_path).items() if v is not None},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=GENEROUS_S,
        )
    assert done.stderr == (
        "caesura: Standard output takes nothing more (No space left on device): send it somewhere else.\n"
    )
    assert done.returncode != 0


def test_what_is_bad_is_said_with_advice_and_an_exit_code(tmp_path: Path) -> None:
    data = tmp_path / "data" / "caesura"
    data.mkdir(parents=True)
    (data / "caesura.db").write_text("no file of sessions")
    done = doctor(tmp_path)
    assert done.returncode == 1
    assert "✗ bad      Session file: ~/data/caesura/caesura.db is no file of sessions\n" in done.stdout
    assert (data / "caesura.db").read_text() == "no file of sessions"
    assert "✓ good     Log: ~/state/caesura can be written\n" in done.stdout


def test_ctrl_c_ends_it_and_nothing_is_left(tmp_path: Path) -> None:
    with Terminal([*PROGRAM, "doctor"], env=environment(tmp_path, LANG="C.UTF-8"), cwd=tmp_path) as terminal:
        terminal.wait_for_output(b"Terminal: TERM is ")
        terminal.write(b"\x03")
        assert terminal.wait_exit() == 130
        assert terminal.processes() == []


_QUERY = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    "from tui.terminal.query import reports_keys_in_full\n"
    f"print('told:', reports_keys_in_full(0, 1, within_s={GENEROUS_S}), input('ready? '))\n"
)


@pytest.mark.parametrize("kitty", [True, False])
def test_a_terminal_is_asked_whether_it_reports_keys_in_full(*, kitty: bool) -> None:
    with Terminal([sys.executable, "-P", "-c", _QUERY], kitty=kitty) as terminal:
        terminal.wait_for_output(b"ready? ")
        terminal.type("echoed")
        terminal.press("enter")
        terminal.wait_for_output(f"told: {kitty} echoed".encode())
        assert terminal.wait_exit() == 0
        assert b"ready? echoed" in terminal.output


def test_without_a_terminal_nobody_is_asked() -> None:
    ours, theirs = os.pipe()
    assert reports_keys_in_full(ours, theirs) is None
    os.close(theirs)
    assert os.read(ours, 10) == b""
    os.close(ours)
