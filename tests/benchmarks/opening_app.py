"""Caesura with a session of many messages at hand: `python -m tests.benchmarks.opening_app RECORD MESSAGES`.

F5 opens it, F6 pages up to its start and paints each page, F7 goes to its end, F8 to its start at once, F4
shows a reply word by word. What is over is written to the file RECORD, one fact a line, together with the
longest time that the event loop was held up meanwhile, in seconds: what is in the way of a key is inside of
the program and nowhere else. Of F4 it is the usual time for a word.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Reasoning,
    ResultStatus,
    Step,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    UserMessage,
)
from core.model.provider import ModelChoice
from core.operations.events import Outcome, Shown
from core.operations.registry import Registry
from core.session.session import Session
from core.storage.records import CallCard, LoadedSession, SessionInfo, StoredStep, TurnRecord
from tests.support.scripted_tools import equipped
from tests.tui.stage import MODEL, HandPlayedModel
from tui.app.app import CaesuraApp, run_app
from tui.transcript.feed import Channel
from tui.transcript.stored import StoredView

if TYPE_CHECKING:
    from collections.abc import Awaitable

BEAT_S = 0.001
WORDS = 200
LAST = "The very last words."
FIRST = "prompt 1 of many"
OUTPUT = "total 48\n" + "".join(f"-rw-r--r-- 1 me me {number} file_{number}.py\n" for number in range(40))
ANSWER = """\
Here is what I found in **the module**, step by step:

- the first `item` of it, which is long enough to be wrapped on most screens of a usual width
- the second

```python
def following(value: int) -> int:
    return value + 1  # and no more
```

| name | value |
|------|-------|
| one  | 1     |

"""


def conversation(messages: int) -> LoadedSession:
    """Four messages a turn: a prompt, a reply with a call, its result, an answer of some 700 characters."""
    steps: list[StoredStep] = []
    turns: list[TurnRecord] = []
    for turn in range(1, messages // 4 + 1):
        call = ToolCall(f"call {turn}", "shell", '{"command": "ls -la"}')
        result = ToolResult(call.call_id, "shell", ResultStatus.COMPLETED, OUTPUT)
        parts = (Reasoning("What is there to be seen? " * 12), Text("Let me look."), call)
        asked = AssistantMessage(parts, MODEL, FinishReason.TOOL_CALLS)
        prompt = f"prompt {turn} of many"
        first = Step((UserMessage(prompt), asked, ToolResults((result,))))
        card = CallCard(call.call_id, "ls -la", Shown(OUTPUT), 0.012)
        steps.append(StoredStep(first, turn, float(turn), cards=(card,)))
        answer = ANSWER + f"{turn} is a paragraph of words that go on. " * 10
        last = f"\n\n{LAST}" if turn == messages // 4 else ""
        answered = AssistantMessage((Text(answer + last),), MODEL, FinishReason.STOP)
        steps.append(StoredStep(Step((answered,)), turn, float(turn)))
        turns.append(TurnRecord(turn, prompt, float(turn), outcome=Outcome.COMPLETED, kept=True))
    info = SessionInfo("session", "", "/", MODEL, 0.0, 0.0, len(steps))
    return LoadedSession(info, tuple(steps), tuple(turns))


class OpeningApp(CaesuraApp):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f4", "stream", priority=True),
        Binding("f5", "open", priority=True),
        Binding("f6", "page_to_start", priority=True),
        Binding("f7", "end", priority=True),
        Binding("f8", "start", priority=True),
    ]

    def __init__(self, record: Path, messages: int) -> None:
        super().__init__(self._open_session)
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._messages = messages
        self._loaded = conversation(0)
        self._longest = 0.0
        self._opened: tuple[StoredStep, ...] = ()

    def _open_session(self) -> Session:
        return Session(HandPlayedModel(), Registry(), ModelChoice(MODEL), equipped())

    def on_ready(self) -> None:
        self.run_worker(self._get_ready())

    async def _get_ready(self) -> None:
        # What the program does after its first frame is over when this, its last import, is.
        while self._chores._tasks or "anyio._backends._asyncio" not in sys.modules:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        # As it comes from the store: young objects, which the collector has not seen yet.
        self._loaded = conversation(self._messages)
        self._note("ready")
        await self._beat()

    def action_stream(self) -> None:
        transcript = self.pane.transcript
        transcript.action_scroll_end()
        transcript.feed.end_section()
        took: list[float] = []
        for _ in range(WORDS):
            transcript.feed.receive(Channel.TEXT, "word ")
            before = time.perf_counter()
            transcript.flush()
            took.append(time.perf_counter() - before)
        transcript.end_reply(interrupted=False)
        self._note(f"streamed with {len(self._opened)} {statistics.median(took)}")

    def action_open(self) -> None:
        self._opened = self._loaded.steps
        self.run_worker(self._do("open", StoredView(gc.freeze).show(self._loaded, self.pane.transcript)))

    def action_page_to_start(self) -> None:
        self.run_worker(self._do("page to start", self._page_to_start()))

    def action_end(self) -> None:
        self.pane.transcript.action_scroll_end()
        self.run_worker(self._do("end", asyncio.sleep(0.2)))

    def action_start(self) -> None:
        self._longest = 0.0
        self.pane.transcript.action_scroll_home()
        self.run_worker(self._do("start", asyncio.sleep(0.2)))

    async def _page_to_start(self) -> None:
        transcript = self.pane.transcript
        while transcript.scroll_offset.y > 0:
            transcript.action_page_up()
            await asyncio.sleep(BEAT_S)

    async def _do(self, name: str, work: Awaitable[object]) -> None:
        self._longest = 0.0
        await work
        self._note(f"{name} {self._longest}")

    async def _beat(self) -> None:
        """Note how much later than asked for the loop comes back."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(BEAT_S)
            self._longest = max(self._longest, time.perf_counter() - before - BEAT_S)

    def _note(self, fact: str) -> None:
        os.write(self._record, f"{fact}\n".encode())


def main() -> None:
    gc.disable()
    app = OpeningApp(Path(sys.argv[1]), int(sys.argv[2]))
    sys.exit(asyncio.run(run_app(app, lambda: None)))


if __name__ == "__main__":
    main()
