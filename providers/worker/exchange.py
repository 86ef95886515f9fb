"""One request on its way and the reply that is read from it: sent once, to one address, and read as it comes.

Knows neither litellm nor where a request comes from.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from core.base.setting import NO_PROXY
from providers.reading.decoder import Decoder, TooLong
from providers.worker.sockets import MOST_BYTES_PER_REPLY, current_trace

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable

    from core.model.provider import ContentDelta
    from core.model.server_options import Network
    from providers.reading.parser import Parser

    Emit = Callable[[Iterable[ContentDelta]], None]

MOST_BYTES_OF_A_REFUSAL = 64 * 1024
REFUSAL_WITHIN_S = 5.0
"""How long the body of a refusal is read. What has come by then is quoted."""
END_WITHIN_S = 2.0
"""How long a server may take, after the reason to end, for the usage and its end mark. One that sends neither
and keeps the connection open has sent a whole reply all the same."""
DRAIN_WITHIN_S = 0.05
"""How long HTTP's own end is waited for after the end mark, so that the connection can be used again."""
SLICE_S = 0.002
"""A burst is read without a real await. After this time it lets the loop see a stop."""


class Refused(Exception):
    """The text of an answer with an error status; its cause is httpx's error, with status and headers."""

    def __init__(self, status_code: int, text: str) -> None:
        super().__init__(text)
        self.status_code = status_code


class Slices:
    """Work that does not await, in slices: `await slices.end()` between two pieces lets others run."""

    def __init__(self) -> None:
        self._until = time.monotonic() + SLICE_S

    async def end(self) -> None:
        if time.monotonic() > self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + SLICE_S


class NoNetwork(Exception):
    """The network settings, of the environment or of a server, cannot be used. The text is safe to show."""


class Clients:
    """HTTP clients, one for each way to reach a server.

    They keep connections, but no cookies, and follow no redirect (P9).
    """

    def __init__(self) -> None:
        self._trusted: dict[str, ssl.SSLContext] = {}
        self._clients: dict[Network, httpx.AsyncClient] = {}

    def prepare(self) -> None:
        """Read the usual certificates before there is a request. If they cannot be read, that fails."""
        with contextlib.suppress(NoNetwork):
            self._trusted[""] = _trust("")

    async def get(self, network: Network) -> httpx.AsyncClient:
        """The client for servers that are reached so. Raises `OSError` or `ValueError` if its certificates
        cannot be read, and `NoNetwork`."""
        if (ca_file := network.ca_file) not in self._trusted:
            self._trusted[ca_file] = await asyncio.to_thread(_trust, ca_file)
        if network not in self._clients:
            self._clients[network] = _client_with(self._trusted[ca_file], network.proxy)
        return self._clients[network]

    async def drop(self, network: Network) -> None:
        """Close a client with what it keeps. The next request gets a new one.

        For a client whose request was stopped: at some of its awaits httpx's pool keeps a request for good,
        with the conversation in it.
        """
        if (client := self._clients.pop(network, None)) is not None:
            await client.aclose()


def _trust(ca_file: str) -> ssl.SSLContext:
    """The usual certificates and those in `ca_file`. Reads all of them, for tens of milliseconds; raises as
    `Clients.get` does."""
    try:
        trusted = httpx.create_ssl_context()
    except OSError as error:
        raise NoNetwork(f"SSL_CERT_FILE or SSL_CERT_DIR: {error.strerror or error}") from error
    if ca_file:
        trusted.load_verify_locations(Path(ca_file).expanduser())
    return trusted


def new_client(network: Network) -> httpx.AsyncClient:
    """A client for servers that are reached so. Blocks, and raises as `Clients.get` does."""
    return _client_with(_trust(network.ca_file), network.proxy)


def _client_with(trusted: ssl.SSLContext, proxy: str) -> httpx.AsyncClient:
    is_own = proxy not in ("", NO_PROXY)
    try:
        return httpx.AsyncClient(
            verify=trusted,
            proxy=_proxy_at(proxy, trusted) if is_own else None,
            trust_env=proxy != NO_PROXY,
            timeout=None,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
    except ImportError as error:
        raise NoNetwork("a SOCKS proxy needs the Python package “socksio”") from error
    except (ValueError, httpx.InvalidURL):
        # Without the error, which may quote a part of the proxy's password.
        raise NoNetwork("the address of a proxy is not valid") from None


def _proxy_at(address: str, trusted: ssl.SSLContext) -> httpx.Proxy:
    """The proxy at an address, trusted by the same certificates as the server behind it."""
    is_encrypted = httpx.URL(address).scheme == "https"
    return httpx.Proxy(address, ssl_context=trusted if is_encrypted else None)


async def exchange(
    client: httpx.AsyncClient, request: httpx.Request, parser: Parser, emit: Emit, *, streaming: bool
) -> None:
    """Send `request` and emit what `parser` reads from the answer, until the reply is over.

    Whether it is complete is for the caller to ask the parser. Raises `Refused` for an error status, httpx's
    errors for those of the connection, and what decoder and parser raise.
    """
    request.extensions["timeout"] = httpx.Timeout(None).as_dict()
    response = await client.send(request, stream=True)
    try:
        if not response.is_success:
            await _refuse(response)
        decoder = Decoder(streaming=streaming)
        await _read(response, parser, emit, decoder)
        parser.summary.is_whole = decoder.is_document
    finally:
        await response.aclose()


async def _read(response: httpx.Response, parser: Parser, emit: Emit, decoder: Decoder) -> None:
    chunks = response.aiter_bytes()
    slices = Slices()
    end_by, left = None, MOST_BYTES_PER_REPLY
    while (data := await _next(chunks, end_by)) is not None:
        # What comes compressed is counted here: on the wire it may be a thousandth.
        left -= len(data)
        if left < 0:
            raise TooLong
        for event in decoder.feed(data):
            emit(parser.parse(event))
            if parser.is_done:
                await _drain(chunks)
                return
            await slices.end()
        if parser.is_ending:
            end_by = end_by or _now() + END_WITHIN_S
            _hurry()
        else:
            end_by = None
    for event in decoder.finish():
        emit(parser.parse(event))
    if (document := decoder.document) is not None:
        emit(parser.parse_document(document))


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Wait for HTTP's own end behind a whole reply. What is wrong with it only costs the connection."""
    _hurry()
    with contextlib.suppress(httpx.HTTPError):
        await _next(chunks, _now() + DRAIN_WITHIN_S)


def _hurry() -> None:
    if (trace := current_trace.get()) is not None:
        trace.hurry()


async def _next(chunks: AsyncIterator[bytes], by: float | None) -> bytes | None:
    """The next bytes; None at the end, or if they have not come by this time of the loop's clock."""
    with contextlib.suppress(StopAsyncIteration, TimeoutError):
        async with asyncio.timeout_at(by):
            return await anext(chunks)
    return None


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _refuse(response: httpx.Response) -> None:
    text = b""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(REFUSAL_WITHIN_S):
            async for data in response.aiter_bytes():
                text += data
                if len(text) > MOST_BYTES_OF_A_REFUSAL:
                    break
    said = text[:MOST_BYTES_OF_A_REFUSAL].decode("utf-8", "replace")
    bare = httpx.Response(response.status_code, headers=response.headers, request=response.request)
    error = httpx.HTTPStatusError(str(bare.status_code), request=bare.request, response=bare)
    raise Refused(bare.status_code, said) from error
