"""The journal of a session: how its changes reach the disk.

A session adds its changes in order and does not wait for the disk; `flush` waits until they are durable. What
has arrived of the running step is kept as a draft, from which `core.storage.recovery` makes an interrupted
step after a crash (H8).
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from core.base.errors import CaesuraError
from core.base.values import Record, Value
from core.model.messages import ToolResult, UserMessage
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from core.storage.records import Compaction, LoadedSession, PreImage, StoredStep, TurnRecord


class NotSaved(CaesuraError):
    """Changes are not durable. They are kept in memory and written with the next change."""


class CallIdentified(Record, tag="identified", rename={"call_id": "id"}):
    """The call that the provider numbers `index` has the id `call_id`."""

    index: int
    call_id: str


class CallBegun(Record, tag="begun", rename={"call_id": "id"}):
    """The call is allowed and runs. Until its result arrives its effects are unknown."""

    call_id: str


DraftEntry: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | CallIdentified | CallBegun | ToolResult
"""An entry of a draft: a delta of the reply, or the state of one of its calls."""


class BegunTurn(Value):
    """A turn has begun. `message` is its prompt as it is sent to the model."""

    turn: TurnRecord
    message: UserMessage


class DraftEntries(Value):
    """More of the running step has arrived."""

    entries: tuple[DraftEntry, ...]


class EndedTurn(Value):
    """A turn has its outcome. What is left of its draft is deleted."""

    turn: TurnRecord


class QueuedPrompts(Value):
    """The queue of waiting prompts, which replaces the stored one."""

    prompts: tuple[str, ...]
    paused: bool


class NewTitle(Value):
    title: str


Change: TypeAlias = (
    BegunTurn | DraftEntries | StoredStep | EndedTurn | QueuedPrompts | Compaction | NewTitle | PreImage
)
"""A change of a session. A step is stored and its draft deleted in one transaction (H3). A compaction
replaces the one with the same number. A pre-image is the content of a file before a tool changes it."""


class Draft(Value):
    """The unfinished turn of a session after a crash. `message` is the prompt as it was sent, with notes."""

    turn: TurnRecord
    message: UserMessage
    entries: tuple[DraftEntry, ...]


class OpenedSession(Value):
    """A stored session that was opened. `draft` is its unfinished turn, if a crash left one.

    `read_only` is a sentence that says why the session cannot be continued, empty if it can. The last turn of
    a read-only session may be running in another process.
    """

    journal: Journal
    loaded: LoadedSession
    draft: Draft | None = None
    read_only: str = ""


class Journal(Protocol):
    """Stores the changes of one session. Only `flush` and `aclose` wait, and only `flush` raises."""

    def add(self, change: Change) -> None: ...

    async def flush(self) -> None:
        """Wait until all changes are durable. Raises `NotSaved` if they cannot be written.

        They are written even if the wait is cancelled.
        """
        ...

    async def aclose(self) -> None:
        """Write pending changes within a time limit and unlock the session. Never raises."""
        ...


class NullJournal:
    """Stores nothing, for a conversation that ends with the program."""

    def add(self, change: Change) -> None: ...

    async def flush(self) -> None: ...

    async def aclose(self) -> None: ...
