"""Choice of the model that answers: routes and names of the settings become providers.

Each is a `core.model.provider.ModelProvider` around others, which retries, falls back or rotates. The
innermost is a `DirectProvider`, which uses one model. A stop is never a failure in any of them: nothing more
is sent, no member cools down, and no turn moves (R1, R3). This module knows names of keys and no key.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import asdict, replace

from core.base.values import or_else
from core.model.directory import ServerCatalog, ServerModels
from core.model.provider import (
    AttemptStarted,
    FailureKind,
    ModelError,
    ModelInfo,
    ModelProvider,
    Offer,
    OfferKind,
    Parameters,
    ParametersDropped,
)
from core.model.server_options import USUAL
from providers.keys.finder import KeyFinder
from providers.routing import servers
from providers.routing.attempts import monitor_attempts
from providers.routing.failover import Failover, any_of
from providers.routing.retry import Member, Retry, Timing
from providers.routing.routes import Target, at_server, check_route, target_of
from providers.routing.slots import ConcurrencyLimit, Limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from core.cancel import CancelToken
    from core.model.directory import OwnServer
    from core.model.provider import Emit, Finished, ModelChoice, ModelRequest
    from core.model.settings import ModelSettings, Route
    from providers.routing.attempts import AttemptMonitor

    class CatalogProvider(ModelProvider, ServerCatalog, Protocol):
        """The model process."""


_NAMES_OF_PARAMETERS = {
    "effort": r"effort|reasoning|thinking",
    "temperature": r"temperature",
    "top_p": r"\btop[_ -]?p\b",
    "max_output": r"\bmax[_ ]?(completion[_ ]?|output[_ ]?)?tokens\b|\bmax[_ ]?output|num_predict",
}
"""The names of each parameter in refusals of any protocol: expressions that ignore case."""


class DirectProvider:
    """A `ModelProvider` that uses one model of `inner`, `target`.

    A parameter that the model has refused is left out from then on, for that value. `windows` are the context
    windows that servers of the settings have told, by the names of their models.
    """

    def __init__(
        self, inner: ModelProvider, target: Target, windows: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self.target = target
        self._inner = inner
        self._windows = windows
        self._refused: frozenset[tuple[str, object]] = frozenset()
        self._lock = threading.Lock()

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Implements `core.model.provider.ModelProvider`."""
        with monitor_attempts(emit, token) as monitor:
            while True:
                token.check()
                asked = self._addressed(request)
                try:
                    finished = await self._ask(asked, token, monitor)
                except ModelError as error:
                    # A failure caused by a stop counts as a stop (R3, U7).
                    token.check()
                    names = () if monitor.shown else _refused_by(error, asked.parameters)
                    if not names:
                        raise
                    self._leave_out(names, asked.parameters)
                    monitor.emit(ParametersDropped(self.target.name, names))
                    continue
                own = self.target.name
                return replace(finished, answered_by="" if own == request.model else own)

    async def describe(self, model: str) -> ModelInfo:
        target = self.target
        info = await self._inner.describe(target.model)
        served = self._windows.get(target.served_as, info.context_window)
        return _as_set(replace(info, model=target.name, context_window=served), target)

    async def _ask(self, asked: ModelRequest, token: CancelToken, monitor: AttemptMonitor) -> Finished:
        monitor.emit(AttemptStarted(asked.server.first_byte_timeout, asked.server.idle_timeout))
        monitor.begin(self.target.name)
        try:
            finished = await self._inner.stream(asked, token, monitor)
        except ModelError:
            monitor.end()
            raise
        finally:
            # Parameters that the model process left out by itself are reported only once.
            self._leave_out(monitor.dropped, asked.parameters)
        monitor.end()
        return finished

    def _addressed(self, request: ModelRequest) -> ModelRequest:
        target = self.target
        parameters = or_else(request.parameters, target.parameters)
        return replace(
            request,
            model=target.model,
            api_base=target.api_base or request.api_base,
            api_version=target.api_version or request.api_version,
            key_name=request.key_name if target.key_name is None else target.key_name,
            streaming=request.streaming and target.server.stream,
            tools=request.tools if target.server.tools else (),
            server=request.server if target.server == USUAL else target.server,
            address_setting=target.address_setting,
            parameters=replace(
                parameters, **dict.fromkeys((n for n, _ in self._refused & _set(parameters)), None)
            ),
        )

    def _leave_out(self, names: tuple[str, ...], parameters: Parameters) -> None:
        if names:
            with self._lock:
                self._refused |= {(name, value) for name, value in _set(parameters) if name in names}


class Router:
    """A `ModelProvider` and `core.model.directory.ModelDirectory` that knows the settings' names of models.

    `settings` is called for every request. Turns and cool-downs are kept as long as the settings stay the
    same. One instance serves any number of event loops at once.
    """

    def __init__(
        self,
        inner: CatalogProvider,
        settings: Callable[[], Awaitable[ModelSettings]],
        timing: Timing | None = None,
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._timing = timing or Timing()
        self._keys = KeyFinder()
        self._lock = threading.Lock()
        self._tree: _Tree | None = None

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Send a request to the model or route of its name. Wrong settings raise before anything is sent."""
        with monitor_attempts(emit, token) as monitor:
            with token.bind():
                tree = await self._current()
            token.check()
            if request.model in tree.settings.routes:
                # An address belongs to the one model it was given for, and not to members of a route.
                request = replace(request, api_base=None)
            return await tree.provider_for(request.model).stream(request, token, monitor)

    async def describe(self, model: str) -> ModelInfo:
        """Implements `core.model.provider.ModelProvider`."""
        tree = await self._current()
        try:
            asked = tree.provider_for(model)
        except ModelError:
            return ModelInfo(model)
        info = await asked.describe(model)
        # A route to one model is that model, under the route's name.
        return info if info.model == model else replace(info, model=model, members=info.members or (info,))

    async def offers(self) -> tuple[Offer, ...]:
        """The routes and models of the settings, then the models of the catalog."""
        tree = await self._current()
        listed = await self._inner.offers()
        usable = {offer.info.model: offer.usable for offer in listed}
        names = [*((name, OfferKind.ROUTE) for name in tree.settings.routes)]
        names += [
            (name, OfferKind.NAMED) for name in tree.settings.models if name not in tree.settings.routes
        ]
        infos = await asyncio.gather(*(self.describe(name) for name, _ in names))
        own = [
            Offer(info, kind, any_of(tree.has_key(leaf.model, usable) for leaf in info.members or (info,)))
            for (_, kind), info in zip(names, infos, strict=True)
        ]
        return (*own, *listed)

    async def server_models(self, now: ModelChoice) -> ServerModels:
        """Implements `core.model.directory.ModelDirectory`, like `choose` and `hosts`."""
        tree = await self._current()
        asked = tuple(servers.own_servers(now, tree.settings, self._keys.endpoint))
        found = await asyncio.gather(*(self._inner.models_of(server) for server in asked))
        offers = (
            replace(offer, info=tree.served(server, offer.info))
            for server, each in zip(asked, found, strict=True)
            for offer in each.offers
        )
        return ServerModels(tuple(offers), tuple(problem for each in found for problem in each.problems))

    async def served_window(self, now: ModelChoice) -> int | None:
        """How much the model of `now` reads, in tokens, as its own server tells it; None if it does not."""
        settings = (await self._current()).settings
        server = next(servers.own_servers(now, settings, self._keys.endpoint), None)
        if server is None or not now.model.startswith(server.prefix):
            return None
        return await self._inner.window_of(server, now.model.removeprefix(server.prefix))

    async def choose(self, name: str, now: ModelChoice) -> ModelChoice:
        return servers.choose(name, now, (await self._current()).settings)

    async def hosts(self, choice: ModelChoice) -> tuple[str, ...]:
        return servers.hosts(choice, (await self._current()).settings, self._keys.endpoint)

    async def addresses(self, choice: ModelChoice) -> tuple[str, ...]:
        return servers.addresses(choice, (await self._current()).settings, self._keys.endpoint)

    async def _current(self) -> _Tree:
        settings = await self._settings()
        with self._lock:
            if self._tree is None or self._tree.settings != settings:
                self._tree = _Tree(settings, self._inner, self._timing)
            return self._tree


class _Tree:
    """The providers of the settings, each built when it is first needed and then kept."""

    def __init__(self, settings: ModelSettings, inner: ModelProvider, timing: Timing) -> None:
        self.settings = settings
        self._inner = inner
        self._timing = timing
        # Re-entrant: a route builds its members.
        self._lock = threading.RLock()
        self._providers: dict[str, ModelProvider] = {}
        self._members: dict[str, ModelProvider] = {}
        self._slots: dict[str, ConcurrencyLimit] = {}
        self._windows: dict[str, int] = {}

    def served(self, server: OwnServer, info: ModelInfo) -> ModelInfo:
        """What is known of a model that `server` lists. The window is kept for `describe`, unless the name
        means this server only as long as it is the one in use."""
        if server.prefix.removesuffix("/") not in self.settings.providers:
            return info
        if info.context_window is not None:
            self._windows[info.model] = info.context_window
        return _as_set(info, at_server(info.model, self.settings))

    def provider_for(self, name: str) -> ModelProvider:
        """The provider for `name`. Raises `ModelError` for a name that cannot be used."""
        with self._lock:
            if name not in self._providers:
                check_route(name, self.settings)
                provider = self._member(name).provider
                if name not in self.settings.routes:
                    provider = Retry(Member(name, provider), self.settings.retry, self._timing)
                self._providers[name] = provider
            return self._providers[name]

    def has_key(self, name: str, listed: dict[str, bool | None]) -> bool | None:
        """Whether the environment has the key that a model needs. `listed` holds the answers for the
        catalog."""
        try:
            check_route(name, self.settings)
            target = target_of(name, self.settings)
        except ModelError:
            return False
        if target.key_name is not None:
            # It may be in the keyring, which is not read for a list.
            return True if not target.key_name or os.environ.get(target.key_name) else None
        return listed.get(target.model, True if target.api_base else None)

    def _member(self, name: str) -> Member:
        if name not in self._members:
            route = self.settings.routes.get(name)
            self._members[name] = self._direct(name) if route is None else self._route(name, route)
        return Member(name, self._members[name])

    def _direct(self, name: str) -> ModelProvider:
        target = target_of(name, self.settings)
        provider: ModelProvider = DirectProvider(self._inner, target, self._windows)
        # Always in the same order, so that no two requests wait for each other.
        for ceiling in target.ceilings:
            slots = self._slots.setdefault(ceiling.whose, ConcurrencyLimit(ceiling.most))
            provider = Limit(provider, slots)
        return provider

    def _route(self, name: str, route: Route) -> ModelProvider:
        members = [self._member(member) for member in route.members]
        provider: ModelProvider
        if route.model:
            provider = members[0].provider
        else:
            rotates = bool(route.rotate)
            provider = Failover(members, route.cooldown, rotates=rotates, timing=self._timing)
        if route.retry.retries > 0:
            known_as = members[0].name if route.model else name
            provider = Retry(Member(known_as, provider), route.retry, self._timing)
        return provider


def _as_set(info: ModelInfo, target: Target) -> ModelInfo:
    """What is known of a model, with what the settings say of it instead."""
    return replace(
        info,
        context_window=target.context_window or info.context_window,
        max_output=target.parameters.max_output or info.max_output,
        input_price=_per_token(target.server.input_price, info.input_price),
        output_price=_per_token(target.server.output_price, info.output_price),
        vision=info.vision if target.server.images is None else target.server.images,
    )


def _per_token(per_million: float | None, known: float | None) -> float | None:
    return known if per_million is None else per_million / 1e6


def _set(parameters: Parameters) -> set[tuple[str, object]]:
    values = asdict(parameters)
    return {(name, value) for name, value in values.items() if value is not None}


def _refused_by(error: ModelError, parameters: Parameters) -> tuple[str, ...]:
    """The parameters of the request that its refusal names."""
    if error.kind is not FailureKind.BAD_REQUEST:
        return ()
    text = f"{error} {error.detail}"
    sent = {name for name, _ in _set(parameters)}
    return tuple(
        name
        for name, pattern in _NAMES_OF_PARAMETERS.items()
        if name in sent and re.search(pattern, text, re.IGNORECASE)
    )
