"""What a server saw, and when: its connections and the exchanges on them.

All times are `time.monotonic()` in seconds, which on Linux and macOS every process of the machine shares.
Only the server's loop writes; any thread may read and wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.servers.conversation import read_conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.servers.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are in lower case; `body` is the parsed JSON, or empty."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def conversation(self) -> Conversation:
        """What it says, in the form common to all protocols. Raises for a request of another kind."""
        return read_conversation(self.path, self.body)


@dataclass(slots=True, eq=False)
class Connection:
    """One socket, from accept to close.

    `closed_at` is the moment the peer's FIN or RST was read, or that of our own close; `closed_by_peer`
    tells which came first.
    """

    index: int
    accepted_at: float
    closed_at: float | None = None
    closed_by_peer: bool = False


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and how far its answer got.

    `completed_at` is set once all of it was handed to the socket. `complaint` is why the request was answered
    with 400 instead of the script: see `tests.servers.strict`.
    """

    index: int
    connection: Connection
    request: Request
    received_at: float
    headers_at: float | None = None
    completed_at: float | None = None
    deltas_sent: int = 0
    complaint: str | None = None
    released: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def closed_at(self) -> float | None:
        return self.connection.closed_at

    @property
    def closed_by_peer(self) -> bool:
        return self.connection.closed_by_peer

    @property
    def is_over(self) -> bool:
        """Answered completely, or its connection is gone."""
        return self.completed_at is not None or self.closed_at is not None


class Moment(StrEnum):
    ACCEPTED = "accepted"
    REQUEST = "request"
    HEADERS = "headers"
    COMPLETED = "completed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Seen:
    """One line of a server process's report. `exchange` is None for a connection without a request."""

    event: Moment
    at: float
    connection: int
    exchange: int | None = None
    by_peer: bool = False
    deltas_sent: int = 0


class Record:
    """The list of all connections and exchanges, which any thread can wait on."""

    def __init__(self, observer: Callable[[Seen], None] | None = None) -> None:
        self._changed = threading.Condition()
        self._connections: list[Connection] = []
        self._exchanges: list[Exchange] = []
        self._observer = observer

    @property
    def connections(self) -> list[Connection]:
        with self._changed:
            return list(self._connections)

    @property
    def exchanges(self) -> list[Exchange]:
        with self._changed:
            return list(self._exchanges)

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"not within {timeout} s; exchanges: {self._exchanges}")

    @contextmanager
    def _change(self) -> Iterator[float]:
        now = time.monotonic()
        with self._changed:
            yield now
            self._changed.notify_all()

    def accepted(self) -> Connection:
        with self._change() as now:
            connection = Connection(len(self._connections), now)
            self._connections.append(connection)
        self._report(Seen(Moment.ACCEPTED, now, connection.index))
        return connection

    def received(self, connection: Connection, request: Request) -> Exchange:
        with self._change() as now:
            exchange = Exchange(len(self._exchanges), connection, request, now)
            self._exchanges.append(exchange)
        self._report_exchange(Moment.REQUEST, now, exchange)
        return exchange

    def complained(self, exchange: Exchange, complaint: str) -> None:
        with self._change():
            exchange.complaint = complaint

    def headers_sent(self, exchange: Exchange) -> None:
        with self._change() as exchange.headers_at:
            pass
        self._report_exchange(Moment.HEADERS, exchange.headers_at, exchange)

    def deltas_sent(self, exchange: Exchange, count: int) -> None:
        with self._change():
            exchange.deltas_sent += count

    def completed(self, exchange: Exchange) -> None:
        with self._change() as exchange.completed_at:
            pass
        self._report_exchange(Moment.COMPLETED, exchange.completed_at, exchange)

    def closed(self, connection: Connection, exchange: Exchange | None, *, by_peer: bool) -> None:
        """The first report of a connection's end counts; later ones are ignored."""
        if connection.closed_at is not None:
            return
        with self._change() as now:
            connection.closed_at = now
            connection.closed_by_peer = by_peer
        index, sent = (exchange.index, exchange.deltas_sent) if exchange else (None, 0)
        self._report(Seen(Moment.CLOSED, now, connection.index, index, by_peer, sent))

    def _report_exchange(self, moment: Moment, at: float, exchange: Exchange) -> None:
        self._report(
            Seen(moment, at, exchange.connection.index, exchange.index, deltas_sent=exchange.deltas_sent)
        )

    def _report(self, seen: Seen) -> None:
        if self._observer is not None:
            self._observer(seen)
