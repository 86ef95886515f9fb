"""Asks servers for the models that they have, with a server's own key, without a keyring, each for a bounded
time."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from core.base.threads import run_in_thread
from core.model.directory import ServerModels
from core.model.provider import ModelInfo, Offer, OfferKind
from providers.keys.finder import Key, KeySource
from providers.reading.model_list import NoList, context_window, model_names, read_body
from providers.routing.servers import OLLAMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from providers.keys.finder import KeyFinder
    from providers.routing.servers import OwnServer

ANSWER_WITHIN_S = 5.0
"""How long one server may take, in seconds."""

_REFUSED = frozenset({401, 403})


async def ask_servers(servers: Iterable[OwnServer], keys: KeyFinder) -> ServerModels:
    """The models of all servers, in this order. Never raises for what a server does."""
    answers = await asyncio.gather(*(_ask(server, keys) for server in servers))
    offers = [
        Offer(ModelInfo(name), OfferKind.SERVER, usable=True)
        for answer in answers
        if not isinstance(answer, str)
        for name in answer
    ]
    return ServerModels(tuple(offers), tuple(answer for answer in answers if isinstance(answer, str)))


async def _ask(server: OwnServer, keys: KeyFinder) -> tuple[str, ...] | str:
    """The names of its models as a choice has them, or a sentence why there are none."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            # The import, the certificates and the file of keys take too long for the event loop.
            client = await run_in_thread(lambda: _client(server, keys), name="a client for a list of models")
            async with client:
                names = await _names(client, server)
            return tuple(server.prefix + name for name in names)
    except TimeoutError:
        why = f"it has not answered within {ANSWER_WITHIN_S:g} s"
    except NoList as error:
        wants = "it wants a key, and none was found outside of the keyring"
        why = wants if error.status in _REFUSED else f"it answers with the status {error.status}"
    except _Unreachable as error:
        why = f"it cannot be reached ({error})"
    except OSError as error:
        why = f"the certificates for it cannot be read ({error.strerror or type(error).__name__})"
    except (ValueError, RecursionError):
        why = "its answer cannot be read"
    return f"{server.title} lists no models: {why}."


class _Unreachable(Exception):
    """The text is the name of httpx's error, whose own text may hold an address with a password."""


async def _names(client: httpx.AsyncClient, server: OwnServer) -> tuple[str, ...]:
    import httpx

    try:
        body = await _body(client, server)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _Unreachable(type(error).__name__) from None
    return await run_in_thread(lambda: model_names(body), name="read a list of models")


async def _body(client: httpx.AsyncClient, server: OwnServer) -> bytes:
    base = server.api_base.rstrip("/")
    if server.protocol == OLLAMA:
        return await read_body(client, f"{base.removesuffix('/v1')}/api/tags")
    if server.protocol == "anthropic":
        return await read_body(client, f"{base.removesuffix('/v1')}/v1/models")
    try:
        return await read_body(client, f"{base}/models")
    except NoList as error:
        if error.status != 404 or base.endswith("/v1"):
            raise
    return await read_body(client, f"{base}/v1/models")


async def ask_window(server: OwnServer, model: str, keys: KeyFinder) -> int | None:
    """How much a model of the server reads, in tokens; None if the server does not tell. Never raises for
    what it does, and takes `ANSWER_WITHIN_S` at most. Ollama tells it of a model that it has loaded."""
    base = server.api_base.rstrip("/")
    root = base.removesuffix("/v1")
    places: dict[str, object] = dict.fromkeys((f"{base}/models", f"{root}/v1/models", f"{root}/props"))
    if server.protocol == OLLAMA:
        places = {f"{root}/api/ps": None, f"{root}/api/show": {"model": model}}
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(ANSWER_WITHIN_S):
            client = await run_in_thread(lambda: _client(server, keys), name="a client for a question")
            async with client:
                for url, question in places.items():
                    if tokens := await _window_at(client, url, question, model):
                        return tokens
    return None


async def _window_at(client: httpx.AsyncClient, url: str, question: object, model: str) -> int | None:
    import httpx

    try:
        body = await read_body(client, url, question)
        return await run_in_thread(lambda: context_window(body, model), name="read a context window")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
        return None


def _client(server: OwnServer, keys: KeyFinder) -> httpx.AsyncClient:
    """Proxies and certificates are those of requests, and no redirect is followed (P9). Blocks."""
    import httpx

    trusted = httpx.create_ssl_context()
    if server.options.ca_file:
        trusted.load_verify_locations(Path(server.options.ca_file).expanduser())
    headers = {"accept": "application/json", "accept-encoding": "identity", **server.options.headers}
    found = keys.find(server.protocol, api_base=server.api_base, key_name=server.key_name, ask_keyring=False)
    if isinstance(found, Key) and found.value and found.source is not KeySource.NOT_NEEDED:
        if server.protocol == "anthropic":
            headers |= {"x-api-key": found.value, "anthropic-version": "2023-06-01"}
        else:
            headers |= {"authorization": f"Bearer {found.value}"}
    return httpx.AsyncClient(verify=trusted, follow_redirects=False, timeout=None, headers=headers)
