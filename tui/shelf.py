"""What is shown over the transcript: the sessions that are kept, the prompts to go back to, the notes.

Shapes and protocols only, so that a list can be shown without a file of sessions beneath it. Whatever is
behind them must not block the event loop, and tells what it cannot do as a `CaesuraError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from core.events import Outcome
    from core.records import Hit, SessionInfo


class SessionShelf(Protocol):
    """The sessions that are kept. All of it may raise `CaesuraError`, whose text is shown as it is."""

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """All of them, in any order. `title` is the first prompt where nothing has named the session yet."""
        ...

    async def search(self, text: str) -> tuple[Hit, ...]:
        """Where the words of `text` stand, the best place first. `text` is what a person typed: any text."""
        ...

    async def rename(self, session_id: str, title: str) -> None: ...

    async def delete(self, session_id: str) -> None:
        """Remove it for good; the person has been asked."""
        ...

    async def fork(self, session_id: str) -> str:
        """A new session with the same steps; its id."""
        ...

    async def export(self, session_id: str) -> str:
        """Write it as Markdown; the path of the file."""
        ...


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that tools of ours have changed since a prompt.

    `conflict` means that somebody else has changed it after them, so that it is kept as it is.
    """

    path: str
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class RewindPoint:
    """A prompt to go back to: the conversation as it was before it, and what was changed from there on.

    `turn` is that of `core.records.TurnRecord`, `outcome` None if the program died in it, `at` Unix time in
    seconds.
    """

    turn: int
    prompt: str
    outcome: Outcome | None
    at: float
    files: tuple[FileChange, ...] = ()


class RewindPoints(Protocol):
    """The prompts of one session."""

    async def prompts(self) -> tuple[RewindPoint, ...]:
        """From the oldest to the newest. May raise `CaesuraError`."""
        ...


@dataclass(frozen=True, slots=True)
class WorkspaceNotes:
    """The notes of a workspace as they are in their file; empty if there is none."""

    path: Path
    text: str


class MemoryKeeper(Protocol):
    """The notes of one workspace. All of it may raise `core.memory_file.MemoryFileError`.

    `read` is the text that was in the file when it was looked at last: if there is another one by now,
    nothing is written and `core.memory_file.MemoryChanged` raised.
    """

    async def load_memory(self) -> WorkspaceNotes: ...

    async def save_memory(self, text: str, *, read: str) -> None: ...

    async def replace_memory(self, text: str, *, read: str) -> None:
        """The same, for a `read` that the person has not seen: it is kept as `memory.md.bak`."""
        ...
