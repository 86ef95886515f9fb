"""A listening socket whose end closes every connection, also one that was accepted a moment before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

PAUSE_S = 0.1
"""How long nothing is accepted after an error, such as too many open files."""


class Connections:
    """Accepts connections in the running loop and serves each one in a task of its own.

    `asyncio.start_server` loses a connection that the loop accepts as the server closes: its transport is
    made for a server that is gone, which fails and leaves the socket open.
    """

    def __init__(
        self, listener: socket.socket, serve: Callable[[socket.socket], Coroutine[None, None, None]]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._serve = serve
        self._sockets: dict[asyncio.Task[None], socket.socket] = {}
        listener.setblocking(False)
        self._listen()

    async def close(self) -> None:
        """Accept nothing more, cancel every task, and close what a task that had not begun leaves open."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        sockets = dict(self._sockets)
        for task in sockets:
            task.cancel()
        await asyncio.gather(*sockets, return_exceptions=True)
        # An aborted transport closes its socket in the loop's next round.
        await asyncio.sleep(0)
        for connection in sockets.values():
            connection.close()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the peer has left again
        except OSError:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(PAUSE_S, self._listen)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._serve(connection))
        self._sockets[task] = connection
        task.add_done_callback(self._sockets.pop)
