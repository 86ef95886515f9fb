"""What a name of the settings means: which model is asked, where and how, and whether a route can be used.

Pure functions of `core.model_settings`, so that the check of the config and a request say the same of a
mistake. Nothing here asks a model, and nothing may recurse without end, whatever the settings say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.model import AS_IT_IS, FailureKind, ModelError, Parameters
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model_settings import ModelSettings, NamedModel, Route, ServerAddress

MOST_ASKED = 200
"""How many members a route may have, those of its members counted in."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """At most `most` requests at once of all that share `whose`."""

    whose: str
    most: int


@dataclass(frozen=True, slots=True)
class Target:
    """One model as it is asked. `name` is what a person calls it, `model` what litellm does.

    `key_name` is empty for a server that gets no key, None for the provider's usual one. `context_window` is
    what the settings say of it, in tokens. The `ceilings` hold together.
    """

    name: str
    model: str
    api_base: str | None = None
    api_version: str | None = None
    key_name: str | None = None
    parameters: Parameters = AS_IT_IS
    context_window: int | None = None
    ceilings: tuple[Ceiling, ...] = ()


def target_of(name: str, settings: ModelSettings) -> Target:
    """What is asked under `name`, which is no route's. Raises `ModelError` if the settings are wrong."""
    named = settings.models.get(name)
    if named is None:
        return _at_server(name, settings)
    if wrong := _wrong_with_model(name, named, settings):
        raise _bad(wrong)
    served = _at_server(named.model, settings)
    return replace(
        served,
        name=name,
        api_base=named.api_base or served.api_base,
        # A key goes with its own address alone, and no usual one to an address of the settings.
        key_name=named.key if named.api_base else named.key or served.key_name,
        parameters=named.parameters.or_else(settings.parameters),
        context_window=named.context_window,
        ceilings=served.ceilings + _ceilings(f"models.{name}", named),
    )


def check_route(name: str, settings: ModelSettings) -> None:
    """Raises `ModelError` if what `name` stands for cannot be asked, whether it is a route or a model."""
    _size(name, settings, (), {})


def check_routes(settings: ModelSettings) -> tuple[str, ...]:
    """What is wrong with the routes and the models of the settings, one sentence each."""
    wrong = [
        f"“{name}” names a route and a model: rename one."
        for name in settings.routes
        if name in settings.models
    ]
    wrong += [
        said for name, named in settings.models.items() if (said := _wrong_with_model(name, named, settings))
    ]
    for name, route in settings.routes.items():
        wrong += _wrong_with_route(name, route, settings)
        try:
            check_route(name, settings)
        except ModelError as error:
            wrong.append(str(error))
    return tuple(dict.fromkeys(wrong))


def _at_server(model: str, settings: ModelSettings) -> Target:
    server, slash, rest = model.partition("/")
    address = settings.providers.get(server) if slash else None
    if address is None:
        return Target(model, model, parameters=settings.parameters)
    if not rest:
        raise ModelError(
            FailureKind.UNKNOWN_MODEL,
            f"“{model}” names a server and no model: add one, as in {server}/MODEL.",
        )
    return Target(
        model,
        f"{address.protocol}/{rest}",
        address.api_base or None,
        address.api_version or None,
        # Empty where there is an address: that server gets no key, and not the usual one of the protocol's.
        address.key if address.api_base else address.key or None,
        settings.parameters,
        ceilings=_ceilings(f"providers.{server}", address),
    )


def _ceilings(whose: str, place: ServerAddress | NamedModel) -> tuple[Ceiling, ...]:
    return (Ceiling(whose, place.concurrent),) if place.concurrent else ()


def _wrong_with_model(name: str, named: NamedModel, settings: ModelSettings) -> str | None:
    model = named.model
    if not model:
        return f"The model “{name}” says of no model what it is: set its `model`, as in openai/gpt-5.1."
    if model in settings.routes:
        return f"The model “{name}” names the route “{model}”: only routes can name routes."
    if model != name and "/" not in model and model in settings.models:
        return f"The model “{name}” names “{model}”, which is one of [models] too: name a provider's model."
    return None


def _wrong_with_route(name: str, route: Route, settings: ModelSettings) -> Iterator[str]:
    given = {"model": bool(route.model), "rotate": bool(route.rotate), "fallback": bool(route.fallback)}
    said = [key for key, is_given in given.items() if is_given]
    if len(said) != 1:
        what = " and ".join(said) or "none of them"
        yield f"The route “{name}” needs exactly one of model, rotate and fallback; it has {what}."
    for member in route.members:
        # A model of litellm's is known by its provider; a lone word is one of the person's own, or a mistake.
        if member not in settings.routes and member not in settings.models and "/" not in member:
            yield _unknown(name, member, settings)


def _unknown(route: str, member: str, settings: ModelSettings) -> str:
    import difflib  # for a mistake alone, and not at the start

    near = difflib.get_close_matches(member, [*settings.routes, *settings.models], n=1)
    hint = f"did you mean “{near[0]}”?" if near else "a provider's own is named as in openai/gpt-5.1."
    return f"The route “{route}” names “{member}”, and there is no such route or model: {hint}"


def _size(name: str, settings: ModelSettings, path: tuple[str, ...], known: dict[str, int]) -> int:
    """How many members there are below `name`, itself counted in; `path` are the routes above it."""
    route = settings.routes.get(name)
    if route is None:
        target_of(name, settings)
        return 1
    if name in path:
        raise _bad(_cycle(path[path.index(name) :]))
    if name not in known:
        wrong = next(_wrong_with_route(name, route, settings), None)
        if wrong is not None:
            unknown = len([*filter(None, (route.model, route.rotate, route.fallback))]) == 1
            raise ModelError(FailureKind.UNKNOWN_MODEL if unknown else FailureKind.BAD_REQUEST, wrong)
        if len(path) > MOST_ASKED:
            raise _too_many(path[0])
        known[name] = 1 + sum(_size(member, settings, (*path, name), known) for member in route.members)
        if known[name] > MOST_ASKED:
            raise _too_many(name)
    return known[name]


def _cycle(names: tuple[str, ...]) -> str:
    """Always the same words for the same cycle, wherever it was entered."""
    first = names.index(min(names))
    around = (*names[first:], *names[: first + 1])
    return f"The routes go round in a circle: {' → '.join(around)}. Take one of them out of the next."


def _too_many(name: str) -> ModelError:
    return _bad(f"The route “{name}” stands for more than {MOST_ASKED} models and routes: make it smaller.")


def _bad(message: str) -> ModelError:
    return ModelError(FailureKind.BAD_REQUEST, message)
