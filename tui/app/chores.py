"""What the program does beside the keys: late imports, and the ends of sessions that were replaced."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import TYPE_CHECKING

from core.base.threads import run_in_thread
from tui.pane.garbage import collect_closed_panes, freeze_started_objects
from tui.transcript.transcript import warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.cancel import CancelReason
    from core.session.session import Session
    from tui.pane.preferences import Preferences

log = logging.getLogger(__name__)

IMPORTED_EARLY = (
    "anyio._backends._asyncio",
    "core.engine.engine",
    "core.context.compaction",
    "tui.commands.table",
)
"""Modules that the first turn would import otherwise, on the event loop, between Enter and the request."""


class Chores:
    """Owns tasks of the program. One that fails is logged; `cancel` ends those that are left."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, chore: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(chore)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task in the background failed", exc_info=error)


async def import_early(first: Callable[[], object]) -> None:
    """Call `first`, and import what the first turn needs, in a thread."""

    def work() -> None:
        first()
        warm_up()
        for name in IMPORTED_EARLY:
            importlib.import_module(name)
        freeze_started_objects()

    await run_in_thread(work, name="early imports")


async def prepare_session(session: Session, preferences: Preferences | None) -> None:
    """Do what a turn would have to wait for otherwise, and find out what the status line shows."""
    await session.tools.prepare()
    if preferences is not None:
        await preferences.read()
    await session.model.describe()


async def close_replaced(session: Session, reason: CancelReason) -> None:
    """Close a session whose pane was removed, and free the memory of that."""
    await session.aclose(reason)
    collect_closed_panes()
