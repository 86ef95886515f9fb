"""Where a session writes down what happens, so that nothing committed is lost and nothing half done is kept.

A session hands its changes over in their order and never waits for a disk in between; `flush` tells when all
of it is durable. Between two steps the pieces of the running one are kept as a draft: after a crash
`core.recovery` makes the interrupted step of them (H8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from core.errors import CaesuraError
from core.messages import ToolResult, UserMessage
from core.model import ReasoningDelta, TextDelta, ToolCallDelta
from core.values import dataclass

if TYPE_CHECKING:
    from core.records import Compaction, LoadedSession, PreImage, StoredStep, TurnRecord


class NotSaved(CaesuraError):
    """What was handed over is not in the file; it is kept in memory and tried again with what comes next."""


@dataclass(frozen=True, slots=True)
class CallIdentified:
    """The call that the provider tells apart by `index` is known by `call_id`."""

    index: int
    call_id: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The call is allowed and runs: from now on its effects are unknown until its result is there."""

    call_id: str


Piece: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | CallIdentified | CallBegun | ToolResult
"""What a draft is made of: the reply as it came, and what became of its calls so far."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a crash left of a running turn. `message` is the prompt as the model got it, with its notes."""

    turn: TurnRecord
    message: UserMessage
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A session from the file: what it holds, and what a crash left, if there was one.

    `read_only` says in a sentence why nothing can be added to it; empty if something can. Its last turn may
    then be running elsewhere.
    """

    journal: Journal
    loaded: LoadedSession
    draft: Draft | None = None
    read_only: str = ""


class Journal(Protocol):
    """The written side of one session. All but `flush` and `aclose` return at once and never raise."""

    def begin(self, turn: TurnRecord, message: UserMessage) -> None:
        """A turn has begun; `message` is its prompt as the model gets it."""
        ...

    def draft(self, pieces: tuple[Piece, ...]) -> None:
        """More of the running step."""
        ...

    def commit(self, stored: StoredStep) -> None:
        """A step is over: one transaction, which also ends its draft (H3)."""
        ...

    def end(self, turn: TurnRecord) -> None:
        """The turn has its outcome; what is left of its draft is dropped."""
        ...

    def keep_queue(self, prompts: tuple[str, ...], *, paused: bool) -> None:
        """The prompts that wait, all of them."""
        ...

    def keep_compaction(self, compaction: Compaction) -> None:
        """A new compaction, or one of these that was undone."""
        ...

    def keep_title(self, title: str) -> None: ...

    def keep_preimage(self, preimage: PreImage) -> None:
        """A file as it is before a tool of ours changes it."""
        ...

    async def flush(self) -> None:
        """Wait until all that was handed over is durable. Raises `NotSaved` when it is not.

        Cancelling it leaves what was handed over to be written all the same.
        """
        ...

    async def aclose(self) -> None:
        """Write what is left, within a bound, and give the session free for others. Never raises."""
        ...


class Unsaved:
    """A journal that keeps nothing: for a conversation that ends with the program."""

    def begin(self, turn: TurnRecord, message: UserMessage) -> None: ...

    def draft(self, pieces: tuple[Piece, ...]) -> None: ...

    def commit(self, stored: StoredStep) -> None: ...

    def end(self, turn: TurnRecord) -> None: ...

    def keep_queue(self, prompts: tuple[str, ...], *, paused: bool) -> None: ...

    def keep_compaction(self, compaction: Compaction) -> None: ...

    def keep_title(self, title: str) -> None: ...

    def keep_preimage(self, preimage: PreImage) -> None: ...

    async def flush(self) -> None: ...

    async def aclose(self) -> None: ...
