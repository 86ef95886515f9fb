"""The smallest application on the real driver: it writes down what reaches it, from which side and in which
order.

`python -m tests.e2e.driver_app FOLDER [--arm escape|ctrl+c|both] [--stubborn]`; the record is FOLDER/record,
one fact a line. F5 blocks the event loop until FOLDER/release exists, F6 raises, F7 exits, F8 raises
SystemExit, F4 leaves through a driver that fails, F9 arms both keys, F10 disarms. Stubborn: only a second
signal ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static

from tui.terminal.driver import CaesuraDriver, Interrupted
from tui.terminal.interrupt import BOTH_KEYS, InterruptGate, InterruptKey, Press
from tui.terminal.restore import restore_terminal
from tui.terminal.signals import SignalWatch

if TYPE_CHECKING:
    import signal


class DriverApp(App[None]):
    """Writes down keys, pastes, presses and signals."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, folder: Path, *, keys: frozenset[InterruptKey], stubborn: bool) -> None:
        self.interrupt_gate = InterruptGate()
        super().__init__(driver_class=CaesuraDriver)
        self.animation_level = "none"
        self._folder = folder
        self._stubborn = stubborn
        self._record = os.open(folder / "record", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if keys:
            self.interrupt_gate.arm(self.stop, keys=keys)

    def note(self, fact: str) -> None:
        os.write(self._record, f"{fact}\n".encode())

    def stop(self, press: Press) -> None:
        self.note(f"press {press.key.value}")

    def compose(self) -> ComposeResult:
        yield Static("driver app")

    def on_ready(self) -> None:
        self.note("ready")

    def on_interrupted(self, message: Interrupted) -> None:
        self.note(f"interrupted {message.press.key.value}")

    async def on_event(self, event: events.Event) -> None:
        match event:
            case events.Key():
                self.note(f"key {event.key}")
                self._control(event.key)
            case events.Paste():
                text = event.text if len(event.text) < 1000 else len(event.text)
                self.note(f"paste {json.dumps(text)}")
            case events.MouseDown() | events.MouseScrollDown() | events.AppBlur() | events.AppFocus():
                self.note(type(event).__name__)
            case _:
                await super().on_event(event)

    def _control(self, key: str) -> None:
        match key:
            case "f5":
                self.note("blocked")
                while not (self._folder / "release").exists():
                    time.sleep(0.01)
                self.note("released")
            case "f6":
                raise RuntimeError("on purpose")
            case "f7":
                self.exit()
            case "f8":
                sys.exit(7)
            case "f4":
                setattr(self._driver, "stop_application_mode", _fail)  # noqa: B010
                setattr(self._driver, "disable_input", _fail)  # noqa: B010
                self.exit()
            case "f9":
                self.interrupt_gate.arm(self.stop)
            case "f10":
                self.interrupt_gate.disarm()

    def on_os_signal(self, number: signal.Signals, count: int) -> None:
        self.note(f"signal {number.name} {count}")
        if not self._stubborn or count > 1:
            self.exit(return_code=128 + number)


def _fail() -> None:
    raise RuntimeError("on the way out, on purpose")


async def _main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arm", choices=["escape", "ctrl+c", "both"])
    parser.add_argument("--stubborn", action="store_true")
    arguments = parser.parse_args()
    match arguments.arm:
        case None:
            keys: frozenset[InterruptKey] = frozenset()
        case "both":
            keys = BOTH_KEYS
        case name:
            keys = frozenset({InterruptKey(name)})
    app = DriverApp(arguments.folder, keys=keys, stubborn=arguments.stubborn)
    with SignalWatch(app.on_os_signal, loop=asyncio.get_running_loop(), restore=restore_terminal):
        await app.run_async()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
