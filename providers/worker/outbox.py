"""Messages from the model process to its parent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from core.model.provider import TextDelta
from providers.wire import StreamDelta, dump

if TYPE_CHECKING:
    import asyncio

    from providers.wire import ChildDelta, ToParent


class Outbox:
    """Messages to the parent, written when the task that sent them pauses. Text in a row is one message.

    A write waits while the pipe is full: the parent reads all the time, in a thread of its own.
    """

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = fd
        self._loop = loop
        self._lines: list[bytes] = []
        self._texts: list[str] = []
        self._text_stream: int | None = None
        self._scheduled = False

    def send(self, message: ToParent) -> None:
        self._join_texts()
        self._lines.append(dump(message))
        self._plan_flush()

    def send_delta(self, stream_id: int, delta: ChildDelta) -> None:
        if not isinstance(delta, TextDelta):
            self._join_texts()
            self._lines.append(dump(StreamDelta(stream_id, delta)))
        else:
            if stream_id != self._text_stream:
                self._join_texts()
                self._text_stream = stream_id
            self._texts.append(delta.text)
        self._plan_flush()

    def _plan_flush(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._scheduled = False
        self._join_texts()
        view = memoryview(b"".join(self._lines))
        self._lines.clear()
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            os._exit(0)

    def _join_texts(self) -> None:
        if self._text_stream is not None:
            delta = TextDelta("".join(self._texts))
            self._lines.append(dump(StreamDelta(self._text_stream, delta)))
            self._texts.clear()
            self._text_stream = None
