"""Meaning of a name in the settings: its model, address and parameters, and whether a route can be used.

Pure functions of `core.model.settings`, so that the check of the settings and a request report the same
mistakes. Nothing here calls a model. Recursion is bounded whatever the settings contain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.base.values import Value, or_else
from core.model.provider import AS_IT_IS, FailureKind, ModelError, Parameters
from core.model.server_options import USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.server_options import ServerOptions
    from core.model.settings import ModelSettings, NamedModel, Route, ServerAddress

MAX_MEMBERS = 200
"""How many members a route may have, including the members of its members."""


class Ceiling(Value):
    """At most `most` requests at once among all that share the name `whose`."""

    whose: str
    most: int


class Target(Value):
    """One model as it is requested. `name` is the settings' name for it, `model` litellm's.

    `key_name` is empty for a server that gets no key and None for the provider's usual one. `context_window`
    is from the settings, in tokens. All `ceilings` apply. `address_setting` names the setting of `api_base`.
    `served_as` is the name under which a server of the settings lists the model.
    """

    name: str
    model: str
    api_base: str | None = None
    api_version: str | None = None
    key_name: str | None = None
    parameters: Parameters = AS_IT_IS
    context_window: int | None = None
    ceilings: tuple[Ceiling, ...] = ()
    server: ServerOptions = USUAL
    address_setting: str = ""
    served_as: str = ""


def target_of(name: str, settings: ModelSettings) -> Target:
    """The target of `name`, which is not a route. Raises `ModelError` if the settings are wrong."""
    named = settings.models.get(name)
    if named is None:
        return at_server(name, settings)
    if wrong := _wrong_with_model(name, named, settings):
        raise _bad(wrong)
    served = at_server(named.model, settings)
    return replace(
        served,
        name=name,
        api_base=named.api_base or served.api_base,
        # A key goes only to its own address. An address of the settings never gets the usual key.
        key_name=named.key if named.api_base else named.key or served.key_name,
        parameters=or_else(named.parameters, settings.parameters),
        context_window=named.context_window or served.context_window,
        ceilings=served.ceilings + _ceilings(f"models.{name}", named),
        address_setting=_address_setting(f"models.{name}", named) or served.address_setting,
        served_as="" if named.api_base else served.served_as,
    )


def check_route(name: str, settings: ModelSettings) -> None:
    """Raise `ModelError` if `name`, a route or a model, cannot be used."""
    _size(name, settings, (), {})


def check_routes(settings: ModelSettings) -> tuple[str, ...]:
    """The mistakes in the routes and models of the settings, one sentence each."""
    wrong = [
        f"“{name}” names a route and a model: rename one."
        for name in settings.routes
        if name in settings.models
    ]
    wrong += [
        text for name, named in settings.models.items() if (text := _wrong_with_model(name, named, settings))
    ]
    for name, route in settings.routes.items():
        wrong += _wrong_with_route(name, route, settings)
        try:
            check_route(name, settings)
        except ModelError as error:
            wrong.append(str(error))
    return tuple(dict.fromkeys(wrong))


def at_server(model: str, settings: ModelSettings) -> Target:
    """The target of a model under the name that its server or litellm has for it."""
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
        # A server with an address gets its own key or none, never the usual one of its protocol.
        address.key if address.api_base else address.key or None,
        settings.parameters,
        context_window=address.context_window,
        ceilings=_ceilings(f"providers.{server}", address),
        server=address.options,
        address_setting=_address_setting(f"providers.{server}", address),
        served_as=model,
    )


def _ceilings(whose: str, place: ServerAddress | NamedModel) -> tuple[Ceiling, ...]:
    return (Ceiling(whose, place.concurrent),) if place.concurrent else ()


def _address_setting(whose: str, place: ServerAddress | NamedModel) -> str:
    return f"[{whose}] api_base" if place.api_base else ""


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
    chosen = [key for key, is_given in given.items() if is_given]
    if len(chosen) != 1:
        what = " and ".join(chosen) or "none of them"
        yield f"The route “{name}” needs exactly one of model, rotate and fallback; it has {what}."
    for member in route.members:
        # litellm's models have a provider's prefix. A single word is a name of the settings, or a mistake.
        if member not in settings.routes and member not in settings.models and "/" not in member:
            yield _unknown(name, member, settings)


def _unknown(route: str, member: str, settings: ModelSettings) -> str:
    import difflib  # not imported at the start: only a mistake needs it

    near = difflib.get_close_matches(member, [*settings.routes, *settings.models], n=1)
    hint = f"did you mean “{near[0]}”?" if near else "a provider's own is named as in openai/gpt-5.1."
    return f"The route “{route}” names “{member}”, and there is no such route or model: {hint}"


def _size(name: str, settings: ModelSettings, path: tuple[str, ...], known: dict[str, int]) -> int:
    """The number of members below `name`, including itself. `path` has the routes above it."""
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
        if len(path) > MAX_MEMBERS:
            raise _too_many(path[0])
        known[name] = 1 + sum(_size(member, settings, (*path, name), known) for member in route.members)
        if known[name] > MAX_MEMBERS:
            raise _too_many(name)
    return known[name]


def _cycle(names: tuple[str, ...]) -> str:
    """The same text for a cycle wherever it was entered."""
    first = names.index(min(names))
    around = (*names[first:], *names[: first + 1])
    return f"The routes go round in a circle: {' → '.join(around)}. Take one of them out of the next."


def _too_many(name: str) -> ModelError:
    return _bad(f"The route “{name}” stands for more than {MAX_MEMBERS} models and routes: make it smaller.")


def _bad(message: str) -> ModelError:
    return ModelError(FailureKind.BAD_REQUEST, message)
