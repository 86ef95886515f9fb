"""A stream process: it sends compiled requests and reads the replies. It imports no litellm.

It serves one turn at a time, so that its end costs no other turn its reply.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from providers.wire import Cancel, Ready, Start, load_to_child
from providers.worker.exchange import Clients
from providers.worker.http_stream import HttpStream
from providers.worker.startup import Inbox, running
from providers.worker.streams import Streams

if TYPE_CHECKING:
    from providers.worker.startup import Running


class Streamer:
    """Serves the parent until standard input ends."""

    def __init__(self, child: Running, peer: socket.socket) -> None:
        self._child = child
        self._clients = Clients()
        self._clients.prepare()
        self._inbox = Inbox(child, peer, self._handle)
        self._streams = Streams(child, self._inbox)
        child.outbox.send(Ready())

    def _handle(self, line: bytes) -> None:
        match load_to_child(line):
            case Start(stream_id):
                stream = HttpStream(stream_id, self._child.outbox, self._inbox, self._clients)
                self._streams.begin(stream, self._streams.run(stream))
            case Cancel(stream_id):
                self._streams.cancel(stream_id)
            case other:
                raise ValueError(f"a stream process does not {type(other).__name__}")


def main(parent: int, lifeline: int, peer: int) -> None:
    """Run as a stream process of `parent`, its process id."""
    with running(parent, lifeline) as child:
        streamer = Streamer(child, socket.socket(fileno=peer))
        child.loop.run_forever()
        del streamer
