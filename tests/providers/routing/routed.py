"""What the tests of routing share: time that passes when the test says so, a request that is heard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.messages import UserMessage
from core.model import (
    BackingOff,
    Closed,
    Delta,
    Finished,
    ModelError,
    ModelInfo,
    ModelRequest,
    Offer,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from providers.routing import Router, Timing
from tests.providers.harness import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model import Emit, ModelProvider
    from core.model_settings import ModelSettings
    from providers.routing import Asked

ESCAPE = CancelReason(Cause.USER, "escape")
Outcome = Finished | ModelError | Cancelled
AnyDelta = TypeVar("AnyDelta", bound=Delta)


class Hourglass:
    """Time for routing: it stands still, and a timer runs out when `run_out` is called, or at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.now = 1_000.0
        self.at_once = at_once
        self.waits: list[float] = []
        self._running: list[_Sand] = []
        self.timing = Timing(lambda: self.now, lambda: 0.0, self._call_later)

    @property
    def running(self) -> int:
        return len(self._running)

    def run_out(self) -> None:
        for sand in list(self._running):
            sand.callback()

    def _call_later(self, seconds: float, callback: Callable[[], object]) -> _Sand:
        self.waits.append(seconds)
        sand = _Sand(self._running, callback)
        if self.at_once:
            asyncio.get_running_loop().call_soon(callback)
        return sand


class _Sand:
    def __init__(self, running: list[_Sand], callback: Callable[[], object]) -> None:
        self.callback = callback
        self._running = running
        running.append(self)

    def cancel(self) -> None:
        self._running.remove(self)


class Listened:
    """One request on its way, in a task of its own. `on_delta` hears each delta as it comes."""

    def __init__(
        self,
        provider: ModelProvider,
        model: str,
        *,
        request: ModelRequest | None = None,
        token: CancelToken | None = None,
        on_delta: Callable[[Delta], None] = lambda delta: None,
    ) -> None:
        self.token = token or CancelToken("test")
        self.deltas: list[Delta] = []
        self.late: list[Delta] = []
        self._on_delta = on_delta
        asked = request or ModelRequest(model, (UserMessage("hi"),), timeout_s=DEADLINE_S)
        self.task = asyncio.create_task(self._run(provider, asked))

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def shown(self) -> bool:
        return any(isinstance(delta, TextDelta | ReasoningDelta | ToolCallDelta) for delta in self.deltas)

    @property
    def backing_off(self) -> bool:
        return bool(self.of(BackingOff))

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
        async with asyncio.timeout(DEADLINE_S):
            return await self.task

    async def finished(self) -> Finished:
        outcome = await self.outcome()
        assert isinstance(outcome, Finished), outcome
        assert self.of(Closed) == []
        return outcome

    async def failure(self) -> ModelError:
        outcome = await self.outcome()
        assert isinstance(outcome, ModelError), outcome
        assert self.of(Closed) == []
        return outcome

    async def stopped(self) -> Closed:
        """Wait for the end that a stop has brought; checks all that every stop promises."""
        outcome = await self.outcome()
        assert isinstance(outcome, Cancelled), outcome
        assert outcome.reason is self.token.reason
        assert self.late == []
        assert self.closed.at >= outcome.reason.at
        return self.closed

    async def stop(self) -> Closed:
        assert self.token.cancel(ESCAPE)
        return await self.stopped()

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


class Play(Protocol):
    """What a `Stage` does for one request."""

    async def __call__(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished: ...


class Stage:
    """A provider that lets `play` answer, and keeps what it was asked."""

    def __init__(self, play: Play, infos: dict[str, ModelInfo] | None = None) -> None:
        self.play = play
        self.infos = infos or {}
        self.requests: list[ModelRequest] = []

    @property
    def asked(self) -> list[str]:
        return [request.model for request in self.requests]

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        self.requests.append(request)
        return await self.play(request, token, emit)

    async def describe(self, model: str) -> ModelInfo:
        return self.infos.get(model, ModelInfo(model))

    async def offers(self) -> tuple[Offer, ...]:
        return ()


def router(inner: Asked, settings: ModelSettings, hourglass: Hourglass | None = None) -> Router:
    async def current() -> ModelSettings:
        return settings

    return Router(inner, current, hourglass.timing if hourglass is not None else None)
