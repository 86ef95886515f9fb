"""Which model answers: the person's routes and names, made into providers that retry, fall back and rotate.

Each of them is a `core.model.ModelProvider` around others, down to the `Leaf` that has the one provider which
really asks ask for one model. A stop is never a failure in any of them: nothing more is sent, nobody is left
alone for it, and no turn moves (R1, R3). Nothing here may touch a key: names of keys are all there is.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Protocol

from core.model import (
    Catalog,
    FailureKind,
    ModelError,
    ModelInfo,
    ModelProvider,
    Offer,
    OfferKind,
    Parameters,
    ParametersDropped,
)
from providers.attempts import watch
from providers.backoff import Member, Retry, Timing
from providers.failover import Fallback, RoundRobin
from providers.routes import Target, check_route, check_routes, target_of
from providers.slots import Limit, Slots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.cancel import CancelToken
    from core.model import Emit, Finished, ModelRequest
    from core.model_settings import ModelSettings, Route
    from providers.attempts import Watch

    class Asked(ModelProvider, Catalog, Protocol):
        """What really asks: the model process."""


__all__ = ["Fallback", "Leaf", "Member", "Retry", "RoundRobin", "Router", "Timing", "check_routes"]

_NAMES_OF_PARAMETERS = {
    "effort": r"effort|reasoning|thinking",
    "temperature": r"temperature",
    "top_p": r"\btop[_ -]?p\b",
    "max_output": r"\bmax[_ ]?(completion[_ ]?|output[_ ]?)?tokens\b|\bmax[_ ]?output|num_predict",
}
"""How a refusal speaks of each parameter, whatever the protocol: expressions that ignore the case."""


class Leaf:
    """A `core.model.ModelProvider` that asks `inner` for one model, `target`.

    A parameter that the model has refused is left out from then on, for that value.
    """

    def __init__(self, inner: ModelProvider, target: Target) -> None:
        self.target = target
        self._inner = inner
        self._refused: frozenset[tuple[str, object]] = frozenset()
        self._lock = threading.Lock()

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """See `core.model.ModelProvider`."""
        with watch(emit, token) as watched:
            while True:
                token.check()
                asked = self._addressed(request)
                try:
                    finished = await self._ask(asked, token, watched)
                except ModelError as error:
                    # Whatever fails because of a stop is a stop, and no failure (R3, U7).
                    token.check()
                    names = () if watched.shown else _refused_by(error, asked.parameters)
                    if not names:
                        raise
                    self._leave_out(names, asked.parameters)
                    watched.say(ParametersDropped(self.target.name, names))
                    continue
                own = self.target.name
                return replace(finished, answered_by="" if own == request.model else own)

    async def describe(self, model: str) -> ModelInfo:
        target = self.target
        info = await self._inner.describe(target.model)
        return replace(
            info,
            model=target.name,
            context_window=target.context_window or info.context_window,
            max_output=target.parameters.max_output or info.max_output,
        )

    async def _ask(self, asked: ModelRequest, token: CancelToken, watched: Watch) -> Finished:
        watched.begin(self.target.name)
        try:
            finished = await self._inner.stream(asked, token, watched)
        except ModelError:
            watched.end()
            raise
        finally:
            # Those that the model process has left out by itself: it need not be told of twice.
            self._leave_out(watched.dropped, asked.parameters)
        watched.end()
        return finished

    def _addressed(self, request: ModelRequest) -> ModelRequest:
        target = self.target
        parameters = request.parameters.or_else(target.parameters)
        return replace(
            request,
            model=target.model,
            api_base=target.api_base or request.api_base,
            api_version=target.api_version or request.api_version,
            key_name=request.key_name if target.key_name is None else target.key_name,
            parameters=replace(
                parameters, **dict.fromkeys((n for n, _ in self._refused & _set(parameters)), None)
            ),
        )

    def _leave_out(self, names: tuple[str, ...], parameters: Parameters) -> None:
        if names:
            with self._lock:
                self._refused |= {(name, value) for name, value in _set(parameters) if name in names}


class Router:
    """A `core.model.ModelProvider` and `core.model.Catalog` that knows the person's own names of models.

    `settings` is asked at every request; what is remembered of the members, whose turn it is, who is left
    alone, is kept as long as they stay the same. One instance serves any number of event loops at once.
    """

    def __init__(
        self, inner: Asked, settings: Callable[[], Awaitable[ModelSettings]], timing: Timing | None = None
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._timing = timing or Timing()
        self._lock = threading.Lock()
        self._tree: _Tree | None = None

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """See `core.model.ModelProvider`. Settings that make no sense raise before anything is sent."""
        with watch(emit, token) as watched:
            with token.bind():
                tree = await self._current()
            token.check()
            if request.model in tree.settings.routes:
                # An address goes with the one model it was given for, and with no member of a route.
                request = replace(request, api_base=None)
            return await tree.asked_for(request.model).stream(request, token, watched)

    async def describe(self, model: str) -> ModelInfo:
        """See `core.model.ModelProvider`."""
        tree = await self._current()
        try:
            asked = tree.asked_for(model)
        except ModelError:
            return ModelInfo(model)
        info = await asked.describe(model)
        # A route to one model is that model, under the route's name.
        return info if info.model == model else replace(info, model=model, members=info.members or (info,))

    async def offers(self) -> tuple[Offer, ...]:
        """See `core.model.Catalog`: the routes, the person's own models, then those of the catalogue."""
        tree = await self._current()
        listed = await self._inner.offers()
        usable = {offer.info.model: offer.usable for offer in listed}
        names = [*((name, OfferKind.ROUTE) for name in tree.settings.routes)]
        names += [
            (name, OfferKind.NAMED) for name in tree.settings.models if name not in tree.settings.routes
        ]
        infos = await asyncio.gather(*(self.describe(name) for name, _ in names))
        own = [
            Offer(info, kind, _usable([tree.has_key(leaf.model, usable) for leaf in info.members or (info,)]))
            for (_, kind), info in zip(names, infos, strict=True)
        ]
        return (*own, *listed)

    async def _current(self) -> _Tree:
        settings = await self._settings()
        with self._lock:
            if self._tree is None or self._tree.settings != settings:
                self._tree = _Tree(settings, self._inner, self._timing)
            return self._tree


class _Tree:
    """The providers that the settings make, each built when it is first asked for and then kept."""

    def __init__(self, settings: ModelSettings, inner: ModelProvider, timing: Timing) -> None:
        self.settings = settings
        self._inner = inner
        self._timing = timing
        # Re-entrant: a route builds its members.
        self._lock = threading.RLock()
        self._asked: dict[str, ModelProvider] = {}
        self._members: dict[str, ModelProvider] = {}
        self._slots: dict[str, Slots] = {}

    def asked_for(self, name: str) -> ModelProvider:
        """What answers a request for `name`. Raises `ModelError` for a name that cannot be used."""
        with self._lock:
            if name not in self._asked:
                check_route(name, self.settings)
                provider = self._member(name).provider
                if name not in self.settings.routes:
                    provider = Retry(Member(name, provider), self.settings.retry, self._timing)
                self._asked[name] = provider
            return self._asked[name]

    def has_key(self, name: str, listed: dict[str, bool | None]) -> bool | None:
        """Whether the environment has the key that a model needs; `listed` says so of the catalogue's."""
        try:
            check_route(name, self.settings)
            target = target_of(name, self.settings)
        except ModelError:
            return False
        if target.key_name is not None:
            # It may be in the keyring, where nobody looks for a list.
            return True if not target.key_name or os.environ.get(target.key_name) else None
        return listed.get(target.model, True if target.api_base else None)

    def _member(self, name: str) -> Member:
        if name not in self._members:
            route = self.settings.routes.get(name)
            self._members[name] = self._leaf(name) if route is None else self._route(name, route)
        return Member(name, self._members[name])

    def _leaf(self, name: str) -> ModelProvider:
        target = target_of(name, self.settings)
        provider: ModelProvider = Leaf(self._inner, target)
        # The same order everywhere, so that no two requests hold what the other waits for.
        for ceiling in target.ceilings:
            slots = self._slots.setdefault(ceiling.whose, Slots(ceiling.most))
            provider = Limit(provider, slots)
        return provider

    def _route(self, name: str, route: Route) -> ModelProvider:
        members = [self._member(member) for member in route.members]
        provider: ModelProvider
        if route.rotate:
            provider = RoundRobin(members, route.cooldown, self._timing)
        elif route.fallback:
            provider = Fallback(members, route.cooldown, self._timing)
        else:
            provider = members[0].provider
        if route.retry.retries > 0:
            known_as = members[0].name if route.model else name
            provider = Retry(Member(known_as, provider), route.retry, self._timing)
        return provider


def _set(parameters: Parameters) -> set[tuple[str, object]]:
    values = {field.name: getattr(parameters, field.name) for field in fields(Parameters)}
    return {(name, value) for name, value in values.items() if value is not None}


def _refused_by(error: ModelError, parameters: Parameters) -> tuple[str, ...]:
    """The parameters, of those that were sent, that a refusal speaks of."""
    if error.kind is not FailureKind.BAD_REQUEST:
        return ()
    said = f"{error} {error.detail}"
    sent = {name for name, _ in _set(parameters)}
    return tuple(
        name
        for name, pattern in _NAMES_OF_PARAMETERS.items()
        if name in sent and re.search(pattern, said, re.IGNORECASE)
    )


def _usable(members: list[bool | None]) -> bool | None:
    if True in members:
        return True
    return None if None in members else False
