"""A thousand stops at random moments, and nothing is left of them in either process."""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import threading
from collections import defaultdict
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from core.model.provider import Closing, Finished, Phase, PhaseChanged
from tests.providers.conftest import linux_only
from tests.providers.harness import SITUATIONS, Asked, alive_here, alive_in_child, request
from tests.servers.base import ThreadedServer
from tests.servers.blackhole import BlackHole
from tests.servers.registry import PROTOCOLS, READ_BY_LITELLM
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from providers.client.model_process import ModelProcess
    from tests.providers.harness import Alive
    from tests.servers.base import Server
    from tests.servers.record import Exchange, Request
    from tests.servers.script import Script

STOPS = 1000
AT_ONCE = 3
SEED = 20261121
LATEST_S = 0.04
SOON_S = 0.01
"""A stop comes at a random moment up to then: half of them after the request was made, mostly at once, which
hits the phases before the first byte; the others after their situation was reached."""
COMPLAINTS = ("never retrieved", "unclosed", "Unclosed", "was never awaited", "was destroyed", "Traceback")
BY_LITELLM = {protocol.name: protocol for protocol in READ_BY_LITELLM}
Latencies = defaultdict[str, list[float]]
PROMPT = re.compile(r"stop (\d+) in situation (\d+)")


class Campaign:
    """Stops over all protocols and situations; the last situation is an address that nobody answers at."""

    def __init__(self, model: ModelProcess, servers: dict[str, Server], hole: BlackHole) -> None:
        self._model = model
        self._servers = servers
        self._hole = hole
        self._numbers = count()
        self._chance = random.Random(SEED)
        self._arrived: dict[int, Exchange] = {}
        self._read = dict.fromkeys(PROTOCOLS, 0)
        self.stopped: dict[int, tuple[str, float]] = {}
        """Where each was, and the moment of its stop."""
        self.confirmed: Latencies = defaultdict(list)
        """Seconds from the stop to its proof."""

    @property
    def exchanges(self) -> list[Exchange]:
        return [exchange for server in self._servers.values() for exchange in server.exchanges]

    async def run(self, stops: int, at_once: int) -> None:
        left = iter(range(stops))

        async def work() -> None:
            for _ in left:
                await self._stop_one()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())

    async def is_over(self) -> None:
        """Wait until no server has an open socket and nobody tries to connect."""
        await until(lambda: not any(server.open_connections for server in self._servers.values()))
        await until(lambda: self._hole.connecting == 0)

    def _exchange_of(self, name: str, number: int) -> Exchange | None:
        for exchange in self._servers[name].exchanges[self._read[name] :]:
            self._arrived[plan_of(exchange.request)[0]] = exchange
            self._read[name] += 1
        return self._arrived.get(number)

    async def _stop_one(self) -> None:
        number, chance = next(self._numbers), self._chance
        name, place = chance.choice(list(PROTOCOLS)), chance.randrange(len(SITUATIONS) + 1)
        early, moment = chance.random() < 0.5, chance.random()
        nobody = place == len(SITUATIONS)
        asked = Asked(
            self._model,
            request(
                chance.choice([PROTOCOLS[name], BY_LITELLM[name]]),
                self._hole.url if nobody else self._servers[name].url,
                streaming=nobody or SITUATIONS[place].streaming,
                text=f"stop {number} in situation {place}",
            ),
        )
        if nobody or early:
            await asyncio.sleep(moment**3 * LATEST_S)
        else:
            await until(lambda: SITUATIONS[place].reached(self._exchange_of(name, number), asked))
            await asyncio.sleep(moment * SOON_S)
        phases = [delta.phase for delta in asked.deltas if isinstance(delta, PhaseChanged)]
        where = f"({(phases or [Phase.BEFORE_REQUEST])[-1]})" if nobody or early else SITUATIONS[place].name
        closed = await asked.stop()
        assert closed.how in (Closing.CLOSED, Closing.NEVER_OPENED)
        assert asked.token.reason is not None
        self.stopped[number] = where, asked.token.reason.at
        self.confirmed[where].append(closed.at - asked.token.reason.at)


async def reply_once(model: ModelProcess) -> None:
    """A whole reply in each protocol: at its first one the library imports what it needs for it."""
    for protocol in (*PROTOCOLS.values(), *READ_BY_LITELLM):
        with ThreadedServer(protocol.server()) as server:
            assert isinstance(await Asked(model, request(protocol, server.url)).outcome(), Finished)


def plan_of(request: Request) -> tuple[int, int]:
    """Which stop a request belongs to, and in which situation that is to be."""
    found = PROMPT.search(json.dumps(request.body))
    assert found is not None
    return int(found[1]), int(found[2])


def choose(request: Request) -> Script:
    return SITUATIONS[plan_of(request)[1]].script


def figures(title: str, latencies: Latencies) -> list[str]:
    """Milliseconds by where the stream was; in brackets the phase, where that was left to chance."""
    lines = []
    for where, seconds in sorted(latencies.items()):
        times = sorted(1000 * value for value in seconds)
        p95 = times[int(0.95 * (len(times) - 1))]
        middle = statistics.median(times)
        lines.append(f"{title} {where:22} {len(times):4} {middle:7.2f} {p95:7.2f} {times[-1]:7.2f}")
    return lines


@pytest.mark.slow
@linux_only
@pytest.mark.promise("P1", "P2", "P5", "R3")
async def test_nothing_is_left_of_a_thousand_stops(model: ModelProcess, log_file: Path) -> None:
    assert model.pid is not None
    child, report = model.pid, log_file.with_name("report")

    async def left() -> tuple[Alive, Alive, Alive]:
        # Those that served streams at the same time end.
        await until(lambda: sum(thread.name == "streamer" for thread in threading.enumerate()) == 1)
        (spare,) = model.spare_pids
        return alive_here(), alive_in_child(child, report), alive_in_child(spare, report)

    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(ThreadedServer(protocol.server(choose)))
            for name, protocol in PROTOCOLS.items()
        }
        campaign = Campaign(model, servers, stack.enter_context(BlackHole()))
        await left()  # what earlier tests have left to be collected is complained about now
        said_before = len(await asyncio.to_thread(log_file.read_bytes))
        # What a process keeps for good, it has after these: threads, caches, imports.
        await reply_once(model)
        await campaign.run(60, AT_ONCE)
        await campaign.is_over()
        before = await left()

        await campaign.run(STOPS, AT_ONCE)
        await campaign.is_over()
        assert await left() == before

        closed: Latencies = defaultdict(list)
        seen: set[int] = set()
        for exchange in campaign.exchanges:
            number, _ = plan_of(exchange.request)
            assert number not in seen, "a stopped request was sent again"
            seen.add(number)
            assert exchange.closed_by_peer
            assert exchange.completed_at is None
            assert exchange.closed_at is not None
            where, stopped_at = campaign.stopped[number]
            closed[where].append(exchange.closed_at - stopped_at)
    print("", *figures("closed", closed), *figures("confirmed", campaign.confirmed), sep="\n")
    log = (await asyncio.to_thread(log_file.read_bytes))[said_before:].decode()
    assert not [complaint for complaint in COMPLAINTS if complaint in log], log
