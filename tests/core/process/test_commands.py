"""Stubborn process trees are ended in every way, in every containment; nothing of them is left."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from core.cancel import Cause
from core.process.command import CommandEnd, OutputRing
from core.process.supervisor import GRACE_S
from tests.support.cancel_sweep import in_thread
from tests.support.commands import Kind, Run, shell
from tests.support.stubborn_processes import CLEANED, READY, STUBBORN_TREES, StubbornTree, living, remains
from tests.support.waiting import GENEROUS_S, until

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=list(Kind))
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    chosen = Kind(request.param)
    if not chosen.available:
        pytest.skip(f"{chosen} makes no namespaces here")
    monkeypatch.setattr("core.process.supervisor_client.namespace_prefix", lambda: chosen.prefix)
    return chosen


async def assert_gone(run: Run, end: CommandEnd, pids: set[int], kind: Kind) -> None:
    assert run.living == {}
    # At most zombies that the init process has inherited and has yet to reap: none is ours, none is alive.
    assert all(_is_left_to_init(pid) for pid in remains(pids))
    await until(lambda: not remains(pids), what="no zombie is left")
    assert (end.alive, end.confirmed, end.containment) == ((), True, kind.containment)
    assert READY in run.view.output.text()


def _is_left_to_init(pid: int) -> bool:
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        # Reaped since.
        return True
    return (state, parent) == ("Z", "1")


async def start_trees(kind: Kind, trees: list[StubbornTree]) -> tuple[list[Run], set[int]]:
    runs = [Run(tree.argv, kind.containment).start() for tree in trees]
    for run, tree in zip(runs, trees, strict=True):
        await run.up()
        # A shell says it is ready when it has forked, which may be before its child has become anything.
        await until(lambda run=run, tree=tree: len(run.living) >= tree.processes)  # type: ignore[misc]
    return runs, {pid for run in runs for pid in run.living}


@pytest.mark.promise("X1", "X2")
@pytest.mark.parametrize("tree", [tree for tree in STUBBORN_TREES if not tree.dawdles], ids=lambda a: a.name)
async def test_a_stop_ends_the_whole_tree(kind: Kind, tree: StubbornTree) -> None:
    (run,), pids = await start_trees(kind, [tree])
    run.stop()
    end = await run.stopped()
    await assert_gone(run, end, pids, kind)
    assert end.ended >= tree.processes
    # Nobody was waited for in vain: not for who ignores the signal, is stopped, or forked just then.
    assert run.token.reason is not None
    assert end.at - run.token.reason.at < GRACE_S
    assert (CLEANED in run.view.output.text(), end.exit_code == 7) == (tree.cleans, tree.cleans)


@pytest.mark.promise("X1")
async def test_a_deadline_ends_all_of_them(kind: Kind) -> None:
    trees = [tree for tree in STUBBORN_TREES if not tree.dawdles]
    runs, pids = await start_trees(kind, trees)
    for run in runs:
        run.stop(Cause.DEADLINE)
    ends = [await run.stopped() for run in runs]
    for run, end in zip(runs, ends, strict=True):
        await assert_gone(run, end, pids, kind)


@pytest.mark.promise("S11", "X1")
async def test_a_second_stop_gives_no_grace(kind: Kind) -> None:
    runs, pids = await start_trees(kind, list(STUBBORN_TREES))
    for run in runs:
        run.stop()
        run.token.force()
    ends = [await run.stopped() for run in runs]
    for run, end in zip(runs, ends, strict=True):
        await assert_gone(run, end, pids, kind)
    # The one that dawdles would have taken all its grace.
    assert ends[-1].exit_code == -9
    assert runs[-1].token.reason is not None
    assert ends[-1].at - runs[-1].token.reason.at < GRACE_S


@pytest.mark.promise("X7")
async def test_a_kill_of_the_program_ends_all_of_them(kind: Kind) -> None:
    mark = uuid.uuid4().hex
    argv = [sys.executable, "-m", "tests.support.killed_runner", kind, mark]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as program:  # noqa: ASYNC220
        assert program.stdout is not None
        said = await asyncio.to_thread(program.stdout.readline)
        assert said.decode().strip() == READY
        await until(lambda: len(living(mark)) >= sum(tree.processes for tree in STUBBORN_TREES))
        pids = set(living(mark))
        program.kill()
    await until(lambda: not living(mark) and not remains(pids))


@pytest.mark.promise("X1")
async def test_who_outlasts_the_grace_is_killed() -> None:
    run = shell("trap 'echo no' TERM; echo READY; while :; do sleep 0.01; done").start()
    await run.up()
    pids = set(run.living)
    run.stop()
    await run.up("no")
    end = await run.stopped()
    assert (end.exit_code, end.alive, remains(pids)) == (-9, (), {})


@pytest.mark.promise("X1")
async def test_what_a_command_leaves_behind_ends_with_it(kind: Kind) -> None:
    run = shell(
        "sleep 300 & setsid sleep 300 & trap '' TERM; sleep 300 & echo READY", kind.containment
    ).start()
    end = await run.task
    assert (end.exit_code, end.ended, end.left_behind, end.alive) == (0, 4, 3, ())
    assert run.living == {}


@pytest.mark.promise("X1")
async def test_a_command_that_kills_its_own_group_does_not_kill_its_supervisor(kind: Kind) -> None:
    run = shell("setsid sleep 300 & echo READY; kill -KILL 0", kind.containment).start()
    end = await run.task
    assert (end.exit_code, end.confirmed, end.alive, run.living) == (-9, True, (), {})


@pytest.mark.promise("X1", "T1")
async def test_a_stop_needs_nothing_of_the_event_loop(kind: Kind) -> None:
    run = shell("trap '' TERM; setsid sleep 300 & echo READY; wait", kind.containment).start()
    await run.up()
    in_thread(run.stop)
    # Without an await: the loop stands still until they are dead.
    deadline = time.monotonic() + GENEROUS_S
    while run.living:
        assert time.monotonic() < deadline
    assert not run.task.done()
    assert (await run.stopped()).confirmed


async def test_what_ends_by_itself_just_after_the_command_may_finish(kind: Kind) -> None:
    run = shell("exec > >(sleep 0.02; cat; echo last); echo first", kind.containment).start()
    end = await run.task
    assert (run.view.output.text(), end.left_behind, end.exit_code) == ("first\nlast\n", 0, 0)


@pytest.mark.promise("X2")
async def test_a_flood_stays_small_and_is_stopped() -> None:
    run = Run(("yes", "x" * 1000)).start()
    await until(lambda: run.view.output.total > 2_000_000)
    run.stop()
    await run.stopped()
    ring = run.view.output
    assert ring.total - ring.dropped < 200_000
    assert len(ring.text()) < 200_000
    assert "bytes left out" in ring.text()
    assert run.view.output.tail(3) == "\n".join(run.view.output.text().splitlines()[-3:])


@pytest.mark.promise("X6")
async def test_a_command_gets_no_terminal_no_input_and_nothing_else(kind: Kind) -> None:
    script = "cat; (: </dev/tty) 2>/dev/null || echo no terminal; echo /proc/$$/fd/*; readlink /proc/$$/fd/0"
    run = shell(script + "; ps -o tty= $$", kind.containment).start()
    end = await run.task
    lines = run.view.output.text().split("\n")
    assert lines[0] == "no terminal"
    # 3 is the shell's own, with which it reads that very folder.
    assert {word.rpartition("/")[2] for word in lines[1].split()} <= {"0", "1", "2", "3"}
    assert lines[2:4] == ["/dev/null", "?"], lines
    assert end.exit_code == 0


async def test_the_view_counts_while_it_runs(kind: Kind) -> None:
    run = shell("sleep 300 & sleep 300 & echo READY; wait", kind.containment).start()
    assert run.view.processes == 0
    await run.up()
    await until(lambda: run.view.processes == 3)
    assert run.view.started.is_set()
    run.stop()
    assert (await run.stopped()).containment is kind.containment
    assert run.view.processes == 0


def test_the_ring_keeps_head_and_tail() -> None:
    ring = OutputRing(head_bytes=10, tail_bytes=10)
    ring.add(b"0123456")
    assert (ring.text(), ring.dropped) == ("0123456", 0)
    ring.add(b"789abcdefghij")
    assert (ring.text(), ring.dropped) == ("0123456789abcdefghij", 0)
    ring.add(b"k" * 1234 + b"0123456789")
    assert ring.text() == "0123456789\n[… 1,244 bytes left out …]\n0123456789"
    assert ring.dropped == 1244


def test_the_ring_cuts_no_character_in_two() -> None:
    ring = OutputRing(head_bytes=10, tail_bytes=10)
    for _ in range(100):
        ring.add("a€".encode())
    text = ring.text()
    assert "\ufffd" not in text
    assert text.startswith("a€a€a\n[…")
    assert text.endswith("]\na€a€")


def test_the_tail_of_the_ring_is_lines() -> None:
    ring = OutputRing()
    assert ring.tail(3) == ""
    ring.add(b"one\ntwo\nthree\nfour")
    assert ring.tail(2) == "three\nfour"
    assert ring.tail(9) == "one\ntwo\nthree\nfour"
    for number in range(100_000):
        ring.add(b"line %d\n" % number)
    assert ring.tail(2) == "line 99998\nline 99999"
