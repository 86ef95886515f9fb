"""What the model process says to its parent, on the way to the pipe.

It waits for a pipe that is full: the parent reads all the time, in a thread of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from core.model import TextDelta
from providers.wire import Piece, ToParent, dump_to_parent

if TYPE_CHECKING:
    import asyncio


class Outbox:
    """Messages to the parent, written when the task that made them pauses; text in a row is one message."""

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = fd
        self._loop = loop
        self._lines: list[bytes] = []
        self._texts: list[str] = []
        self._texts_of: int | None = None
        self._scheduled = False

    def send(self, message: ToParent) -> None:
        match message:
            case Piece(stream_id, TextDelta(text)):
                if stream_id != self._texts_of:
                    self._end_run()
                    self._texts_of = stream_id
                self._texts.append(text)
            case _:
                self._end_run()
                self._lines.append(dump_to_parent(message))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._scheduled = False
        self._end_run()
        view = memoryview(b"".join(self._lines))
        self._lines.clear()
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            os._exit(0)

    def _end_run(self) -> None:
        if self._texts_of is not None:
            self._lines.append(dump_to_parent(Piece(self._texts_of, TextDelta("".join(self._texts)))))
            self._texts.clear()
            self._texts_of = None
