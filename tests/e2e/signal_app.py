"""Caesura with two keys that no product may have: one blocks its event loop, one makes a handler fail.

`python -m tests.e2e.signal_app ...` takes Caesura's own arguments. F5 blocks until the file that
CAESURA_TEST_RELEASE names exists; F6 raises.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding

import caesura
import tui.app.app

if TYPE_CHECKING:
    from textual.binding import BindingType

RELEASE = "CAESURA_TEST_RELEASE"


class SignalApp(tui.app.app.CaesuraApp):
    """The application as it is, and the two keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5", "block", priority=True),
        Binding("f6", "fail", priority=True),
    ]

    def action_block(self) -> None:
        release = Path(os.environ[RELEASE])
        release.with_suffix(".blocked").touch()
        while not release.exists():
            time.sleep(0.01)

    def action_fail(self) -> None:
        raise RuntimeError("on purpose")


if __name__ == "__main__":
    # What the command line starts is this one; all else stays as it is.
    setattr(tui.app.app, "CaesuraApp", SignalApp)  # noqa: B010
    sys.exit(caesura.main())
