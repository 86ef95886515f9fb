"""The lists over the transcript in an application of their own, over sessions that a test holds in its hand.

Answers come when the test lets them: `PlayedShelf.hold` keeps the next ones back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from core.base.errors import CaesuraError
from core.operations.events import Outcome
from core.storage.records import SearchMatch, SessionInfo
from tests.support.played_app import AppStage, PlayedApp
from tui.composer.prompt import Prompt
from tui.lists.base.sources import CurrentSession, FileChange, RewindPoint
from tui.lists.overlays import Overlays
from tui.lists.rewind_list import RewindList
from tui.lists.sessions.session_list import SessionList

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from textual.app import ComposeResult
    from textual.message import Message


NOW = 1_790_000_000.0
HERE = CurrentSession("s1", "/work/caesura")


class SessionInUse(CaesuraError):
    """As the store has it."""


def info(number: int, title: str = "", *, workspace: str = HERE.workspace, ago: float = 0) -> SessionInfo:
    """Session `s<number>`; the higher the number the older it is."""
    at = NOW - (ago or number * 200)
    session_id = f"s{number}"
    return SessionInfo(
        session_id, title, workspace, "openai/demo", at, at, steps=3 * number, cost=0.04 * number
    )


SHELVED = (
    info(1, "How a stop travels through Caesura"),
    replace(info(2, "Retry with a countdown, capped whatever the server asks for"), in_use=True),
    info(3, "The index is empty after a rebase", ago=7_300),
    replace(info(4, "Read the log of the model process", ago=90_000), cost=None),
    replace(info(5, ago=300_000), steps=1, cost=0.001),
    info(6, "Why is the test of the keeper slow?", ago=3_982_400),
    info(7, "Translate the invoice", workspace="/home/ada/letters/2026", ago=1_000),
    info(8, "Compare three kinds of tea", workspace="/home/ada/notes", ago=86_400 * 3),
)


@dataclass
class PlayedShelf:
    """Holds `kept`, in which `texts` were said; `failure` is what calls of a name raise."""

    kept: tuple[SessionInfo, ...] = SHELVED
    texts: dict[str, str] = field(default_factory=dict)
    failure: dict[str, CaesuraError] = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    gates: dict[tuple[str, ...], asyncio.Event] = field(default_factory=dict)

    def hold(self, *call: str) -> None:
        self.gates[call] = asyncio.Event()

    def release(self, *call: str) -> None:
        self.gates[call].set()

    async def _called(self, *call: str) -> None:
        self.calls.append(call)
        if call in self.gates:
            await self.gates[call].wait()
        if call[0] in self.failure:
            raise self.failure[call[0]]

    async def sessions(self) -> tuple[SessionInfo, ...]:
        await self._called("sessions")
        return self.kept

    async def search(self, text: str) -> tuple[SearchMatch, ...]:
        await self._called("search", text)
        hits = []
        for one in self.kept:
            said = self.texts.get(one.session_id, "")
            if (at := said.find(text)) >= 0:
                hits.append(SearchMatch(one, 2, said, ((at, at + len(text)),)))
        return tuple(hits)

    async def rename(self, session_id: str, title: str) -> None:
        await self._called("rename", session_id, title)
        self.kept = tuple(
            replace(one, title=title) if one.session_id == session_id else one for one in self.kept
        )

    async def delete(self, session_id: str) -> None:
        await self._called("delete", session_id)
        self.kept = tuple(one for one in self.kept if one.session_id != session_id)

    async def fork(self, session_id: str) -> str:
        await self._called("fork", session_id)
        source = next(one for one in self.kept if one.session_id == session_id)
        copy = replace(source, session_id="copy", title=f"{source.title} (copy)", updated_at=NOW)
        self.kept += (copy,)
        return copy.session_id

    async def export(self, session_id: str) -> str:
        await self._called("export", session_id)
        return f"/home/ada/exports/{session_id}.md"


POINTS = (
    RewindPoint(
        1,
        "Why does the index lose its entries after a rebase?",
        Outcome.COMPLETED,
        NOW - 7_000,
        tuple(map(FileChange, ("core/index.py", "core/rebase.py", "tests/core/test_index.py"))),
    ),
    RewindPoint(2, "Write a test that shows it.\nOne is enough.", Outcome.CANCELLED, NOW - 3_500),
    RewindPoint(
        3,
        "Now mend it",
        Outcome.ERROR,
        NOW - 1_700,
        (FileChange("core/index.py"), FileChange("tests/core/test_index.py", conflict=True)),
    ),
    RewindPoint(4, "And update the notes", None, NOW - 100, (FileChange("NOTES.md", conflict=True),)),
)


@dataclass
class PlayedPoints:
    points: tuple[RewindPoint, ...] = POINTS
    failure: CaesuraError | None = None
    gate: asyncio.Event | None = None

    async def prompts(self) -> tuple[RewindPoint, ...]:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.points


class ListApp(PlayedApp):
    """A body with the lists, and a composer beneath; Esc closes what is open, as in a pane."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "escape", priority=True)]
    CSS = """
    Screen { background: $background; }
    #body { height: 1fr; layers: default lists; }
    """

    def __init__(self, shelf: PlayedShelf | None = None, points: PlayedPoints | None = None) -> None:
        super().__init__()
        self.shelf = shelf or PlayedShelf()
        self.points = points or PlayedPoints()
        self.prompt = Prompt()
        self.told: list[str] = []
        self.lists = Overlays(self.prompt, self.told.append, now=lambda: NOW)
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        with Container(id="body"):
            yield Static("transcript " * 500)
            yield self.lists
        yield self.prompt

    def on_mount(self) -> None:
        self.screen.set_focus(self.prompt)

    def on_resize(self) -> None:
        # As a pane does.
        self.prompt.styles.border = ("none", "black") if self.size.height < 8 else None

    def action_escape(self) -> None:
        if self.lists.is_open:
            self.lists.close_innermost()

    def on_session_list_opened(self, message: SessionList.Opened) -> None:
        self.posted.append(message)

    def on_session_list_renamed(self, message: SessionList.Renamed) -> None:
        self.posted.append(message)

    def on_rewind_list_picked(self, message: RewindList.Picked) -> None:
        self.posted.append(message)


class ListStage(AppStage[ListApp]):
    """The application with its lists, and what can be read in them."""

    @property
    def shelf(self) -> PlayedShelf:
        return self.app.shelf

    @property
    def sessions(self) -> SessionList:
        return self.app.query_one(SessionList)

    @property
    def rewind(self) -> RewindList:
        return self.app.query_one(RewindList)

    @property
    def text(self) -> str:
        """All that the open list shows."""
        return "\n".join(self.lines_of(self.app.lists))

    @property
    def chosen(self) -> str:
        """The rows of the selected entry."""
        return next((line.strip("│ ") for line in self.text.split("\n") if "› " in line), "")

    async def open_sessions(self) -> None:
        self.app.lists.open_sessions(self.app.shelf, HERE)
        await self.until(lambda: self.text.strip() and "Reading…" not in self.text)

    async def open_rewind(self) -> None:
        self.app.lists.open_rewind(self.app.points)
        await self.until(lambda: self.text.strip() and "Reading…" not in self.text)

    async def type_at_once(self, *keys: str) -> None:
        """Keys that all came in one read of the terminal."""
        for key in keys:
            self.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await self.pilot.pause()

    async def click(self, words: str, *, times: int = 1) -> None:
        """Click on these words, which stand in the open list."""
        region = self.app.lists.region
        for _ in range(times):
            y = next(at for at, line in enumerate(self.text.split("\n")) if words in line)
            x = self.text.split("\n")[y].index(words)
            await self.pilot.click(offset=(region.x + x, region.y + y))
        await self.pilot.pause()


def listed(
    size: tuple[int, int] = (80, 24), *, shelf: PlayedShelf | None = None, points: PlayedPoints | None = None
) -> AbstractAsyncContextManager[ListStage]:
    return ListStage(ListApp(shelf, points)).running(size)
