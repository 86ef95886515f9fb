"""The command line says in one sentence what is wrong with it, whatever its streams are. No model is started.

Each test starts the program as a shell does, for a closed stream cannot be had otherwise.
"""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.program import PROGRAM, environment, nonblocking_pipe, read_slowly
from tui.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


def shell(home: Path, line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `"$@"` is the program with `arguments`; its streams are captured."""
    env = {name: value for name, value in (os.environ | environment(home)).items() if value is not None}
    return subprocess.run(
        ["/bin/sh", "-c", line, "sh", *PROGRAM, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "arguments", "sentence"),
    [
        ('"$@" >&-', ("run", "--demo", "hi"), "standard output is closed"),
        ('"$@" <&-', ("run", "--demo"), "there is no prompt"),
        ('"$@" <&-', ("--demo",), "this is not a terminal"),
        ('"$@" >&-', ("--demo",), "this is not a terminal"),
        ('"$@"', ("--theme", "caesura-light", "run", "--demo", "hi"), "--theme is for the screen"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path, line: str, arguments: tuple[str, ...], sentence: str
) -> None:
    done = shell(tmp_path, line, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"caesura: {sentence}")
    assert done.stderr.count("\n") == 1


def test_the_home_folder_is_looked_up_at_the_start_and_not_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    # It collects the log of the process.
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    assert main(["--version"]) == 0
    assert os.environ["HOME"] == pwd.getpwuid(os.getuid()).pw_dir


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """The end for writing of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def test_a_standard_error_that_nobody_reads_changes_no_exit_code(tmp_path: Path, closed_pipe: int) -> None:
    env = {name: value for name, value in (os.environ | environment(tmp_path)).items() if value is not None}
    command = [*PROGRAM, "run", "--demo", " "]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=closed_pipe, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_closed_standard_error_is_not_replaced_by_standard_output(tmp_path: Path) -> None:
    done = shell(tmp_path, '"$@" 2>&-', "run", "--demo", " ")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("arguments", [("--help",), ("config", "manual"), ("keys", "--help")], ids=" ".join)
def test_output_that_does_not_block_is_written_whole(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    whole = shell(tmp_path, '"$@"', *arguments)
    env = {name: value for name, value in (os.environ | environment(tmp_path)).items() if value is not None}
    with nonblocking_pipe() as (read, write):
        process = subprocess.Popen([*PROGRAM, *arguments], env=env, stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        with process:
            assert read_slowly(read).decode() == whole.stdout
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("localhost:8000", "did you mean http://localhost:8000?"),
        ("ollama.lan/v1", "did you mean http://ollama.lan/v1?"),
        ("ftp://localhost", "is not the address of a server"),
        ("http://", "is not the address of a server"),
        ("http://localhost:eighty", "is not the address of a server"),
        ("http://[::1", "is not the address of a server"),
        ("", "is not the address of a server"),
    ],
)
def test_an_api_base_that_no_request_can_reach_is_told_at_once(
    tmp_path: Path, address: str, sentence: str
) -> None:
    done = shell(tmp_path, '"$@"', "run", "--model", "openai/x", "--api-base", address, "hi")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unexpected_error_is_a_sentence_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    # A standard input that cannot be read: reading it raises what nobody has thought of.
    done = shell(tmp_path, '"$@" 0>/dev/null', "run", "--demo")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("caesura: a fault in Caesura has ended it (")
    assert done.stderr.count("\n") == 1
    (log,) = tmp_path.rglob("caesura.log")
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("arguments", [("--version",), ("run", "--version")])
def test_the_version_is_told_where_nothing_is_installed(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    # Away from the checkout, where an editable install may have left metadata.
    for package in ("caesura.py", "core", "tui"):
        (tmp_path / package).symlink_to(ROOT / package)
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-S", str(tmp_path / "caesura.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("caesura")
    assert "not installed" in done.stdout
