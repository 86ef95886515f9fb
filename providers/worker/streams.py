"""The streams of a child: each is owned by one task, which is cancelled exactly once.

We close their sockets ourselves, and confirm a stop only when they are seen closed. A stop that cannot be
confirmed stays unconfirmed, and the parent kills this process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from core.model.provider import Closing
from providers.wire import Stopped

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from providers.worker.startup import Inbox, Running
    from providers.worker.stream import Stream

log = logging.getLogger("caesura.worker")


class Streams:
    """The streams under way, by id."""

    def __init__(self, child: Running, inbox: Inbox) -> None:
        self._loop = child.loop
        self._outbox = child.outbox
        self._inbox = inbox
        self._streams: dict[int, Stream] = {}

    def begin(self, stream: Stream, work: Coroutine[Any, Any, None]) -> None:
        """Have `work` done for a stream, in a task of its own."""
        self._streams[stream.stream_id] = stream
        stream.task = self._loop.create_task(work)
        stream.task.add_done_callback(lambda _: self._report_lost(stream))

    async def run(self, stream: Stream) -> None:
        """Run a stream to its end and report that, unless it was stopped."""
        result = await stream.run()
        self._inbox.drop_socket(stream.stream_id)
        if stream.stopping is None:
            self._streams.pop(stream.stream_id, None)
            self._outbox.send(result)

    def _report_lost(self, stream: Stream) -> None:
        """Report the end of a stream whose task has ended without one, as when a library cancels it."""
        if self._streams.get(stream.stream_id) is stream and stream.stopping is None:
            del self._streams[stream.stream_id]
            self._inbox.drop_socket(stream.stream_id)
            self._outbox.send(stream.lost())

    def cancel(self, stream_id: int) -> None:
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
        self._inbox.drop_socket(stream.stream_id)
        self._streams.pop(stream.stream_id, None)
        if stream.shown and not stream.trace.opened:
            log.warning("stream %d is not read by the event loop: its end cannot be proven", stream.stream_id)
            return
        how = Closing.CLOSED if stream.trace.opened else Closing.NEVER_OPENED
        self._outbox.send(Stopped(stream.stream_id, how, time.monotonic()))
        self._outbox.flush()
