"""The driver app with the theme that fits its terminal: what the terminal has said becomes a fact too.

`python -m tests.e2e.theme_app FOLDER THEME`; both stop keys are armed. Its rows are one in plain text, one in
the colour of an error, and one that is marked. F2 keeps `auto`, F3 the dark theme.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from textual.widgets import Static

from tests.e2e.driver_app import DriverApp
from tui.terminal.interrupt import BOTH_KEYS
from tui.terminal.looks import TerminalLooks
from tui.terminal.restore import restore_terminal
from tui.terminal.signals import SignalWatch
from tui.theme.choose import DARK, ThemeChoice
from tui.theme.files import AUTO
from tui.theme.palette import default_css_variables

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tui.terminal.driver import SchemeReported


class ThemeApp(DriverApp):
    """See the module."""

    CSS = """
    Screen { background: $background; color: $foreground; }
    #error { color: $text-error; }
    #marked { text-style: reverse; }
    """

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, keys=BOTH_KEYS, stubborn=False)
        self.choice = ThemeChoice(self, name, looks=TerminalLooks.of(os.environ))
        self.follows_scheme = self.choice.follows

    def on_load(self) -> None:
        self.choice.start()
        self.note(f"theme {self.theme}")

    def compose(self) -> ComposeResult:
        yield Static("driver app")
        yield Static("failed", id="error")
        yield Static("marked", id="marked")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return default_css_variables(self.current_theme)

    def on_scheme_reported(self, message: SchemeReported) -> None:
        self.note(f"scheme {message.scheme.value}")
        self.choice.take_scheme(message.scheme)
        self.note(f"theme {self.theme}")

    def _control(self, key: str) -> None:
        if key in ("f2", "f3"):
            self.choice.keep(AUTO if key == "f2" else DARK)
            self.note(f"theme {self.theme}")
        super()._control(key)


async def _main() -> int:
    app = ThemeApp(Path(sys.argv[1]), sys.argv[2])
    with SignalWatch(app.on_os_signal, loop=asyncio.get_running_loop(), restore=restore_terminal):
        await app.run_async()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
