"""The compiler: the process that has litellm, apart from the program so that nothing in it can delay a stop.

It compiles each request and hands it over to a stream process. What only litellm can read, it streams itself.
It reads messages of `providers.wire` from standard input and answers on what was its standard output. It ends
with its parent, however that ends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from core.base.scheduling import run_as_usual
from providers.catalog import describe, entry_for
from providers.keys.finder import KeyFinder
from providers.wire import (
    AskWindow,
    Cancel,
    Describe,
    Described,
    KeyRefused,
    KnownModel,
    Listed,
    ListModels,
    ListServer,
    Open,
    Ready,
    Start,
    UseKey,
    WindowTold,
    load_to_child,
)
from providers.worker import litellm_adapter
from providers.worker.exchange import SLICE_S
from providers.worker.litellm_stream import LitellmStream
from providers.worker.offers import known_models
from providers.worker.server_models import ask_server, ask_window
from providers.worker.startup import Inbox, running
from providers.worker.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from core.model.directory import OwnServer
    from providers.worker.startup import Running

log = logging.getLogger("caesura.worker")

MODELS_PER_MESSAGE = 50
"""Some 10 kB."""


class Compiler:
    """Serves the parent until standard input ends."""

    def __init__(self, child: Running, peer: socket.socket) -> None:
        self._child = child
        self._outbox = child.outbox
        self._environment = child.environment
        self._keys = KeyFinder(child.environment)
        self._typed_keys: frozenset[str] = frozenset()
        self._used: set[str] = set()
        self._queries: dict[int, asyncio.Task[None]] = {}
        self._loading: asyncio.Task[None] = child.loop.create_task(self._load_library())
        self._loading.add_done_callback(_end_without_library)
        self._inbox = Inbox(child, peer, self._handle)
        self._streams = Streams(child, self._inbox)

    def _handle(self, line: bytes) -> None:
        match load_to_child(line):
            case Open(stream_id, request):
                stream = LitellmStream(stream_id, request, self._outbox, self._keys, self._inbox)
                self._streams.begin(stream, self._serve(stream))
            case Cancel(stream_id):
                if (query := self._queries.get(stream_id)) is not None:
                    query.cancel()
                self._streams.cancel(stream_id)
            case Describe(stream_id, model):
                self._start_query(stream_id, self._describe(stream_id, model))
            case ListModels(stream_id):
                self._start_query(stream_id, self._list_models(stream_id))
            case ListServer(stream_id, server):
                self._start_query(stream_id, self._list_server(stream_id, server))
            case AskWindow(stream_id, server, model):
                self._start_query(stream_id, self._ask_window(stream_id, server, model))
            case UseKey(name, value):
                self._typed_keys = self._typed_keys | {name} if value else self._typed_keys - {name}
                self._keys.use(name, value)
            case KeyRefused(provider, key_name):
                self._keys.forget(provider, key_name=key_name)
            case Start():
                raise ValueError("a compiler starts no stream")

    def _start_query(self, query_id: int, query: Coroutine[Any, Any, None]) -> None:
        task = self._queries[query_id] = self._child.loop.create_task(query)
        task.add_done_callback(lambda _: self._queries.pop(query_id))

    async def _serve(self, stream: LitellmStream) -> None:
        await asyncio.shield(self._loading)
        await self._streams.run(stream)
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

    async def _list_server(self, stream_id: int, server: OwnServer) -> None:
        self._outbox.send(await ask_server(stream_id, server, self._keys))

    async def _ask_window(self, stream_id: int, server: OwnServer, model: str) -> None:
        self._outbox.send(WindowTold(stream_id, await ask_window(server, model, self._keys)))


def _end_without_library(loading: asyncio.Task[None]) -> None:
    """Exit if the library cannot be loaded. The parent tries once more, then tells the user."""
    error = None if loading.cancelled() else loading.exception()
    if loading.cancelled() or error is not None:
        log.critical("litellm cannot be loaded", exc_info=error)
        os._exit(1)


def main(parent: int, lifeline: int, peer: int) -> None:
    """Run as the compiler of `parent`, its process id."""
    run_as_usual()
    with running(parent, lifeline) as child:
        worker = Compiler(child, socket.socket(fileno=peer))
        child.loop.run_forever()
        del worker
