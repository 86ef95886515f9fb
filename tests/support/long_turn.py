"""A long turn that is kept in a file: reasoning, text, three calls of which one writes a real file
and one asks, a compaction, and three steps.

What it must never do: let a malformed request pass. The model refuses it, as a provider would.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from core.model.messages import (
    FinishReason,
    ToolResults,
    Usage,
)
from core.model.provider import (
    Finished,
    ModelChoice,
    ModelInfo,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from core.operations.events import (
    Answer,
    AnswerKind,
    Event,
    QuestionAsked,
    ReasoningArrived,
    TextArrived,
    TurnEnded,
)
from core.operations.registry import Registry
from core.permissions.access import Workspace
from core.permissions.policy import Mode, Permissions
from core.session.dependencies import SessionDependencies, ToolHost
from core.session.session import Session
from core.storage.store import Store
from core.tools.edits import WriteFile
from core.tools.schema import spec_of
from tests.support.no_tools import NoTools
from tests.support.scripted_models import (
    MODEL,
    QUIT,
    Script,
    ScriptedProvider,
    assert_accepted,
)
from tests.support.scripted_tools import AskingTool, PlayedTool
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from core.cancel import CancelToken
    from core.model.provider import Emit, ModelRequest
    from core.storage.journal import Journal, OpenedSession

PROMPT = "ask"
FILE, CONTENT = "made.txt", "all of it\n" * 50
SUMMARY = "The user asked, and a file was made."
WINDOW = 1_000
"""Tokens: the second reply of the turn, as its provider counts it, fills them."""
USED = (Usage(300, 20, 5, 6), Usage(780, 21, 7, 8), Usage(100, 22))
SUMMARY_USED = Usage(90, 9, 1)
BEFORE_USED = Usage(40, 4)
READ, WRITE, ASKED = "id-0", "id-1", "id-2"


def _call(index: int, name: str, call_id: str, **arguments: str) -> tuple[ToolCallDelta, ...]:
    text = json.dumps(arguments)
    return ToolCallDelta(index, text[:5], call_id, name), ToolCallDelta(index, text[5:])


STEPS: tuple[Script, ...] = (
    (
        PhaseChanged(Phase.STREAMING),
        ReasoningDelta("thin"),
        ReasoningDelta("king", "signature"),
        TextDelta("one "),
        TextDelta("two"),
        *_call(0, "read", READ, say="what was read " * 40),
        *_call(1, "write_file", WRITE, path=FILE, content=CONTENT),
        *_call(2, "server", ASKED, say="b"),
        Finished(FinishReason.TOOL_CALLS, USED[0], MODEL),
    ),
    (
        TextDelta("three"),
        *_call(0, "read", "id-3", say="c"),
        Finished(FinishReason.TOOL_CALLS, USED[1], MODEL),
    ),
    (TextDelta("four "), TextDelta("five"), Finished(FinishReason.STOP, USED[2], MODEL)),
)
SAID = ("one two", "three", "four five")
SUMMARISED: Script = (
    TextDelta(SUMMARY[:9]),
    TextDelta(SUMMARY[9:]),
    Finished(FinishReason.STOP, SUMMARY_USED, MODEL),
)


class LongTurn(ScriptedProvider):
    """Answers a turn with `scripts`, and who wants a summary with one; refuses what is malformed."""

    def __init__(self, scripts: Sequence[Script] = STEPS) -> None:
        super().__init__()
        self.steps = list(scripts)
        self.refusals: list[str] = []
        self.asked = 0
        self.summaries = 0

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        token.check()
        try:
            assert_accepted(request.messages)
        except AssertionError as error:
            self.refusals.append(f"{error}: {request.messages}")
            raise
        # Only a request for a summary offers no tools.
        if request.tools:
            self.scripts = [self.steps[min(self.asked, len(self.steps) - 1)]]
            self.asked += 1
        else:
            self.scripts = [SUMMARISED]
            self.summaries += 1
        return await super().stream(request, token, emit)


class Kept:
    """A session in a file with a model that plays, and all that its listener heard. Whatever is asked is
    allowed."""

    def __init__(
        self,
        folder: Path,
        provider: ScriptedProvider,
        *,
        store: Store | None = None,
        opened: OpenedSession | None = None,
        journal: Callable[[Journal], Journal] = lambda journal: journal,
    ) -> None:
        self.folder = folder
        self.provider = provider
        self.store = store or Store(file_in(folder))
        self.registry = Registry()

        def make_tools(_: ToolHost) -> NoTools:
            tools = (
                PlayedTool("read"),
                WriteFile(),
                AskingTool("server"),
            )
            table: dict[str, Any] = {tool.name: tool for tool in tools}
            return NoTools(tuple(spec_of(tool) for tool in table.values()), table)

        equipment = SessionDependencies(
            Permissions(Workspace(folder), mode=Mode.EDITS),
            make_tools,
            make_journal=lambda session_id: journal(self.store.create(session_id, str(folder), MODEL)),
        )
        self.session = Session(provider, self.registry, ModelChoice(MODEL), equipment, opened)
        self.entry = self.session.record.steps
        self.events: list[Event] = []
        self.session.subscribe(self._hear)

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, QuestionAsked):
            # The person is not faster than the next frame.
            loop, ask_id = asyncio.get_running_loop(), event.question.ask_id
            loop.call_soon(loop.call_soon, self.session.questions.answer, ask_id, Answer(AnswerKind.ONCE))

    @property
    def ended(self) -> list[TurnEnded]:
        return [event for event in self.events if isinstance(event, TurnEnded)]

    @property
    def shown(self) -> bool:
        """Whether anything of a reply could be seen."""
        return any(isinstance(event, TextArrived | ReasoningArrived) for event in self.events)

    async def run(self) -> None:
        """The long turn."""
        self.session.record.info = ModelInfo(MODEL, context_window=WINDOW)
        self.session.submit(PROMPT)
        await self.session.wait_idle()

    async def turn(self, prompt: str | None) -> TurnEnded:
        """A turn with `prompt`, or the one that is to be continued."""
        if prompt is None:
            self.session.resume()
        else:
            self.session.submit(prompt)
        async with asyncio.timeout(GENEROUS_S):
            await self.session.wait_idle()
        return self.ended[-1]

    async def aclose(self) -> None:
        await self.session.aclose(QUIT)
        await self.store.aclose()


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is such a thing: hundreds of files are made durable in it, and a kill of
    the program, unlike one of the machine, takes nothing from either."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def file_in(folder: Path) -> Path:
    return folder / "data" / "caesura.db"


async def reopen(folder: Path, session_id: str, *scripts: Script) -> Kept:
    """The session as a new program finds it."""
    store = Store(file_in(folder))
    opened = await store.open(session_id)
    return Kept(folder, LongTurn(scripts), store=store, opened=opened)


def new_folder(folder: Path) -> Path:
    """A workspace with a place for the file."""
    file_in(folder).parent.mkdir(parents=True)
    return folder


def sent(kept: Kept) -> str:
    """The texts of the latest request."""
    messages = kept.provider.requests[-1].messages
    return "\n".join(message.text for message in messages if not isinstance(message, ToolResults))
