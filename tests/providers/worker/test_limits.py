"""What a provider may cost: memory, time and threads of the model process have bounds."""

from __future__ import annotations

import inspect
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.model.provider import Closing, FailureKind, Finished, Phase, PhaseChanged
from providers.worker.sockets import SocketTrace
from tests.providers.conftest import linux_only
from tests.providers.harness import BURST, Asked, request
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Oversized, Script
from tests.support.waiting import until

if TYPE_CHECKING:
    from providers.client.model_process import ModelProcess
    from tests.servers.registry import WireProtocol

MB = 1024 * 1024
ENDLESS_LINE = Script(fault=Oversized(after=2, size=1024 * MB))
MOST_MEMORY = 500 * MB
"""Some 240 MB that the library takes anyway, and 64 MB that it holds in pieces and joined."""
OPENAI = PROTOCOLS["openai"]


class Peak:
    """The most memory that a process had resident while the block ran, in bytes. Linux only."""

    def __init__(self, pid: int | None) -> None:
        self._status = Path(f"/proc/{pid}/status")
        (self._status.parent / "clear_refs").write_text("5")

    @property
    def memory(self) -> int:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@pytest.fixture
def protocol(either_reader: WireProtocol) -> WireProtocol:
    return either_reader


@linux_only
@pytest.mark.promise("P6")
@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
async def test_an_endless_line_is_cut(model: ModelProcess, protocol: WireProtocol, streaming: bool) -> None:
    await until(lambda: model.spare_pids)
    peaks = [Peak(pid) for pid in (model.pid, *model.spare_pids)]
    with ThreadedServer(protocol.server(ENDLESS_LINE)) as server:
        failure = await Asked(model, request(protocol, server.url, streaming=streaming)).failure()
        assert failure.kind is FailureKind.TOO_LARGE
        await until(lambda: server.exchanges[0].closed_by_peer)
    assert max(peak.memory for peak in peaks) < MOST_MEMORY


@pytest.mark.promise("P4")
async def test_look_ups_that_hang_do_not_hold_up_the_next_request(
    model: ModelProcess, log_file: Path
) -> None:
    """A look-up cannot be cancelled: its thread stays behind until the resolver gives up."""
    try:
        for n in range(16):
            asked = Asked(model, request(OPENAI, f"http://hold.{n}.test"))
            await until(lambda asked=asked: PhaseChanged(Phase.CONNECTING) in asked.deltas)  # type: ignore[misc]
            await asked.stop()
        with ThreadedServer(OpenAIServer()) as server:
            outcome = await Asked(model, request(OPENAI, server.url)).outcome()
            assert isinstance(outcome, Finished)
    finally:
        log_file.with_name("release").touch()


@pytest.mark.promise("P1", "P3")
async def test_a_stop_is_heard_in_the_middle_of_many_floods(model: ModelProcess) -> None:
    """Six streams at full speed keep the worker's loop busy; each is stopped while the others go on."""
    with ThreadedServer(OpenAIServer(BURST)) as server:
        streams = [Asked(model, request(OPENAI, server.url)) for _ in range(6)]
        for asked in streams:
            await until(lambda asked=asked: asked.shown)  # type: ignore[misc]
        for asked in streams:
            assert (await asked.stop()).how is Closing.CLOSED
        await until(lambda: server.open_connections == 0)


@pytest.mark.promise("P1")
def test_nothing_is_closed_while_a_socket_of_it_is_still_connecting() -> None:
    """A library that lets its attempt to connect go on after the cancel gets no proof of its stop."""
    trace = SocketTrace(lambda phase: None, lambda: None, streaming=True)
    with socket.socket() as connecting:
        trace.connect(connecting)
        before = trace.closed
    assert (before, trace.closed) == (False, True)
    assert not trace.opened


@pytest.mark.promise("P5")
def test_what_a_thread_has_prepared_is_dropped_when_a_stop_comes_first() -> None:
    """litellm makes its coroutine in a thread; a stop at that moment leaves nobody to await it."""

    async def never() -> None:
        raise AssertionError

    trace = SocketTrace(lambda phase: None, lambda: None, streaming=True)
    made = trace.in_thread(never)()
    assert trace.closed
    trace.settle()
    assert inspect.getcoroutinestate(made) == inspect.CORO_CLOSED
