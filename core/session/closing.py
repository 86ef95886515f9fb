"""The end of a session: wait for what is alive, first in peace, then after a kill (Q2)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.cancel import CancelToken
    from core.session.dependencies import SessionTools
    from core.storage.journal import Journal

log = logging.getLogger(__name__)

FORCED_S = 1.0
"""How long the end may take after the kill, in seconds."""


async def close(
    tokens: Sequence[CancelToken],
    alive: Callable[[], Iterable[asyncio.Task[Any]]],
    tools: SessionTools,
    journal: Journal,
    grace_s: float,
) -> None:
    """Wait for the tasks in `alive` and for the servers, then close the journal.

    `tokens` are cancelled already. What has not ended after `grace_s` seconds is forced and gets `FORCED_S`
    more; after that its task is cancelled from outside.
    """
    servers = asyncio.create_task(tools.aclose(), name="close of the servers")
    await asyncio.wait({servers, *alive()}, timeout=grace_s)
    # The turn names what has not ended by now (U10).
    for token in tokens:
        token.force()
    await asyncio.wait({servers, *alive()}, timeout=FORCED_S)
    await journal.aclose()
    for task in {servers, *alive()}:
        if not task.done():
            log.warning("%s has not ended in time", task.get_name())
            task.cancel()
    if servers.done() and not servers.cancelled() and (error := servers.exception()) is not None:
        log.error("the servers could not be closed", exc_info=error)
