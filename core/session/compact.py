"""`/compact`: a compaction that a person asks for, while no turn runs (C2)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.cancel import Cancelled
from core.operations.events import Status
from core.session.queue import SessionError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.context.compaction import CompactionServices
    from core.session.history import History

log = logging.getLogger(__name__)


class RunningCompaction:
    """A compaction while it runs; Esc cancels its token."""

    over = False
    """A stop counts until it has ended."""

    def __init__(self, token: CancelToken) -> None:
        self.token = token
        self.task: asyncio.Task[None] | None = None

    @property
    def status(self) -> Status:
        return Status.STOPPING if self.token.cancelled else Status.RUNNING


def undo_compaction(record: History) -> str:
    """Take the newest summary back and say what is sent again. Raises `SessionError` if there is none."""
    undone = record.undo_compaction()
    if undone is None:
        raise SessionError("There is nothing to take back: the whole conversation is sent as it is.")
    first = "first step is" if undone.upto == 1 else f"first {undone.upto} steps are"
    what = f"The {first}" if undone.upto else "The outputs of tools are"
    return f"{what} sent whole again. They are compacted anew when the model's window is nearly full."


async def run_compaction(
    services: CompactionServices,
    record: History,
    token: CancelToken,
    keep: str,
    notify: Callable[[str], None],
) -> None:
    """Compact, and save it. A failure is a sentence for `notify` and changes nothing."""
    from core.context.compaction import compact
    from core.context.summary import CompactionFailed

    try:
        await compact(services, record, token, keep)
        await record.saved()
    except Cancelled:
        # Its end is published already. A cancel from outside is no `Cancelled` and passes through.
        log.info("the compaction was stopped")
    except CompactionFailed as error:
        log.info("the compaction failed: %s", error)
    except CaesuraError as error:
        notify(str(error))
    except Exception:
        log.exception("a compaction failed unexpectedly")
        notify("The compaction failed inside Caesura; the log has the details. Nothing has changed.")
