"""`python -m tests.screenshot [FILE]` makes the README's picture, `.github/caesura.svg`.

The program itself makes it, with nothing staged but the keys: the demo model answers over a real connection,
Esc stops it in the middle of a sentence, and the next reply tells what its server saw of that. So the times
in the picture are measurements, and differ a little from one run to the next.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from textual.selection import SELECT_ALL

from core.model.provider import ModelChoice
from core.operations.registry import Registry
from core.session.session import Session
from providers.client.model_process import ModelProcess
from providers.demo.server import DemoServer
from tests.support.no_tools import no_tools
from tui.app.app import CaesuraApp
from tui.terminal.driver import Interrupted
from tui.terminal.interrupt import InterruptKey

if TYPE_CHECKING:
    from textual.pilot import Pilot

PICTURE = Path(__file__).parent.parent / ".github" / "caesura.svg"
SIZE = (100, 32)
BOUND_S = 60

STOP_AT = "press Enter, and press"
QUESTION = "What did you see?"
SHOW_AT = "I have no answer to that"


async def draw(process: ModelProcess, demo: DemoServer) -> str:
    """Play the scene and return its picture, as SVG."""
    choice = ModelChoice(demo.model, demo.url)
    app = CaesuraApp(lambda: Session(process, Registry(), choice, no_tools()))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"hello", "enter")
        await _until_said(pilot, app, STOP_AT)
        press = app.interrupt_gate.press(InterruptKey.ESCAPE)
        assert press is not None
        app.post_message(Interrupted(press))
        await _until_said(pilot, app, "Stopped by Esc")
        app.pane.prompt.insert(QUESTION)
        await pilot.press("enter")
        await _until_said(pilot, app, SHOW_AT)
        return _with_stable_ids(app.export_screenshot())


async def _until_said(pilot: Pilot[int], app: CaesuraApp, words: str) -> None:
    async with asyncio.timeout(BOUND_S):
        while words not in (app.pane.transcript.get_selection(SELECT_ALL) or ("",))[0]:
            await pilot.pause()


def _with_stable_ids(svg: str) -> str:
    """Rich numbers its classes anew in each picture, which would make every line of a diff differ."""
    return re.sub(r"\bterminal-\d+", "caesura", svg)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    with tempfile.TemporaryDirectory() as folder, DemoServer() as demo:
        process = ModelProcess(lambda: Path(folder) / "worker.log")
        process.start()
        try:
            svg = asyncio.run(draw(process, demo))
        finally:
            process.close()
    target.write_text(svg, "utf-8")
    print(target)


if __name__ == "__main__":
    main()
