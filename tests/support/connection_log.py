"""What a Python process runs before its own code to tell whom it connects to and which names it looks up, in
lines of the file CAESURA_TEST_CONNECTIONS. Where no network of its own can be had, this is the second best:
it sees Python's own sockets, in the processes that it was planted in.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

_log = os.open(os.environ["CAESURA_TEST_CONNECTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_WITH_ADDRESS = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WITH_ADDRESS and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        os.write(_log, f"{event} {arguments[1]!r}\n".encode())
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        os.write(_log, f"{event} {arguments[0]!r}\n".encode())


sys.addaudithook(_tell)
