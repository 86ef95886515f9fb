"""Asks a server what models it has and how much they read, as it is asked for replies: with its key and
headers, through the same kind of client (P9), and for a bounded time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx
from msgspec.structs import replace

from providers.keys.finder import Key, KeySource
from providers.keys.names import KeyProblem, explain
from providers.reading.model_list import NoList, context_window, listed_models, read_body
from providers.wire import ServerListed
from providers.worker.exchange import NoNetwork, new_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.model.directory import OwnServer
    from providers.keys.finder import KeyFinder

ANSWER_WITHIN_S = 5.0
"""How long a server may take, in seconds. A keyring has its own time before that."""

OLLAMA = "ollama_chat"
_REFUSED = frozenset({401, 403})


async def ask_server(stream_id: int, server: OwnServer, keys: KeyFinder) -> ServerListed:
    """The answer to `ListServer`. Never raises for what a server does."""
    key = await _key(server, keys)
    try:
        async with _client(server, key) as client:
            models = await asyncio.to_thread(listed_models, await _body(client, server))
        named = (replace(info, model=server.prefix + info.model) for info in models)
        return ServerListed(stream_id, tuple(named))
    except TimeoutError:
        why = f"it has not answered within {ANSWER_WITHIN_S:g} s"
    except NoList as error:
        why = f"it answers with the status {error.status}"
        if error.status in _REFUSED:
            why = _refusal(server, key)
            keys.forget(server.protocol, key_name=server.key_name)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Its text may hold an address with a password.
        why = f"it cannot be reached ({type(error).__name__})"
    except NoNetwork as error:
        why = f"the network settings cannot be used: {error}"
    except OSError as error:
        why = f"the certificates for it cannot be read ({error.strerror or type(error).__name__})"
    except (ValueError, RecursionError):
        why = "its answer cannot be read"
    return ServerListed(stream_id, problem=f"{server.title} lists no models: {why}.")


async def ask_window(server: OwnServer, model: str, keys: KeyFinder) -> int | None:
    """How much a model of the server reads, in tokens; None if the server does not tell. Never raises for
    what it does. Ollama tells it of a model that it has loaded."""
    base = server.api_base.rstrip("/")
    root = base.removesuffix("/v1")
    places: dict[str, object] = dict.fromkeys((f"{base}/models", f"{root}/v1/models", f"{root}/props"))
    if server.protocol == OLLAMA:
        places = {f"{root}/api/ps": None, f"{root}/api/show": {"model": model}}
    key = await _key(server, keys)
    with contextlib.suppress(TimeoutError, NoNetwork, OSError, ValueError):
        async with _client(server, key) as client:
            for url, question in places.items():
                if tokens := await _window_at(client, url, question, model):
                    return tokens
    return None


async def _window_at(client: httpx.AsyncClient, url: str, question: object, model: str) -> int | None:
    try:
        body = await read_body(client, url, question)
        return await asyncio.to_thread(context_window, body, model)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
        return None


async def _key(server: OwnServer, keys: KeyFinder) -> Key | KeyProblem:
    # Keyring and file of keys would block the event loop.
    return await asyncio.to_thread(
        keys.find, server.protocol, api_base=server.api_base, key_name=server.key_name
    )


@contextlib.asynccontextmanager
async def _client(server: OwnServer, key: Key | KeyProblem) -> AsyncIterator[httpx.AsyncClient]:
    """A client for one question. Raises `NoNetwork`, `TimeoutError` in the block, and `OSError` or
    `ValueError` for bad certificates."""
    client = await asyncio.to_thread(new_client, server.options.network)
    async with client, asyncio.timeout(ANSWER_WITHIN_S):
        client.headers = _headers(server, key)
        yield client


def _refusal(server: OwnServer, key: Key | KeyProblem) -> str:
    if isinstance(key, KeyProblem):
        return f"it wants a key. {explain(key, server.protocol, server.key_name)}".removesuffix(".")
    if key.source is KeySource.NOT_NEEDED:
        return "it wants a key, and none was found"
    return "it refuses the key; `caesura keys list` says where that comes from"


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


def _headers(server: OwnServer, key: Key | KeyProblem) -> httpx.Headers:
    headers = httpx.Headers({"accept": "application/json", "accept-encoding": "identity"})
    if isinstance(key, Key) and key.value and key.source is not KeySource.NOT_NEEDED:
        if server.protocol == "anthropic":
            headers.update({"x-api-key": key.value, "anthropic-version": "2023-06-01"})
        else:
            headers["authorization"] = f"Bearer {key.value}"
    # Those of the settings go before ours, as in a request.
    headers.update(server.options.headers)
    return headers
