"""The edges of running a command: it cannot start, is stopped at any await, its supervisor dies, no leaks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from core.cancel import Cancelled, CancelReason, Cause
from core.process import command as processes
from core.process import supervisor_client
from core.process.command import (
    Command,
    CommandError,
    Survivor,
    child_environment,
    kill_survivor,
    run_command,
)
from core.process.containment import Containment, available_containment
from core.process.process_table import descendants, look_up
from tests.support.cancel_sweep import Ended, Trial, in_thread, sweep
from tests.support.commands import Kind, Run, shell
from tests.support.stubborn_processes import remains
from tests.support.waiting import until

REASON = CancelReason(Cause.USER, "test")


@pytest.mark.promise("T3")
async def test_a_token_that_is_cancelled_starts_nothing(tmp_path: Path) -> None:
    run = shell(f"touch {tmp_path}/ran")
    command = Command(run.argv, tmp_path, run.environment)

    async def cancel_and_run() -> None:
        with run.token.bind():
            run.token.cancel(REASON)
            await run_command(command, run.token, run.view)

    with pytest.raises(Cancelled):
        await cancel_and_run()
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    assert not run.view.started.is_set()
    assert (run.view.end, run.view.processes) == (None, 0)


@pytest.mark.promise("T3", "X1")
async def test_a_stop_while_it_starts_runs_nothing(tmp_path: Path) -> None:
    run = shell(f"touch {tmp_path}/ran").start()
    await asyncio.sleep(0)
    run.stop()
    end = await run.stopped()
    assert (end.ended, end.exit_code, end.confirmed) == (0, None, True)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("containment", list(Containment))
async def test_what_cannot_start_is_said_in_a_sentence(tmp_path: Path, containment: Containment) -> None:
    a_file = tmp_path / "file"
    a_file.write_text("#!/no/such/interpreter\n")
    a_file.chmod(0o755)
    cases = {
        (("no-such-command",), tmp_path): "was not found",
        (("./missing",), tmp_path): "was not found",
        (("",), tmp_path): "was not found",
        (("true",), tmp_path / "missing"): f"there is no folder {tmp_path / 'missing'}",
        (("true",), a_file): "is not a folder",
        (("./file",), tmp_path): "No such file or directory",
        (("echo", "a\0b"), tmp_path): "contains a NUL",
        (("echo", "\ud800"), tmp_path): "cannot be encoded",
        (("e\ud800",), tmp_path): "was not found",
        (("echo", "x" * 200_000), tmp_path): "Argument list too long",
    }
    for (argv, cwd), words in cases.items():
        run = Run(argv, containment, cwd)
        with pytest.raises(CommandError, match=words):
            await run.run()
        assert run.view.end is not None
        assert (run.view.end.ended, run.view.end.alive) == (0, ())


async def test_no_descriptors_left_is_said_in_a_sentence() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # So many are open already, and one or two that the loop needs.
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(_open_files()) + 2, limits[1]))
    try:
        with pytest.raises(CommandError, match="Too many open files"):
            await shell("true").run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_supervisor_that_is_gone_before_its_socket_is_closed_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def shutdown(_: socket.socket, how: int) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    # As on macOS.
    monkeypatch.setattr(socket.socket, "shutdown", shutdown)
    run = shell("echo said; exit 3")
    end = await run.run()
    assert (end.exit_code, end.confirmed, run.view.output.text()) == (3, True, "said\n")


async def test_a_command_is_found_by_path_and_by_folder(tmp_path: Path) -> None:
    script = tmp_path / "bin" / "mine"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\npwd; echo "$1"; exit 5\n')
    script.chmod(0o755)
    for argv, path in ((("mine", "a b\n€"), str(script.parent)), (("bin/mine", "a b\n€"), "")):
        run = Run(argv, cwd=tmp_path, environment={"PATH": f"{path}:/usr/bin:/bin"})
        assert (await run.run()).exit_code == 5
        assert run.view.output.text() == f"{tmp_path}\na b\n€\n"


async def test_an_order_larger_than_a_pipe_arrives() -> None:
    run = Run(
        ("bash", "-c", "echo ${#BIG} $#", *(["x" * 1000] * 500)),
        environment={**os.environ, "BIG": "y" * 100_000},
    )
    await run.run()
    assert run.view.output.text() == "100000 499\n"


async def test_signals_are_as_they_were_at_login(tmp_path: Path) -> None:
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = shell("grep -E 'Sig(Ign|Blk)' /proc/self/status; kill -PIPE $$")
        end = await run.run()
    finally:
        signal.signal(signal.SIGINT, previous)
    # Without the two that the C library keeps for itself and ignores in whatever it spawns.
    masks = [int(line.split()[1], 16) & 0x7FFF_FFFF for line in run.view.output.text().splitlines()]
    assert masks == [0, 0]
    assert end.exit_code == -signal.SIGPIPE


@pytest.mark.promise("X6")
async def test_no_key_reaches_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VENDOR_API_KEY", "sk-secret")
    monkeypatch.setenv("PLAIN", "sk-secret")
    environment = child_environment(dict(os.environ), {"PLAIN"})
    assert environment["PAGER"] == "cat"
    # Its own and that of everyone it can see in its namespace, its supervisor included.
    run = shell("env; cat /proc/[0-9]*/environ", Containment.NAMESPACE)
    run.environment = environment
    end = await run.run()
    if end.containment is Containment.NAMESPACE:
        assert "sk-secret" not in run.view.output.text()
    assert "sk-secret" not in environment.values()


def test_a_users_own_tokens_stay() -> None:
    kept = child_environment({"GITHUB_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "y", "OPENAI_API_KEY": "z"}, ())
    assert kept.keys() & {"GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"} == {
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
    }


@pytest.mark.promise("X1", "T4")
@pytest.mark.parametrize("way", ["token", "thread", "task"])
def test_a_stop_at_every_await_leaves_nothing(way: str) -> None:
    before = _open_files()
    available_containment()

    def trial() -> Trial:
        run = shell("sleep 300 & echo READY; exec sleep 0.03")

        def stop(task: asyncio.Task[object]) -> None:
            match way:
                case "token":
                    run.stop()
                case "thread":
                    in_thread(run.stop)
                case _:
                    task.cancel()

        def check(ended: Ended) -> None:
            assert run.living == {}
            assert ended.leftover == ()
            assert ended.complaints == ()
            assert _open_files() == before
            if run.view.end is not None:
                assert (run.view.end.alive, run.view.end.confirmed) == ((), True)
            if ended.stopped:
                wanted = asyncio.CancelledError if way == "task" else Cancelled
                # Stopped while it was already on its way out, it may have come to its own end.
                assert isinstance(ended.error, wanted) or run.view.end is not None

        return Trial(run.run, stop, check)

    assert sweep(trial) > 4


@pytest.mark.promise("T5", "X1")
async def test_a_cancel_from_outside_during_the_grace_leaves_nothing() -> None:
    run = shell("trap 'echo no' TERM; echo READY; while :; do sleep 0.01; done").start()
    await run.up()
    pids = set(run.living)
    run.task.cancel()
    await run.up("no")
    run.task.cancel()
    await asyncio.wait([run.task])
    assert run.task.cancelled()
    assert run.view.end is not None
    await until(lambda: not run.living and not remains(pids))


@pytest.mark.promise("X1", "X7")
@pytest.mark.parametrize("kind", list(Kind))
async def test_the_end_of_the_supervisor_is_the_end_of_the_command(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kind.available:
        pytest.skip(f"{kind} makes no namespaces here")
    monkeypatch.setattr("core.process.supervisor_client.namespace_prefix", lambda: kind.prefix)
    run = shell("trap '' TERM; (setsid sleep 300 &); echo READY; sleep 300", kind.containment).start()
    await run.up()
    pids = set(run.living)
    for supervisor in _supervisors():
        os.kill(supervisor, signal.SIGKILL)
    end = await run.task
    assert (end.confirmed, end.exit_code, end.alive) == (False, None, ())
    assert run.living == {}
    assert_ended(pids)


@pytest.mark.promise("X1")
@pytest.mark.parametrize("containment", list(Containment))
async def test_a_supervisor_that_is_silent_is_not_waited_for(
    containment: Containment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "END_WITHIN_S", 0.1)
    run = shell("(setsid sleep 300 &); echo READY; sleep 300", containment).start()
    await run.up()
    pids = set(run.living)
    for supervisor in _supervisors():
        os.kill(supervisor, signal.SIGSTOP)
    run.stop()
    end = await run.stopped()
    assert (end.confirmed, end.alive) == (False, ())
    assert run.living == {}
    assert_ended(pids)


@pytest.mark.promise("X1")
def test_a_process_that_takes_time_to_exit_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it exits it has no environment, and the mark is not found any more."""
    process = subprocess.Popen(["sleep", "300"])
    found = look_up(process.pid)
    listings = iter([[found]])
    kill, tries = os.kill, itertools.count()

    def kill_at_the_third_try(pid: int, sent: int) -> None:
        if pid == process.pid and next(tries) >= 2:
            kill(pid, sent)

    monkeypatch.setattr(supervisor_client, "marked", lambda _: next(listings, []))
    monkeypatch.setattr(supervisor_client, "descendants", lambda _: [])
    monkeypatch.setattr(os, "kill", kill_at_the_third_try)
    try:
        assert supervisor_client.end_by_force(process.pid, "") == ()
        assert_ended({process.pid})
    finally:
        process.kill()
        process.wait()


@pytest.mark.promise("X1")
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs two users")
async def test_who_may_not_be_killed_is_named_and_can_be_killed_by_who_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with `sudo` in a group: what runs as somebody else is not for this supervisor to kill."""
    monkeypatch.setattr(
        "core.process.supervisor_client.namespace_prefix",
        lambda: (shutil.which("setpriv"), "--bounding-set=-kill", "--"),
    )
    run = shell("setpriv --reuid 65534 --clear-groups sleep 300 & sleep 300 & echo READY; wait").start()
    await run.up()
    await until(lambda: sorted(run.living.values()) == ["bash", "sleep", "sleep"])
    run.stop()
    run.token.force()
    end = await run.stopped()
    assert (end.confirmed, end.ended) == (True, 2)
    (survivor,) = end.alive
    assert survivor.name == "sleep"
    assert {survivor.pid} == set(run.living)
    assert run.view.processes == 1
    assert kill_survivor(survivor)
    await until(lambda: not run.living)


def test_kill_survivor_kills_that_process_and_no_other() -> None:
    process = subprocess.Popen(["sleep", "300"])
    try:
        known = look_up(process.pid)
        assert known is not None
        # Who is not that process any more is gone, and whoever has its id now is left alone.
        assert kill_survivor(Survivor(process.pid, "sleeps", known.started))
        assert kill_survivor(Survivor(process.pid, "sleep", known.started + 1))
        assert process.poll() is None
        assert kill_survivor(Survivor(process.pid, "sleep", known.started))
        assert process.wait() == -signal.SIGKILL
        assert kill_survivor(Survivor(process.pid, "sleep", known.started))
    finally:
        process.kill()
        process.wait()


@pytest.mark.promise("X1", "X2")
async def test_many_runs_leak_nothing() -> None:
    async def one(number: int) -> None:
        run = shell("sleep 300 & echo READY; sleep 300" if number % 2 else "yes | head -1000", None).start()
        if number % 2:
            await run.up()
            run.stop()
        with contextlib.suppress(Cancelled):
            await run.task
        assert run.view.end is not None
        assert run.view.end.confirmed
        assert run.living == {}

    others = {process.pid for process in descendants(os.getpid())}
    await asyncio.gather(*(one(number) for number in range(8)))
    files, tasks, threads = _open_files(), len(asyncio.all_tasks()), threading.active_count()
    for _ in range(5):
        await asyncio.gather(*(one(number) for number in range(8)))
    assert (_open_files(), len(asyncio.all_tasks())) == (files, tasks)
    # Those of the loop's own executor come and stay, up to a few.
    assert threading.active_count() <= threads + (os.cpu_count() or 1) + 4
    assert {process.pid for process in descendants(os.getpid())} <= others


def assert_ended(pids: set[int]) -> None:
    """Nothing of it runs. Without its supervisor a zombie waits for the machine's init to reap it."""
    assert set(remains(pids).values()) <= {"Z"}


def _open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _supervisors() -> list[int]:
    """Every supervisor below us: it is the one that runs our code."""
    wanted = supervisor_client._BOOT.encode()
    return [
        process.pid
        for process in descendants(os.getpid())
        if wanted in (words := Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0"))
        and words[0].endswith(b"python")
    ]
