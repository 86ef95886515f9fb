"""The models that can be chosen from the catalog, and whether there is a key for each.

Reads only the environment: listing models must not make a keyring ask for its password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from providers.catalog import listed_models
from providers.keys.names import KEYLESS, OWN_CREDENTIALS, key_variables
from providers.wire import KnownModel

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping


def known_models(
    cost_map: Mapping[str, Mapping[str, object]],
    providers: Container[str],
    typed_keys: Container[str],
    environment: Mapping[str, str],
) -> Iterator[KnownModel]:
    """The models of `cost_map` that one of litellm's `providers` has. `typed_keys` names keys that were given
    only for this run."""
    usable: dict[str, bool | None] = {}
    for provider, info in listed_models(cost_map, providers):
        if provider not in usable:
            usable[provider] = is_usable(provider, typed_keys, environment)
        yield KnownModel(info, usable[provider])


def is_usable(provider: str, typed_keys: Container[str], environment: Mapping[str, str]) -> bool | None:
    """Whether there is a key, or none is needed; None if the provider signs in by itself, which only shows in
    a request."""
    if provider in KEYLESS:
        return True
    names = key_variables(provider)
    if any(environment.get(name, "").strip() for name in names):
        return True
    if any(name in typed_keys for name in (*names, provider)):
        return True
    return None if provider in OWN_CREDENTIALS else False
