"""`write_file` and `edit_file`: a file is replaced whole or left as it was, never half written.

Exactly the change that was shown is made: if the file has changed since, the call is refused. The file is
stored before it is changed, so that it can be restored. Reading, comparing and writing happen in threads; see
`core.tools.regular_files` for the limits of that.
"""

from __future__ import annotations

import hashlib
import os
import stat
from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field

from core.base.atomic_files import Signature
from core.base.values import Value
from core.engine.tool import Access, AccessKind, Shown, Tool, ToolContext, ToolError, ToolOutput, Workspace
from core.operations.events import ShownKind
from core.storage.file_history import KEPT_BYTES, fingerprint
from core.storage.records import PreImage
from core.tools.diff import unified_diff
from core.tools.regular_files import (
    GRACE_S,
    Commit,
    GivenPath,
    commit_in_thread,
    describe_missing,
    in_thread,
    open_regular,
    replace_file,
)
from core.tools.text_edit import EditableText, listed, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.operations.progress import Progress

EDIT_BYTES = KEPT_BYTES
"""Larger files are not edited; when they are replaced they are neither compared nor kept."""


class WriteFileArguments(BaseModel):
    path: GivenPath = Field(
        min_length=1,
        description="The file; relative paths start at the workspace. Missing folders are made.",
    )
    content: str = Field(description="The whole content. It replaces what is there.")


class EditFileArguments(BaseModel):
    path: GivenPath = Field(min_length=1, description="The file; relative paths start at the workspace.")
    old: str = Field(
        min_length=1,
        description="The text to replace, exactly as it is in the file, white space included, with enough "
        "lines around it to occur only once.",
    )
    new: str = Field(description="What stands there afterwards. Empty removes the text.")
    replace_all: bool = Field(default=False, description="Replace every occurrence instead of the only one.")


class _Before(Value):
    """The file as it was found. `content` is None if there was none, or more than `EDIT_BYTES`."""

    target: Path
    signature: Signature | None
    content: bytes | None
    mode: int | None = None

    @property
    def basis(self) -> object:
        """Equal for the same content at the same place."""
        known = self.signature if self.content is None else hashlib.sha256(self.content).digest()
        return (self.target, known)


class _Change(Value):
    before: _Before
    content: bytes
    summary: str
    shown: Shown


ArgumentsT = TypeVar("ArgumentsT", WriteFileArguments, EditFileArguments)


class _Changing(Tool[ArgumentsT]):
    """The common part of both tools: compute a change, show it, make it."""

    grace_s = GRACE_S

    def __init__(self) -> None:
        # Of each call that was asked about, the file on which its answer rests.
        self._shown: WeakKeyDictionary[Progress, object] = WeakKeyDictionary()

    @abstractmethod
    def _work_out(self, arguments: ArgumentsT, path: Path, name: str) -> _Change:
        """The change as it would be made to the file as it is. Blocking. Raises `ToolError`."""

    def title(self, arguments: ArgumentsT, workspace: Workspace) -> str:
        return workspace.name(workspace.path(arguments.path))

    def access(self, arguments: ArgumentsT, workspace: Workspace) -> Access:
        path = workspace.path(arguments.path)
        return Access(AccessKind.EDIT, workspace.name(path), (path,))

    def deadline_s(self, arguments: ArgumentsT) -> float | None:
        return 60.0

    async def preview(self, arguments: ArgumentsT, context: ToolContext) -> Shown | None:
        change = await in_thread(self._reckoning(arguments, context.workspace))
        self._shown[context.progress] = change.before.basis
        return change.shown

    async def run(self, arguments: ArgumentsT, context: ToolContext) -> ToolOutput:
        work_out = self._reckoning(arguments, context.workspace)
        name = self.title(arguments, context.workspace)
        agreed = self._shown.pop(context.progress, None)

        def prepare() -> tuple[_Change, str]:
            change = work_out()
            if agreed is not None and change.before.basis != agreed:
                raise ToolError(f"{name} has changed since the change was shown and allowed. Read it again.")
            return change, fingerprint(change.content)

        change, after = await in_thread(prepare)
        before = change.before
        await _store_preimage(before, after, name, context)

        def write(commit: Commit) -> None:
            # A file that has changed while the old one was being kept is left alone.
            replace_file(before.target, name, change.content, before.signature, commit)

        await commit_in_thread(write, context.token, context.progress)
        return ToolOutput(change.summary, change.shown)

    def _reckoning(self, arguments: ArgumentsT, workspace: Workspace) -> Callable[[], _Change]:
        path = workspace.path(arguments.path)
        return lambda: self._work_out(arguments, path, workspace.name(path))


class WriteFile(_Changing[WriteFileArguments]):
    """A new file, or new content for one."""

    name = "write_file"
    description = (
        "Create a file, or replace all of its content. To change a part of a file use edit_file. The file is "
        "written at once or not at all; its permissions are kept, and a symbolic link is followed."
    )
    arguments = WriteFileArguments

    def _work_out(self, arguments: WriteFileArguments, path: Path, name: str) -> _Change:
        before = _look(path, name)
        content = arguments.content.encode()
        lines = len(arguments.content.splitlines())
        done = "Created" if before.signature is None else "Overwrote"
        summary = f"{done} {name}: {lines:,} lines, {len(content):,} bytes."
        return _Change(before, content, summary, _shown_rewrite(before, arguments.content, name))


class EditFile(_Changing[EditFileArguments]):
    """One exact replacement."""

    name = "edit_file"
    description = (
        "Replace an exact piece of text in a file (UTF-8). It fails, and changes nothing, if the text does "
        "not occur exactly once, unless replace_all is set. Line endings and byte order mark are kept."
    )
    arguments = EditFileArguments

    def _work_out(self, arguments: EditFileArguments, path: Path, name: str) -> _Change:
        before = _look(path, name)
        if before.signature is None:
            raise ToolError(f"{describe_missing(path, name)} Create new files with write_file.")
        if before.content is None:
            raise ToolError(f"{name} is larger than {EDIT_BYTES // 2**20} MiB: use shell, such as sed -i.")
        file = EditableText.decode(before.content, name)
        edited = replace_text(
            file.text, file.fit(arguments.old), file.fit(arguments.new), name, every=arguments.replace_all
        )
        summary = f"Edited {name}: {len(edited.lines):,} replaced, line {listed(edited.lines)}."
        shown = Shown(unified_diff(file.text, edited.text, name), ShownKind.DIFF)
        return _Change(before, file.encode(edited.text), summary, shown)


async def _store_preimage(before: _Before, after: str, name: str, context: ToolContext) -> None:
    """Store the file as it is, or tell the person why it cannot be stored."""
    path = str(before.target)
    if before.signature is not None and before.content is None:
        context.notify(
            f"{name} is larger than {EDIT_BYTES // 2**20} MiB: this change cannot be put back later."
        )
    elif any("\udc80" <= character <= "\udcff" for character in path):
        # These stand for bytes that are no UTF-8, which no text in a file of ours can hold.
        context.notify(f"The name of {name} is not UTF-8: this change cannot be put back later.")
    else:
        await context.keep_preimage(PreImage(context.turn_id, path, before.content, after, before.mode))


def _look(path: Path, name: str) -> _Before:
    """Read the file. Blocks. Raises `ToolError` if it is not a regular file."""
    try:
        target = path.resolve()
        exists = target.exists()
    except (OSError, RuntimeError) as error:
        raise ToolError(f"{name} cannot be found: {getattr(error, 'strerror', None) or error}.") from error
    if not exists:
        return _Before(target, None, None)
    with open_regular(target, name) as file:
        status = os.fstat(file.fileno())
        content = file.read(EDIT_BYTES + 1)
    kept = content if len(content) <= EDIT_BYTES else None
    return _Before(target, Signature.of(status), kept, stat.S_IMODE(status.st_mode))


def _shown_rewrite(before: _Before, content: str, name: str) -> Shown:
    if before.signature is None:
        return Shown(unified_diff("", content, name), ShownKind.DIFF)
    try:
        old = None if before.content is None else before.content.decode()
    except UnicodeDecodeError:
        old = None
    if old is None:
        return Shown(f"Replaces {before.signature.size:,} bytes that cannot be compared, with:\n{content}")
    return Shown(unified_diff(old, content, name), ShownKind.DIFF)
