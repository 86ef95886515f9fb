"""Standard output and standard error of the commands without a screen.

Text is written whole. Some programs hand on a descriptor that does not block: then the writer waits until it
takes more. Nothing is left in a buffer for the end of the interpreter. Waiting for a reader blocks, so an
event loop writes through a thread, and a reader who has stopped reading cannot hold up Ctrl+C.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import sys
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.threads import run_in_thread, start_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LAST_MESSAGES_S = 1.0
"""How long the last messages may take to be written to standard error, in seconds. The rest is lost; the exit
code still reports the outcome."""


class OutputMissing(CaesuraError):
    """Standard output is closed."""


class OutputFailed(CaesuraError):
    """Standard output takes nothing more, because the disk is full for instance."""


def check_output() -> None:
    """Raise `OutputMissing` where there is no standard output."""
    if sys.stdout is None:
        raise OutputMissing("Standard output is closed: send it to a file, a pipe or a terminal.")


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, however long that takes. Raises `OSError`; `BrokenPipeError` if nobody reads it."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            writable = select.poll()
            writable.register(fd, select.POLLOUT)
            writable.poll()


def write_output(text: str, encoding: str = "utf-8") -> None:
    """Write to standard output.

    Raises `BrokenPipeError` when nobody reads it, `OutputFailed` and `OutputMissing`.
    """
    check_output()
    try:
        write_all(sys.stdout.fileno(), text.encode(encoding, "replace"))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(
            f"Standard output takes nothing more ({error.strerror}): send it somewhere else."
        ) from error


async def write_output_in_thread(text: str, encoding: str = "utf-8") -> None:
    """`write_output` on an event loop."""
    await run_in_thread(lambda: write_output(text, encoding), name="standard output")


def write_messages(*sentences: str) -> None:
    """Write messages for the person to standard error, a line each. Nothing happens if nobody reads it."""
    from core.base.sanitize import printable

    text = "".join(f"caesura: {printable(sentence)}\n" for sentence in sentences)
    with contextlib.suppress(OSError):
        write_all(sys.stderr.fileno(), text.encode("utf-8", "replace"))


async def write_last_messages(sentences: Iterable[str]) -> None:
    """`write_messages` on an event loop, for `LAST_MESSAGES_S` at most."""
    written = start_in_thread(lambda: write_messages(*sentences), name="standard error")
    await asyncio.wait({written}, timeout=LAST_MESSAGES_S)


class OutputThread:
    """Writes to a descriptor from a thread of its own; `on_closed` is called in the loop if nobody reads it.

    The thread is a daemon: one that is stuck in a write ends with the process.
    """

    def __init__(self, fd: int, name: str, on_closed: Callable[[], object] = lambda: None) -> None:
        self._fd = fd
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closed = False
        self._finished = start_in_thread(self._run, name=name)
        self._finished.add_done_callback(lambda _: on_closed() if self._closed else None)

    def write(self, text: str) -> None:
        """Have the text written; never waits."""
        self._texts.put(text)

    def finish(self) -> asyncio.Future[None]:
        """Accept no more texts. The future is done when all are written or nobody reads them any more."""
        self._texts.put(None)
        return self._finished

    def _run(self) -> None:
        try:
            while (text := self._texts.get()) is not None:
                write_all(self._fd, text.encode("utf-8", "replace"))
        except OSError:
            self._closed = True
