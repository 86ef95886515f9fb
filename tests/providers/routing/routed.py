"""What the tests of routing share: time that passes when the test says so, a request that is heard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from core.cancel import CancelReason, CancelToken, Cause
from core.model.directory import ServerModels
from core.model.messages import UserMessage
from core.model.provider import (
    BackingOff,
    Closed,
    Delta,
    Finished,
    ModelError,
    ModelInfo,
    ModelRequest,
    Offer,
)
from core.model.server_options import ServerOptions
from providers.routing.retry import Timing
from providers.routing.router import Router
from tests.providers.harness import Asked
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.directory import OwnServer
    from core.model.provider import Emit, ModelProvider
    from core.model.settings import ModelSettings
    from providers.routing.router import CatalogProvider

ESCAPE = CancelReason(Cause.USER, "escape")


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


class Listened(Asked):
    """A request of routing. No end but that of a stop has a proof of a closed connection."""

    def __init__(
        self,
        provider: ModelProvider,
        model: str,
        *,
        request: ModelRequest | None = None,
        token: CancelToken | None = None,
        on_delta: Callable[[Delta], None] = lambda delta: None,
    ) -> None:
        asked = request or ModelRequest(
            model,
            (UserMessage("hi"),),
            server=ServerOptions(first_byte_timeout=GENEROUS_S, idle_timeout=GENEROUS_S),
        )
        super().__init__(provider, asked, token=token, on_delta=on_delta)

    @property
    def backing_off(self) -> bool:
        return bool(self.of(BackingOff))

    async def finished(self) -> Finished:
        outcome = await self.outcome()
        assert isinstance(outcome, Finished), outcome
        assert self.of(Closed) == []
        return outcome

    async def failure(self) -> ModelError:
        failure = await super().failure()
        assert self.of(Closed) == []
        return failure


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

    async def models_of(self, server: OwnServer) -> ServerModels:
        return ServerModels()

    async def window_of(self, server: OwnServer, model: str) -> int | None:
        return None


def router(inner: CatalogProvider, settings: ModelSettings, hourglass: Hourglass | None = None) -> Router:
    async def current() -> ModelSettings:
        return settings

    return Router(inner, current, hourglass.timing if hourglass is not None else None)
