"""What is sent while another session is being opened, or files are put back: it waits until that is done.

It must never go to a session that is about to be closed, where it would be stopped, and never be lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Hold:
    """Keeps what is sent in an outbox until `release`, also when another outbox takes over."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox: Outbox | None = outbox

    def release(self) -> None:
        """End it. The last one that ends has everything delivered. A second call does nothing."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.end_hold(self)

    def follow(self, outbox: Outbox) -> None:
        self._outbox = outbox


class Outbox:
    """For one pane. `deliver` sends a prompt or runs a command."""

    def __init__(self, deliver: Callable[[str], object]) -> None:
        self._deliver = deliver
        self._holds: set[Hold] = set()
        self._waiting: deque[str] = deque()

    def hold(self) -> Hold:
        """Keep what is sent from now on, until this and every other hold is released."""
        hold = Hold(self)
        self._holds.add(hold)
        return hold

    @property
    def held(self) -> bool:
        """Whether something holds."""
        return bool(self._holds)

    def keeps(self, text: str) -> bool:
        """Whether something holds; then `text` is kept here, if there is any."""
        if self._holds and text:
            self._waiting.append(text)
        return self.held

    def take_over(self, other: Outbox) -> None:
        """Continue for another pane: with its texts, before those that wait here, and with its holds."""
        for hold in other._holds:
            hold.follow(self)
        self._holds |= other._holds
        self._waiting.extendleft(reversed(other._waiting))
        other._holds.clear()
        other._waiting.clear()
        self._deliver_waiting()

    def end_hold(self, hold: Hold) -> None:
        self._holds.discard(hold)
        self._deliver_waiting()

    def _deliver_waiting(self) -> None:
        # A text may be a command that holds again.
        while self._waiting and not self._holds:
            self._deliver(self._waiting.popleft())
