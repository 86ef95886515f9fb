"""The stored sessions of one person.

`Archive` lists, finds and exports them and needs no model and no key. `Sessions` opens them as well; it
creates sessions and never runs them.
"""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from core.base.errors import CaesuraError
from core.base.sanitize import printable
from core.base.threads import run_in_thread
from core.storage.journal import NullJournal, OpenedSession
from core.storage.store import SessionInUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from core.session.session import Session
    from core.storage.records import LoadedSession, SessionInfo
    from core.storage.store import Store

UNTITLED = "untitled"

LEAST_ID = 8
"""Characters of an id that are shown at the least, so that what was noted is still unique tomorrow."""

ALL = 2**31 - 1
"""A limit that is none."""

_NAME_CHARACTERS = 40
_TITLE_CHARACTERS = 200
_CANDIDATES = 4


class Format(StrEnum):
    """How a session is written: for people, or so that it can be imported again. The values end its name."""

    MARKDOWN = ".md"
    JSON = ".json"


class NotOneSession(CaesuraError):
    """What was given is the beginning of no id, or of several."""


class Archive:
    """The sessions in `store`. What is imported goes to the folder `workspace`, and so do exports."""

    def __init__(self, store: Store, workspace: Path) -> None:
        self.workspace = workspace
        self._store = store
        self.listen = store.listen
        self.load = store.load
        self.search = store.search
        self.rename = store.rename
        self.delete = store.delete
        self.preimages = store.preimages
        self.aclose = store.aclose

    async def sessions(self, limit: int = 500) -> tuple[SessionInfo, ...]:
        """All sessions, the one that changed last first."""
        return await self._store.sessions(limit=limit)

    async def find(self, beginning: str) -> SessionInfo:
        """The session with this id, or the only one whose id begins so. Raises `NotOneSession`."""
        return chosen(await self._store.sessions(limit=ALL), beginning)

    async def fork(self, session_id: str, steps: int | None = None) -> str:
        """A copy of the first `steps`, or of all; its id. Raises `CaesuraError` for more than there are."""
        if steps is None:
            return await self._store.fork(session_id, ALL)
        there = len((await self._store.load(session_id)).steps)
        if not 0 <= steps <= there:
            raise CaesuraError(f"This session has {there} steps: fork it with as many or fewer, not {steps}.")
        return await self._store.fork(session_id, steps)

    async def text(self, session_id: str, form: Format = Format.MARKDOWN) -> str:
        """All of a session."""
        loaded = await self._store.load(session_id)
        return await run_in_thread(lambda: _text(loaded, form), name="export")

    async def export(self, session_id: str, *, suffix: str = Format.MARKDOWN) -> str:
        """Write `text` into the workspace; the name of the file, which is a new one.

        `suffix` is the value of a `Format`. Raises `CaesuraError` when it cannot be written, and then leaves
        no file.
        """
        form = Format(suffix)
        loaded = await self._store.load(session_id)

        def write() -> str:
            return _write_numbered(self.workspace, _stem(loaded.info), form, _text(loaded, form))

        return await run_in_thread(write, name="export")

    async def export_to(self, session_id: str, path: Path, form: Format = Format.MARKDOWN) -> None:
        """Write `text` to this file, which must not be there yet.

        Raises `CaesuraError` when it cannot be written, and then leaves no file.
        """
        loaded = await self._store.load(session_id)

        def write() -> None:
            try:
                _write_new(path, _text(loaded, form))
            except FileExistsError as error:
                raise CaesuraError(f"{path} is there already: choose another name, or remove it.") from error

        await run_in_thread(write, name="export")

    async def import_file(self, path: Path) -> str:
        """Read an export in JSON; the id of the new session, which works in `workspace`.

        Raises `CaesuraError`, and then nothing is new.
        """
        from core.storage.json_export import from_json

        loaded = await run_in_thread(lambda: from_json(_read(path)), name="import")
        info = replace(loaded.info, workspace=str(self.workspace))
        return await self._store.insert(replace(loaded, info=info))


class Sessions(Archive):
    """The sessions in `store`, and new ones. `make` creates a session; a new one for None."""

    def __init__(
        self, store: Store, make: Callable[[OpenedSession | None], Session], workspace: Path
    ) -> None:
        super().__init__(store, workspace)
        self._make = make

    def new(self) -> Session:
        return self._make(None)

    async def open(self, session_id: str) -> Session:
        """Go on with a session: to be read only if another Caesura has it open.

        Raises `CaesuraError` if there is none or the file cannot be read.
        """
        try:
            return self._make(await self._store.open(session_id))
        except SessionInUse as error:
            loaded = await self._store.load(session_id)
            read_only = f"{error} Here it can only be read: /fork makes a copy to go on with."
            return self._make(OpenedSession(NullJournal(), loaded, read_only=read_only))

    async def recent(self) -> tuple[SessionInfo, ...]:
        """The sessions of this workspace, the one that was used last first."""
        return await self._store.sessions(workspace=str(self.workspace), limit=20)


def chosen(infos: Iterable[SessionInfo], beginning: str) -> SessionInfo:
    """The one of all sessions that is meant by an id or the beginning of one. Raises `NotOneSession`."""
    infos = tuple(infos)
    found = [info for info in infos if beginning and info.session_id.startswith(beginning)]
    for info in found:
        if len(found) == 1 or info.session_id == beginning:
            return info
    if not found:
        raise NotOneSession(
            f"There is no session whose id begins with {beginning!r}: `caesura sessions list --all` shows "
            "all of them."
        )
    length = id_length(infos)
    names = [f"{info.session_id[:length]} ‘{title_of(info)[:_NAME_CHARACTERS]}’" for info in found]
    more = f" and {len(names) - _CANDIDATES} more" if len(names) > _CANDIDATES else ""
    raise NotOneSession(
        f"{len(found)} sessions have an id that begins with {beginning!r}: "
        f"{', '.join(names[:_CANDIDATES])}{more}. Give more of the id."
    )


def id_length(infos: Iterable[SessionInfo]) -> int:
    """How many characters of their ids tell all of these sessions apart, at least `LEAST_ID`."""
    ids = sorted(info.session_id for info in infos)
    longest = LEAST_ID
    for one, other in pairwise(ids):
        while longest < len(other) and one[:longest] == other[:longest]:
            longest += 1
    return longest


def title_of(info: SessionInfo) -> str:
    """Its title as it may be shown, on one line."""
    return " ".join(printable(info.title).split()) or UNTITLED


def _text(loaded: LoadedSession, form: Format) -> str:
    """Blocking, for a large one seconds."""
    from core.storage.json_export import to_json, to_markdown

    match form:
        case Format.MARKDOWN:
            return to_markdown(loaded)
        case Format.JSON:
            return to_json(loaded)
        case _:
            assert_never(form)


def _stem(info: SessionInfo) -> str:
    """The name of its export: letters, digits and hyphens, whatever the title is."""
    words = re.sub(r"\W+", "-", info.title[:_TITLE_CHARACTERS].lower())[:_NAME_CHARACTERS].strip("-")
    return f"caesura-{words or info.session_id}"


def _write_numbered(folder: Path, stem: str, form: Format, text: str) -> str:
    """Blocking. Never over a file that is there."""
    for number in range(1, 1_000):
        path = folder / f"{stem}{f'-{number}' if number > 1 else ''}{form}"
        try:
            _write_new(path, text)
        except FileExistsError:
            continue
        return path.name
    raise CaesuraError(f"{folder} is full of exports named {stem}: remove some.")


def _write_new(path: Path, text: str) -> None:
    """Blocking. The whole file or none. Raises `FileExistsError`, and `CaesuraError` for other failures."""
    try:
        file = path.open("x", encoding="utf-8", errors="replace")
        try:
            with file:
                file.write(text)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise
    except (OSError, ValueError) as error:
        raise CaesuraError(
            f"{path} cannot be written ({_reason(error)}): choose another place, or make room there."
        ) from error


def _read(path: Path) -> str:
    """Blocking. No more of the file than an import may have."""
    from core.storage.json_export import MOST_CHARACTERS

    try:
        # With a byte order mark, if an editor has put one there.
        with path.open(encoding="utf-8-sig") as file:
            return file.read(MOST_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise CaesuraError(
            f"{path} is no text in UTF-8: choose a session that was exported as JSON."
        ) from error
    except (OSError, ValueError) as error:
        raise CaesuraError(f"{path} cannot be read ({_reason(error)}): choose another file.") from error


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
