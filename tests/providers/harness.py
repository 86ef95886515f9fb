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
from typing import TYPE_CHECKING, TypeVar

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.model.messages import UserMessage
from core.model.provider import (
    Closed,
    Delta,
    Finished,
    ModelError,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.model.server_options import ServerOptions
from providers.client import spawn
from providers.client.model_process import ModelProcess
from tests.servers.registry import PROTOCOLS, PROXY, WireProtocol
from tests.servers.script import Oversized, Refusal, Refuse, Script, Silence, Stall
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.provider import ModelProvider
    from tests.servers.record import Exchange

_PLANTED = str(Path(__file__).with_name("planted.py"))
_CODE = f"import runpy; runpy.run_path({_PLANTED!r}); {spawn.CODE}"
MARK = "a-marked-prompt"
MARKED = 2 * MARK
"""What `marked_texts_in_child` looks for."""
ENVIRONMENT = {
    "CAESURA_CHILD_MARK": MARK,
    **{
        name: value
        for protocol in (*PROTOCOLS.values(), PROXY)
        for name, value in protocol.environment.items()
    },
}

Outcome = Finished | ModelError | Cancelled
AnyDelta = TypeVar("AnyDelta", bound=Delta)


def plant(environment: pytest.MonkeyPatch, **more: str) -> None:
    """Set what a model process started from now on finds in its environment, and has it run `planted.py`."""
    for name, value in (ENVIRONMENT | more).items():
        environment.setenv(name, value)
    environment.setattr(spawn, "CODE", _CODE)


def plant_for_good() -> None:
    """`plant` in a program of its own."""
    os.environ.update(ENVIRONMENT)
    spawn.CODE = _CODE


def start(log_file: Path | None = None) -> ModelProcess:
    """A model process that is warm. Its child has the environment of this moment."""
    process = ModelProcess(None if log_file is None else lambda: log_file)
    process.start()
    process.prepare()
    with pytest.MonkeyPatch.context() as patient:
        patient.setattr("providers.client.catalog_queries.ANSWER_WITHIN_S", GENEROUS_S)
        asyncio.run(process.describe("openai/gpt-4o"))
    return process


def request(
    protocol: WireProtocol,
    url: str | None,
    *,
    streaming: bool = True,
    text: str = "hi",
    timeout_s: float = GENEROUS_S,
) -> ModelRequest:
    model = protocol.model
    if protocol.uses_responses:
        model = model.replace("/", "/responses/")
    options = ServerOptions(
        reader=protocol.reader, first_byte_timeout=timeout_s, idle_timeout=timeout_s, fold_thinking=False
    )
    return ModelRequest(model, (UserMessage(text),), api_base=url, streaming=streaming, server=options)


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
    """One request on its way, in a task of its own. `on_delta` gets each delta as it comes; `late` is what a
    stop should have kept back."""

    def __init__(
        self,
        provider: ModelProvider,
        request: ModelRequest,
        *,
        token: CancelToken | None = None,
        on_delta: Callable[[Delta], None] = lambda delta: None,
    ) -> None:
        self.token = token or CancelToken("test")
        self.deltas: list[Delta] = []
        self.late: list[Delta] = []
        self._on_delta = on_delta
        self.task = asyncio.create_task(self._run(provider, request))

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.of(TextDelta))

    @property
    def content(self) -> list[TextDelta | ReasoningDelta | ToolCallDelta]:
        """The pieces of the reply."""
        return [
            delta for delta in self.deltas if isinstance(delta, TextDelta | ReasoningDelta | ToolCallDelta)
        ]

    @property
    def shown(self) -> bool:
        return any(isinstance(delta, TextDelta | ReasoningDelta | ToolCallDelta) for delta in self.deltas)

    @property
    def ended(self) -> bool:
        return self.task.done()

    def of(self, kind: type[AnyDelta]) -> list[AnyDelta]:
        return [delta for delta in self.deltas if isinstance(delta, kind)]

    @property
    def closed(self) -> Closed:
        """The proof, which must be the last of the deltas and the only one."""
        assert len(self.of(Closed)) == 1, self.deltas[-3:]
        last = self.deltas[-1]
        assert isinstance(last, Closed), last
        return last

    async def outcome(self) -> Outcome:
        async with asyncio.timeout(GENEROUS_S):
            return await self.task

    async def failure(self) -> ModelError:
        outcome = await self.outcome()
        assert isinstance(outcome, ModelError), outcome
        return outcome

    async def stop(self, source: str = "escape") -> Closed:
        assert self.token.cancel(CancelReason(Cause.USER, source))
        return await self.stopped()

    async def stopped(self) -> Closed:
        """Wait for the end that a stop has brought; checks all that every stop promises and returns the
        proof."""
        outcome = await self.outcome()
        assert isinstance(outcome, Cancelled), outcome
        assert outcome.reason is self.token.reason
        assert self.late == []
        assert self.closed.at >= outcome.reason.at
        return self.closed

    async def _run(self, provider: ModelProvider, request: ModelRequest) -> Outcome:
        try:
            return await provider.stream(request, self.token, self._take)
        except (ModelError, Cancelled) as error:
            return error

    def _take(self, delta: Delta) -> None:
        if self.token.cancelled and not isinstance(delta, Closed):
            self.late.append(delta)
        self.deltas.append(delta)
        self._on_delta(delta)


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


def _ask_child(pid: int, report: Path, number: signal.Signals = signal.SIGUSR1) -> dict[str, list[str]]:
    report = Path(f"{report}.{pid}")
    report.unlink(missing_ok=True)
    os.kill(pid, number)
    deadline = time.monotonic() + GENEROUS_S
    while not report.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    told: dict[str, list[str]] = json.loads(report.read_text())
    return told


def modules_in_child(pid: int, report: Path) -> set[str]:
    """The packages that the model process has imported, like `alive_in_child`."""
    return set(_ask_child(pid, report)["modules"])


def environment_of_child(pid: int, report: Path) -> dict[str, str]:
    """What the libraries of the model process find in the environment, like `alive_in_child`."""
    return dict(variable.split("=", 1) for variable in _ask_child(pid, report)["variables"])


def marked_texts_in_child(pid: int, report: Path) -> int:
    """How many texts with `MARKED` in them the model process still holds, like `alive_in_child`."""
    return len(_ask_child(pid, report, signal.SIGUSR2)["texts"])


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
