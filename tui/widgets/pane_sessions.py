"""What a pane does with conversations: the lists of them, of prompts to go back to, of notes, and the work
behind what is chosen there. The part of `tui.widgets.pane.Pane` for `tui.keeping`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import CaesuraError
from core.events import Status
from tui.keeping import KeepingError
from tui.widgets.pane_parts import PaneParts

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tui.widgets.rewind_list import RewindList
    from tui.widgets.session_list import SessionList


class PaneSessions(PaneParts):
    """See the module."""

    def show_sessions(self) -> None:
        self.keeping.show_list(self.lists)

    def show_rewind(self) -> None:
        if self.session.status is not Status.IDLE:
            raise KeepingError("A turn is running: stop it first, or let it end.")
        self.lists.open_rewind(self.keeping)

    def show_memory(self) -> None:
        self.keeping.show_memory(self.lists)

    def check_unsaved(self) -> None:
        self.lists.check_unsaved()

    def do_later(self, work: Coroutine[object, object, None]) -> None:
        """Do it beside the keys; what it cannot do is told, in the list if that is still open."""
        self.run_worker(self._do(work), group="work")

    def do_first(self, work: Coroutine[object, object, None]) -> None:
        """The same, and what is sent from now on waits for it."""
        self.outbox.hold()
        self.run_worker(self._do_first(work), group="work")

    async def _do_first(self, work: Coroutine[object, object, None]) -> None:
        await self._do(work)
        self.outbox.release()

    async def _do(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except CaesuraError as error:
            self.lists.fail(str(error))
        self._refresh_state()

    def on_session_list_opened(self, message: SessionList.Opened) -> None:
        message.stop()
        try:
            self.keeping.open(message.session_id)
        except CaesuraError as error:
            self.lists.fail(str(error))

    def on_session_list_renamed(self, message: SessionList.Renamed) -> None:
        message.stop()
        if message.session_id == self.session.session_id:
            self.session.upkeep.settle_title(message.title)

    def on_rewind_list_picked(self, message: RewindList.Picked) -> None:
        message.stop()
        self.do_first(self.keeping.rewind(message.turn, put_files_back=message.put_files_back))
