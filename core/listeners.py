"""Who hears of events: every listener the same story, in the same order, and none can disturb another."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.events import Event

log = logging.getLogger(__name__)


class Listeners:
    """Those of one session; all of it in the session's event loop."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._untold: deque[Event] = deque()
        self._telling = False

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on; the result takes it back."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def tell(self, event: Event) -> None:
        """Tell all listeners. What a listener causes is told after what it was just told, to every one."""
        self._untold.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                self._tell_each(self._untold.popleft())
        finally:
            self._telling = False

    def _tell_each(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except (Exception, asyncio.CancelledError):
                # A front end that fails must not take the turn with it. Nothing is awaited here, so a
                # CancelledError is such a failure and no cancel of the turn.
                log.exception("a listener failed at %s", type(event).__name__)
