"""What overlays read from: stored sessions, prompts to go back to, notes, models. Protocols and values only.

Implementations must not block the event loop, and raise `CaesuraError` for what they cannot do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.base.values import Value

if TYPE_CHECKING:
    from pathlib import Path

    from core.model.directory import ServerModels
    from core.model.provider import Effort, Offer
    from core.operations.events import Outcome
    from core.storage.records import SearchMatch, SessionInfo


class CurrentSession(Value):
    """The session on the screen when a list is opened: its id and its workspace."""

    session_id: str
    workspace: str


class SessionSource(Protocol):
    """The stored sessions. Each method may raise `CaesuraError`, whose text is shown as it is."""

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """All sessions, in any order. `title` is the first prompt while a session has no name."""
        ...

    async def search(self, text: str) -> tuple[SearchMatch, ...]:
        """The places where the words of `text`, as a person typed them, were said; the best first."""
        ...

    async def rename(self, session_id: str, title: str) -> None: ...

    async def delete(self, session_id: str) -> None:
        """Remove it for good; the person has agreed."""
        ...

    async def fork(self, session_id: str) -> str:
        """A new session with the same steps; its id."""
        ...

    async def export(self, session_id: str) -> str:
        """Write it as Markdown; the path of the file."""
        ...


class FileChange(Value):
    """A file that our tools have changed since a prompt.

    `conflict` means that somebody else has changed it after that: then it is kept as it is.
    """

    path: str
    conflict: bool = False


class RewindPoint(Value):
    """A prompt to go back to, and the files that were changed from there on.

    `turn` is that of `core.storage.records.TurnRecord`. `outcome` is None if the program died in the turn.
    `at` is Unix time in seconds.
    """

    turn: int
    prompt: str
    outcome: Outcome | None
    at: float
    files: tuple[FileChange, ...] = ()


class RewindPoints(Protocol):
    """The prompts of one session."""

    async def prompts(self) -> tuple[RewindPoint, ...]:
        """The prompts from the oldest to the newest. May raise `CaesuraError`."""
        ...


class WorkspaceNotes(Value):
    """The notes of a workspace as they are in their file; empty if there is no file."""

    path: Path
    text: str


class NotesSource(Protocol):
    """The notes of one workspace. Each method may raise `core.context.memory_file.MemoryFileError`.

    `read` is the text that the file had when it was read last. If it has another one by now, nothing is
    written and `core.context.memory_file.MemoryChanged` is raised.
    """

    async def load_memory(self) -> WorkspaceNotes: ...

    async def save_memory(self, text: str, *, read: str) -> None: ...

    async def replace_memory(self, text: str, *, read: str) -> None:
        """Save over a `read` that the person has not seen: it is kept as `memory.md.bak`."""
        ...


class ModelSource(Protocol):
    """The models that can be chosen, and those that the person has chosen."""

    @property
    def current(self) -> str:
        """The name of the session's model."""
        ...

    @property
    def effort(self) -> Effort | None:
        """The effort of the session's requests; None leaves it to the provider."""
        ...

    @property
    def favourites(self) -> tuple[str, ...]:
        """Names of models, in the order in which they are shown first."""
        ...

    async def offers(self) -> tuple[Offer, ...]:
        """All models that can be chosen. May raise `CaesuraError`, whose text is shown as it is."""
        ...

    async def server_models(self) -> ServerModels:
        """The models that servers list: they may take seconds."""
        ...
