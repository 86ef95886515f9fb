"""Where the focus of a pane goes: with Tab, with the key of the panel, and back to the composer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.widget import Widget

    from tui.pane.widgets import PaneWidgets


class PaneFocus:
    """Moves the focus among the widgets of one pane. `changed` is called after each move."""

    def __init__(self, widgets: PaneWidgets, changed: Callable[[], object]) -> None:
        self._widgets = widgets
        self._changed = changed

    def move(self, widget: Widget) -> None:
        # At once, unlike `Widget.focus`: keys typed behind the one that led here go to `widget`.
        widget.screen.set_focus(widget, scroll_visible=False)
        self._changed()

    def move_to_next(self) -> None:
        """Go from the composer to list, question, queue and panel, and back; what is not open is left out.

        While a command is typed, complete it.
        """
        widgets = self._widgets
        targets = [widget for _, widget in widgets.focus_targets]
        focused = widgets.focused
        if focused is widgets.prompt and (widgets.prompt.completer.is_open or len(targets) == 1):
            # After the keys typed before it, which may be the beginning of a command.
            widgets.prompt.call_later(lambda: widgets.prompt.completer.complete())
            return
        at = targets.index(focused) if focused in targets else -1
        self.move(targets[(at + 1) % len(targets)])

    def toggle_panel(self) -> None:
        """Open the panel and go there; close it if it has the focus."""
        if self._widgets.focused is self._widgets.panel:
            self.close_panel()
        else:
            self._widgets.panel.open()
            self.move(self._widgets.panel)

    def close_panel(self) -> None:
        self._widgets.panel.close()
        self.move(self._widgets.prompt)
