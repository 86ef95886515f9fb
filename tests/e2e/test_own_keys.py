"""The person's own keys in a real terminal: what is wrong in them is told, and everything else counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.program import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.program import Caesura

CONFIG = """\
[keys]
"pane.stop" = "f2"
"app.quit" = "f10"
"pane.palette" = "f3"
"pane.hlep" = "f4"
"""


def wait(app: Caesura, *words: str) -> None:
    app.wait_for(lambda screen: all(word in " ".join(" ".join(screen).split()) for word in words))


@pytest.mark.promise("E9")
def test_bad_keys_are_told_and_the_doctor_tells_them_again(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "caesura"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    with running(tmp_path, "--demo", lines=40) as app:
        wait(app, "pane.stop stays on escape", "Did you mean pane.help?")
        app.terminal.press("f3")
        app.terminal.type("doctor\n")
        wait(app, "Terminal TERM is", "Configuration Key map:", "Disk")
        app.wait_status("Esc closes")
        app.terminal.press("escape")
        app.wait_status("Esc unused")
        app.terminal.press("f10")
        assert app.terminal.wait_exit() == 0
        assert "Traceback" not in app.logs()
