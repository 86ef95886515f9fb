"""What the tests of the model process share: a stream under way, the situations to stop it in, a look at both
processes.

The model process is the real one; the provider is a server of `tests.servers` on a loopback socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.messages import UserMessage
from core.model import (
    Closed,
    Delta,
    Finished,
    ModelError,
    ModelRequest,
    PhaseChanged,
    TextDelta,
    ToolCallDelta,
)
from providers.process import ModelProcess
from tests.servers.registry import PROTOCOLS, PROXY, WireProtocol
from tests.servers.script import Oversized, Refusal, Refuse, Script, Silence, Stall

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.servers.record import Exchange

CHILD = Path(__file__).parent / "child"
ENVIRONMENT = {
    "PYTHONPATH": str(CHILD),
    **{
        name: value
        for protocol in (*PROTOCOLS.values(), PROXY)
        for name, value in protocol.environment.items()
    },
}
DEADLINE_S = 60.0
"""How long anything may take before a test gives up on it; no test measures with it."""

Outcome = Finished | ModelError | Cancelled


def plant(environment: pytest.MonkeyPatch, **more: str) -> None:
    """Set what a model process started from now on is to find."""
    for name, value in (ENVIRONMENT | more).items():
        environment.setenv(name, value)


def start(log_file: Path | None = None) -> ModelProcess:
    """A model process that is warm. Its child has the environment of this moment."""
    process = ModelProcess(None if log_file is None else lambda: log_file)
    process.start()
    asyncio.run(process.describe("openai/gpt-4o"))
    return process


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.sleep(0)  # what was started in the same breath gets its first step
        while not condition():  # noqa: ASYNC110 - other threads and processes bring it about
            await asyncio.sleep(0.001)


def request(
    protocol: WireProtocol,
    url: str,
    *,
    streaming: bool = True,
    text: str = "hi",
    timeout_s: float = DEADLINE_S,
) -> ModelRequest:
    model = protocol.model
    if protocol.uses_responses:
        model = model.replace("/", "/responses/")
    return ModelRequest(model, (UserMessage(text),), api_base=url, streaming=streaming, timeout_s=timeout_s)


def calls_of(deltas: list[Delta]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of each call, folded as the engine folds them."""
    folded: dict[int, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            call = folded.setdefault(delta.index, ["", "", ""])
            call[0] += delta.call_id or ""
            call[1] += delta.name or ""
            call[2] += delta.arguments
    return [(call_id, name, arguments) for call_id, name, arguments in folded.values()]


class Asked:
    """One request on its way. `late` is what a stop should have kept back."""

    def __init__(self, process: ModelProcess, request: ModelRequest) -> None:
        self.token = CancelToken("test")
        self.deltas: list[Delta] = []
        self.late: list[Delta] = []
        self._ended = asyncio.create_task(self._run(process, request))

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def shown(self) -> bool:
        return any(not isinstance(delta, PhaseChanged) for delta in self.deltas)

    @property
    def ended(self) -> bool:
        return self._ended.done()

    @property
    def closed(self) -> Closed:
        """The proof, which must be the last of the deltas and the only one."""
        assert [isinstance(delta, Closed) for delta in self.deltas].count(True) == 1, self.deltas[-3:]
        last = self.deltas[-1]
        assert isinstance(last, Closed), last
        return last

    async def outcome(self) -> Outcome:
        async with asyncio.timeout(DEADLINE_S):
            return await self._ended

    async def failure(self) -> ModelError:
        outcome = await self.outcome()
        assert isinstance(outcome, ModelError), outcome
        return outcome

    async def stop(self, source: str = "escape") -> Closed:
        """Stop it; checks all that every stop promises and returns the proof."""
        reason = CancelReason(Cause.USER, source)
        assert self.token.cancel(reason)
        outcome = await self.outcome()
        assert isinstance(outcome, Cancelled), outcome
        assert outcome.reason is reason
        assert self.late == []
        assert self.closed.at >= reason.at
        return self.closed

    def interrupt(self) -> None:
        """Cancel its task from outside, as the end of the program does."""
        self._ended.cancel()

    async def _run(self, process: ModelProcess, request: ModelRequest) -> Outcome:
        try:
            return await process.stream(request, self.token, self._take)
        except (ModelError, Cancelled) as error:
            return error

    def _take(self, delta: Delta) -> None:
        if self.token.cancelled and not isinstance(delta, Closed):
            self.late.append(delta)
        self.deltas.append(delta)


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a stream is when it is stopped; `reached` tells from what server and client have seen."""

    name: str
    script: Script
    reached: Callable[[Exchange | None, Asked], bool]
    streaming: bool = True

    def __str__(self) -> str:
        return f"{self.name}, {'stream' if self.streaming else 'whole'}"


def _asked(exchange: Exchange | None, _: Asked) -> bool:
    return exchange is not None


def _headers(exchange: Exchange | None, _: Asked) -> bool:
    return exchange is not None and exchange.headers_at is not None


def _sent(exchange: Exchange | None, _: Asked) -> bool:
    return exchange is not None and exchange.deltas_sent >= 2


def _shown(_: Exchange | None, asked: Asked) -> bool:
    return asked.shown


WORDS = ("word ",) * 400
BURST = Script(text=("word " * 4 + "\n",), endless=True)
ERROR_BODY = Script(fault=Refuse(Refusal.SERVER_ERROR, endless=True))

STREAMED = (
    Situation("before headers", Script(fault=Silence()), _asked),
    Situation("after headers", Script(fault=Stall()), _headers),
    Situation("between chunks", Script(text=WORDS, delay=0.002, endless=True), _shown),
    Situation("in a burst", BURST, _shown),
    Situation("stalled", Script(text=WORDS, fault=Stall(after=3)), _shown),
    Situation("dripping", Script(text=WORDS, drip=0.0005), _headers),
    Situation("in an error body", ERROR_BODY, _headers),
)
# Before its end nothing of a whole answer is shown: the server's word is what tells how far it is.
WHOLE = (
    replace(STREAMED[0], streaming=False),
    replace(STREAMED[1], streaming=False),
    Situation("between chunks", Script(text=WORDS, delay=0.002), _sent, streaming=False),
    Situation("in a burst", Script(fault=Oversized(after=2)), _sent, streaming=False),
    Situation("stalled", Script(fault=Stall(after=3)), _sent, streaming=False),
    replace(STREAMED[5], streaming=False),
    replace(STREAMED[6], streaming=False),
)
SITUATIONS = STREAMED + WHOLE


@dataclass(frozen=True, slots=True)
class Alive:
    """What is open and at work in one process: kinds of descriptors with their number, and names."""

    descriptors: Counter[str]
    threads: Counter[str]
    tasks: Counter[str]


def alive_here() -> Alive:
    """Called in a task. Linux only, like the other one."""
    gc.collect()
    threads = Counter(thread.name for thread in threading.enumerate())
    return Alive(descriptors(os.getpid()), threads, Counter(task.get_name() for task in asyncio.all_tasks()))


def alive_in_child(pid: int, report: Path) -> Alive:
    """What is alive in the model process that was started with CAESURA_CHILD_REPORT.

    The threads of its pool do not count: there are as many as were ever busy at once.
    """
    told = _ask_child(pid, report)
    threads = Counter(name for name in told["threads"] if not name.startswith("worker_"))
    return Alive(descriptors(pid), threads, Counter(told["tasks"]))


def _ask_child(pid: int, report: Path) -> dict[str, list[str]]:
    report.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + DEADLINE_S
    while not report.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    told: dict[str, list[str]] = json.loads(report.read_text())
    return told


def modules_in_child(pid: int, report: Path) -> set[str]:
    """The packages that the model process has imported, like `alive_in_child`."""
    return set(_ask_child(pid, report)["modules"])


def descriptors(pid: int) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            kinds[target.partition(":")[0] if ":[" in target else target] += 1
    return kinds


def is_running(pid: int) -> bool:
    """Whether the process lives; one that has ended and is not yet waited for does not. Linux only."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
