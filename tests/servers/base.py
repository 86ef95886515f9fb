"""A loopback server that plays scripts over one provider's wire protocol and watches its own sockets.

Subclasses say how a protocol looks; what is common is here: pace, faults, and the way a server is run and
waited for. A server never guesses whether its peer is there: it reads all the time, so a close is recorded
the moment it arrives, in a stall and before headers too.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from providers.demo.connections import Connections
from tests.servers.frames import Frame, Json, split
from tests.servers.http import Wire
from tests.servers.record import Connection, Exchange, Record, Request, Seen
from tests.servers.reply import Reply
from tests.servers.script import ErrorEvent, Refusal, Refuse, Script, Silence
from tests.servers.strict import complaint
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class Form(Enum):
    """In which form a request wants its reply."""

    STREAM = "stream"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Aside:
    """A fixed answer to a request that is not for a reply, such as a model's description."""

    body: Json


class Server(ABC):
    """`async with OpenAIServer(Script(...)) as server:` runs in the test's loop; see `ThreadedServer` too.

    `script` is what every request gets, or a function that chooses per request; it may be assigned at any
    time. `exchanges`, `connections` and the `wait_*` methods may be used from any thread; in the server's own
    loop only `until` waits without blocking it. A `strict` server answers 400 to what a real provider would
    refuse, and keeps why in `complaints`; the script is not used up by it.
    """

    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    overloaded_status: ClassVar[int] = 503

    def __init__(
        self,
        script: Script | Callable[[Request], Script] | None = None,
        *,
        port: int = 0,
        observer: Callable[[Seen], None] | None = None,
        strict: bool = True,
    ) -> None:
        self.script: Script | Callable[[Request], Script] = script or Script()
        self.port = port
        self.strict = strict
        self._record = Record(observer)
        self._wires: list[Wire] = []

    @abstractmethod
    def form(self, request: Request) -> Form | Aside | None:
        """What the request asks for; None for an address that the provider does not have."""

    @abstractmethod
    def stream(self, script: Script, request: Request) -> Iterator[Frame]:
        """The streamed reply, its end included."""

    @abstractmethod
    def whole(self, script: Script, request: Request) -> Json:
        """The reply as one JSON document."""

    @abstractmethod
    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        """The provider's body for an error status."""

    @abstractmethod
    def rejection(self, complaint: str) -> Json:
        """The provider's body for a request that it does not accept."""

    @abstractmethod
    def error_event(self, refusal: Refusal, request: Request) -> bytes:
        """The event with which the provider reports a failure in the middle of a stream."""

    def complaint(self, request: Request) -> str | None:
        """Why the provider refuses this request."""
        return complaint(request)

    def choose(self, request: Request) -> Script:
        """What this request gets."""
        return self.script if isinstance(self.script, Script) else self.script(request)

    def garbage(self, rubbish: bytes) -> bytes:
        return b"data: " + rubbish + b"\n\n"

    def status(self, refusal: Refusal) -> int:
        return self.overloaded_status if refusal is Refusal.OVERLOADED else abs(refusal.value)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> list[Connection]:
        return self._record.connections

    @property
    def exchanges(self) -> list[Exchange]:
        return self._record.exchanges

    @property
    def complaints(self) -> list[str]:
        """Why requests were refused, in their order; empty as long as all were sound."""
        return [exchange.complaint for exchange in self.exchanges if exchange.complaint is not None]

    @property
    def open_connections(self) -> int:
        """Sockets the peer has not closed, those idle in its pool included."""
        return sum(connection.closed_at is None for connection in self.connections)

    @property
    def busy_connections(self) -> int:
        """Open sockets whose request has not got all of its answer."""
        return sum(not exchange.is_over for exchange in self.exchanges)

    def wait_for(self, condition: Callable[[], bool], timeout: float = GENEROUS_S) -> None:
        """Block the calling thread until `condition` about this server holds; raises `TimeoutError`."""
        self._record.wait_for(condition, timeout)

    def wait_request(self, n: int = 1, timeout: float = GENEROUS_S) -> Exchange:
        """The nth exchange (from 1), once its request has arrived completely."""
        self.wait_for(lambda: len(self.exchanges) >= n, timeout)
        return self.exchanges[n - 1]

    def wait_deltas(self, exchange: Exchange, count: int, timeout: float = GENEROUS_S) -> None:
        self.wait_for(lambda: exchange.deltas_sent >= count, timeout)

    def wait_closed(self, exchange: Exchange, timeout: float = GENEROUS_S) -> float:
        """The `time.monotonic()` at which the exchange's connection closed."""
        self.wait_for(lambda: exchange.closed_at is not None, timeout)
        return exchange.closed_at or 0.0

    async def until(self, condition: Callable[[], bool], timeout: float = GENEROUS_S) -> None:
        """`wait_for` for coroutines of any loop."""
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 (the change comes from another thread's loop)
                await asyncio.sleep(0.001)

    def release(self, exchange: Exchange) -> None:
        """Let a stalled or silent exchange go on; from any thread."""
        self._loop.call_soon_threadsafe(exchange.released.set)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.port = listener.getsockname()[1]
        self._accepted = Connections(listener, self._hand_over)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything; an error in a script's chooser or in a protocol is raised here."""
        await self._accepted.close()
        wires = [wire for wire in self._wires if wire.is_made]
        for wire in wires:
            wire.abort()
        tasks = [wire.task for wire in wires]
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        # An aborted transport closes its socket in the loop's next round.
        await asyncio.sleep(0)
        errors = [error for error in results if isinstance(error, Exception)]
        if errors:
            raise ExceptionGroup("the server failed", errors)

    async def _hand_over(self, connection: socket.socket) -> None:
        wire = Wire(self._record, self._answer)
        self._wires.append(wire)
        await self._loop.connect_accepted_socket(lambda: wire, connection)

    async def _answer(self, wire: Wire, exchange: Exchange) -> None:
        request = exchange.request
        match self.form(request):
            case None:
                reply = Reply(self._record, wire, exchange, Script())
                await reply.send_json(404, {"error": f"no such address: {request.method} {request.path}"})
            case Aside(body):
                await Reply(self._record, wire, exchange, Script()).send_json(200, body)
            case Form() if self.strict and (why := self.complaint(request)) is not None:
                self._record.complained(exchange, why)
                reply = Reply(self._record, wire, exchange, Script())
                await reply.send_json(400, self.rejection(why))
            case Form() as form:
                await self._perform(Reply(self._record, wire, exchange, self.choose(request)), form)

    async def _perform(self, reply: Reply, form: Form) -> None:
        script, request = reply.script, reply.exchange.request
        fault = script.fault
        if isinstance(fault, Silence) or (script.endless and form is Form.WHOLE):
            await reply.exchange.released.wait()
        if isinstance(fault, ErrorEvent) and form is Form.WHOLE:
            fault = Refuse(fault.refusal)
        if isinstance(fault, Refuse):
            status = fault.status or self.status(fault.refusal)
            await reply.send_refusal(fault, status, self.refusal(fault, status, request))
            return
        if form is Form.STREAM:
            await reply.send_head(200, {"content-type": self.stream_type, "cache-control": "no-cache"})
            await reply.send_frames(self.stream(script, request), self)
        else:
            await reply.send_head(200, {"content-type": "application/json"})
            await reply.send_frames(split(self.whole(script, request), script.delta_count), self)


AnyServer = TypeVar("AnyServer", bound=Server)


class ThreadedServer(Generic[AnyServer]):
    """`with ThreadedServer(OpenAIServer(script)) as server:` runs it in a thread with a loop of its own."""

    def __init__(self, server: AnyServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="server", daemon=True)
        self._started = threading.Event()
        self._error: BaseException | None = None

    def __enter__(self) -> AnyServer:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self._server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with self._server:
                self._started.set()
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001 (handed to the thread that uses the server)
            self._error = error
        finally:
            self._started.set()
