"""A key goes to its provider and nowhere else: looked for wherever a run leaves or shows anything.

Not closed, and not closable by a program without privileges of its own: a command that runs as the same user
can read the environment of Caesura itself (`/proc/PID/environ`), as it can read that user's files. A key that
is kept in the keyring is in no environment at all.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
import uuid
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus

import pytest
import tomli_w
from keyrings.alt.file import PlaintextKeyring

from providers.keys.file import KeyFile
from providers.keys.names import OWN_TOOLS, all_key_variables
from tests.e2e.conftest import ConversationServer
from tests.e2e.tools import call, calls, finish, last_results, shell
from tests.servers.base import ThreadedServer
from tests.servers.script import Refusal, Refuse, Script, in_turn
from tests.support.live_processes import descendants, model_processes, streamer_of
from tests.support.program import ENDLESS, PROGRAM, environment, program_after
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.frames import Json
    from tests.servers.record import Request

VARIABLE = "LITELLM_PROXY_API_KEY"
KEY = "sk-leak/7c41+e9d2=b8f3a6&c5"
"""It looks different in every encoding."""
TEAM_VARIABLE = "TEAM_LLM_SECRET"
"""Only the settings say that it holds a key."""
OTHER = "sk-other/52ba+1f90=77"
"""In every other variable that is known to hold a key."""
MCP_SERVER = Path(__file__).parents[1] / "servers" / "mcp_own.py"

PRINTS = "env; tr '\\0' '\\n' </proc/self/environ; tr '\\0' '\\n' </proc/$PPID/environ; echo PRINTED"
WAITS = "sleep 1"
TREE = "(env; setsid sh -c 'env; exec sleep 300' &) ; cat pipe"

CRASH = """
import core.frontends.headless as front_end
async def crash(*arguments):
    raise RuntimeError("a crash")
front_end.run_prompt = crash
"""


class Kept(StrEnum):
    ENVIRONMENT = "environment"
    KEYRING = "keyring"
    FILE = "file"


def forms(key: str) -> tuple[bytes, ...]:
    """The key as it may stand in a file: as it is, and encoded in the usual ways."""
    found = {key, quote(key, safe=""), quote(key), quote_plus(key), key.replace("/", "\\/")}
    for skipped in range(3):
        # In the middle of something longer that was encoded; the edges depend on what is beside it.
        raw = b"x" * skipped + key.encode()
        for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
            found.add(encoded.decode()[4:-4])
    found.add(key.encode().hex())
    return tuple(form.encode() for form in found)


FORMS = (*forms(KEY), *forms(OTHER))


def assert_clean(data: bytes, what: object) -> None:
    shown = [form for form in FORMS if form in data]
    assert not shown, f"{what} holds {shown}: {data[-2000:]!r}"


REFUSALS = {
    Kept.ENVIRONMENT: (Refusal.SERVER_ERROR, b"failed on its side"),
    Kept.KEYRING: (Refusal.UNKNOWN_MODEL, b"has nothing there (404)"),
    Kept.FILE: (Refusal.WRONG_KEY, b"refused the key"),
}
"""How the last request of a run ends, and what the person is told."""


class EchoServer(ConversationServer):
    """Its errors repeat the key, plain and encoded."""

    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        key = request.headers["authorization"].removeprefix("Bearer ")
        encoded = base64.b64encode(key.encode()).decode()
        message = f"what about {key} or {encoded}, {quote(key, safe='')}; Authorization: Bearer {key}"
        return {"error": {"message": message, "type": "odd", "param": key, "code": None}}


class Home(NamedTuple):
    """A home where the key is kept in one place, and a folder to work in."""

    path: Path
    kept: Kept

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def keyring(self) -> Path:
        return self.path / "data" / "python_keyring" / "keyring_pass.cfg"

    @property
    def file(self) -> Path:
        return self.path / "config" / "caesura" / "keys.toml"

    def prepare(self) -> None:
        self.work.mkdir()
        folder = self.path / "config" / "caesura"
        folder.mkdir(parents=True)
        record = str(self.path / "mcp.record")
        allowed = [f"shell({command})" for command in (PRINTS, WAITS, TREE)]
        settings = {
            "permissions": {"allow": [*allowed, "mcp__own__environment"]},
            "providers": {"team": {"api_base": "https://llm.example", "key": TEAM_VARIABLE}},
            "mcp": {"servers": {"own": {"command": [sys.executable, "-I", str(MCP_SERVER), record]}}},
        }
        (folder / "config.toml").write_text(tomli_w.dumps(settings))
        match self.kept:
            case Kept.KEYRING:
                backend = PlaintextKeyring()
                backend.file_path = str(self.keyring)
                self.keyring.parent.mkdir(parents=True)
                backend.set_password("caesura", VARIABLE, KEY)
            case Kept.FILE:
                KeyFile(self.file).store(VARIABLE, KEY)
            case Kept.ENVIRONMENT:
                pass

    def env(self) -> dict[str, str]:
        others: dict[str, str | None] = dict.fromkeys(sorted(all_key_variables() - OWN_TOOLS), OTHER)
        changes = others | {
            TEAM_VARIABLE: OTHER,
            VARIABLE: KEY if self.kept is Kept.ENVIRONMENT else None,
            "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        }
        full = os.environ | environment(self.path, **changes)
        return {name: value for name, value in full.items() if value is not None}

    def assert_clean(self) -> None:
        """In every file: logs, the database and its journal, settings, what the tools wrote."""
        kept = (self.keyring, self.file)
        files = [path for path in self.path.rglob("*") if path.is_file() and path not in kept]
        assert any(path.suffix == ".log" for path in files)
        for path in files:
            assert_clean(path.read_bytes(), path)


@pytest.fixture(scope="module")
def server() -> Iterator[EchoServer]:
    with ThreadedServer(EchoServer()) as server:
        yield server


@pytest.fixture(params=list(Kept))
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    made = Home(tmp_path, request.param)
    made.prepare()
    return made


@contextlib.contextmanager
def run(
    home: Home, server: EchoServer, *arguments: str, program: tuple[str, ...] = PROGRAM
) -> Iterator[subprocess.Popen[bytes]]:
    options = ("--model", "litellm_proxy/gpt-4o", "--api-base", server.url, "--mode", "auto")
    with subprocess.Popen(
        [*program, "run", *options, *arguments],
        cwd=home.work,
        env=home.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read(pid: int, name: str) -> bytes:
    # It may have ended since it was listed.
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / name).read_bytes()
    return b""


def assert_processes_clean(main: int, kept: Kept) -> int:
    """No command line holds the key, and no environment but those of Caesura itself and its compiler, which
    got it from the person's. How many other processes there were."""
    family = [main, *descendants(main)]
    own = {main, *model_processes(main)} - {streamer_of(main)}
    assert len(own) == 2
    for pid in family:
        assert_clean(read(pid, "cmdline"), f"the command line of {pid}")
        if pid not in own:
            assert_clean(read(pid, "environ"), f"the environment of {read(pid, 'cmdline')!r}")
        elif kept is not Kept.ENVIRONMENT:
            assert KEY.encode() not in read(pid, "environ")
    return len(family) - 3  # these two, and the one that sends


def once_offered(tool: str, then: Callable[[Request], Script]) -> Callable[[Request], Script]:
    """Have the model wait until `tool` is offered, which takes its server long on a loaded machine."""

    def choose(request: Request) -> Script:
        return then(request) if tool in str(request.body["tools"]) else calls(shell(WAITS))

    return choose


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_with_tools_and_a_failure_leaves_the_key_nowhere(home: Home, server: EchoServer) -> None:
    refusal, words = REFUSALS[home.kept]
    os.mkfifo(home.work / "pipe")
    server.script = once_offered(
        "mcp__own__environment",
        in_turn(
            calls(shell(PRINTS), call("mcp__own__environment")),
            calls(shell(TREE)),
            Script(fault=Refuse(refusal)),
        ),
    )
    count = len(server.exchanges)
    with run(home, server, "--json", f"look around {uuid.uuid4()}") as process:
        wait_until(
            lambda: any(read(pid, "cmdline").startswith(b"cat\0") for pid in descendants(process.pid)),
            what="the command of the second call waits",
        )
        # A supervisor, a shell, its `cat`, its daemon, and the server with its own supervisor.
        assert assert_processes_clean(process.pid, home.kept) >= 5
        finish(home.work / "pipe", "done\n")
        output, errors = process.communicate(timeout=GENEROUS_S)
    assert process.returncode == 1
    for exchange in server.exchanges[count:]:
        assert exchange.request.headers["authorization"] == f"Bearer {KEY}"
        assert_clean(repr(exchange.request.body).encode(), "the body of a request")
    (results,) = (
        found for exchange in server.exchanges[count:] if len(found := last_results(exchange.request)) == 2
    )
    printed, told = (result.text for result in results)
    assert "PRINTED" in printed
    assert "PATH=" in printed
    assert '"PATH"' in told
    assert words in errors
    assert_clean(output, "standard output")
    assert_clean(errors, "standard error")
    home.assert_clean()


@pytest.fixture
def with_environment(tmp_path: Path) -> Home:
    made = Home(tmp_path, Kept.ENVIRONMENT)
    made.prepare()
    return made


def test_a_crash_report_holds_no_key(with_environment: Home, server: EchoServer) -> None:
    home = with_environment
    with run(home, server, "hello", program=program_after(f"exec({CRASH!r})")) as process:
        output, errors = process.communicate(timeout=GENEROUS_S)
    assert b"a fault in Caesura has ended it" in errors
    log = (home.path / "state" / "caesura" / "caesura.log").read_bytes()
    assert b"Traceback" in log
    assert_clean(output + errors, "what was said")
    home.assert_clean()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_model_process_that_dies_leaves_no_key(with_environment: Home, server: EchoServer) -> None:
    home = with_environment
    server.script = ENDLESS
    with run(home, server, "hello") as process:
        assert process.stdout is not None
        assert process.stdout.read(4)
        os.kill(streamer_of(process.pid), signal.SIGABRT)
        output, errors = process.communicate(timeout=GENEROUS_S)
    assert b"ended in the middle of the reply" in errors
    assert_clean(output + errors, "what was said")
    home.assert_clean()
