"""What is sent while another session is being opened, or files are put back: it waits until that is done.

It must never go to a session that is about to be closed, where it would be stopped, and never be lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Outbox:
    """Of one pane. `deliver` sends a prompt or obeys a command."""

    def __init__(self, deliver: Callable[[str], object]) -> None:
        self._deliver = deliver
        self._holds = 0
        self._waiting: deque[str] = deque()

    def hold(self) -> None:
        """Keep what is sent from now on, until `release` was called as often."""
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        self.post(())

    def keeps(self, text: str) -> bool:
        """Whether `text` has to wait; then it is kept here."""
        if self._holds:
            self._waiting.append(text)
        return bool(self._holds)

    def post(self, texts: Iterable[str]) -> None:
        """Deliver these behind what waits, as far as nothing holds them up: one of them may."""
        self._waiting.extend(texts)
        while self._waiting and not self._holds:
            self._deliver(self._waiting.popleft())

    def take_all(self) -> tuple[str, ...]:
        """Empty it, for another pane."""
        texts = tuple(self._waiting)
        self._waiting.clear()
        return texts
