"""What the pane looks like, as pictures that a person has looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.provider import FailureKind, ModelError
from tests.support.snapshots import NARROW, looks_right, pictures
from tests.tui.stage import Stage
from tui.theme import choose as theme
from tui.transcript.markdown.highlight import load_lexer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.snapshots import SnapCompare


PROSE = """\
# How a stop travels

Pressing **Esc** marks a *token*. Whatever is bound to it ends, in this order:

1. The request is cancelled in the model process.
2. Its connection is closed, and the server sees that:
   - within a millisecond or so when the library obeys,
   - within 250 ms when it does not, for then the process is killed.

> A stop that asks "are you sure?" has not understood the question.

```python
def cancel(self, reason: CancelReason) -> bool:
    \"\"\"Mark this token and all below it; from any thread, without a wait.\"\"\"
    if self._mark is not None:
        return False  # the first reason stays
    self._mark = reason
    return True
```

See `core/cancel.py`, and the [contract](https://example.org/promises) that it keeps. What follows is \
long enough to be broken into several rows, at either size, so that one sees where rows end; and it goes \
on for a while, so that
"""

THOUGHTS = """\
The user asks how a stop travels. First the token, then the request, then the socket. I should mention what \
happens when the library does not obey, because that is what people doubt.
"""

TABLE = "| provider | protocol | closes after | unconfirmed | notes |\n|:--|:-:|--:|--:|:--|\n" + "".join(
    f"| provider {number} | {protocol} | {number * 0.37:.2f} ms | {number % 3} | {note} |\n"
    for number, (protocol, note) in enumerate(
        [
            ("chat completions", "retries are off"),
            ("messages", "overload arrives as status 500, which is told apart by its text"),
            ("generate content", "whole calls in one delta"),
        ]
        * 10,
        start=1,
    )
)


async def show_empty(stage: Stage) -> None:
    await stage.pilot.pause()


async def show_streaming(stage: Stage) -> None:
    load_lexer("python")  # or the code gets its colors later
    await stage.ask("How does a stop travel through Caesura?")
    stage.model.say(PROSE)
    await stage.until_said("for a while, so that")


async def show_stopped(stage: Stage) -> None:
    await show_streaming(stage)
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")


async def show_rolled_back(stage: Stage) -> None:
    await stage.ask("How does a stop travel through Caesura?\nIn a few words, please.")
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")


async def show_error(stage: Stage) -> None:
    await stage.ask("How does a stop travel through Caesura?")
    error = ModelError(
        FailureKind.WRONG_KEY,
        "OpenAI does not accept the key (401): check OPENAI_API_KEY, or store another one in the keyring.",
    )
    stage.model.give(error)
    await stage.until_said("OpenAI does not accept the key")


async def show_reasoning_folded(stage: Stage) -> None:
    await stage.ask("How does a stop travel through Caesura?")
    stage.model.think(THOUGHTS)
    stage.model.say(PROSE.partition("\n\n> ")[0])
    stage.model.finish()
    await stage.until(lambda: "12%" in stage.status)
    await stage.until_said("the process is killed")


async def show_reasoning(stage: Stage) -> None:
    await show_reasoning_folded(stage)
    await stage.press("ctrl+r")


async def show_table(stage: Stage) -> None:
    await stage.ask("Compare the providers.")
    stage.model.say(TABLE)
    stage.model.finish()
    await stage.until_said("provider 30")
    await stage.press("pageup")


async def show_three_running(stage: Stage) -> None:
    await stage.run_three()
    stage.same_age()
    await stage.press("ctrl+t", "tab")


async def show_one_stopping(stage: Stage) -> None:
    """Of three, the one in the middle does not want to."""
    await stage.ask_for(
        ("one", "shell", {"do": "hold", "say": "sleep 100", "seconds": 600}),
        ("two", "shell", {"do": "deaf", "say": "make test"}),
        ("three", "shell", {"do": "hold", "say": "find / -name core"}),
    )
    await stage.until(lambda: len(stage.shell.running) == 3)
    stage.same_age()
    await stage.press("ctrl+t", "down", "x")
    await stage.until(lambda: any("stopping" in row for row in stage.panel))


async def show_output(stage: Stage) -> None:
    await stage.run_three()
    stage.same_age()
    operation = stage.session.operations.snapshot()[1]
    assert operation.detail == "make test"
    stage.say_of("two", [f"tests/core/test_cancel.py::test_{number} PASSED" for number in range(40)])
    await stage.press("ctrl+t", "down", "enter")


async def show_panel_empty(stage: Stage) -> None:
    await stage.press("ctrl+t")


async def show_approval(stage: Stage) -> None:
    await stage.open_question()
    await stage.until(lambda: stage.focused() is stage.pane.dialogs.approval)


async def show_words(stage: Stage) -> None:
    await show_approval(stage)
    await stage.press("r", *"keep")
    approval = stage.pane.dialogs.approval
    await stage.until(lambda: stage.pane.prompt.region.y - approval.region.bottom == 3)
    await stage.pilot.pause()


async def show_plan(stage: Stage) -> None:
    await stage.press("shift+tab", "shift+tab")
    await stage.send("/mode")
    await stage.until_said("The mode is plan.")


SCENES = {
    "empty": show_empty,
    "streaming": show_streaming,
    "stopped": show_stopped,
    "rolled-back": show_rolled_back,
    "error": show_error,
    "reasoning-folded": show_reasoning_folded,
    "reasoning": show_reasoning,
    "table": show_table,
    "three-running": show_three_running,
    "one-stopping": show_one_stopping,
    "output": show_output,
    "panel-empty": show_panel_empty,
    "approval": show_approval,
    "words": show_words,
    "plan": show_plan,
}


@pictures(SCENES, wide=("streaming", "table", "approval", "panel-empty", "three-running"))
def test_dark(
    snap_compare: SnapCompare, show: Callable[[Stage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, Stage(), show, size)


def test_light(snap_compare: SnapCompare) -> None:
    assert looks_right(snap_compare, Stage(theme_name=theme.LIGHT), show_stopped, NARROW)
