"""The callables that get the events of a session: all of them the same events in the same order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.operations.events import Event

log = logging.getLogger(__name__)


class Subscribers:
    """The subscribers of one session, all in its event loop."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Event], None]] = []
        self._pending: deque[Event] = deque()
        self._emitting = False

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Call `subscriber` with every event from now on, in the session's loop; the result ends that.

        A subscriber must not wait. What it raises is logged and disturbs neither the turn nor others.
        """
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Call all subscribers. An event that one of them causes comes after this one, for all of them."""
        self._pending.append(event)
        if self._emitting:
            return
        self._emitting = True
        try:
            while self._pending:
                self._emit_to_each(self._pending.popleft())
        finally:
            self._emitting = False

    def _emit_to_each(self, event: Event) -> None:
        for subscriber in list(self._subscribers):
            try:
                subscriber(event)
            except (Exception, asyncio.CancelledError):
                # A front end that fails must not take the turn with it. Nothing is awaited here, so a
                # CancelledError is such a failure and no cancel of the turn.
                log.exception("a subscriber failed at %s", type(event).__name__)
