"""Folders and files that have the names of our packages, of a dependency and of the standard library.

They lie in the current folder and on PYTHONPATH, and end whoever imports them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.tools import call, calls, last_results, shell, write_config
from tests.servers.script import Script, in_turn
from tests.support.program import PROGRAM, ROOT, environment, running, talk_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.openai import OpenAIServer

PACKAGES: Final = ("core", "tui", "providers", "themes", "anyio", "textual", "litellm")
MODULES: Final = ("json.py", "asyncio.py", "typing.py", "select.py", "dataclasses.py")
MODULE: Final = (sys.executable, "-m", "caesura")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "hostile"
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('hostile {name}')")
    for name in MODULES:
        (folder / name).write_text(f"raise SystemExit('hostile {name}')")
    return folder


def start(folder: Path, arguments: tuple[str, ...], home: Path, *path: object) -> str:
    """What a program that was started in `folder` with this PYTHONPATH writes; it must succeed."""
    changes = environment(home, PYTHONPATH=os.pathsep.join(map(str, path)) or None)
    env = {name: value for name, value in (os.environ | changes).items() if value is not None}
    done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def print_path(*options: str, python: str = sys.executable) -> tuple[str, ...]:
    """A program that prints the import path with which Caesura would run in it."""
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); import caesura; "
        "print(*caesura._own_path(sys.path), sep='\\n')"
    )
    return (python, *options, "-c", code)


def test_the_script_starts_in_such_a_folder(hostile: Path, tmp_path: Path) -> None:
    assert start(hostile, (*PROGRAM, "--version"), tmp_path, hostile, "").startswith("caesura")
    assert start(hostile, (*PROGRAM, "--version"), tmp_path, ROOT, hostile).startswith("caesura")
    assert start(hostile, (*PROGRAM, "--version"), tmp_path).startswith("caesura")


def test_the_module_starts_in_such_a_folder(hostile: Path, tmp_path: Path) -> None:
    # Without what `python -m` itself imports, which may well be there.
    (hostile / "typing.py").unlink()
    assert start(hostile, (*MODULE, "--version"), tmp_path, ROOT, hostile).startswith("caesura")
    assert start(hostile, (*MODULE, "--version"), tmp_path, hostile, ROOT).startswith("caesura")


@pytest.mark.parametrize("options", [(), ("-P",), ("-s",), ("-E",), ("-I",), ("-S",)], ids=" ".join)
def test_the_path_has_the_standard_library_and_then_caesura(
    hostile: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = start(hostile, print_path(*options), tmp_path, hostile).splitlines()
    assert str(hostile) not in path
    assert "" not in path
    place = path.index(str(ROOT))
    assert all("site-packages" in entry for entry in path[place + 1 :])
    assert os.path.dirname(os.__file__) in path[:place]  # noqa: PTH120 - as the interpreter writes it


def test_a_path_that_repeats_the_interpreters_own_keeps_its_packages(hostile: Path, tmp_path: Path) -> None:
    plain = start(tmp_path, print_path(), tmp_path).splitlines()
    path = start(tmp_path, print_path(), tmp_path, *reversed(plain), hostile).splitlines()
    assert sorted(path) == sorted(plain)
    assert path.index(str(ROOT)) > path.index(os.path.dirname(os.__file__))  # noqa: PTH120


def test_the_users_own_packages_do_not_take_the_place_of_ours(tmp_path: Path) -> None:
    # A virtual environment has no packages of the user's.
    python = os.path.realpath(sys.executable)
    env = os.environ | {"PYTHONUSERBASE": str(tmp_path / "user")}
    code = "import site; print(site.USER_SITE)"
    told = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=True)
    folder, added = Path(told.stdout.strip()), tmp_path / "added"
    folder.mkdir(parents=True)
    added.mkdir()
    (folder / "added.pth").write_text(f"{added}\n")

    def path(*options: str) -> list[str]:
        argv = print_path(*options, python=python)
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    # They come last: Caesura, or what it needs, may be installed there.
    assert path() == [*path("-s"), str(folder), str(added)]


def test_a_run_its_model_process_and_its_tools_start_in_such_a_folder(
    hostile: Path, tmp_path: Path, server: OpenAIServer
) -> None:
    write_config(tmp_path)
    made = (shell('printf %s "$PYTHONPATH"'), call("list_files", pattern="*.py"))
    server.script = in_turn(calls(*made), Script(text=("All of it works.",)))
    arguments = (*PROGRAM, "run", "--mode", "auto", *talk_to(server), "hi")
    assert "All of it works." in start(hostile, arguments, tmp_path, hostile)
    printed, found = last_results(server.exchanges[-1].request)
    assert str(hostile) in printed.text
    assert "anyio/__init__.py" in found.text


def test_a_screen_and_its_commands_start_in_such_a_folder(
    hostile: Path, tmp_path: Path, server: OpenAIServer
) -> None:
    write_config(tmp_path)
    script = in_turn(calls(shell("echo it runs")), Script(text=("All of it works.",)))
    env: Mapping[str, str] = {"PYTHONPATH": str(hostile)}
    with running(tmp_path, "--mode", "auto", *talk_to(server), env=env, cwd=hostile) as app:
        app.send(server, "go", script)
        app.wait_for(lambda screen: any("All of it works." in line for line in screen))
    (printed,) = last_results(server.exchanges[-1].request)
    assert "it runs" in printed.text
