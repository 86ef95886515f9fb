"""The keys of a pane that stop nothing: where the focus goes, what the transcript shows, which lists open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import CaesuraError
from tui.widgets.pane_commands import PaneCommands
from tui.widgets.pane_sessions import PaneSessions
from tui.widgets.pane_stopping import PaneStopping

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.widget import Widget


class PaneKeys(PaneStopping, PaneSessions, PaneCommands):
    """See the module."""

    # -- where the focus goes --

    def action_toggle_panel(self) -> None:
        """Closed: open it and go there. Open: go there. There: close it."""
        if self.screen.focused is self.panel:
            self._close_panel()
        else:
            self.panel.open()
            self._focus(self.panel)

    def action_go_on(self) -> None:
        """From the composer to the question, the panel, and back; what is not open is left out. While a
        command is being typed, complete it."""
        stations: list[Widget] = [
            self.prompt,
            *self.lists.stations,
            *self.dialogs.stations,
            *self.queue.stations,
        ]
        if self.panel.is_open:
            stations.append(self.panel)
        focused = self.screen.focused
        if focused is self.prompt and (self.completion.is_open or len(stations) == 1):
            # In its turn, behind what was typed before: that may be the beginning of a command.
            self.prompt.call_later(self._complete)
            return
        at = stations.index(focused) if focused in stations else -1
        self._focus(stations[(at + 1) % len(stations)])

    def _complete(self) -> None:
        self.completion.complete()

    # -- lists --

    def action_show_sessions(self) -> None:
        self._show_or_tell(self.show_sessions)

    def action_show_models(self) -> None:
        self._show_or_tell(self.show_models)

    def action_show_help(self) -> None:
        self._show_or_tell(self.show_help)

    def action_show_palette(self) -> None:
        self._show_or_tell(self.show_palette)

    def _show_or_tell(self, show: Callable[[], object]) -> None:
        try:
            show()
        except CaesuraError as error:
            self.tell(str(error))

    # -- the turn, the queue --

    def action_retry_now(self) -> None:
        self.session.retry_now()
        self._refresh_state()

    def action_send_queued(self) -> None:
        self.queueing.go_on()
        self._refresh_state()

    def action_next_mode(self) -> None:
        self.session.set_mode(self.session.mode.next)

    # -- the transcript --

    def action_transcript_page_up(self) -> None:
        self.transcript.action_page_up()

    def action_transcript_page_down(self) -> None:
        self.transcript.action_page_down()

    def action_transcript_home(self) -> None:
        self.transcript.action_scroll_home()

    def action_transcript_end(self) -> None:
        self.transcript.action_scroll_end()

    def action_toggle_cards(self) -> None:
        self.transcript.toggle_cards()

    def action_toggle_reasoning(self) -> None:
        self.transcript.toggle_reasoning()
