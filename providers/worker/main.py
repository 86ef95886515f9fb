"""The model process, which runs litellm apart from the program so that nothing in it can delay a stop.

It reads messages of `providers.wire` from standard input and answers on what was its standard output. Each
stream is owned by one task, which is cancelled exactly once. We close its sockets ourselves, and confirm a
stop only when they are seen closed. A stop that cannot be confirmed stays unconfirmed, and the parent kills
this process. It ends with its parent, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from core.model.provider import Closing
from providers.catalog import describe, entry_for
from providers.keys.finder import KeyFinder
from providers.wire import (
    Cancel,
    Describe,
    Described,
    KnownModel,
    Listed,
    ListModels,
    Open,
    Ready,
    Stopped,
    UseKey,
    load_to_child,
)
from providers.worker import litellm_adapter
from providers.worker.exchange import SLICE_S, Clients
from providers.worker.offers import known_models
from providers.worker.outbox import Outbox
from providers.worker.sealing import seal
from providers.worker.sockets import TracedLoop
from providers.worker.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from core.model.provider import ModelRequest

log = logging.getLogger("caesura.worker")

MODELS_PER_MESSAGE = 50
"""Some 10 kB."""
MAX_THREADS = 64
"""A name look-up that hangs keeps its thread until the resolver gives up, even after its stream has ended."""
_READ_BYTES = 65536
_PR_SET_PDEATHSIG = 1


class Worker:
    """Serves the parent until standard input ends."""

    def __init__(
        self,
        inbox_fd: int,
        outbox: Outbox,
        loop: asyncio.AbstractEventLoop,
        environment: Mapping[str, str],
    ) -> None:
        self._inbox_fd = inbox_fd
        self._outbox = outbox
        self._loop = loop
        self._partial = b""
        self._environment = environment
        self._keys = KeyFinder(environment)
        self._typed_keys: frozenset[str] = frozenset()
        self._clients = Clients()
        self._streams: dict[int, Stream] = {}
        self._used: set[str] = set()
        self._queries: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Task[None] = loop.create_task(self._load_library())
        self._loading.add_done_callback(_end_without_library)
        loop.add_reader(inbox_fd, self._on_readable)

    def _on_readable(self) -> None:
        data = os.read(self._inbox_fd, _READ_BYTES)
        if not data:
            os._exit(0)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._handle(line)

    def _handle(self, line: bytes) -> None:
        match load_to_child(line):
            case Open(stream_id, request):
                self._open(stream_id, request)
            case Cancel(stream_id):
                self._cancel(stream_id)
            case Describe(stream_id, model):
                self._start_query(self._describe(stream_id, model))
            case ListModels(stream_id):
                self._start_query(self._list_models(stream_id))
            case UseKey(name, value):
                self._typed_keys = self._typed_keys | {name} if value else self._typed_keys - {name}
                self._keys.use(name, value)

    def _start_query(self, query: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(query)
        self._queries.add(task)
        task.add_done_callback(self._queries.discard)

    def _open(self, stream_id: int, request: ModelRequest) -> None:
        stream = self._streams[stream_id] = Stream(
            stream_id, request, self._outbox, self._keys, self._clients
        )
        stream.task = self._loop.create_task(self._serve(stream))

    def _cancel(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        # The parent knows the end of a stream that is not here any more. A task that unwinds is not cancelled
        # a second time: litellm would leak the connection.
        if stream is None or stream.stopping is not None or stream.task is None:
            return
        stream.task.cancel()
        stream.trace.abort()
        stream.stopping = self._loop.create_task(self._confirm(stream, stream.task))

    async def _confirm(self, stream: Stream, task: asyncio.Task[None]) -> None:
        """Tell the parent when the task has ended and its sockets are closed. It waits 250 ms for that."""
        looks = 0
        while not (task.done() and stream.trace.closed):
            looks += 1
            await asyncio.sleep(0 if looks < 100 else 0.001)
        stream.trace.settle()
        self._streams.pop(stream.stream_id, None)
        if stream.shown and not stream.trace.opened:
            log.warning("stream %d is not read by the event loop: its end cannot be proven", stream.stream_id)
            return
        how = Closing.CLOSED if stream.trace.opened else Closing.NEVER_OPENED
        self._outbox.send(Stopped(stream.stream_id, how, time.monotonic()))
        self._outbox.flush()

    async def _serve(self, stream: Stream) -> None:
        await asyncio.shield(self._loading)
        result = await stream.run()
        if stream.stopping is None:
            self._streams.pop(stream.stream_id, None)
            self._outbox.send(result)
        if stream.provider not in self._used:
            # The first request to a provider has imported modules that stay; see `_load_library`.
            self._used.add(stream.provider)
            gc.freeze()

    async def _load_library(self) -> None:
        # An import creates many objects and drops few: collections would take a quarter of its time.
        gc.disable()
        await asyncio.to_thread(litellm_adapter.load)
        await litellm_adapter.warm_up()
        gc.enable()
        # What the import left lives as long as this process. Frozen, it does not make each full collection
        # stall the loop for tens of milliseconds.
        gc.collect()
        gc.freeze()
        self._outbox.send(Ready())

    async def _describe(self, stream_id: int, model: str) -> None:
        await asyncio.shield(self._loading)
        info = describe(model, entry_for(model, litellm_adapter.cost_map()))
        self._outbox.send(Described(stream_id, info))

    async def _list_models(self, stream_id: int) -> None:
        """Send thousands of models, in slices: a stop is seen between two."""
        await asyncio.shield(self._loading)
        models: list[KnownModel] = []
        pause_at = time.monotonic() + SLICE_S
        known = litellm_adapter.cost_map(), litellm_adapter.providers()
        for model in known_models(*known, self._typed_keys, self._environment):
            models.append(model)
            if len(models) == MODELS_PER_MESSAGE or time.monotonic() > pause_at:
                self._outbox.send(Listed(stream_id, tuple(models), last=False))
                models.clear()
                await asyncio.sleep(0)
                pause_at = time.monotonic() + SLICE_S
        self._outbox.send(Listed(stream_id, tuple(models), last=True))


def _end_without_library(loading: asyncio.Task[None]) -> None:
    """Exit if the library cannot be loaded. The parent tries once more, then tells the user."""
    error = None if loading.cancelled() else loading.exception()
    if loading.cancelled() or error is not None:
        log.critical("litellm cannot be loaded", exc_info=error)
        os._exit(1)


def _end_with_parent(parent: int, lifeline_fd: int) -> None:
    """Make sure that this process ends with its parent (X7), even while its loop is blocked.

    The kernel does it on Linux. On every system a thread also waits for the end of a pipe whose other end
    only the parent holds; it cannot run while a library keeps the interpreter's lock.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)

    def wait_for_end() -> None:
        os.read(lifeline_fd, 1)
        os._exit(0)

    threading.Thread(target=wait_for_end, name="lifeline", daemon=True).start()


def main(parent: int, lifeline_fd: int) -> None:
    """Run as the model process of `parent`, its process id."""
    _end_with_parent(parent, lifeline_fd)
    environment = seal()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.WARNING)
    # A library that prints must not write among the messages, and a keyring that asks must not read any.
    outbox_fd, inbox_fd = os.dup(sys.stdout.fileno()), os.dup(sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    loop = TracedLoop()
    loop.set_default_executor(ThreadPoolExecutor(MAX_THREADS, "worker"))
    asyncio.set_event_loop(loop)
    worker = Worker(inbox_fd, Outbox(outbox_fd, loop), loop, environment)
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_forever()
    del worker
