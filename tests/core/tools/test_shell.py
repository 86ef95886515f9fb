"""`shell`: what the model reads of a command, what a command sees, and that a stop leaves nothing of it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from core.engine.tool import ToolError
from core.permissions.access import AccessKind, Workspace
from core.process.containment import Containment
from core.tools.shell import HEAD_BYTES, LONGEST_CONCURRENT, TAIL_BYTES, Shell, ShellArguments
from tests.core.tools.calls import Call
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from core.process.command import Command

CONTAINMENTS = pytest.mark.parametrize("containment", list(Containment))


class Launcher:
    """Takes what is to run in the background."""

    def __init__(self) -> None:
        self.launched: list[tuple[Command, str]] = []

    async def __call__(self, command: Command, title: str) -> str:
        self.launched.append((command, title))
        return "background-1"


def shell(launch: Launcher | None = None, containment: Containment | None = Containment.GROUP) -> Shell:
    return Shell(launch or Launcher(), secrets={"MY_SECRET"}, containment=lambda _: containment)


async def test_output_comes_with_the_exit_code(tmp_path: Path) -> None:
    output = await Call(shell(), tmp_path).run(command="echo out; echo err >&2; exit 3")
    assert output.text == "Exit code 3.\nout\nerr"
    assert output.failed
    output = await Call(shell(), tmp_path).run(command="pwd", folder="/")
    assert (output.text, output.shown.text, output.failed) == ("Exit code 0.\n/", "/", False)
    output = await Call(shell(), tmp_path).run(command="kill -9 $$")
    assert output.text == "Ended by signal 9 (SIGKILL)."
    assert output.failed


async def test_the_event_loop_reads_no_long_line(tmp_path: Path) -> None:
    readers: list[str] = []

    def containment(line: str) -> Containment:
        readers.append(threading.current_thread().name)
        return Containment.GROUP

    tool = Shell(Launcher(), secrets=(), containment=containment)
    await Call(tool, tmp_path).run(command="true")
    assert readers == ["shell line"]
    assert tool.concurrent(ShellArguments(command="echo 1"))
    assert not tool.concurrent(ShellArguments(command="echo " + "1 " * LONGEST_CONCURRENT))


async def test_of_a_long_output_the_middle_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    text = (await Call(shell(), tmp_path).run(command="seq 1 100000")).text
    assert text.startswith("Exit code 0.\n1\n2\n")
    assert text.endswith("\n100000")
    assert "bytes left out" in text
    assert len(text) < HEAD_BYTES + TAIL_BYTES + 200


async def test_a_command_gets_neither_keys_nor_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "s3cret")
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    output = await Call(shell(), tmp_path).run(command="env; cat; test -t 0 || echo none; : < /dev/tty")
    assert "s3cret" not in output.text
    assert "none" in output.text
    assert output.failed


@CONTAINMENTS
@pytest.mark.promise("X1")
async def test_what_is_left_running_ends_and_the_model_is_told(
    tmp_path: Path, containment: Containment
) -> None:
    output = await Call(shell(containment=containment), tmp_path).run(command="sleep 1000 & echo started")
    assert output.text.startswith("Exit code 0.\nstarted\n[1 process that was left running ended with")
    assert "background" in output.text


@CONTAINMENTS
@pytest.mark.promise("X1", "X2")
async def test_a_stop_ends_the_tree_and_keeps_the_output(tmp_path: Path, containment: Containment) -> None:
    call = Call(shell(containment=containment), tmp_path)
    task = call.start(command="trap '' TERM; setsid sleep 1000 & sleep 1000 & echo up; yes > /dev/null")
    await until(lambda: "up" in call.progress.text() and call.progress.processes >= 3)
    await call.stop(task)
    assert call.progress.text().strip() == "up"
    assert call.progress.ended.processes >= 3


async def test_a_cancel_from_outside_stays_one(tmp_path: Path) -> None:
    call = Call(shell(), tmp_path)
    task = call.start(command="echo up; sleep 1000")
    await until(lambda: "up" in call.progress.text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.progress.processes == 0
    assert call.progress.ended.processes >= 1


async def test_background_is_handed_over_and_answered_at_once(tmp_path: Path) -> None:
    launch = Launcher()
    output = await Call(shell(launch), tmp_path).run(command="sleep  1000", background=True)
    assert output.text == "Started in the background as background-1."
    ((command, title),) = launch.launched
    assert (command.argv[1:], command.cwd, title) == (("-c", "sleep  1000"), tmp_path, "sleep 1000")
    assert "MY_SECRET" not in command.environment


async def test_a_folder_that_is_none_is_an_error_for_the_model(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="nowhere"):
        await Call(shell(), tmp_path).run(command="ls", folder="nowhere")


def test_what_a_call_needs_is_known_before_it_runs(tmp_path: Path) -> None:
    tool, workspace = shell(), Workspace(tmp_path)
    reading, changing = ShellArguments(command="ls | wc -l"), ShellArguments(command="make", deadline=5)
    assert (tool.concurrent(reading), tool.concurrent(changing)) == (True, False)
    assert not tool.concurrent(ShellArguments(command="sleep 9", background=True))
    assert (tool.deadline_s(reading), tool.deadline_s(changing)) == (120, 5)
    assert tool.deadline_s(ShellArguments(command="sleep 9", background=True)) is None
    access = tool.access(ShellArguments(command="make", folder="../other"), workspace)
    assert (access.kind, access.subject) == (AccessKind.COMMAND, "make")
    assert access.paths == (tmp_path / "../other",)
    for wrong in ({"command": ""}, {"command": "a", "deadline": 0}, {"command": "a", "deadline": 3601}):
        with pytest.raises(ValidationError):
            ShellArguments.model_validate(wrong)
