"""The output of a command in bounded memory: its beginning, its end, and how many bytes are left out.

Memory and time for each piece do not grow with the output.
"""

from __future__ import annotations

import codecs

HEAD_BYTES = 32 * 1024
TAIL_BYTES = 64 * 1024

_LINE_BYTES = 1024


class OutputRing:
    """Takes bytes and gives text; all sizes are in bytes. A character that a cut goes through is left out."""

    __slots__ = ("_head", "_head_limit", "_tail", "_tail_limit", "total")

    def __init__(self, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._head_limit = head_bytes
        self._tail_limit = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """Add a piece of output."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        self._head += data[:room] if room else b""
        self._tail += data[room:]
        # Not at every piece: moving the kept bytes would cost more than adding the new ones.
        if len(self._tail) > 2 * self._tail_limit:
            del self._tail[: -self._tail_limit]

    @property
    def dropped(self) -> int:
        """How many bytes are in neither the head nor the tail."""
        return max(0, self.total - len(self._head) - self._tail_limit)

    def text(self) -> str:
        """All that is kept, with a line that says how much is left out."""
        if not self.dropped:
            return (self._head + self._tail).decode("utf-8", "replace")
        # What is not final is decoded without a character that goes on behind.
        head, kept = codecs.utf_8_decode(self._head, "replace", False)
        tail = _without_cut_start(bytes(self._tail[-self._tail_limit :]))
        note = f"[… {self.total - kept - len(tail):,} bytes left out …]"
        return f"{head}\n{note}\n{tail.decode('utf-8', 'replace')}"

    def tail(self, lines: int) -> str:
        """The last `lines` lines, a kilobyte each at most; fast enough for a live view."""
        if lines <= 0:
            return ""
        size = lines * _LINE_BYTES
        end = bytes(self._tail[-size:])
        if len(end) < size:
            end = bytes(self._head[-(size - len(end)) :]) + end if not self.dropped else end
        text = _without_cut_start(end).decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])


def _without_cut_start(data: bytes) -> bytes:
    """Without the last bytes of a character that began before."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]
