"""What the process table says by each of the ways in which it can be read: they must agree."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from core.process import process_table
from core.process.process_table import descendants, look_up, marked, relatives, signal_disposition
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


BLOCKS_SIGTERM = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("READY", flush=True)
input()
"""


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


@pytest.fixture(params=["children", "proc", "ps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(process_table, "_HAS_CHILDREN", request.param == "children")
    monkeypatch.setattr(process_table, "_HAS_PROC", request.param != "ps")
    return str(request.param)


@linux
@pytest.mark.promise("X1")
def test_every_way_finds_the_same_descendants(way: str) -> None:
    with tree("bash -c 'sleep 300 & sleep 300' & echo READY; wait") as shell:
        wait_until(lambda: [p.name for p in descendants(shell)] == ["bash", "sleep", "sleep"])
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
        wait_until(lambda: "sleep" not in [process.name for process in descendants(shell)])
        wait_until(lambda: "sleep" in [process.name for process in relatives(shell, {shell})])
        assert shell not in [process.pid for process in relatives(shell, {shell})]


@linux
def test_a_mark_finds_who_has_left_the_tree() -> None:
    with tree("setsid sleep 300 & disown; echo READY; read -r", MARK_OF_TEST="it") as shell:
        wait_until(lambda: "sleep" in [process.name for process in marked("MARK_OF_TEST=it")])
        found = marked("MARK_OF_TEST=it")
        assert shell in [process.pid for process in found]
        assert marked("MARK_OF_TEST=i") == []
        for process in found:
            if process.pid != shell:
                os.kill(process.pid, signal.SIGKILL)


@linux
@pytest.mark.parametrize(
    ("script", "ignored", "blocked"),
    [
        ("echo READY; read -r", False, False),
        ("trap 'true' TERM; echo READY; read -r", False, False),
        ("trap '' TERM; echo READY; read -r", True, False),
    ],
)
def test_how_a_process_reacts_to_a_soft_signal_is_known(script: str, ignored: bool, blocked: bool) -> None:
    with tree(script) as shell:
        standing = signal_disposition(shell)
        assert (standing.ignored, standing.blocked, standing.pending) == (ignored, blocked, False)


@linux
def test_a_blocked_and_pending_signal_is_known() -> None:
    script = f"exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(BLOCKS_SIGTERM)}"
    with tree(script) as child:
        before = signal_disposition(child)
        assert (before.blocked, before.pending) == (True, False)
        os.kill(child, signal.SIGTERM)
        assert signal_disposition(child).pending


def test_nobody_is_nobody() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert look_up(process.pid) is None
    assert descendants(process.pid) == []
    assert not signal_disposition(process.pid).ignored
