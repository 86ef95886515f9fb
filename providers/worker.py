"""The model process: litellm lives here, kept apart so that nothing in it can hold up a stop.

It reads messages of `providers.wire` from standard input and answers on what was its standard output. Each
stream is owned by one task, which is cancelled exactly once; its sockets are closed by us, not by luck with
the library, and a stop is confirmed only when they are seen closed. What cannot be confirmed stays
unconfirmed: the parent then kills this process. It ends with its parent, however that ends.
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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core.model import (
    Closing,
    FailureKind,
    ModelError,
    ModelRequest,
    ParametersDropped,
    Phase,
    PhaseChanged,
)
from providers import failures, library, protocols
from providers.catalog import describe, entry_for, provider_of
from providers.keys import KeyFinder, KeyProblem, endpoint
from providers.offers import known_models
from providers.outbox import Outbox
from providers.sockets import SocketTrace, TracedLoop, trace_this_task
from providers.wire import (
    Cancel,
    Describe,
    Described,
    End,
    Failed,
    KnownModel,
    Listed,
    ListModels,
    Open,
    Piece,
    Ready,
    Stopped,
    ToParent,
    UseKey,
    dump_models,
    load_to_child,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger("caesura.worker")

CLOSE_BOUND_S = 1.0
"""How long a library's stream may take to close itself after its normal end."""

SLICE_S = 0.002
"""A burst is read from the buffer without one real await; this often it gives way to a stop."""

MODELS_A_LINE = 50
"""What is said of the catalogue at once: some 10 kB."""

MOST_THREADS = 64
"""A name look-up that hangs keeps its thread until the resolver gives up, also when its stream has ended."""

_CHUNK = 65536
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Stream:
    """One request on its way, its task, and what is known of its sockets."""

    stream_id: int
    request: ModelRequest
    trace: SocketTrace
    tally: protocols.Tally = field(default_factory=protocols.Tally)
    provider: str = ""
    dropped: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    heard_at: float = 0.0
    timed_out: bool = False
    shown: bool = False
    task: asyncio.Task[None] | None = None
    stopping: asyncio.Task[None] | None = None


class Worker:
    """Serves the parent until standard input ends."""

    def __init__(self, inbox_fd: int, outbox: Outbox, loop: asyncio.AbstractEventLoop) -> None:
        self._inbox_fd = inbox_fd
        self._outbox = outbox
        self._loop = loop
        self._partial = b""
        self._keys = KeyFinder()
        self._typed_keys: frozenset[str] = frozenset()
        self._streams: dict[int, Stream] = {}
        self._used: set[str] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._library: asyncio.Task[None] = loop.create_task(self._load_library())
        self._library.add_done_callback(_end_without_library)
        loop.add_reader(inbox_fd, self._on_readable)

    # -- messages --

    def _on_readable(self) -> None:
        data = os.read(self._inbox_fd, _CHUNK)
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
                self._answer(self._describe(stream_id, model))
            case ListModels(stream_id):
                self._answer(self._list_models(stream_id))
            case UseKey(name, value):
                self._typed_keys = self._typed_keys | {name} if value else self._typed_keys - {name}
                self._keys.use(name, value)

    def _answer(self, answering: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(answering)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _open(self, stream_id: int, request: ModelRequest) -> None:
        trace = SocketTrace(
            lambda phase: self._outbox.send(Piece(stream_id, PhaseChanged(phase))),
            streaming=request.streaming,
        )
        stream = self._streams[stream_id] = Stream(stream_id, request, trace)
        stream.task = self._loop.create_task(self._serve(stream))

    def _cancel(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        # One that has ended has told the parent so already. A second cancel of a task in its unwinding makes
        # litellm leak the connection, so there is none.
        if stream is None or stream.stopping is not None or stream.task is None:
            return
        stream.task.cancel()
        stream.trace.abort()
        stream.stopping = self._loop.create_task(self._confirm(stream, stream.task))

    async def _confirm(self, stream: Stream, task: asyncio.Task[None]) -> None:
        """Tell the parent once the task has ended and its sockets are closed; it waits 250 ms for that."""
        turns = 0
        while not (task.done() and stream.trace.closed):
            turns += 1
            await asyncio.sleep(0 if turns < 100 else 0.001)
        stream.trace.settle()
        self._streams.pop(stream.stream_id, None)
        if stream.shown and not stream.trace.opened:
            log.warning("stream %d is read past the event loop: no proof of its end", stream.stream_id)
            return
        how = Closing.CLOSED if stream.trace.opened else Closing.NEVER_OPENED
        self._outbox.send(Stopped(stream.stream_id, how, time.monotonic()))
        self._outbox.flush()

    # -- one stream --

    async def _serve(self, stream: Stream) -> None:
        try:
            await self._stream(stream)
            result: ToParent = self._end(stream)
        except ModelError as error:
            stream.trace.abort()
            result = _failed(stream.stream_id, error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this stream, and only it
            # No traceback: its frames could hold the key. The classified detail is scrubbed.
            # litellm does not close every connection that failed, Anthropic's for one: we do.
            stream.trace.abort()
            result = _failed(stream.stream_id, self._explain(stream, error))
        if stream.stopping is None:
            self._streams.pop(stream.stream_id, None)
            self._outbox.send(result)
        if stream.provider not in self._used:
            # A provider's first request has imported what will stay; see `_load_library`.
            self._used.add(stream.provider)
            gc.freeze()

    async def _stream(self, stream: Stream) -> None:
        await asyncio.shield(self._library)
        call = await self._prepare(stream)
        trace_this_task(stream.trace)
        self._watch_silence(stream)
        answer = await call.start()
        if not call.streaming:
            self._show(stream, call.read(answer, stream.tally))
            return
        try:
            pause_at = time.monotonic() + SLICE_S
            async for chunk in answer:
                self._show(stream, call.read(chunk, stream.tally))
                if time.monotonic() > pause_at:
                    await asyncio.sleep(0)
                    pause_at = time.monotonic() + SLICE_S
            call.check_end(answer)
        finally:
            await self._close(stream, answer)

    async def _close(self, stream: Stream, answer: Any) -> None:
        """Let the library clean up after its stream. How that goes changes nothing about the reply."""
        try:
            async with asyncio.timeout(CLOSE_BOUND_S):
                await library.close(answer)
        except Exception as error:  # noqa: BLE001
            log.warning("stream %d did not close: %s", stream.stream_id, type(error).__name__)
            stream.trace.abort()

    def _show(self, stream: Stream, deltas: Any) -> None:
        stream.heard_at = self._loop.time()
        stream.trace.progress()
        if not stream.shown:
            stream.shown = True
            if stream.dropped:
                dropped = ParametersDropped(stream.request.model, stream.dropped)
                self._outbox.send(Piece(stream.stream_id, dropped))
            self._outbox.send(Piece(stream.stream_id, PhaseChanged(Phase.STREAMING)))
        for delta in deltas:
            self._outbox.send(Piece(stream.stream_id, delta))

    def _watch_silence(self, stream: Stream) -> None:
        """Close the connection of a stream that has been silent for its time limit.

        Some providers of litellm ignore the limit they are given, and a task must not be cancelled for it:
        that is for the stop, and only once.
        """
        limit = stream.request.timeout_s
        stream.heard_at = self._loop.time()

        def look() -> None:
            if stream.task is None or stream.task.done():
                return
            left = stream.heard_at + limit - self._loop.time()
            if left > 0:
                self._loop.call_later(left, look)
            else:
                stream.timed_out = True
                stream.trace.abort()

        self._loop.call_later(limit, look)

    def _end(self, stream: Stream) -> ToParent:
        if stream.timed_out:
            raise TimeoutError
        if stream.trace.too_large:
            raise failures.too_large(stream.request.model)
        tally = stream.tally
        if tally.finish is None:
            raise failures.cut_short(stream.request.model)
        return End(stream.stream_id, tally.finish, tally.usage, tally.model or stream.request.model)

    def _explain(self, stream: Stream, error: Exception) -> ModelError:
        """`_classify`, which must not leave a stream without an end, whatever a server has made up."""
        try:
            return self._classify(stream, error)
        except Exception as fault:  # noqa: BLE001
            log.error("a failure cannot be explained: %s, %s", type(error).__name__, type(fault).__name__)
            message = f"{stream.request.model} failed for a reason that is not understood: try again."
            return ModelError(FailureKind.UNKNOWN, message)

    def _classify(self, stream: Stream, error: Exception) -> ModelError:
        request = stream.request
        if stream.trace.too_large:
            return failures.too_large(request.model)
        provider = stream.provider or provider_of(request.model)
        failure = failures.classify(
            TimeoutError() if stream.timed_out else error,
            model=request.model,
            provider=provider,
            api_base=endpoint(provider, request.api_base).api_base,
            secrets=stream.secrets,
            key_name=request.key_name,
        )
        if failure.kind is FailureKind.WRONG_KEY:
            self._keys.forget(provider, key_name=request.key_name)
        return failure

    async def _prepare(self, stream: Stream) -> library.Call:
        request = stream.request
        stream.provider, model = library.provider_and_model(request)
        where = endpoint(stream.provider, request.api_base)
        if request.api_version is not None:
            where = replace(where, api_version=request.api_version)
        key = await asyncio.to_thread(
            self._keys.find, stream.provider, api_base=where.api_base, key_name=request.key_name
        )
        if isinstance(key, KeyProblem):
            raise failures.no_key(key, stream.provider, request.key_name)
        stream.secrets = () if key.value is None else (key.value,)
        call = library.prepare(request, stream.provider, model, key.value, where)
        stream.dropped = call.parameters.dropped
        return call

    # -- the library --

    async def _load_library(self) -> None:
        # An import makes much and drops little: collections only cost it time, a quarter of all it takes.
        gc.disable()
        await asyncio.to_thread(library.load)
        await library.warm_up()
        gc.enable()
        # What the import left behind lives as long as this process: looking through it again and again is
        # what makes a full collection stall the loop for tens of milliseconds.
        gc.collect()
        gc.freeze()
        self._outbox.send(Ready())

    async def _describe(self, stream_id: int, model: str) -> None:
        await asyncio.shield(self._library)
        info = describe(model, entry_for(model, library.cost_map()))
        self._outbox.send(Described(stream_id, info))

    async def _list_models(self, stream_id: int) -> None:
        """Thousands of them, in slices: a stop comes between two."""
        await asyncio.shield(self._library)
        models: list[KnownModel] = []
        pause_at = time.monotonic() + SLICE_S
        for model in known_models(library.cost_map(), library.providers(), self._typed_keys):
            models.append(model)
            if len(models) == MODELS_A_LINE or time.monotonic() > pause_at:
                self._outbox.send(Listed(stream_id, dump_models(models), last=False))
                models.clear()
                await asyncio.sleep(0)
                pause_at = time.monotonic() + SLICE_S
        self._outbox.send(Listed(stream_id, dump_models(models), last=True))


def _end_without_library(loading: asyncio.Task[None]) -> None:
    """Without the library there is nothing to serve: the parent tries once more, then tells the user."""
    if loading.cancelled() or loading.exception() is not None:
        log.critical(
            "litellm cannot be loaded", exc_info=None if loading.cancelled() else loading.exception()
        )
        os._exit(1)


def _failed(stream_id: int, error: ModelError) -> Failed:
    return Failed(stream_id, error.kind, str(error), error.detail, error.status, error.retry_after_s)


def _end_with_parent(parent: int, lifeline_fd: int) -> None:
    """X7: whatever ends the parent ends this process, also while its loop is blocked.

    The kernel does it on Linux. Elsewhere, and besides, a thread waits for the end of a pipe whose other end
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.WARNING)
    # What libraries print must not end up among the messages, nor may a keyring that asks something read any.
    outbox_fd, inbox_fd = os.dup(sys.stdout.fileno()), os.dup(sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    loop = TracedLoop()
    loop.set_default_executor(ThreadPoolExecutor(MOST_THREADS, "worker"))
    asyncio.set_event_loop(loop)
    worker = Worker(inbox_fd, Outbox(outbox_fd, loop), loop)
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_forever()
    del worker
