"""Work that a command begins and that takes its time: it runs in the background of the pane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.worker import active_worker

from core.base.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from textual.widget import Widget

    from tui.lists.overlays import Overlays
    from tui.pane.outbox import Hold, Outbox

_FIRST = "first"


class PaneWork:
    """Runs work as workers of `pane`, which end with it. Shows an error in the open list, else in the
    transcript. `done` is called after each."""

    def __init__(self, pane: Widget, lists: Overlays, outbox: Outbox, done: Callable[[], object]) -> None:
        self._pane = pane
        self._lists = lists
        self._outbox = outbox
        self._done = done

    def do_later(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` in the background."""
        self._pane.run_worker(self._do(work), group="work")

    def do_first(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` in the background. What is sent from now on waits for it, and the pane stays.

        Refused while another session is being opened: the work would be cut off with the pane.
        """
        if self._outbox.held:
            work.close()
            self._lists.fail("Another session is being opened: wait for that.")
            return
        self._pane.run_worker(self._do_holding(work, self._outbox.hold()), group=_FIRST)

    def check_free(self) -> None:
        """Raise `CaesuraError` while work of `do_first` runs, other than the work that asks: it would be cut
        off if the pane was replaced."""
        asking = active_worker.get(None)
        for worker in self._pane.workers:
            is_first = worker.node is self._pane and worker.group == _FIRST and not worker.is_finished
            if is_first and worker is not asking:
                raise CaesuraError("Files are being put back or a session is being copied: wait for that.")

    async def _do_holding(self, work: Coroutine[object, object, None], hold: Hold) -> None:
        try:
            await self._do(work)
        finally:
            hold.release()

    async def _do(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except CaesuraError as error:
            self._lists.fail(str(error))
        self._done()
