"""The built-in demo model: a loopback web server with OpenAI's chat completions.

With it, Caesura answers at once, without a key, over a real connection, and the server can report what it saw
when the user pressed Esc. It runs in a thread with its own loop: a blocked user interface must not keep it
from noticing a close. It must never answer any other machine, never be special to the engine, and never crash
the application.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Self, assert_never

from providers.demo.connections import Connections
from providers.demo.http import (
    LAST_EVENT,
    MOST_HEADER_BYTES,
    BadRequest,
    ChatRequest,
    call_deltas,
    chunk,
    closing_chunks,
    completion,
    error_body,
    event,
    event_stream_head,
    model_list,
    read_request,
    whole,
)
from providers.demo.script import Answer, Ending, Moment, Pace, Progress, Refusal, Reply, Silence, answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

log = logging.getLogger("caesura.demo")

MODEL = "openai/demo"
"""The demo's name in litellm, to be used with the server's address as `api_base`."""
WORDS_PER_S = 45.0
REQUEST_LIMIT_S = 30.0
CLOSE_LIMIT_S = 1.0
LINGER_S = 1.0


class DemoServer:
    """`with DemoServer() as demo:` serves `demo.model` at `demo.url` until the end of the block.

    `words_per_s` is the pace of readable replies. `on_hang_up` is called in the server's thread for each
    connection that the client closed before the reply was over.
    """

    model = MODEL

    def __init__(
        self, *, words_per_s: float = WORDS_PER_S, on_hang_up: Callable[[Progress], None] | None = None
    ) -> None:
        self._pause_s = 1 / words_per_s
        self._on_hang_up = on_hang_up
        self._untold: Progress | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._running = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="demo model", daemon=True)

    @property
    def url(self) -> str:
        """The address for litellm's `api_base`."""
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> Self:
        """Start serving; returns at once, since early connections wait in the socket's queue."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End all connections and the thread, within `CLOSE_LIMIT_S` seconds. May be called twice."""
        if not self._thread.is_alive() or not self._running.wait(CLOSE_LIMIT_S):
            self._listener.close()
            return
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_LIMIT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections = Connections(self._listener, self._connection)
        self._running.set()
        await self._stop.wait()
        await connections.close()

    async def _connection(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=MOST_HEADER_BYTES)
        # Without a buffer of our own, bytes that count as sent are in the kernel.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            await self._exchange(reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # a peer that left before its request was complete
        except Exception:
            log.exception("the demo model failed to answer")
        finally:
            # Nothing is left to flush, and a peer that does not read must not keep this task alive.
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                request = await read_request(reader)
        except BadRequest as error:
            writer.write(whole(error.status, error_body(error.status, str(error))))
            await writer.drain()
            # Closing with unread data would reset the connection, and the answer might get lost.
            async with asyncio.timeout(LINGER_S):
                await _until_closed(reader)
            return
        if request is None:
            writer.write(whole(200, model_list()))
            await writer.drain()
            return
        said = answer(request.conversation, self._untold, request.callable_tools)
        if isinstance(said, Reply):
            self._untold = None
            progress = Progress(len(said.pieces), len(said.calls))
        else:
            progress = Progress()
        loop = asyncio.get_running_loop()
        answering = loop.create_task(self._answer(said, request, writer, progress))
        listening = loop.create_task(_until_closed(reader))
        try:
            await asyncio.wait((answering, listening), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() or isinstance(answering.exception(), OSError):
                progress.closed_at = time.monotonic()
                self._untold = progress
                if self._on_hang_up is not None:
                    self._on_hang_up(progress)
        finally:
            answering.cancel()
            listening.cancel()
            results = await asyncio.gather(answering, listening, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _answer(
        self, said: Answer, request: ChatRequest, writer: asyncio.StreamWriter, progress: Progress
    ) -> None:
        match said:
            case Silence():
                await _for_ever()
            case Refusal(status, message):
                writer.write(whole(status, error_body(status, message)))
                await writer.drain()
            case Reply() if request.stream:
                await self._stream(said, request, writer, progress)
            case Reply(ending=Ending.STALLED):
                await _for_ever()
            case Reply():
                reply = whole(200, completion(said, request))
                writer.write(reply[: len(reply) // 2] if said.ending is Ending.CUT else reply)
                await writer.drain()
            case _:
                assert_never(said)

    async def _stream(
        self, reply: Reply, request: ChatRequest, writer: asyncio.StreamWriter, progress: Progress
    ) -> None:
        pause_s = self._pause_s if reply.pace is Pace.READABLE else 0.0
        writer.write(event_stream_head())
        writer.write(event(chunk({"role": "assistant", "content": ""})))
        for thought in reply.thinking:
            await asyncio.sleep(pause_s)
            writer.write(event(chunk({"reasoning_content": thought})))
            await writer.drain()
        for piece in reply.pieces:
            await asyncio.sleep(pause_s)
            writer.write(event(chunk({"content": piece})))
            await writer.drain()
            progress.sent(piece)
        for number, call in enumerate(reply.calls, 1):
            for delta in call_deltas(number - 1, call):
                await asyncio.sleep(pause_s)
                writer.write(event(chunk(delta)))
                await writer.drain()
                progress.calling(number)
        match reply.ending:
            case Ending.FINISHED:
                for last in closing_chunks(reply, request):
                    writer.write(event(last))
                writer.write(LAST_EVENT)
                await writer.drain()
            case Ending.STALLED:
                progress.moment = Moment.STALLED
                await _for_ever()
            case Ending.CUT:
                pass
            case _:
                assert_never(reply.ending)


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Return when the client closes its end in any way."""
    try:
        while await reader.read(MOST_HEADER_BYTES):
            pass
    except OSError:
        return
