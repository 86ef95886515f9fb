"""What litellm would send, and nothing sent: the request of a call, taken from its HTTP client.

litellm compiles the request: names, sign-in, translation, parameters. It gets a client of ours whose
transport raises the finished request as `Captured`. That is no `Exception`, so litellm neither maps nor
retries it, and nothing of the network ever passes through litellm.

Some of its providers take no client and have sent the request by then. So a call is made once, and the result
is either its request or litellm's own answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx

from core.model.server_options import USUAL, Network
from providers.reading.protocols import protocol_of
from providers.worker.exchange import Clients

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from providers.reading.protocols import Protocol

_capturing: ContextVar[bool] = ContextVar("_capturing", default=False)
current_network: ContextVar[Network] = ContextVar("current_network")
"""How the server of the current task is reached."""


class Captured(BaseException):
    """The request that litellm has compiled, its `body`, and how its answer is read."""

    def __init__(self, request: httpx.Request, body: dict[str, Any], protocol: Protocol) -> None:
        super().__init__()
        self.request = request
        self.body = body
        self.protocol = protocol


class CapturingTransport(httpx.AsyncBaseTransport):
    """Raises each request whose answer we can read ourselves, and sends all others."""

    _clients: Clients | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        body = _body_of(request) if _capturing.get() else {}
        if body and (protocol := protocol_of(request.url.path, body)) is not None:
            raise Captured(request, body, protocol)
        if self._clients is None:
            # It reads all certificates, for tens of milliseconds.
            self._clients = await asyncio.to_thread(Clients)
        client = await self._clients.get(current_network.get(USUAL.network))
        return await client.send(request, stream=True)


def capturing_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=CapturingTransport(), trust_env=False, follow_redirects=False)


async def capture(call: Awaitable[Any]) -> Any:
    """The `Captured` request of `call`, litellm's call of a model, or litellm's own answer."""
    with _as_capture():
        try:
            answer = await call
            if hasattr(answer, "fetch_stream"):
                # Gemini's request is only made when its stream is first read.
                await answer.fetch_stream()
        except Captured as captured:
            # Without the frames of its traceback.
            return Captured(captured.request, captured.body, captured.protocol)
    return answer


@contextlib.contextmanager
def _as_capture() -> Iterator[None]:
    token = _capturing.set(True)
    try:
        yield
    finally:
        _capturing.reset(token)


def _body_of(request: httpx.Request) -> dict[str, Any]:
    """Empty if it is no JSON object."""
    try:
        body = json.loads(request.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
