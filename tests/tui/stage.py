"""The application over a real session, with a model that a test plays by hand.

The model ends through its token, or because the test says so, and in no other way: one that ended by itself
would stay green while Esc is dead. Times that reach the screen are given, so that the same scene is always
the same picture.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest
from msgspec.structs import replace
from textual import events
from textual.selection import SELECT_ALL

from core.model.messages import FinishReason, Usage
from core.model.provider import (
    Closed,
    Closing,
    Delta,
    Finished,
    ModelChoice,
    ModelInfo,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.operations.events import Shown, ShownKind, Status
from core.operations.registry import Registry
from core.session.session import Session
from tests.support.played_app import AppStage
from tests.support.scripted_tools import AskingTool, PlayedArguments, PlayedTool, equipped
from tests.support.waiting import GENEROUS_S
from tui.app.app import CaesuraApp
from tui.composer.completion import Completion
from tui.keys.stop_keys import KEY_REPEAT_S
from tui.terminal.driver import Interrupted
from tui.theme import choose as theme

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from core.cancel import CancelReason, CancelToken
    from core.engine.tool import ToolContext, Workspace
    from core.model.provider import Emit, ModelRequest
    from tui.pane.pane import Pane
    from tui.terminal.interrupt import InterruptKey

MODEL = "openai/demo"
WINDOW = 128_000
CLOSED_AFTER_S = 0.00123
ELAPSED_S = 3.45
"""Seconds after which a wait counts as a hang; never reached when all is well."""


@dataclass(frozen=True, slots=True)
class Obedient:
    """A stop ends the stream, and this is how its connection ends; None gives no proof."""

    closing: Closing | None = Closing.CLOSED


@dataclass(frozen=True, slots=True)
class Stubborn:
    """Only a second stop ends the stream, with a kill, as that of a real model process."""

    forced: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Deaf:
    """No stop is heard before `released` is set."""

    released: asyncio.Event = field(default_factory=asyncio.Event)


Manner = Obedient | Stubborn | Deaf


class HandPlayedModel:
    """Says what the test gives it, one request after the other; `manner` is how it takes a stop."""

    def __init__(self) -> None:
        self.manner: Manner = Obedient()
        self.usage: Usage | None = Usage(15_020, 340)
        self.requests: list[ModelRequest] = []
        self.emits: list[Emit] = []
        self._given: asyncio.Queue[Delta | Finished | Exception] = asyncio.Queue()
        self._asked = asyncio.Event()
        self._has_said = False

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        token.check()
        self.requests.append(request)
        self.emits.append(emit)
        # Not by the reply before, which a stop may have ended.
        self._has_said = self._has_said and not self._given.empty()
        emit(PhaseChanged(Phase.WAITING_FOR_HEADERS))
        self._asked.set()
        try:
            match self.manner:
                case Obedient():
                    return await self._play(emit)
                case Stubborn(forced):
                    with token.on_force(_setter(forced)):
                        return await self._play_until(forced, emit)
                case Deaf(released):
                    return await self._play_until(released, emit)
        except asyncio.CancelledError:
            if (reason := token.reason) is not None:
                self._close(reason, emit)
            raise

    async def describe(self, model: str) -> ModelInfo:
        return ModelInfo(model, context_window=WINDOW)

    async def asked(self) -> None:
        """Wait for the next request."""
        async with asyncio.timeout(GENEROUS_S):
            await self._asked.wait()
        self._asked.clear()

    def say(self, *texts: str) -> None:
        self.give(*map(TextDelta, texts))

    def think(self, *texts: str) -> None:
        self.give(*map(ReasoningDelta, texts))

    def finish(self) -> None:
        """End the reply, after a word if it has said nothing yet: an empty one is no normal end."""
        if not self._has_said:
            self.say("Well.")
        self.give(Finished(FinishReason.STOP, self.usage, MODEL))

    def call(self, *calls: tuple[str, str, dict[str, object]]) -> None:
        """Ask for these calls, each an id, a tool and its arguments, and end the reply."""
        for index, (call_id, tool, arguments) in enumerate(calls):
            self.give(ToolCallDelta(index, json.dumps(arguments), call_id, tool))
        self.give(Finished(FinishReason.TOOL_CALLS, self.usage, MODEL))

    def give(self, *acts: Delta | Finished | Exception) -> None:
        """Say, end or fail; acts given at once are performed without a pause."""
        for act in acts:
            self._has_said = isinstance(act, TextDelta) or (self._has_said and not isinstance(act, Finished))
            self._given.put_nowait(act)

    async def _play(self, emit: Emit) -> Finished:
        while True:
            match await self._given.get():
                case Finished() as end:
                    return end
                case Exception() as error:
                    raise error
                case delta:
                    emit(delta)

    async def _play_until(self, released: asyncio.Event, emit: Emit) -> Finished:
        """Play, and let a stop in only when `released` is set."""
        playing = asyncio.create_task(self._play(emit))
        waiting = asyncio.create_task(released.wait())
        try:
            with anyio.CancelScope(shield=True):
                await asyncio.wait((playing, waiting), return_when=asyncio.FIRST_COMPLETED)
            await anyio.lowlevel.checkpoint()
            return await playing
        finally:
            playing.cancel()
            waiting.cancel()
            await asyncio.gather(playing, waiting, return_exceptions=True)

    def _close(self, reason: CancelReason, emit: Emit) -> None:
        closing = self.manner.closing if isinstance(self.manner, Obedient) else Closing.KILLED
        if closing is not None:
            emit(Closed(closing, reason.at + CLOSED_AFTER_S))


def _setter(event: asyncio.Event) -> Callable[[CancelReason], None]:
    """What sets `event` from whatever thread."""
    loop = asyncio.get_running_loop()

    def set_it(_: CancelReason) -> None:
        loop.call_soon_threadsafe(event.set)

    return set_it


PREVIEW = Shown(
    """\
--- a/core/cancel.py
+++ b/core/cancel.py
@@ -41,7 +41,8 @@ class CancelToken:
     def cancel(self, reason: CancelReason) -> bool:
         \"\"\"Mark this token and all below it.\"\"\"
-        self.reason = reason
-        return True
+        if self._mark is not None:
+            return False  # the first reason stays
+        self._mark = reason
         return self._wake()
""",
    ShownKind.DIFF,
)


class ScenicTool(PlayedTool):
    """A call's argument is what it says."""

    def title(self, arguments: PlayedArguments, workspace: Workspace) -> str:
        return arguments.say


class EditTool(AskingTool):
    """Is asked about, with a diff."""

    def title(self, arguments: PlayedArguments, workspace: Workspace) -> str:
        return arguments.say

    async def preview(self, arguments: PlayedArguments, context: ToolContext) -> Shown | None:
        return PREVIEW


class Stage(AppStage[CaesuraApp]):
    """The application and its model, and what can be read on the screen.

    The clock of the application stands: a running turn is `ELAPSED_S` old, and else `now` moves by hand;
    `later` moves it in both cases. Its tools are `shell`, which just runs, and `edit_file`, which asks.
    """

    def __init__(self, *, theme_name: str = theme.DARK, keys: Mapping[str, str] | None = None) -> None:
        self.model = HandPlayedModel()
        self.registry = Registry()
        self.now = time.monotonic()
        self.later = 0.0
        self.active = 0
        super().__init__(
            CaesuraApp(
                self._make_session,
                theme_name=theme_name,
                keymap=keys,
                clock=self._clock,
                on_activity=self._count_activity,
            )
        )
        self.session: Session

    def _make_session(self) -> Session:
        self.shell, self.edit = ScenicTool("shell"), EditTool("edit_file")
        tools = equipped(self.shell, self.edit, agents=True)
        # As in the program, where the session is made before the app, and its tasks know none.
        self.session = Context().run(Session, self.model, self.registry, ModelChoice(MODEL), tools)
        return self.session

    def _count_activity(self) -> None:
        self.active += 1

    def _clock(self) -> float:
        started = self.session.started_at
        return (self.now if started is None else started + ELAPSED_S) + self.later

    # -- what is to be seen --

    @property
    def pane(self) -> Pane:
        return self.app.pane

    @property
    def transcript(self) -> str:
        """All that the transcript says, without its decoration."""
        text, _ = self.pane.transcript.get_selection(SELECT_ALL) or ("", "")
        return text

    @property
    def rows(self) -> list[str]:
        """The transcript as it stands on the screen."""
        transcript = self.pane.transcript
        height = transcript.scrollable_content_region.height
        return [transcript.render_line(row).text.rstrip() for row in range(height)]

    @property
    def status(self) -> str:
        row = self.pane.widgets.status_line.render_line(0).text
        return " ".join(row.split())

    @property
    def panel(self) -> list[str]:
        """The rows of the panel."""
        panel = self.pane.panel
        return [panel.render_line(row).text.rstrip() for row in range(panel.content_size.height)]

    @property
    def question(self) -> str:
        """The question as it stands on the screen."""
        approval = self.pane.dialogs.approval
        return "\n".join(
            approval.render_line(row).text.rstrip() for row in range(approval.content_size.height)
        )

    def does(self, status: Status) -> bool:
        return self.session.status is status

    def is_armed(self) -> bool:
        return self.app.interrupt_gate.armed

    def exit_code(self) -> int | None:
        return self.app.return_value

    def focused(self) -> object:
        return self.app.screen.focused

    # -- what is done --

    async def ask_for(self, *calls: tuple[str, str, dict[str, object]]) -> None:
        """Send a prompt, and have the model ask for these calls."""
        await self.ask("hello")
        self.model.call(*calls)

    async def run_three(self) -> None:
        """Three commands at once."""
        await self.ask_for(
            ("one", "shell", {"do": "hold", "say": "sleep 100"}),
            ("two", "shell", {"do": "hold", "say": "make test"}),
            ("three", "shell", {"do": "hold", "say": "find / -name core"}),
        )
        await self.until(lambda: len(self.shell.running) == 3)

    def same_age(self) -> None:
        """Have everything that is alive begin with its turn, whenever that really was."""
        for operation in self.registry._live.values():
            began = operation.view().opened_at
            since = self.session.started_at or began
            operation._view = replace(operation._view, opened_at=since)
            if operation.deadline_at is not None:
                operation.deadline_at = since + round(operation.deadline_at - began)

    def say_of(self, call_id: str, lines: Iterable[str]) -> None:
        """Have a call that is running say something."""
        operation = self.registry._live[self.session.session_id, call_id]
        for line in lines:
            operation.progress.say(line)

    async def open_question(self, *, aged: bool = True) -> None:
        """A call that asks; `aged` long enough to be answered. Otherwise it does not take the focus."""
        with pytest.MonkeyPatch.context() as unaged:
            if not aged:
                unaged.setattr("tui.questions.dialogs.GRACE_S", GENEROUS_S)
            await self.ask_for(("edit", "edit_file", {"say": "core/cancel.py"}))
            await self.until(
                lambda: self.pane.dialogs.approval.question is not None and self.pane.dialogs.approval.display
            )
            await self.pilot.pause()
        if aged:
            self.later += 1
            # Its own timer may have run out before this clock has moved.
            self.pane.dialogs.approval.refresh()

    async def type_at_once(self, text: str) -> None:
        """Letters, and `\\t` and `\\n`, that all came in one read of the terminal."""
        for letter in text:
            self.app.post_message(events.Key({"\t": "tab", "\n": "enter"}.get(letter, letter), letter))
        await self.pilot.pause()

    async def send(self, text: str) -> None:
        """Type `text` and press Enter."""
        self.pane.prompt.insert(text)
        await self.press("enter")

    async def ask(self, text: str) -> None:
        """Send `text`, and wait until the model has been asked."""
        await self.send(text)
        await self.model.asked()

    def let_go(self) -> None:
        """Have the next Ctrl+S be a press of its own, and not the repeat of a key that is held down."""
        self.pane.queue_actions._pressed_at -= KEY_REPEAT_S

    async def say(self, text: str) -> None:
        """Have the model say `text`, and wait until it is on the screen."""
        self.model.say(text)
        await self.until_said(text)

    async def finish(self) -> None:
        """Let the turn come to its end."""
        self.model.finish()
        await self.until(lambda: self.does(Status.IDLE))

    async def press_at_once(self, key: InterruptKey) -> bool:
        """Press a stop key as the driver does: in a thread of its own, and the loop is told afterwards."""
        press = await asyncio.to_thread(self.app.interrupt_gate.press, key)
        if press is not None:
            self.app.post_message(Interrupted(press))
            await self.pilot.pause()
        return press is not None

    async def until_said(self, words: str, *, times: int = 1) -> None:
        """Wait until the transcript says `words`, so many times."""
        await self.until(lambda: self.transcript.count(words) >= times)


@asynccontextmanager
async def staged(
    size: tuple[int, int] = (80, 24),
    *,
    theme_name: str = theme.DARK,
    keys: Mapping[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """The application in a terminal of this size, at its first frame; `keys` is the person's own key map."""
    stage = Stage(theme_name=theme_name, keys=keys)
    with _eager_tasks():
        async with stage.running(size):
            await stage.until(lambda: isinstance(stage.pane.prompt.completer, Completion))
            await stage.pilot.pause()
            yield stage


@contextmanager
def _eager_tasks() -> Iterator[None]:
    """Begin tasks where they are made, as Textual has it outside of tests, where Python can do that."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    try:
        yield
    finally:
        loop.set_task_factory(before)
