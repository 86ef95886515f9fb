"""Opening regular files without blocking and replacing them whole, for the file tools.

The functions block and run in a thread, through `in_thread`. A thread cannot be killed. So the work is short
and bounded and checks the token, and a write has one point, `Commit.claim`, before which a stop undoes it and
after which it is complete. A stop waits for the thread.

Not solved: on a file system that hangs, such as a dead network share, the thread hangs as well. The call is
then named as unconfirmed after its grace; a write that hangs before its claim is never made, a later one may
still come to be.
"""

from __future__ import annotations

import asyncio
import difflib
import itertools
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeVar

import anyio
import anyio.lowlevel
from pydantic import AfterValidator

from core.base import regular_file
from core.base.atomic_files import replace_whole, signature_of
from core.base.threads import start_in_thread
from core.engine.tool import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.base.atomic_files import Signature
    from core.cancel import CancelToken
    from core.operations.progress import Progress

T = TypeVar("T")

GRACE_S = 2.0
"""How long a stopped call may take: a thread that is between two looks at the token."""

LONGEST_PATH = 4096

NAMES_COMPARED = 2_000
"""Names of a folder that are looked at for those that a missing one may have been meant for."""


def _checked(given: str) -> str:
    if "\0" in given or len(given.encode()) > LONGEST_PATH:
        raise ValueError("a path has no NUL character, and no more than 4096 bytes")
    first, _, _ = given.partition("/")
    if first.startswith("~") and first != "~":
        raise ValueError(
            f"{first} is not looked up: write the whole path, or ./{first} for a file of that name"
        )
    return given


GivenPath = Annotated[str, AfterValidator(_checked)]
"""A path as the model gives it: any that a file can have."""


async def in_thread(work: Callable[[], T]) -> T:
    """Run short file work off the event loop. A stopped caller goes on when the work has returned."""
    running = start_in_thread(work, name="file work")
    # A caller that was stopped does not look at what the work has raised.
    running.add_done_callback(lambda done: done.cancelled() or done.exception())
    # Unbounded as it looks: whoever supervises the call gives it up after its grace.
    with anyio.CancelScope(shield=True):
        await asyncio.wait({running})
    # Where a stop came meanwhile, it takes effect here.
    await anyio.lowlevel.checkpoint_if_cancelled()
    return running.result()


class Commit:
    """The one point at which a write takes effect. `claim` is for its thread, `give_up` for its caller."""

    def __init__(self, token: CancelToken, progress: Progress) -> None:
        self._token = token
        self._progress = progress
        # Taken once, by one of the two threads, and never released.
        self._taken = threading.Lock()

    def claim(self, path: Path) -> None:
        """From here on the write counts. Raises `Cancelled` if a stop came first."""
        self._token.check()
        if not self._taken.acquire(blocking=False):
            raise ToolError(f"{path} was not written: the program is ending.")
        self._progress.note_change(path)

    def give_up(self) -> None:
        """Nobody waits any more: a write that has not been claimed yet will not be."""
        self._taken.acquire(blocking=False)


async def commit_in_thread(work: Callable[[Commit], T], token: CancelToken, progress: Progress) -> T:
    """`in_thread` for work that writes. A cancel from outside, which no token knows of, holds as well."""
    commit = Commit(token, progress)
    try:
        return await in_thread(lambda: work(commit))
    finally:
        commit.give_up()


def open_regular(path: Path, name: str) -> BinaryIO:
    """Open a file to read; what is no regular file is refused and not touched. Raises `ToolError`."""
    try:
        return regular_file.open_regular(path)
    except FileNotFoundError as error:
        raise ToolError(describe_missing(path, name)) from error
    except regular_file.NotRegularFile as error:
        raise ToolError(f"{name} is no file but {_describe_kind(error.kind)}.") from error
    except OSError as error:
        raise ToolError(f"{name} cannot be read: {error.strerror}.") from error


def _describe_kind(kind: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder: list_files shows what is in it",
        stat.S_IFIFO: "a named pipe, which only gives what another program writes into it",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(kind, "something else")


def describe_missing(path: Path, name: str) -> str:
    """A sentence about a path that does not exist, with what may have been meant."""
    folder = path.parent
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, NAMES_COMPARED)]
    except OSError:
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return f"{name} does not exist, nor does its folder. The nearest folder that does is {folder}."
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(path.name.casefold(), folded, n=3, cutoff=0.6)
    meant = ", ".join(str(Path(name).parent / folded[known]) for known in close)
    return f"{name} does not exist." + (f" Near it there is: {meant}." if meant else "")


def replace_file(target: Path, name: str, content: bytes, before: Signature | None, commit: Commit) -> None:
    """Make `content` the file's whole content, at once. `target` has its links resolved.

    `before` is the file that was read, None if there was none: one that has changed since is left alone.
    Mode bits and owner are kept as far as allowed. Until the commit everything can be undone, and is, if
    anything fails. Raises `ToolError`, and `Cancelled` when a stop came before the commit.
    """

    def claim() -> None:
        if signature_of(target) != before:
            raise ToolError(f"{name} has been changed by somebody else in this moment: read it again first.")
        commit.claim(target)

    try:
        replace_whole(target, content, claim)
    except OSError as error:
        raise ToolError(f"{name} cannot be written: {error.strerror}.") from error
