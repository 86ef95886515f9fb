"""Messages of a model process, read from its pipe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from providers.wire import Lines, load_to_parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.wire import ToParent

_READ_BYTES = 1 << 18


class IncomingBuffer:
    """Bytes of a child that are no whole line yet."""

    def __init__(self, outbox: int) -> None:
        self._outbox = outbox
        self._lines = Lines()

    def read(self) -> Iterator[ToParent]:
        """Read once, which blocks while there is nothing. Raises `EOFError` when the child has ended, and
        `ValueError` for a message that cannot be read: then the child is not trusted."""
        data = os.read(self._outbox, _READ_BYTES)
        if not data:
            raise EOFError
        yield from map(load_to_parent, self._lines.feed(data))
