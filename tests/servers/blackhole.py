"""An address whose connections never come to be: for stops in the connect phase.

A listening socket with a backlog of 0 holds one finished connection; while nobody accepts it, Linux drops
every further SYN, so a client's `connect` waits and retries as with a host that is switched off. macOS
answers a full backlog in the same way but holds more connections; `BlackHole` fills until one hangs.
"""

from __future__ import annotations

import select
import socket
from pathlib import Path
from typing import Self

SYN_SENT = "02"
FILL_PROBE_S = 0.05
FILL_LIMIT = 512


class BlackHole:
    """`with BlackHole() as hole:`, then connect to `hole.url`."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._fillers: list[socket.socket] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connecting(self) -> int:
        """How many sockets of this machine wait for their connection to this address; Linux only.

        A client that gave up its attempt has closed its socket and no longer counts.
        """
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        entries = (line.split()[1:4] for line in lines)
        hole = _entry(self.port)
        own = {_entry(filler.getsockname()[1]) for filler in self._fillers}
        return sum(peer == hole and state == SYN_SENT and local not in own for local, peer, state in entries)

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        while self._fill():
            if len(self._fillers) > FILL_LIMIT:
                raise OSError("this system completes every connection: no black hole is possible")
        return self

    def __exit__(self, *_: object) -> None:
        for filler in self._fillers:
            filler.close()
        self._listener.close()

    def _fill(self) -> bool:
        """Connect once more; true when that connection came to be."""
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", self.port))
        self._fillers.append(filler)
        return bool(select.select([], [filler], [], FILL_PROBE_S)[1])


def _entry(port: int) -> str:
    """The loopback address as `/proc/net/tcp` spells it."""
    return f"0100007F:{port:04X}"
