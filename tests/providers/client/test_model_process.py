"""Behind every stop: a model process that does not confirm is killed, and what then becomes of the rest."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.cancel import Cancelled, CancelReason, Cause
from core.model.provider import Closing, FailureKind, Finished, ModelError
from core.model.server_options import Reader
from providers.client import spawn
from providers.client.model_process import ModelProcess
from providers.client.spawn import Child, Launch, Role, start_child
from tests.providers.conftest import linux_only
from tests.providers.harness import Asked, descriptors, is_running, plant, request
from tests.servers.base import Form, ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import Refusal, Refuse, Script, Silence, Stall, in_turn
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from providers.client.stream import StreamHandle
    from tests.servers.record import Request

ROOT = Path(__file__).parents[3]
OPENAI = PROTOCOLS["openai"]
STALLED = Script(fault=Stall(after=2))
SILENT = Script(fault=Silence())
pytestmark = linux_only


class AnyPath(OpenAIServer):
    """For protocols of which only the stop matters."""

    def form(self, request: Request) -> Form:
        return Form.WHOLE


def pid_of(process: ModelProcess) -> int:
    """The compiler's."""
    assert process.pid is not None
    return process.pid


async def serving(process: ModelProcess, others: Container[int] = ()) -> int:
    """The process that serves the one stream under way that `others` do not serve."""
    await until(lambda: len([pid for pid in process.busy_pids if pid not in others]) == 1)
    (pid,) = (pid for pid in process.busy_pids if pid not in others)
    return pid


async def works(process: ModelProcess) -> bool:
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(process, request(OPENAI, server.url))
        return isinstance(await asked.outcome(), Finished) and asked.text == "Hello, world."


async def show(process: ModelProcess, server: OpenAIServer) -> Asked:
    """A stream of which something was shown."""
    asked = Asked(process, request(OPENAI, server.url))
    await until(lambda: asked.shown)
    return asked


@pytest.mark.promise("P4", "P1")
async def test_a_kill_ends_the_stream_that_did_not_confirm_its_stop_and_no_other(
    mortal: ModelProcess,
) -> None:
    compiler, restarts = pid_of(mortal), mortal.restarts
    with ExitStack() as stack:
        servers = [
            stack.enter_context(ThreadedServer(OpenAIServer(script))) for script in (STALLED, STALLED, SILENT)
        ]
        stopped = await show(mortal, servers[0])
        pid = await serving(mortal)
        shown = await show(mortal, servers[1])
        unseen = Asked(mortal, request(OPENAI, servers[2].url))
        await until(lambda: bool(servers[2].exchanges))
        os.kill(pid, signal.SIGSTOP)
        assert (await stopped.stop()).how is Closing.KILLED
        assert not is_running(pid)
        await until(lambda: servers[0].exchanges[0].closed_by_peer)
        for server in servers[1:]:
            server.release(server.exchanges[0])
        for other in (shown, unseen):
            assert isinstance(await other.outcome(), Finished)
            assert other.text == "Hello, world."
        assert [len(server.exchanges) for server in servers] == [1, 1, 1]
    assert mortal.restarts == restarts + 1
    assert pid_of(mortal) == compiler


@pytest.mark.promise("P4", "P1")
async def test_the_end_of_the_compiler_ends_only_what_litellm_reads(mortal: ModelProcess) -> None:
    by_litellm = dataclasses.replace(OPENAI, reader=Reader.LITELLM)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(ThreadedServer(OpenAIServer(script)))
            for script in (STALLED, STALLED, in_turn(SILENT, Script()))
        ]
        ours = await show(mortal, servers[0])
        theirs = Asked(mortal, request(by_litellm, servers[1].url))
        await until(lambda: theirs.shown)
        unseen = Asked(mortal, request(by_litellm, servers[2].url))
        await until(lambda: bool(servers[2].exchanges))
        os.kill(pid_of(mortal), signal.SIGKILL)
        failure = await theirs.failure()
        assert failure.kind is FailureKind.PROCESS_DIED
        assert "in the middle of the reply" in str(failure)
        assert isinstance(await unseen.outcome(), Finished)
        assert unseen.text == "Hello, world."
        assert len(servers[2].exchanges) == 2
        servers[0].release(servers[0].exchanges[0])
        assert isinstance(await ours.outcome(), Finished)
    assert await works(mortal)


@pytest.mark.promise("S11", "P4")
@pytest.mark.usefixtures("patient")
async def test_a_second_stop_waits_for_nothing(mortal: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = await show(mortal, server)
        pid = await serving(mortal)
        os.kill(pid, signal.SIGSTOP)
        stopping = asyncio.create_task(asked.stop())
        await until(lambda: asked.token.cancelled)
        assert is_running(pid)
        assert asked.token.force()
        assert (await stopping).how is Closing.KILLED
        await until(lambda: server.exchanges[0].closed_by_peer)
    assert await works(mortal)


@pytest.mark.promise("P4", "P1")
async def test_a_process_that_hangs_in_a_c_call_is_killed(
    mortal: ModelProcess, blocked_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the interpreter's lock held, not one of its threads can run."""
    blocking = Asked(mortal, request(OPENAI, "http://block.test"))
    await until(blocked_file.exists)
    assert (await blocking.stop()).how is Closing.KILLED
    assert await works(mortal)


@pytest.mark.promise("P4", "R4")
async def test_what_litellm_had_shown_is_not_asked_again_when_all_processes_end(mortal: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = Asked(mortal, request(dataclasses.replace(OPENAI, reader=Reader.LITELLM), server.url))
        await until(lambda: asked.shown)
        streamer = await serving(mortal)
        os.kill(streamer, signal.SIGKILL)
        await until(lambda: streamer not in mortal.busy_pids)
        os.kill(pid_of(mortal), signal.SIGKILL)
        failure = await asked.failure()
        assert failure.kind is FailureKind.PROCESS_DIED
        assert "in the middle of the reply" in str(failure)
        assert len(server.exchanges) == 1
    assert await works(mortal)


@pytest.mark.promise("P4", "P1")
async def test_a_library_that_hangs_in_a_c_call_is_killed(
    mortal: ModelProcess, blocked_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_litellm = dataclasses.replace(OPENAI, reader=Reader.LITELLM)
    may_start = threading.Event()

    def start_later(role: Role, launch: Launch) -> Child:
        may_start.wait(GENEROUS_S)
        return start_child(role, launch)

    blocked_file.unlink(missing_ok=True)  # noqa: ASYNC240 - a file in memory
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = Asked(mortal, request(by_litellm, server.url))
        await until(lambda: asked.shown)
        monkeypatch.setattr("providers.client.child_thread.start_child", start_later)
        blocking = Asked(mortal, request(by_litellm, "http://block.test"))
        await until(blocked_file.exists)
        assert (await asked.stop()).how is Closing.KILLED
        # It had shown nothing, so it would be asked again, of the next process.
        await until(lambda: any(stream.restarted for stream in list(mortal._compiler._streams.values())))
        assert (await blocking.stop()).how is Closing.NEVER_OPENED
        may_start.set()
        await until(lambda: server.exchanges[0].closed_by_peer)
    assert await works(mortal)


@pytest.mark.promise("P4")
@pytest.mark.parametrize("kills", [1, 2])
async def test_a_compiler_that_ends_while_it_hands_a_request_over_is_replaced_once(
    mortal: ModelProcess, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long request is still on its way when the stream process begins to read it."""
    compiler, take = mortal._compiler, mortal._compiler.take_compiled
    left = [*range(kills)]

    def kill_then_take(stream_id: int) -> socket.socket | None:
        passed = take(stream_id)
        if passed is not None and left:
            left.pop()
            os.kill(pid_of(mortal), signal.SIGKILL)
            assert compiler._child is not None
            compiler._child.process.wait()
        return passed

    monkeypatch.setattr(compiler, "take_compiled", kill_then_take)
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(mortal, request(OPENAI, server.url, text="long " * 1_000_000))
        if kills == 1:
            assert isinstance(await asked.outcome(), Finished)
            assert asked.text == "Hello, world."
        else:
            failure = await asked.failure()
            assert failure.kind is FailureKind.PROCESS_DIED
            assert "worker.log" in str(failure)
        assert len(server.exchanges) == 2 - kills
    assert await works(mortal)


@pytest.mark.promise("P4", "U5")
async def test_no_stop_waits_for_a_compiler_that_takes_nothing(mortal: ModelProcess) -> None:
    os.kill(pid_of(mortal), signal.SIGSTOP)
    compiler = mortal._compiler
    assert compiler._child is not None
    # The kernel keeps as few passed sockets as it can.
    compiler._child.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    many = [Asked(mortal, request(OPENAI, "http://127.0.0.1:1")) for _ in range(30)]
    await until(lambda: len(compiler._streams) == len(many))
    await until(lambda: any(stream.sent for stream in compiler._streams.values()))
    ways = {closed.how for closed in await asyncio.gather(*(asked.stop() for asked in many))}
    # Those that it was told of, and those that it could not be told of.
    assert ways == {Closing.KILLED, Closing.NEVER_OPENED}
    assert await works(mortal)


@pytest.mark.promise("P4", "P1")
async def test_a_library_that_reads_in_a_thread_is_killed(mortal: ModelProcess) -> None:
    """Nothing can cancel a thread. litellm asks some providers in one; NLP Cloud's protocol is easily had."""
    with ThreadedServer(AnyPath(SILENT, strict=False)) as server:
        asked = Asked(mortal, request(WireProtocol("nlp", AnyPath, "nlp_cloud/dolphin"), server.url + "/"))
        await until(lambda: bool(server.exchanges))
        assert (await asked.stop()).how is Closing.KILLED
        await until(lambda: server.exchanges[0].closed_by_peer)
    assert await works(mortal)


@pytest.mark.promise("P4")
async def test_no_connection_is_closed_before_the_stop_that_comes_while_its_process_ends(
    mortal: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = await show(mortal, server)
        (streamer,) = mortal._busy
        take_streams = streamer._take_streams
        reasons: list[CancelReason] = []

        def take_then_stop() -> list[StreamHandle]:
            streams = take_streams()
            if not reasons:
                reasons.append(CancelReason(Cause.USER, "escape"))
                asked.token.cancel(reasons[0])
            return streams

        monkeypatch.setattr(streamer, "_take_streams", take_then_stop)
        os.kill(await serving(mortal), signal.SIGKILL)
        assert isinstance(await asked.outcome(), Cancelled)
        assert asked.closed.how is Closing.KILLED
        assert asked.closed.at >= reasons[0].at
    assert await works(mortal)


@pytest.mark.promise("P4")
async def test_a_stream_is_restarted_once_and_then_fails(mortal: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer(SILENT)) as server:
        asked = Asked(mortal, request(OPENAI, server.url))
        await until(lambda: bool(server.exchanges))
        first = await serving(mortal)
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(server.exchanges) == 2)
        os.kill(await serving(mortal, (first,)), signal.SIGKILL)
        failure = await asked.failure()
        assert failure.kind is FailureKind.PROCESS_DIED
        assert "worker.log" in str(failure)
    assert await works(mortal)


@pytest.mark.promise("P4")
async def test_an_idle_process_that_dies_is_replaced_before_it_is_needed(
    mortal: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.client.catalog_queries.ANSWER_WITHIN_S", 2 * GENEROUS_S)
    pid = pid_of(mortal)
    os.kill(pid, signal.SIGSTOP)
    question = asyncio.create_task(mortal.describe("openai/gpt-4o"))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    # Nobody to ask: that is said at once, and is no error.
    await until(question.done)
    assert (await question).context_window is None
    await until(lambda: mortal.pid not in (pid, None))
    assert await works(mortal)
    assert (await mortal.describe("openai/gpt-4o")).context_window == 128_000


@contextmanager
def all_descriptors_taken() -> Iterator[list[int]]:
    """This process can open nothing, until one of those that fill its table is closed."""
    limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), [os.dup(0)]
    most = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield taken
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)


@linux_only
@pytest.mark.promise("P6")
async def test_no_descriptor_left_fails_the_requests_and_not_the_program(mortal: ModelProcess) -> None:
    assert await works(mortal)
    with all_descriptors_taken():
        # The first has a stream process and no socket to it, the second has neither.
        both = [Asked(mortal, request(OPENAI, "http://127.0.0.1:1")) for _ in range(2)]
        failures = [await asked.failure() for asked in both]
    assert all("Too many open files" in str(failure) for failure in failures)
    assert await works(mortal)


@linux_only
@pytest.mark.promise("P5")
def test_a_child_that_cannot_be_started_leaves_nothing_open() -> None:
    launch = Launch(None)
    for free in range(5):
        before = descriptors(os.getpid())
        with all_descriptors_taken() as taken:
            for _ in range(free):
                os.close(taken.pop())
            with pytest.raises(OSError, match="Too many open files"):
                start_child(Role.STREAMER, launch)
        assert descriptors(os.getpid()) == before


# -- keys that were typed for this run --

TYPED = "sk-typed-0123456789abcdef"


async def key_sent(process: ModelProcess, key_name: str) -> str:
    with ThreadedServer(OpenAIServer()) as server:
        asked = Asked(process, replace(request(OPENAI, server.url), key_name=key_name))
        assert isinstance(await asked.outcome(), Finished)
        return server.exchanges[0].request.headers["authorization"]


async def test_a_key_for_this_run_reaches_the_server_and_the_next_process_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant(monkeypatch, HOME=str(tmp_path))
    process = ModelProcess(lambda: tmp_path / "worker.log")
    process.use_key("TEAM_LLM_KEY", TYPED)
    process.start()
    try:
        assert await key_sent(process, "TEAM_LLM_KEY") == f"Bearer {TYPED}"
        process.use_key("OTHER_KEY", f"{TYPED}-too")
        assert await key_sent(process, "OTHER_KEY") == f"Bearer {TYPED}-too"
        first = pid_of(process)
        os.kill(first, signal.SIGKILL)
        await until(lambda: process.pid not in (first, None))
        assert await key_sent(process, "TEAM_LLM_KEY") == f"Bearer {TYPED}"
        assert await key_sent(process, "OTHER_KEY") == f"Bearer {TYPED}-too"
        await refuse_key(process)
        seen = visible_of(pid_of(process))
        process.use_key("TEAM_LLM_KEY", "")
        missing = await Asked(
            process, replace(request(OPENAI, "http://127.0.0.1:1"), key_name="TEAM_LLM_KEY")
        ).failure()
        assert missing.kind is FailureKind.NO_KEY
        assert "TEAM_LLM_KEY" in str(missing)
    finally:
        process.close()
    assert TYPED.encode() not in seen
    assert TYPED not in (tmp_path / "worker.log").read_text() + caplog.text


def visible_of(pid: int) -> bytes:
    """What other programs of this user can see of a process."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


async def refuse_key(process: ModelProcess) -> None:
    with ThreadedServer(OpenAIServer(Script(fault=Refuse(Refusal.WRONG_KEY)))) as server:
        failure = await Asked(
            process, replace(request(OPENAI, server.url), key_name="TEAM_LLM_KEY")
        ).failure()
    assert failure.kind is FailureKind.WRONG_KEY
    assert TYPED not in f"{failure} {failure.detail}"


@pytest.mark.promise("P4", "P2")
async def test_a_process_may_be_stopped_killed_and_closed_while_it_warms_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    process = ModelProcess()
    process.start()
    try:
        with ThreadedServer(OpenAIServer(in_turn(Script(), STALLED))) as server:
            first, second = (Asked(process, request(OPENAI, server.url)) for _ in range(2))
            await until(lambda: process.pid is not None)
            cold = pid_of(process)
            assert (await second.stop()).how is Closing.NEVER_OPENED
            os.kill(cold, signal.SIGKILL)
            assert isinstance(await first.outcome(), Finished)
            # Nobody was killed for the stop, and what was stopped was never sent.
            assert process.restarts == 1
            assert len(server.exchanges) == 1
            third = await show(process, server)
            warm = (pid_of(process), await serving(process), *process.spare_pids)
            await asyncio.to_thread(process.close)
            assert not any(map(is_running, warm))
            assert (await third.failure()).kind is FailureKind.PROCESS_DIED
            await until(lambda: server.exchanges[1].closed_by_peer)
    finally:
        process.close()


@pytest.mark.promise("P1")
async def test_a_kill_from_any_thread_ends_the_process_for_good(mortal: ModelProcess) -> None:
    """The last test of this module: nothing is started again."""
    with ThreadedServer(OpenAIServer(STALLED)) as server:
        asked = await show(mortal, server)
        pids = (pid_of(mortal), await serving(mortal), *mortal.spare_pids)
        # A blocked event loop may be in the middle of anything.
        killer = threading.Thread(target=mortal.kill)
        with mortal._lock:
            killer.start()
            killer.join(GENEROUS_S)
            assert not killer.is_alive()
        await until(lambda: server.exchanges[0].closed_by_peer)
        await until(lambda: not any(map(is_running, pids)))
        assert isinstance(await asked.outcome(), ModelError)
        await until(lambda: (mortal.pid, mortal.busy_pids, mortal.spare_pids) == (None, (), ()))


# -- X7 --


def run_parent(stack: ExitStack, *urls: str) -> subprocess.Popen[str]:
    """A program with a model process, which it asks for `urls` once that is warm."""
    parent = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "tests.providers.client.killed_parent", *urls],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    stack.callback(parent.kill)
    return parent


@pytest.mark.promise("X7")
def test_the_process_ends_with_a_killed_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the middle of a stream, when it is itself stopped, and when it hangs in a C call."""
    plant(monkeypatch, CAESURA_CHILD_BLOCKED=str(tmp_path / "blocked"))
    with ExitStack() as stack:
        servers = [stack.enter_context(ThreadedServer(OpenAIServer(STALLED))) for _ in range(3)]
        parents = [
            run_parent(stack, server.url, *more)
            for server, more in zip(servers, [[], [], ["http://block.test"]], strict=True)
        ]
        children = [
            int(pid)
            for parent in parents
            if parent.stdout is not None
            for pid in parent.stdout.readline().split()
        ]
        assert len(children) == 6
        for server in servers:
            server.wait_deltas(server.wait_request(timeout=GENEROUS_S), 2)
        asyncio.run(until((tmp_path / "blocked").exists))
        for child in children[2:4]:
            os.kill(child, signal.SIGSTOP)
        assert all(map(is_running, children))
        for parent in parents:
            parent.kill()
        try:
            for server in servers:
                server.wait_for(lambda server=server: server.exchanges[0].closed_by_peer)  # type: ignore[misc]
            asyncio.run(until(lambda: not any(map(is_running, children))))
        finally:
            for child in filter(is_running, children):
                os.kill(child, signal.SIGKILL)


@pytest.mark.promise("P6")
async def test_a_library_that_cannot_be_loaded_ends_the_turn_and_not_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "litellm.py").write_text("raise RuntimeError('half installed')")
    monkeypatch.syspath_prepend(tmp_path)
    process = ModelProcess(lambda: tmp_path / "worker.log")
    process.start()
    try:
        failure = await Asked(process, request(OPENAI, "http://127.0.0.1:1")).failure()
    finally:
        process.close()
    assert failure.kind is FailureKind.PROCESS_DIED
    assert "worker.log" in str(failure)
    assert "half installed" in (tmp_path / "worker.log").read_text()


@pytest.mark.promise("P6")
async def test_a_stream_process_that_dies_at_its_start_is_not_started_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dying = "import os; '{role}' == 'streamer' and os._exit(1); "
    monkeypatch.setattr(spawn, "CODE", dying + spawn.CODE)
    others = set(threading.enumerate())

    def has_ended() -> bool:
        """The successor of one that is replaced has a thread before its own ends."""
        return not any(thread.name == "streamer" for thread in {*threading.enumerate()} - others)

    process = ModelProcess()
    process.start()
    try:
        await until(has_ended)
        failure = await Asked(process, request(OPENAI, "http://127.0.0.1:1")).failure()
        assert failure.kind is FailureKind.PROCESS_DIED
        await until(has_ended)
    finally:
        process.close()


@pytest.mark.promise("P4")
async def test_a_process_that_cannot_be_started_fails_the_request_and_the_next_one_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nonexistent/python")
        process = ModelProcess()
        process.start()
        failure = await Asked(process, request(OPENAI, "http://127.0.0.1:1")).failure()
    try:
        assert failure.kind is FailureKind.PROCESS_DIED
        assert "No such file" in str(failure)
        assert await works(process)
    finally:
        process.close()


@pytest.mark.promise("P4")
async def test_a_process_that_never_gets_ready_is_replaced_by_the_next_request_after_a_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("providers.client.link.SLOW_START_S", 0.0)
    process = ModelProcess()
    process.start()
    try:
        await until(lambda: process.pid is not None)
        stuck = pid_of(process)
        os.kill(stuck, signal.SIGSTOP)
        asked = Asked(process, request(OPENAI, "http://127.0.0.1:1"))
        await asyncio.sleep(0)
        assert (await asked.stop()).how is Closing.NEVER_OPENED
        await until(lambda: not is_running(stuck))
        assert await works(process)
    finally:
        process.close()


@pytest.mark.promise("P4")
async def test_a_stop_ends_no_slow_start_that_another_request_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("providers.client.link.SLOW_START_S", 0.0)
    process = ModelProcess()
    process.start()
    try:
        await until(lambda: process.pid is not None)
        os.kill(pid_of(process), signal.SIGSTOP)
        with ThreadedServer(OpenAIServer()) as server:
            ours, theirs = (Asked(process, request(OPENAI, server.url)) for _ in range(2))
            await asyncio.sleep(0)
            assert (await ours.stop()).how is Closing.NEVER_OPENED
            os.kill(pid_of(process), signal.SIGCONT)
            assert isinstance(await theirs.outcome(), Finished)
        assert process.restarts == 0
    finally:
        process.close()
