"""Finds what a user already has: keys in the environment and the keyring, servers on this machine.

Nothing leaves this machine: only loopback addresses are queried, without a proxy, a redirect, a cookie or a
key. Answers are not trusted: they are bounded in time and size, and dropped if they are not a list of models.
Of a key only its presence is reported, never its value.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.base.threads import run_in_thread
from core.base.values import Value
from core.model.setup import EnvironmentKey, KeyHome, LocalServer, StoredKey
from providers.keys.finder import KeySource, is_loopback
from providers.keys.names import key_variables
from providers.reading.model_list import model_names, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import httpx

    from core.model.setup import Found, KeyedProvider
    from providers.keys.store import KeyEntry

log = logging.getLogger(__name__)

CONNECT_WITHIN_S = 0.5
ANSWER_WITHIN_S = 2.0
LOOK_WITHIN_S = 5.0
"""Limit of the whole search, in seconds: each place has its own, but imports on a slow machine take time."""

_OLLAMA_PORT = 11434
_GENERIC = "hosted_vllm"
"""litellm's plain chat completions without a key of its own; `openai` would send the key of OpenAI."""


class Place(Value):
    """A possible server. `origin` is its address without a path, `listing` the path of its list of models and
    `path` what requests need after the origin."""

    name: str
    title: str
    protocol: str
    origin: str
    listing: str = "/v1/models"
    path: str = "/v1"


def _ollama(origin: str) -> Place:
    return Place("ollama", "Ollama", "ollama_chat", origin, "/api/tags", "")


def _here(port: int) -> str:
    return f"http://127.0.0.1:{port}"


USUAL_PLACES = (
    _ollama(_here(_OLLAMA_PORT)),
    Place("lmstudio", "LM Studio", "lm_studio", _here(1234)),
    Place("llamacpp", "llama.cpp", _GENERIC, _here(8080)),
    Place("vllm", "vLLM", _GENERIC, _here(8000)),
    Place("litellm", "LiteLLM", _GENERIC, _here(4000)),
    Place("jan", "Jan", _GENERIC, _here(1337)),
)


def places(environment: Mapping[str, str], usual: Sequence[Place] = USUAL_PLACES) -> tuple[Place, ...]:
    """The places to search: the usual ones, and Ollama's from its variables, if that is on this machine."""
    named = (environment.get(variable, "") for variable in ("OLLAMA_HOST", "OLLAMA_API_BASE"))
    ollamas = [_ollama(origin) for text in named if (origin := _origin_here(text)) is not None]
    unique: dict[str, Place] = {}
    for place in (*ollamas, *usual):
        unique.setdefault(place.origin, place)
    return tuple(unique.values())


class Discovery:
    """Searches `environment`, the key stores and local servers for what `providers` and any user can use.
    `kept` lists the stored keys; it blocks, runs in a thread, and may take any time."""

    def __init__(
        self,
        providers: Sequence[KeyedProvider],
        kept: Callable[[], Iterable[KeyEntry]],
        environment: Mapping[str, str] = os.environ,
        *,
        usual: Sequence[Place] = USUAL_PLACES,
        within_s: float = LOOK_WITHIN_S,
    ) -> None:
        self._providers = tuple(providers)
        self._kept = kept
        self._environment = environment
        self._usual = tuple(usual)
        self._within_s = within_s

    def present(self) -> tuple[EnvironmentKey, ...]:
        """Implements `core.model.setup.Setup.present`."""
        found = ((provider, self._variable_of(provider)) for provider in self._providers)
        return tuple(EnvironmentKey(provider, name) for provider, name in found if name is not None)

    async def look(self, on_found: Callable[[Found], object]) -> None:
        """Implements `core.model.setup.Setup.look`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._within_s), asyncio.TaskGroup() as group:
                group.create_task(self._look_at_servers(on_found))
                group.create_task(self._look_for_kept(on_found))

    def _variable_of(self, provider: KeyedProvider) -> str | None:
        names = key_variables(provider.name)
        return next((name for name in names if self._environment.get(name, "").strip()), None)

    async def _look_for_kept(self, on_found: Callable[[Found], object]) -> None:
        def work() -> list[StoredKey]:
            try:
                return self._usable(self._kept())
            except Exception as error:  # noqa: BLE001 - keyrings are plug-ins that raise what they like
                # Only its name: the text may hold data of the keyring.
                log.info("the keys that are kept cannot be listed: %s", type(error).__name__)
                return []

        for stored in await run_in_thread(work, name="kept keys"):
            on_found(stored)

    def _usable(self, kept: Iterable[KeyEntry]) -> list[StoredKey]:
        """One key for each provider that has none in the environment, which would take precedence."""
        homes = {KeySource.KEYRING: KeyHome.KEYRING, KeySource.FILE: KeyHome.FILE}
        home_of: dict[str, KeyHome] = {}
        for entry in kept:
            if (home := homes.get(entry.source)) is not None:
                home_of.setdefault(entry.name, home)
        found: list[StoredKey] = []
        for provider in self._providers:
            entries = (*key_variables(provider.name), provider.name)
            home = next((home_of[name] for name in entries if name in home_of), None)
            if home is not None and self._variable_of(provider) is None:
                found.append(StoredKey(provider, home))
        return found

    async def _look_at_servers(self, on_found: Callable[[Found], object]) -> None:
        # The import takes 90 ms, too long for the event loop.
        await run_in_thread(lambda: importlib.import_module("httpx"), name="import of httpx")
        import httpx

        # No address here is encrypted, so there is nothing to verify; loading all trusted certificates would
        # take longer than the rest.
        async with (
            httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                verify=False,
                timeout=httpx.Timeout(ANSWER_WITHIN_S, connect=CONNECT_WITHIN_S),
                headers={"accept": "application/json", "accept-encoding": "identity"},
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for place in places(self._environment, self._usual):
                group.create_task(_look_at(client, place, on_found))


async def _look_at(client: httpx.AsyncClient, place: Place, on_found: Callable[[Found], object]) -> None:
    import httpx

    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            body = await read_body(client, place.origin + place.listing)
            models = await run_in_thread(lambda: model_names(body), name="read a list of models")
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
        log.debug("nothing at %s: %s", place.origin, type(error).__name__)
        return
    on_found(LocalServer(place.name, place.title, place.protocol, place.origin + place.path, models))


def _origin_here(text: str) -> str | None:
    """The address in one of Ollama's variables, `127.0.0.1:11434` or a URL, if it is on this machine."""
    text = text.strip()
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "127.0.0.1", parts.port or _OLLAMA_PORT
        # One name for it, so that it is queried once; a server on all addresses also listens on this one.
        if host in ("localhost", "0.0.0.0", "::"):
            host = "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
    except ValueError:
        return None
    origin = f"http://{shown}:{port}"
    return origin if parts.scheme == "http" and is_loopback(origin) else None
