"""Two kinds of child behind one provider: a compiler, which has litellm, and stream processes with sockets.

A request is compiled by the one and sent by the other, so a stop that is not confirmed kills the process of
its own stream and costs no other one its reply. A compiled request, which has a key in it, goes from the
compiler to the stream process on a socket between them, and never through the program. What Caesura cannot
read itself, litellm streams in the compiler.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, assert_never

from core.model.provider import FailureKind, Finished, ModelError
from providers.client.catalog_queries import CatalogQueries
from providers.client.link import Link
from providers.client.spawn import Launch, Role
from providers.client.stream import StreamHandle, not_started, process_died, result_of
from providers.wire import End, HandedOver, KeyRefused, Open, Start, UseKey, dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from core.cancel import CancelToken
    from core.model.directory import OwnServer, ServerModels
    from core.model.provider import Emit, ModelInfo, ModelRequest, Offer
    from providers.client.spawn import Child
    from providers.wire import Answer, Query

log = logging.getLogger(__name__)

SPARE = 1
"""How many stream processes are kept for the next turn, with their connections."""
IDLE_S = 300.0
"""How long the compiler is kept when nobody needs it: it has most of the memory of all processes."""


class Compiler(Link):
    """The process that has litellm: it compiles requests, streams what only litellm can read, and knows the
    catalogue."""

    role = Role.COMPILER
    restarts_itself = True

    def __init__(self, ids: itertools.count[int], launch: Launch) -> None:
        super().__init__(launch)
        self._typed_keys: dict[str, str] = {}
        self._compiled: dict[int, socket.socket] = {}
        self.queries = CatalogQueries(ids, self._ask, self.send)

    def use_key(self, name: str, value: str) -> None:
        with self._lock:
            self._typed_keys[name] = value
            if self._child is not None:
                self._outgoing.send(dump(UseKey(name, value)))
        self.queries.forget_offers()

    def take_compiled(self, stream_id: int) -> socket.socket | None:
        """The socket from which the compiled request of a stream is read, to be closed by the caller."""
        return self._compiled.pop(stream_id, None)

    def prepare(self) -> None:
        """Be ready for a request that may come soon. May be called from any thread, and often."""
        with self._lock:
            self._used_at = time.monotonic()
            if not self.is_resting:
                return
            self._wanted = True
        self._outgoing.wake()

    def _ask(self, question: Query) -> None:
        with self._lock:
            self._used_at = time.monotonic()
            self._wanted = True
            self.send(question)

    def _first_lines(self) -> bytes:
        return b"".join(dump(UseKey(name, value)) for name, value in self._typed_keys.items())

    def _opening(self, stream: StreamHandle) -> bytes:
        return dump(Open(stream.stream_id, stream.request))

    def _pass_socket(self, stream: StreamHandle, child: Child) -> bool:
        # A new pair each time: an earlier compiler may have written half of the request.
        if (half := self.take_compiled(stream.stream_id)) is not None:
            half.close()
        ours, theirs = socket.socketpair()
        self._compiled[stream.stream_id] = ours
        with theirs:
            return child.pass_socket(stream.stream_id, theirs)

    def _answered(self, answer: Answer) -> None:
        self.queries.answer(answer)

    def _child_is_gone(self) -> None:
        self.queries.give_up()

    def _unneeded_at(self) -> float:
        in_use = self._streams or self.queries.waiting
        return math.inf if in_use else self._used_at + IDLE_S


class Streamer(Link):
    """A process that sends compiled requests and reads the replies. One that has ended is not replaced."""

    role = Role.STREAMER
    restarts_itself = False

    def __init__(self, launch: Launch, on_end: Callable[[], object]) -> None:
        super().__init__(launch)
        self._on_end = on_end
        self._compiled: dict[int, socket.socket] = {}

    async def send_compiled(
        self, stream: StreamHandle, compiled: socket.socket, token: CancelToken, emit: Emit
    ) -> Finished:
        """`serve` a stream whose compiled request comes from `compiled`."""
        self._compiled[stream.stream_id] = compiled
        try:
            end = await self.serve(stream, token, emit)
        finally:
            del self._compiled[stream.stream_id]
        assert isinstance(end, End)
        return result_of(end)

    def _first_lines(self) -> bytes:
        return b""

    def _opening(self, stream: StreamHandle) -> bytes:
        return dump(Start(stream.stream_id))

    def _pass_socket(self, stream: StreamHandle, child: Child) -> bool:
        compiled = self._compiled.get(stream.stream_id)
        return compiled is not None and child.pass_socket(stream.stream_id, compiled)

    def _answered(self, answer: Answer) -> None:
        raise AssertionError("a stream process is asked nothing")

    def _child_is_gone(self) -> None:
        # The next one would end like one that never got ready; a request tries it again.
        if self._wanted:
            self._on_end()


class ModelProcess:
    """A `core.model.provider.ModelProvider` and `core.model.directory.ServerCatalog` whose libraries run in
    processes of their own.

    `start` returns at once and may be called before there is an event loop; `close` ends all processes and
    threads. One instance serves any number of streams at once, from any number of event loops. Errors of the
    processes go to the file that `log_file` names, which is called in their threads; None drops them.
    """

    def __init__(self, log_file: Callable[[], Path] | None = None) -> None:
        self._launch = Launch(log_file)
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._compiler = Compiler(self._ids, self._launch)
        self._idle: list[Streamer] = []
        self._busy: set[Streamer] = set()
        self._replaced = 0
        self._closing = False

    @property
    def pid(self) -> int | None:
        """The compiler's process id, None between two compilers."""
        return self._compiler.pid

    @property
    def is_resting(self) -> bool:
        """Whether the compiler was ended because nobody needed it."""
        return self._compiler.is_resting

    @property
    def busy_pids(self) -> tuple[int, ...]:
        """The process ids of the stream processes that serve a stream."""
        with self._lock:
            return _pids(self._busy)

    @property
    def spare_pids(self) -> tuple[int, ...]:
        """The process ids of the stream processes that wait for one."""
        with self._lock:
            return _pids(self._idle)

    @property
    def restarts(self) -> int:
        """How many processes had to be replaced."""
        with self._lock:
            alive = sum(streamer.restarts for streamer in (*self._busy, *self._idle))
        return self._compiler.restarts + self._replaced + alive

    def start(self) -> None:
        """Start the compiler, so that it is warm when the first prompt comes. A stream process is ready much
        sooner: `prepare` or the first request starts it, and the program's own start has the processors."""
        self._compiler.start()

    def prepare(self) -> None:
        """Start what is not there because it was not needed: a person types, so a request may come soon.

        Returns at once. May be called from any thread, and often.
        """
        self._compiler.prepare()
        with self._lock:
            # A turn under way leaves its process to the next one. A spare one that has failed is still there:
            # a request tries again, and not each letter.
            if not (self._busy or self._idle):
                self._add_spare()

    def close(self) -> None:
        """End all processes and what they have open. Waits for that, for a bounded time."""
        with self._lock:
            links = self._end_all()
        for link in links:
            link.close()

    def kill(self) -> None:
        """Kill all processes at once, from any thread, without waiting, not even for a lock. For a program
        that is about to end."""
        for link in self._end_all():
            link.kill()

    def _end_all(self) -> tuple[Link, ...]:
        self._closing = True
        links = (self._compiler, *tuple(self._busy), *tuple(self._idle))
        for link in links:
            link.end()
        return links

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Send a request. A process that dies before the first delta is replaced, once.

        The rest is as `core.model.provider.ModelProvider` says.
        """
        token.check()
        loop, restarted = asyncio.get_running_loop(), False
        while True:
            stream_id = next(self._ids)
            compiling, stream = (StreamHandle(stream_id, request, loop) for _ in range(2))
            streamer = self._lease(stream)
            try:
                return await self._send(compiling, stream, streamer, token, emit)
            except ModelError as error:
                # The stream process, or the compiler while it handed the request over.
                may_retry = streamer.is_ended or isinstance(compiling.end, HandedOver)
                has_died = error.kind is FailureKind.PROCESS_DIED and may_retry
                shown = compiling.shown or stream.shown
                if restarted or shown or self._closing or not has_died:
                    raise
                restarted = True
            finally:
                self._release(streamer)

    async def _send(
        self,
        compiling: StreamHandle,
        stream: StreamHandle,
        streamer: Streamer,
        token: CancelToken,
        emit: Emit,
    ) -> Finished:
        """Have a request compiled, then sent. The two handles have one id: it is one stream."""
        compiled = None
        try:
            end = await self._compiler.serve(compiling, token, emit)
            compiled = self._compiler.take_compiled(stream.stream_id)
            match end:
                case End():
                    return result_of(end)
                case HandedOver(_, provider):
                    assert compiled is not None
                    return await self._send_compiled(streamer, stream, compiled, provider, token, emit)
                case _:
                    assert_never(end)
        finally:
            compiled = compiled or self._compiler.take_compiled(stream.stream_id)
            if compiled is not None:
                compiled.close()

    async def _send_compiled(
        self,
        streamer: Streamer,
        stream: StreamHandle,
        compiled: socket.socket,
        provider: str,
        token: CancelToken,
        emit: Emit,
    ) -> Finished:
        try:
            return await streamer.send_compiled(stream, compiled, token, emit)
        except ModelError as error:
            if error.kind is FailureKind.WRONG_KEY:
                self._compiler.send(KeyRefused(provider, stream.request.key_name))
            raise

    async def describe(self, model: str) -> ModelInfo:
        """What litellm's catalogue knows of a model; nothing if it does not answer in time."""
        return await self._compiler.queries.describe(model)

    async def offers(self) -> tuple[Offer, ...]:
        """Implements `core.model.provider.Catalog`."""
        return await self._compiler.queries.offers()

    async def models_of(self, server: OwnServer) -> ServerModels:
        """Implements `core.model.directory.ServerCatalog`, like `window_of`."""
        return await self._compiler.queries.models_of(server)

    async def window_of(self, server: OwnServer, model: str) -> int | None:
        return await self._compiler.queries.window_of(server, model)

    def use_key(self, name: str, value: str) -> None:
        """Use `value` as the key called `name`, in this compiler and later ones. An empty value takes it
        back.

        The key goes to the compiler through a pipe, and nowhere else. May be called from any thread.
        """
        self._compiler.use_key(name, value)

    # -- the stream processes --

    def _lease(self, stream: StreamHandle) -> Streamer:
        with self._lock:
            if self._closing:
                raise process_died(stream).error()
            self._forget_ended()
            try:
                streamer = self._idle.pop() if self._idle else self._start_streamer()
            except OSError as error:
                raise not_started(stream, str(error.strerror)).error() from error
            self._busy.add(streamer)
            return streamer

    def _release(self, streamer: Streamer) -> None:
        with self._lock:
            self._busy.discard(streamer)
            self._idle.append(streamer)
            self._forget_ended()
            while len(self._idle) > SPARE:
                self._idle.pop(0).end()
        self._keep_spare()

    def _keep_spare(self) -> None:
        """Have one that waits. Also called in the thread of one that has ended."""
        with self._lock:
            self._forget_ended()
            if len(self._idle) < SPARE:
                self._add_spare()

    def _add_spare(self) -> None:
        """Needs the lock."""
        if self._closing:
            return
        try:
            self._idle.append(self._start_streamer())
        except OSError:
            # The next turn tries again, and says so.
            log.exception("no stream process can be kept for the next turn")

    def _start_streamer(self) -> Streamer:
        """Raises `OSError`."""
        streamer = Streamer(self._launch, self._keep_spare)
        streamer.start()
        return streamer

    def _forget_ended(self) -> None:
        """Needs the lock."""
        for streamer in [each for each in self._idle if each.is_ended]:
            self._idle.remove(streamer)
            self._replaced += streamer.restarts


def _pids(streamers: Iterable[Streamer]) -> tuple[int, ...]:
    pids = (streamer.pid for streamer in streamers)
    return tuple(pid for pid in pids if pid is not None)
