"""What a command wrote, in bounded memory: its beginning, its end, and how much is missing between them.

It must never grow with what was written, nor take longer for it.
"""

from __future__ import annotations

HEAD_BYTES = 32 * 1024
TAIL_BYTES = 64 * 1024

_LINE_BYTES = 1024


class OutputRing:
    """Bytes in, text out; all counts in bytes. A character that a cut went through is left out whole."""

    __slots__ = ("_head", "_head_limit", "_tail", "_tail_limit", "total")

    def __init__(self, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._head_limit = head_bytes
        self._tail_limit = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self._head_limit - len(self._head)
        self._head += data[:room] if room else b""
        self._tail += data[room:]
        # Not at every piece: to move what is kept would cost more than to take what comes.
        if len(self._tail) > 2 * self._tail_limit:
            del self._tail[: -self._tail_limit]

    @property
    def dropped(self) -> int:
        """How much is neither in the head nor in the tail any more."""
        return max(0, self.total - len(self._head) - self._tail_limit)

    def text(self) -> str:
        """All that is kept, with a line about what is not."""
        if not self.dropped:
            return (self._head + self._tail).decode("utf-8", "replace")
        head, tail = bytes(self._head), bytes(self._tail[-self._tail_limit :])
        kept_head, kept_tail = _without_cut_end(head), _without_cut_start(tail)
        left_out = self.total - len(kept_head) - len(kept_tail)
        note = f"[… {left_out:,} bytes left out …]"
        return f"{kept_head.decode('utf-8', 'replace')}\n{note}\n{kept_tail.decode('utf-8', 'replace')}"

    def tail(self, lines: int) -> str:
        """The last `lines` lines, of a kilobyte each at the most; quick, for a live view."""
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


def _without_cut_end(data: bytes) -> bytes:
    """Without the first bytes of a character that goes on behind."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if back < length else data
        if byte < 0x80:
            break
    return data
