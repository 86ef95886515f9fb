"""`caesura keys`: a key goes in unseen, is found again, tried and removed, and is shown nowhere."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.servers.script import Refusal, Refuse, Script
from tests.support.program import ENDLESS, environment, program_after
from tests.support.terminal import Terminal
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from tests.servers.openai import OpenAIServer

SECRET = "sk-never-to-be-seen-41bb"
PLAINTEXT = "keyrings.alt.file.PlaintextKeyring"
NOT_SHOWN = b"(it is not shown): "
HUNG = """
import os, termios, threading
from keyring.backend import KeyringBackend
class Keyring(KeyringBackend):
    priority = -1
    def get_password(self, service, username):
        # As a keyring that asks for its own password does.
        try:
            terminal = os.open("/dev/tty", os.O_RDWR)
        except OSError:
            pass
        else:
            mode = termios.tcgetattr(terminal)
            mode[3] &= ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSANOW, mode)
        threading.Event().wait()
    set_password = delete_password = get_password
"""
ASKING = """
import getpass
from keyring.backend import KeyringBackend
class Keyring(KeyringBackend):
    priority = -1
    def get_password(self, service, username):
        return getpass.getpass()
    set_password = delete_password = get_password
"""
NO_HIDING = "import getpass; getpass.getpass = getpass.fallback_getpass"


class Home(NamedTuple):
    """A home with a keyring of its own."""

    path: Path
    backend: str = PLAINTEXT

    @property
    def keyring(self) -> Path:
        return self.path / "data" / "python_keyring" / "keyring_pass.cfg"

    @property
    def file(self) -> Path:
        return self.path / "config" / "caesura" / "keys.toml"

    @property
    def program(self) -> tuple[str, ...]:
        """Caesura, which finds keyrings in this folder too."""
        return program_after(f"sys.path.append({str(self.path)!r})")

    def env(self, **changes: str | None) -> dict[str, str]:
        ours = environment(
            self.path,
            OPENAI_API_KEY=None,
            PYTHON_KEYRING_BACKEND=self.backend,
        )
        full = os.environ | ours | changes
        return {name: value for name, value in full.items() if value is not None}

    def run(
        self, *arguments: str, stdin: str | None = None, **changes: str | None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.program, "keys", *arguments],
            env=self.env(**changes),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=GENEROUS_S,
            start_new_session=True,
            check=False,
        )
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def terminal(self, *arguments: str, program: tuple[str, ...] | None = None) -> Terminal:
        return Terminal([*(program or self.program), "keys", *arguments], env=self.env(), emulate=False)

    def written(self) -> bytes:
        """Everything that was written anywhere in it, but for the keyring itself."""
        files = (path for path in self.path.rglob("*") if path.is_file() and path != self.keyring)
        return b"".join(path.read_bytes() for path in files)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_key_comes_in_through_a_pipe_is_listed_and_removed(home: Home) -> None:
    stored = home.run("set", "openai", stdin=f"{SECRET}\n")
    assert (stored.returncode, stored.stdout, stored.stderr) == (
        0,
        "OPENAI_API_KEY is stored in the keyring.\n",
        "",
    )
    assert SECRET.encode() not in home.written()
    listed = home.run(GROQ_API_KEY="x")
    assert listed.returncode == 0
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        ["GROQ_API_KEY", "Groq", "environment"],
        ["OPENAI_API_KEY", "OpenAI", "keyring"],
    ]
    removed = home.run("remove", "openai")
    assert (removed.returncode, removed.stdout) == (0, "OPENAI_API_KEY is removed from the keyring.\n")
    again = home.run("remove", "OPENAI_API_KEY", OPENAI_API_KEY="x")
    assert again.returncode == 1
    assert "was not kept anywhere" in again.stderr
    assert "still set in the environment" in again.stderr


def test_a_file_is_used_only_when_it_is_asked_for_and_with_a_warning(home: Home) -> None:
    home.run("set", "openai", stdin=SECRET)
    assert not home.file.exists()
    stored = home.run("set", "openai", "--file", stdin=f"{SECRET}\r\n")
    assert stored.returncode == 0
    assert "not encrypted" in stored.stderr
    assert str(home.file) in stored.stderr
    assert home.file.stat().st_mode & 0o777 == 0o600
    assert home.run().stdout.splitlines()[1].split() == ["OPENAI_API_KEY", "OpenAI", "file"]


def test_what_is_typed_is_not_shown(home: Home) -> None:
    with home.terminal("set", "openai") as terminal:
        terminal.wait_for_output(NOT_SHOWN)
        terminal.type(f" {SECRET}\n")
        assert terminal.wait_exit() == 0
        assert terminal.unrestored() == []
        assert b"is stored in the keyring" in terminal.output
        assert SECRET.encode() not in terminal.output
        assert b"sk-" not in terminal.output
    assert home.run().stdout.splitlines()[1].split() == ["OPENAI_API_KEY", "OpenAI", "keyring"]


@pytest.mark.parametrize(
    ("how", "code"),
    [("ctrl+c", 130), ("ctrl+d", 1), (signal.SIGTERM, 143)],
)
def test_a_key_that_is_not_typed_leaves_the_terminal_as_it_was(
    home: Home, how: str | signal.Signals, code: int
) -> None:
    with home.terminal("set", "openai") as terminal:
        terminal.wait_for_output(NOT_SHOWN)
        if isinstance(how, str):
            terminal.press(how)
        else:
            terminal.signal(how)
        assert terminal.wait_exit() == code
        assert terminal.unrestored() == []
        assert b"Traceback" not in terminal.output
        # The next prompt of the shell begins a line.
        assert terminal.output.endswith(b"\n")
    assert not home.keyring.exists()


def test_a_name_that_is_missing_is_asked_for_by_that_name(home: Home) -> None:
    done = home.run("set")
    assert done.returncode == 2
    assert done.stderr.endswith("the following arguments are required: NAME\n")


def test_a_terminal_that_would_show_the_key_is_not_read(home: Home) -> None:
    with home.terminal("set", "openai", program=program_after(NO_HIDING)) as terminal:
        terminal.wait_for_output(b"cannot hide what is typed")
        assert terminal.wait_exit() == 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (("set", "openai", SECRET), None, 2, "history of your shell"),
        (("set", "openai", "--key", SECRET), None, 2, "history of your shell"),
        (("set", SECRET), None, 2, "history of your shell"),
        (("set", SECRET, "openai"), None, 2, "history of your shell"),
        (("test", "openai", SECRET), None, 2, "history of your shell"),
        (("set", "antropic"), SECRET, 2, "did you mean anthropic?"),
        (("set", "bedrock"), SECRET, 2, "signs in with profiles"),
        (("set", "openai"), "", 1, "There is no key yet"),
        (("set", "openai"), f"{SECRET} {SECRET}", 1, "no blanks"),
        (("set", "openai"), f"{SECRET}\n\n", 1, "no blanks"),
        (("set", "openai"), f"\x1b{SECRET}", 1, "plain letters"),
        (("test", "TEAM_LLM_KEY"), None, 1, "--model NAME"),
        (("test",), None, 1, "There is no key to test"),
    ],
)
def test_what_cannot_be_done_is_told_and_no_key_with_it(
    home: Home, arguments: tuple[str, ...], stdin: str | None, code: int, words: str
) -> None:
    refused = home.run(*arguments, stdin=stdin)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert words in refused.stderr
    assert not home.keyring.exists()


def test_a_slip_in_a_variable_is_told(home: Home) -> None:
    stored = home.run("set", "ANTROPIC_API_KEY", stdin=SECRET)
    assert stored.returncode == 0
    assert "did you mean ANTHROPIC_API_KEY?" in stored.stderr


def test_a_keyring_that_hangs_is_told_and_the_terminal_is_as_it_was(tmp_path: Path) -> None:
    home = Home(tmp_path, "hung.Keyring")
    (tmp_path / "hung.py").write_text(HUNG)
    with home.terminal("list") as terminal:
        assert terminal.wait_exit(timeout=GENEROUS_S) == 0
        assert terminal.unrestored() == []
        assert b"did not answer within 3 s" in terminal.output


def test_a_keyring_that_asks_gets_nothing_of_what_is_piped_in(tmp_path: Path) -> None:
    home = Home(tmp_path, "asking.Keyring")
    (tmp_path / "asking.py").write_text(ASKING)
    listed = home.run("list", stdin=f"{SECRET}\n" * 200)
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "The keyring cannot be used" in listed.stderr


def test_no_keyring_is_told(home: Home) -> None:
    listed = home.run(PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring", OPENAI_API_KEY="x")
    assert listed.returncode == 0
    assert "OPENAI_API_KEY" in listed.stdout
    assert listed.stderr == "caesura: There is no keyring on this machine.\n"


def test_a_keyring_in_plain_files_is_used_only_where_the_person_names_it(home: Home) -> None:
    stored = home.run("set", "openai", stdin=f"{SECRET}\n", PYTHON_KEYRING_BACKEND=None)
    assert stored.returncode == 1
    assert "There is no keyring on this machine. Nothing was stored." in stored.stderr
    assert not home.keyring.exists()
    assert home.run("set", "openai", stdin=f"{SECRET}\n").returncode == 0
    assert home.keyring.exists()


def test_a_disk_that_is_full_is_told(home: Home) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*home.program, "keys"],
            env=home.env(OPENAI_API_KEY="x"),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=GENEROUS_S,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "caesura: Standard output takes nothing more (No space left on device): send it somewhere else.\n"
    )


def test_a_reader_that_leaves_is_no_fault(home: Home) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*home.program, "keys"],
        env=home.env(OPENAI_API_KEY="x"),
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=GENEROUS_S,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_key_is_tried_with_one_small_request(home: Home, server: OpenAIServer) -> None:
    home.run("set", "openai", stdin=SECRET)
    server.script = Script()
    tried = home.run("test", "openai", "--api-base", server.url)
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.startswith(
        f"The server at {server.url} takes OPENAI_API_KEY of the keyring: openai/gpt-5-nano answered in "
    )
    request = server.exchanges[-1].request
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    body = request.body
    assert 16 in (body.get("max_tokens"), body.get("max_completion_tokens"), body.get("max_output_tokens"))


def test_a_refused_key_is_told_in_one_sentence(home: Home, server: OpenAIServer) -> None:
    server.script = Script(fault=Refuse(Refusal.WRONG_KEY))
    tried = home.run(
        "test", "openai", "--model", "openai/gpt-4o", "--api-base", server.url, OPENAI_API_KEY=SECRET
    )
    assert (tried.returncode, tried.stdout) == (1, "")
    assert "refused the key: store another one with `caesura keys set openai`" in tried.stderr
    assert SECRET.encode() not in home.written()


def test_ctrl_c_stops_the_request(home: Home, server: OpenAIServer) -> None:
    server.script = ENDLESS
    count = len(server.exchanges)
    command = ("test", "--model", "openai/gpt-4o", "--api-base", server.url)
    with home.terminal(*command) as terminal:
        exchange = server.wait_request(count + 1)
        server.wait_deltas(exchange, 2)
        terminal.press("ctrl+c")
        server.wait_closed(exchange)
        assert exchange.closed_by_peer
        assert terminal.wait_exit() == 130
        assert b"Stopped" in terminal.output
        assert terminal.unrestored() == []


def test_it_loads_neither_the_screen_nor_a_library_of_models(home: Home) -> None:
    end = "import atexit; atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))"
    done = subprocess.run(
        [*program_after(end), "keys", "set", "openai"],
        env=home.env(),
        input=SECRET,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert "keyring" in loaded
    assert not loaded & {
        "textual",
        "rich",
        "litellm",
        "httpx",
        "providers.client.model_process",
        "core.storage.store",
    }
