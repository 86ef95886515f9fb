"""Files as they were before our tools changed them: kept before each change, and put back on request.

Putting back never destroys the work of others: a file that somebody else has changed is a conflict, which is
shown, and left alone unless it is chosen by its path. What a put-back replaces is kept first, so that it can
be undone in its turn.

Not solved: what commands of the shell change is not kept. Folders that our tools made stay. Of two edits of
one file by sub-agents in the same instant one is refused, and the file then counts as a conflict.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, assert_never

import anyio

from core.atomic_files import replace_whole
from core.cancel import CancelReason, Cause
from core.errors import CaesuraError
from core.journal import NotSaved
from core.records import PreImage
from core.supervision import END_OF_PROGRAM
from core.threads import start_in_thread
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from core.access import Workspace
    from core.cancel import CancelToken

KEPT_BYTES = 10 * 1024 * 1024
"""Larger files are not kept, and so never put back."""

KEEP_S = 2.0
"""How long an edit waits for the file before it to be safe, in seconds."""

KEEP_ALL_S = 10.0
"""How long a put-back waits for all that it replaces to be safe, in seconds."""

REMOVED = ""
"""`PreImage.after` of a file that was removed."""

Keep: TypeAlias = Callable[[PreImage], Awaitable[None]]
"""Keeps a pre-image; it returns when that is durable. Raises `core.journal.NotSaved`."""


class ConflictKind(StrEnum):
    """Why a file is not put back without being asked for."""

    CHANGED = "changed"
    CHANGED_BETWEEN = "changed in between"
    VANISHED = "vanished"
    NOT_A_FILE = "not a file"
    LEADS_ELSEWHERE = "leads elsewhere"
    TOO_LARGE = "too large"
    UNREADABLE = "unreadable"

    @property
    def final(self) -> bool:
        """It cannot be put back over this, even if it is chosen: what is there could not be kept."""
        return self in (
            ConflictKind.NOT_A_FILE,
            ConflictKind.LEADS_ELSEWHERE,
            ConflictKind.TOO_LARGE,
            ConflictKind.UNREADABLE,
        )


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was found. `content` None means that there was none; `mode` are its permission bits."""

    content: bytes | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class FileRestore:
    """One file that is not as it was. `name` is what the person knows it by.

    `before` is the content it goes back to, None for no file at all, with the permission bits `mode`, None
    for those it has. `present` is what it would replace; empty where that could not be read.
    """

    path: str
    name: str
    before: bytes | None
    mode: int | None
    present: FileState
    conflict: ConflictKind | None = None

    @property
    def created(self) -> bool:
        """Our tools have created it: putting it back removes it."""
        return self.before is None

    @property
    def why(self) -> str:
        """The conflict in a sentence with what can be done, empty without one."""
        match self.conflict:
            case None:
                return ""
            case ConflictKind.CHANGED:
                return f"{self.name} has been changed by somebody else since."
            case ConflictKind.CHANGED_BETWEEN:
                return f"{self.name} was changed by somebody else between two edits: that would be lost too."
            case ConflictKind.VANISHED:
                return f"{self.name} has been removed or moved by somebody else since."
            case ConflictKind.NOT_A_FILE:
                return f"{self.name} is no file any more: move away what is there now, then put it back."
            case ConflictKind.LEADS_ELSEWHERE:
                return f"{self.name} leads elsewhere now, by a link: move the link away, then put it back."
            case ConflictKind.TOO_LARGE:
                return f"{self.name} is too large now to be kept first: move it away, then put it back."
            case ConflictKind.UNREADABLE:
                return (
                    f"{self.name} cannot be read, so it could not be kept first: allow it, then put it back."
                )
            case _:
                assert_never(self.conflict)


class RestoreStatus(StrEnum):
    """What became of a file. LEFT: on purpose. FAILED: it could not be done. Both leave it as it was."""

    PUT_BACK = "put back"
    REMOVED = "removed"
    LEFT = "left"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of one file, with a sentence for the person."""

    path: str
    status: RestoreStatus
    sentence: str


# -- before a change --


def fingerprint(content: bytes | None) -> str:
    """The SHA-256 of a file in hexadecimal; `REMOVED` if there is none."""
    return REMOVED if content is None else hashlib.sha256(content).hexdigest()


async def keep_in_time(preimage: PreImage, keep: Keep, tell: Callable[[str], None]) -> None:
    """Have a file kept before an edit goes on; after `KEEP_S`, or a failure, it goes on all the same.

    The person is told then that it may not be possible to put this file back.
    """
    try:
        with anyio.move_on_after(KEEP_S) as bound:
            await keep(preimage)
        if not bound.cancelled_caught:
            return
        why = f"it could not be saved within {KEEP_S:g} s."
    except NotSaved as error:
        why = str(error)
    tell(f"{preimage.path} may not be put back later to how it was before this edit: {why}")


# -- what can be put back --


def plan(preimages: Sequence[PreImage], workspace: Workspace) -> tuple[FileRestore, ...]:
    """What putting back would do to each file that is not as it was before the first of `preimages`.

    They are in the order in which they were kept. Blocking: it reads every file.
    """
    chains: dict[str, list[PreImage]] = {}
    for preimage in preimages:
        chains.setdefault(preimage.path, []).append(preimage)
    plans = (_plan_file(chain, workspace.name(Path(path))) for path, chain in chains.items())
    return tuple(each for each in plans if each is not None)


def _plan_file(chain: Sequence[PreImage], name: str) -> FileRestore | None:
    """None if the file is as it was."""
    first = chain[0]
    try:
        present = _look(Path(first.path))
    except _Unfit as unfit:
        return FileRestore(first.path, name, first.before, first.mode, FileState(), unfit.kind)
    if present.content == first.before:
        return None
    # An edit keeps the bits, so those of a file that has always been there are its owner's choice.
    made_anew = present.content is None or any(each.before is None for each in chain)
    mode = first.mode if made_anew else None
    return FileRestore(first.path, name, first.before, mode, present, _conflict(chain, present))


def _conflict(chain: Sequence[PreImage], present: FileState) -> ConflictKind | None:
    """Whether somebody else's change would be lost."""
    if not _follows(chain[-1], present.content):
        return ConflictKind.VANISHED if present.content is None else ConflictKind.CHANGED
    if not all(_follows(earlier, later.before) for earlier, later in pairwise(chain)):
        return ConflictKind.CHANGED_BETWEEN
    return None


def _follows(earlier: PreImage, content: bytes | None) -> bool:
    """Whether that edit has left this content: its own, or the one before if a stop came before it."""
    return fingerprint(content) == earlier.after or content == earlier.before


class _Unfit(CaesuraError):
    """What is there is nothing that could be kept and replaced."""

    def __init__(self, kind: ConflictKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


def _look(path: Path) -> FileState:
    """What is at `path`, of which no link is followed. Raises `_Unfit`."""
    try:
        if path.parent.resolve() != path.parent:
            raise _Unfit(ConflictKind.LEADS_ELSEWHERE)
        _demand_file(path.lstat())
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        with os.fdopen(os.open(path, flags), "rb") as file:
            # It may have become another one in between; the flags have kept that from blocking.
            status = os.fstat(file.fileno())
            _demand_file(status)
            content = file.read(KEPT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return FileState()
    except (OSError, RuntimeError) as error:
        raise _Unfit(ConflictKind.UNREADABLE) from error
    if len(content) > KEPT_BYTES:
        raise _Unfit(ConflictKind.TOO_LARGE)
    return FileState(content, stat.S_IMODE(status.st_mode))


def _demand_file(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _Unfit(ConflictKind.LEADS_ELSEWHERE)
    if not stat.S_ISREG(status.st_mode):
        raise _Unfit(ConflictKind.NOT_A_FILE)


# -- putting back --


async def put_back(
    planned: Sequence[FileRestore], despite: Collection[str], keep: Keep, turn: int, token: CancelToken
) -> tuple[Restored, ...]:
    """Keep what is there now, then put the planned files back; those with a conflict only if `despite` names
    their path. What is kept belongs to `turn`: a plan made of that undoes this.

    Nothing is replaced that could not be kept. A stop by `token`, or of the caller, ends it between two
    files, of which the rest is left.
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
        # The thread goes on to the end of the file that it is at, and no further.
        work.cancel(CancelReason(Cause.QUIT, END_OF_PROGRAM))
        raise
    return running.result()


def undoing(planned: Sequence[FileRestore], despite: Collection[str], turn: int) -> Iterator[PreImage]:
    """What is kept before `planned` is carried out: each file as it is now."""
    for each in planned:
        if _wanted(each, despite):
            now = each.present
            yield PreImage(turn, each.path, now.content, fingerprint(each.before), now.mode)


def restore(
    planned: Sequence[FileRestore], despite: Collection[str], token: CancelToken
) -> tuple[Restored, ...]:
    """Put the files back, each whole or not at all, and go on after a failure. Blocking.

    Only what is as it was when the plan was made is replaced. What is replaced is not kept: see `put_back`.
    """
    return tuple(_restore_file(each, despite, token) for each in planned)


def _wanted(file: FileRestore, despite: Collection[str]) -> bool:
    return file.conflict is None or (file.path in despite and not file.conflict.final)


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
    except _Unfit:
        sentence = f"{file.name} was left as it is: somebody has changed it in this moment. Look at it again."
        return Restored(file.path, RestoreStatus.FAILED, sentence)
    return Restored(file.path, RestoreStatus.PUT_BACK, f"{file.name} is as it was.")


def _demand_unchanged(file: FileRestore) -> None:
    """Raises `_Unfit` unless the file is the one that the plan was made of."""
    if _look(Path(file.path)).content != file.present.content:
        raise _Unfit(ConflictKind.CHANGED)
