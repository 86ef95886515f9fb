"""A network in which there is nothing but a loopback, for programs that are to speak to one server alone.

Each address leads to the loopback, where nobody but the servers of a test listens: a connection to anywhere
else, or the look-up of a name, is refused at once, and is seen by `Packets`. Linux only.
"""

from __future__ import annotations

import ctypes
import functools
import ipaddress
import socket
import struct
import subprocess
from typing import NamedTuple, Self

# Below /run are sockets of services that would look names up, or connect, outside of this network.
_SETUP = """\
set -e
mount -t tmpfs none /run
ip link set lo up
ip route add local default dev lo
if [ -e /proc/net/if_inet6 ]; then ip -6 route add local default dev lo; fi
exec "$@"
"""


def in_own_network(*command: str) -> tuple[str, ...]:
    """The command line that runs `command` in such a network, as its root."""
    return ("unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", _SETUP, "sh", *command)


@functools.cache
def why_no_network() -> str:
    """Why this machine does not let us have such a network; empty if it does."""
    try:
        tried = subprocess.run(in_own_network("true"), capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return "" if tried.returncode == 0 else tried.stderr.strip() or f"exit code {tried.returncode}"


class Sent(NamedTuple):
    """The beginning of a connection, or a packet of something that knows none."""

    protocol: str
    address: str
    port: int


_BEGINNINGS = (
    (0x30, 0, 0, 0),  # load the version, which is in the upper half
    (0x74, 0, 0, 4),
    (0x15, 5, 0, 6),  # IPv6?
    (0x30, 0, 0, 9),
    (0x15, 0, 8, 6),  # TCP? All else is accepted.
    (0xB1, 0, 0, 0),
    (0x50, 0, 0, 13),  # its flags
    (0x05, 0, 0, 3),
    (0x30, 0, 0, 6),
    (0x15, 0, 3, 6),  # TCP?
    (0x30, 0, 0, 53),  # its flags
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),  # SYN without ACK?
    (0x06, 0, 0, 128),
    (0x06, 0, 0, 0),
)
"""A filter for the kernel (code, jump if true, jump if false, value): of TCP, only what begins a connection.
So little is left that nothing has to be read while it comes."""

_EVERYTHING, _OUTGOING = 0x0003, 4
_ATTACH_FILTER, _SOL_PACKET, _STATISTICS = 26, 263, 6
_NAMES = {6: "tcp", 17: "udp"}


class Packets:
    """`with Packets() as packets:` sees to whom the processes of this network send anything."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERYTHING))
        filtering = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _BEGINNINGS))
        program = struct.pack("HP", len(_BEGINNINGS), ctypes.addressof(filtering))
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def take(self) -> list[Sent]:
        """All that was sent since the last time, in order."""
        found = []
        while True:
            try:
                packet, (_, _, kind, *_) = self._socket.recvfrom(128, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            # Each comes twice on a loopback: going out, and coming in.
            if kind != _OUTGOING:
                found.append(_read(packet))
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        assert dropped == 0, "the kernel could not keep all packets"
        return found


def _read(packet: bytes) -> Sent:
    if packet[0] >> 4 == 4:
        protocol, address, rest = packet[9], packet[16:20], packet[(packet[0] & 15) * 4 :]
    else:
        protocol, address, rest = packet[6], packet[24:40], packet[40:]
    port = int.from_bytes(rest[2:4]) if protocol in _NAMES else 0
    return Sent(_NAMES.get(protocol, f"protocol {protocol}"), str(ipaddress.ip_address(address)), port)
