"""A server without a protocol, for answers that no server of a protocol would give."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from enum import Enum


class Ending(Enum):
    """How a server ends a connection."""

    CLOSE = "close"
    RESET = "reset"


class Raw:
    """A server that reads a request and answers each connection with the same bytes, and with its end."""

    def __init__(self, answer: bytes, how: Ending = Ending.CLOSE) -> None:
        self._answer = answer
        self._how = how
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="raw")
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0

    def __enter__(self) -> Raw:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted += 1
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(self._answer)
                    if self._how is Ending.RESET:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
