"""Keep files before tools change them, and restore them on request.

A restore never destroys other changes: a file that something else has changed is a conflict, and is restored
only if its path is given. What a restore replaces is kept first, so that a restore can be undone.

Not solved: changes by shell commands are not kept. Folders that tools made stay. If two sub-agents edit a
file at the same instant, one edit is refused and the file then counts as a conflict.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable
from enum import Enum, StrEnum
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import anyio

from core.base.atomic_files import replace_whole
from core.base.errors import CaesuraError
from core.base.regular_file import NotRegularFile, open_regular
from core.base.threads import start_in_thread
from core.base.values import Value
from core.cancel import END_OF_PROGRAM, CancelReason, Cause
from core.storage.journal import NotSaved
from core.storage.records import PreImage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from core.cancel import CancelToken
    from core.permissions.access import Workspace

KEPT_BYTES = 10 * 1024 * 1024
"""Larger files are not kept and cannot be restored."""
KEEP_S = 2.0
"""How long an edit waits until the old file is durable, in seconds."""
KEEP_ALL_S = 10.0
"""How long a restore waits until all files that it replaces are durable, in seconds."""
REMOVED = ""
"""`PreImage.after` of a file that was removed."""

Keep: TypeAlias = Callable[[PreImage], Awaitable[None]]
"""Stores a pre-image and returns when it is durable. Raises `core.storage.journal.NotSaved`."""


class ConflictKind(Enum):
    """Why a file is not restored unless its path is given: a sentence, with a place for its name."""

    CHANGED = "{} has been changed by somebody else since."
    CHANGED_BETWEEN = "{} was changed by somebody else between two edits: that would be lost too."
    VANISHED = "{} has been removed or moved by somebody else since."
    NOT_A_FILE = "{} is no file any more: move away what is there now, then put it back."
    LEADS_ELSEWHERE = "{} leads elsewhere now, by a link: move the link away, then put it back."
    TOO_LARGE = "{} is too large now to be kept first: move it away, then put it back."
    UNREADABLE = "{} cannot be read, so it could not be kept first: allow it, then put it back."


DESPITE = frozenset({ConflictKind.CHANGED, ConflictKind.CHANGED_BETWEEN, ConflictKind.VANISHED})
"""Conflicts in which the file can be restored if its path is given. In the others what is there now could not
be kept."""


class FileState(Value):
    """The content and permission bits of a file; both None if there is no file."""

    content: bytes | None = None
    mode: int | None = None


class FileRestore(Value):
    """A planned restore of one file. `name` is the path as the user knows it.

    `before` is the content to restore, None to remove the file. `mode` is the permission bits to set, None to
    keep the present ones. `present` is what is replaced; empty if that could not be read.
    """

    path: str
    name: str
    before: bytes | None
    mode: int | None
    present: FileState
    conflict: ConflictKind | None = None

    @property
    def why(self) -> str:
        """A sentence about the conflict and what can be done; empty if there is none."""
        return "" if self.conflict is None else self.conflict.value.format(self.name)


class RestoreStatus(StrEnum):
    """The outcome for a file. LEFT is on purpose, FAILED is not; in both cases the file is unchanged."""

    PUT_BACK = "put back"
    REMOVED = "removed"
    LEFT = "left"
    FAILED = "failed"


class Restored(Value):
    """The outcome for one file, with a sentence for the user."""

    path: str
    status: RestoreStatus
    sentence: str


def fingerprint(content: bytes | None) -> str:
    """Return the SHA-256 of a file in hexadecimal, `REMOVED` if there is no file."""
    return REMOVED if content is None else hashlib.sha256(content).hexdigest()


async def keep_in_time(preimage: PreImage, keep: Keep, notify: Callable[[str], None]) -> None:
    """Keep a file before an edit. Never raises: after `KEEP_S` or a failure the edit goes on.

    Then `notify` is called with a sentence that this file may not be restored later.
    """
    try:
        with anyio.move_on_after(KEEP_S) as bound:
            await keep(preimage)
        if not bound.cancelled_caught:
            return
        why = f"it could not be saved within {KEEP_S:g} s."
    except NotSaved as error:
        why = str(error)
    notify(f"{preimage.path} may not be put back later to how it was before this edit: {why}")


def plan(preimages: Sequence[PreImage], workspace: Workspace) -> tuple[FileRestore, ...]:
    """Plan the restore of all files that differ from their first pre-image.

    `preimages` are in the order they were kept. Blocks: it reads every file.
    """
    chains: dict[str, list[PreImage]] = {}
    for preimage in preimages:
        chains.setdefault(preimage.path, []).append(preimage)
    plans = (_plan_file(chain, workspace.name(Path(path))) for path, chain in chains.items())
    return tuple(each for each in plans if each is not None)


def _plan_file(chain: Sequence[PreImage], name: str) -> FileRestore | None:
    first = chain[0]
    try:
        present = _look(Path(first.path))
    except _NotReplaceable as error:
        return FileRestore(first.path, name, first.before, first.mode, FileState(), error.kind)
    if present.content == first.before:
        return None
    # An edit keeps the permission bits, so if the file was never missing they are its owner's choice.
    made_anew = present.content is None or any(each.before is None for each in chain)
    mode = first.mode if made_anew else None
    return FileRestore(first.path, name, first.before, mode, present, _conflict(chain, present))


def _conflict(chain: Sequence[PreImage], present: FileState) -> ConflictKind | None:
    """Return the conflict if a restore would lose a change that our tools did not make."""
    if not _follows(chain[-1], present.content):
        return ConflictKind.VANISHED if present.content is None else ConflictKind.CHANGED
    if not all(_follows(earlier, later.before) for earlier, later in pairwise(chain)):
        return ConflictKind.CHANGED_BETWEEN
    return None


def _follows(earlier: PreImage, content: bytes | None) -> bool:
    """Whether the edit after `earlier` left `content`: the new content, or the old one after a stop."""
    return fingerprint(content) == earlier.after or content == earlier.before


class _NotReplaceable(CaesuraError):
    """What is at the path cannot be kept and replaced."""

    def __init__(self, kind: ConflictKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


def _look(path: Path) -> FileState:
    """Read the file at `path`, without following links. Raises `_NotReplaceable`."""
    try:
        if path.parent.resolve() != path.parent:
            raise _NotReplaceable(ConflictKind.LEADS_ELSEWHERE)
        with open_regular(path, follow=False) as file:
            status = os.fstat(file.fileno())
            content = file.read(KEPT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return FileState()
    except NotRegularFile as error:
        kind = ConflictKind.LEADS_ELSEWHERE if error.is_link else ConflictKind.NOT_A_FILE
        raise _NotReplaceable(kind) from error
    except (OSError, RuntimeError) as error:
        raise _NotReplaceable(ConflictKind.UNREADABLE) from error
    if len(content) > KEPT_BYTES:
        raise _NotReplaceable(ConflictKind.TOO_LARGE)
    return FileState(content, stat.S_IMODE(status.st_mode))


async def put_back(
    planned: Sequence[FileRestore], despite: Collection[str], keep: Keep, turn: int, token: CancelToken
) -> tuple[Restored, ...]:
    """Keep the present files, then carry out the plan. `despite` has the paths of conflicts to restore.

    The pre-images kept belong to `turn`, so a plan made of them undoes this. Nothing is replaced that could
    not be kept. A stop by `token`, or a cancellation of the caller, leaves the files after the current one.
    """
    kept = {each.path for each in planned if _wanted(each, despite)}
    try:
        with anyio.fail_after(KEEP_ALL_S):
            for preimage in undoing(planned, despite, turn):
                await keep(preimage)
    except (NotSaved, TimeoutError) as error:
        why = str(error) or f"that took more than {KEEP_ALL_S:g} s."
        return tuple(_unkept(each, why) if each.path in kept else _left(each) for each in planned)
    work = token.child("put files back")
    running = start_in_thread(partial(restore, planned, despite, work), name="put files back")
    try:
        await asyncio.wait({running})
    except asyncio.CancelledError:
        # The thread finishes its current file and stops.
        work.cancel(CancelReason(Cause.QUIT, END_OF_PROGRAM))
        raise
    return running.result()


def undoing(planned: Sequence[FileRestore], despite: Collection[str], turn: int) -> Iterator[PreImage]:
    """Return the pre-images to keep before the plan is carried out."""
    for each in planned:
        if _wanted(each, despite):
            now = each.present
            yield PreImage(turn, each.path, now.content, fingerprint(each.before), now.mode)


def restore(
    planned: Sequence[FileRestore], despite: Collection[str], token: CancelToken
) -> tuple[Restored, ...]:
    """Carry out the plan. Each file is replaced as a whole or not at all; a failure does not end it. Blocks.

    A file that has changed since the plan was made is left. Nothing is kept here; `put_back` does that.
    """
    return tuple(_restore_file(each, despite, token) for each in planned)


def _wanted(file: FileRestore, despite: Collection[str]) -> bool:
    return file.conflict is None or (file.path in despite and file.conflict in DESPITE)


def _left(file: FileRestore) -> Restored:
    return Restored(file.path, RestoreStatus.LEFT, f"Left as it is: {file.why}")


def _unkept(file: FileRestore, why: str) -> Restored:
    sentence = f"{file.name} was left as it is, for what is in it now could not be kept: {why}"
    return Restored(file.path, RestoreStatus.FAILED, sentence)


def _restore_file(file: FileRestore, despite: Collection[str], token: CancelToken) -> Restored:
    if not _wanted(file, despite):
        return _left(file)
    if token.cancelled:
        sentence = f"{file.name} was left as it is: putting files back was stopped before it."
        return Restored(file.path, RestoreStatus.LEFT, sentence)
    path = Path(file.path)
    try:
        if file.before is None:
            _demand_unchanged(file)
            path.unlink()
            return Restored(file.path, RestoreStatus.REMOVED, f"{file.name} was removed: it is new.")
        replace_whole(path, file.before, lambda: _demand_unchanged(file), mode=file.mode)
    except OSError as error:
        sentence = f"{file.name} was left as it is: it cannot be written ({error.strerror})."
        return Restored(file.path, RestoreStatus.FAILED, sentence)
    except _NotReplaceable:
        sentence = f"{file.name} was left as it is: somebody has changed it in this moment. Look at it again."
        return Restored(file.path, RestoreStatus.FAILED, sentence)
    return Restored(file.path, RestoreStatus.PUT_BACK, f"{file.name} is as it was.")


def _demand_unchanged(file: FileRestore) -> None:
    """Raise `_NotReplaceable` if the file has changed since the plan was made."""
    if _look(Path(file.path)).content != file.present.content:
        raise _NotReplaceable(ConflictKind.CHANGED)
