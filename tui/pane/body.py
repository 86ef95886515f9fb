"""The main part of a pane: the transcript, the panel of what runs, and the lists that open over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Container

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tui.lists.models.model_list import ModelList
    from tui.lists.rewind_list import RewindList
    from tui.lists.running.running_panel import RunningPanel
    from tui.lists.sessions.session_list import SessionList
    from tui.lists.theme_list import ThemeList
    from tui.pane.commands import PaneCommands
    from tui.pane.widgets import PaneWidgets


class PaneBody(Container):
    """Gives what is chosen in panel and lists to `commands`."""

    def __init__(self, widgets: PaneWidgets, commands: PaneCommands) -> None:
        super().__init__(classes="pane--body")
        self._widgets = widgets
        self._commands = commands

    def compose(self) -> ComposeResult:
        yield self._widgets.transcript
        yield self._widgets.panel
        yield self._widgets.lists

    def on_running_panel_stop_requested(self, message: RunningPanel.StopRequested) -> None:
        message.stop()
        self._commands.stops.press(message.call_id, message.button, "the panel")
        self._widgets.panel.wake()

    def on_running_panel_deadline_moved(self, message: RunningPanel.DeadlineMoved) -> None:
        message.stop()
        self._commands.stops.give_time(message.call_id, message.seconds)
        self._widgets.panel.wake()

    def on_running_panel_kill_requested(self, message: RunningPanel.KillRequested) -> None:
        message.stop()
        self._commands.kill_survivors()

    def on_session_list_opened(self, message: SessionList.Opened) -> None:
        message.stop()
        self._commands.open_listed(message.session_id)

    def on_session_list_renamed(self, message: SessionList.Renamed) -> None:
        message.stop()
        session = self._commands.session
        if message.session_id == session.session_id:
            session.after_turn.settle_title(message.title)

    def on_rewind_list_picked(self, message: RewindList.Picked) -> None:
        message.stop()
        files = self._commands.session_files
        self._commands.do_first(files.rewind(message.turn, put_files_back=message.put_files_back))

    def on_model_list_picked(self, message: ModelList.Picked) -> None:
        message.stop()
        self._commands.pick_model(message.name, message.effort, from_catalog=message.from_catalog)

    def on_model_list_favourite_toggled(self, message: ModelList.FavouriteToggled) -> None:
        message.stop()
        self._commands.set_favourite(message.name, on=message.on)

    def on_theme_list_picked(self, message: ThemeList.Picked) -> None:
        message.stop()
        self._commands.pick_theme(message.name)
