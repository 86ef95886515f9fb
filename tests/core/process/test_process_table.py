"""What the process table says by each of the ways in which it can be read: they must agree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from core import process_table
from core.process_table import descendants, ears, look_up, marked, relatives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@contextmanager
def tree(script: str, **environment: str) -> Iterator[int]:
    """A shell that has said it is ready, and all of whose group ends afterwards."""
    argv = ["bash", "-c", script]
    pipe, everything = subprocess.PIPE, {**os.environ, **environment}
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, start_new_session=True, env=everything) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"READY\n"
        yield shell.pid
        os.killpg(shell.pid, signal.SIGKILL)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the state did not come"
        time.sleep(0.002)


@pytest.fixture(params=["children", "proc", "ps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(process_table, "_HAS_CHILDREN", request.param == "children")
    monkeypatch.setattr(process_table, "_HAS_PROC", request.param != "ps")
    return str(request.param)


@linux
@pytest.mark.promise("X1")
def test_every_way_finds_the_same_descendants(way: str) -> None:
    with tree("bash -c 'sleep 300 & sleep 300' & echo READY; wait") as shell:
        until(lambda: [p.name for p in descendants(shell)] == ["bash", "sleep", "sleep"])
        first, *others = descendants(shell)
        assert (first.parent, first.group) == (shell, shell)
        assert {other.parent for other in others} == {first.pid}
        assert all(process.alive for process in (first, *others))
        known = look_up(shell)
        assert known is not None
        assert (known.name, known.started > 0) == ("bash", way != "ps")
        # The ps that lists them is a child of this process too, and not to be counted.
        assert "ps" not in [process.name for process in descendants(os.getpid())]


@linux
def test_relatives_are_found_when_their_parent_is_gone(way: str) -> None:
    with tree("( (sleep 300; true) & ); echo READY; read -r") as shell:
        until(lambda: "sleep" not in [process.name for process in descendants(shell)])
        until(lambda: "sleep" in [process.name for process in relatives(shell, {shell})])
        assert shell not in [process.pid for process in relatives(shell, {shell})]


@linux
def test_a_mark_finds_who_has_left_the_tree() -> None:
    with tree("setsid sleep 300 & disown; echo READY; read -r", MARK_OF_TEST="it") as shell:
        until(lambda: "sleep" in [process.name for process in marked("MARK_OF_TEST=it")])
        found = marked("MARK_OF_TEST=it")
        assert shell in [process.pid for process in found]
        assert marked("MARK_OF_TEST=i") == []
        for process in found:
            if process.pid != shell:
                os.kill(process.pid, signal.SIGKILL)


@linux
@pytest.mark.parametrize(
    ("script", "deaf", "held"),
    [
        ("echo READY; read -r", False, False),
        ("trap 'true' TERM; echo READY; read -r", False, False),
        ("trap '' TERM; echo READY; read -r", True, False),
    ],
)
def test_who_is_deaf_to_a_soft_signal_is_known(script: str, deaf: bool, held: bool) -> None:
    with tree(script) as shell:
        standing = ears(shell)
        assert (standing.deaf, standing.held, standing.pending) == (deaf, held, False)


@linux
def test_who_holds_a_signal_back_is_known() -> None:
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        assert (ears(os.getpid()).held, ears(os.getpid()).pending) == (True, False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert ears(os.getpid()).pending
        assert signal.sigwait({signal.SIGTERM}) == signal.SIGTERM
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def test_nobody_is_nobody() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert look_up(process.pid) is None
    assert descendants(process.pid) == []
    assert not ears(process.pid).deaf
