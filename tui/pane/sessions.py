"""What a pane does with the sessions in the file: open, copy, export them, go back in one, put files back.

The notes of the workspace are read and written here too. It holds nothing but the session it works for.
Whatever fails is told in a sentence, and nothing has changed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from core.errors import CaesuraError
from core.events import Status
from core.sessions import LEAST_ID, title_of
from core.store import NoSuchSession
from core.threads import run_in_thread
from core.values import dataclass
from tui.session_acts import Whereabouts
from tui.shelf import FileChange, RewindPoint, WorkspaceNotes
from tui.stops import background_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from core.file_history import Restored
    from core.records import PreImage, TurnRecord
    from core.session import Session
    from core.sessions import Sessions
    from tui.widgets.lists import Lists


class KeepingError(CaesuraError):
    """That cannot be done with this session now."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a pane begins with: `notes` are told in it, `draft` goes into its composer."""

    notes: tuple[str, ...] = ()
    draft: str = ""


NO_GREETING = Greeting()


class Opener(Protocol):
    """Shows another session in the place of this one: `tui.widgets.pane.Pane`."""

    def open_session(self, session_id: str | None, greeting: Greeting = NO_GREETING) -> None:
        """A new one for None."""
        ...

    def check_unsaved(self) -> None:
        """Raises where something that is being written would be lost with this session's pane."""
        ...

    def tell(self, text: str) -> None: ...


class Keeping:
    """For `session`. `sessions` is None where none are kept: then all of it raises `KeepingError`."""

    def __init__(self, session: Session, sessions: Sessions | None, opener: Opener) -> None:
        self._session = session
        self._sessions = sessions
        self._opener = opener

    # -- sessions --

    def show_list(self, lists: Lists) -> None:
        kept = self._kept
        lists.open_sessions(kept, Whereabouts(self._session.session_id, str(kept.workspace)))

    def open(self, session_id: str | None, greeting: Greeting = NO_GREETING) -> None:
        """Raises `KeepingError` while a turn runs: it would be stopped by that."""
        self._check_leaving()
        if session_id == self._session.session_id:
            raise KeepingError("This is that session.")
        self._opener.check_unsaved()
        self._opener.open_session(session_id, greeting)

    async def resume(self, beginning: str) -> None:
        """Open the session whose id begins like this."""
        self._check_idle()
        self.open((await self._kept.find(beginning)).session_id)

    async def offer_crashed(self) -> None:
        """In a new session, say that the last one here ended in the middle, and how to take it up (H8)."""
        if self._sessions is None or self._session.record.loaded is not None:
            return
        try:
            recent = await self._sessions.recent()
        except CaesuraError as error:
            self._opener.tell(str(error))
            return
        last = next((info for info in recent if not info.in_use), None)
        if last is not None and last.crashed:
            title = f", ‘{title_of(last)}’," if last.title else ""
            self._opener.tell(
                f"The last session here{title} ended in the middle of a turn: Caesura died in it. "
                f"/resume {last.session_id[:LEAST_ID]} goes on with it, and shows what was running."
            )

    async def fork(self) -> None:
        """Go on with a copy of this session."""
        self._check_leaving()
        self._opener.check_unsaved()
        copy = await self._kept.fork(self._session.session_id)
        self._opener.open_session(
            copy, Greeting(("This is a copy. The session that it was made of is kept.",))
        )

    async def export(self, *, suffix: str) -> None:
        name = await self._kept.export(self._session.session_id, suffix=suffix)
        self._opener.tell(f"Written to {name} in {self._kept.workspace}.")

    async def rename(self, title: str) -> None:
        await self._kept.rename(self._session.session_id, title)
        self._session.upkeep.settle_title(title)
        self._opener.tell(f"This session is called {title} now.")

    # -- going back --

    async def prompts(self) -> tuple[RewindPoint, ...]:
        """The prompts of this session to go back to (`tui.shelf.RewindPoints`)."""
        from core.file_history import plan

        images = await self._images(0)
        latest = tuple({image.path: image for image in images}.values())
        workspace = self._session.workspace
        planned = await run_in_thread(partial(plan, latest, workspace), name="look at files")
        conflicts = {each.path for each in planned if each.conflict is not None}
        return tuple(self._point(turn, images, conflicts) for turn in self._prompts())

    def _prompts(self) -> Iterable[TurnRecord]:
        return (turn for turn in self._session.record.turns if turn.kept and not turn.continued)

    def _point(self, turn: TurnRecord, images: tuple[PreImage, ...], conflicts: set[str]) -> RewindPoint:
        paths = dict.fromkeys(image.path for image in images if image.turn >= turn.turn)
        files = tuple(FileChange(path, path in conflicts) for path in paths)
        return RewindPoint(turn.turn, turn.prompt, turn.outcome, turn.at, files)

    async def rewind(self, turn: int, *, put_files_back: bool) -> None:
        """Go on in a fork from before that turn, with its prompt in the composer."""
        self._check_leaving()
        record = next((each for each in self._session.record.turns if each.turn == turn), None)
        if record is None:
            raise KeepingError("That prompt is not in this session any more.")
        notes = await self._put_back(turn) if put_files_back else ()
        before = sum(stored.turn < turn for stored in self._session.record.steps)
        fork = await self._kept.fork(self._session.session_id, before)
        told = "Back to before that prompt, in a copy. /sessions has the session as it was."
        self._opener.open_session(fork, Greeting((told, *notes), record.prompt))

    async def undo(self) -> None:
        """Put the files back that the latest turn with changes has changed: `/undo`."""
        self._check_idle()
        images = await self._images(0)
        if not images:
            raise KeepingError("There is nothing to put back: no file was changed by a tool here.")
        turn = max(image.turn for image in images)
        told = await self._put_back(turn)
        if not told:
            raise KeepingError("There is nothing to put back: these files are as they were.")
        self._opener.tell("\n".join(told))

    async def _put_back(self, turn: int) -> tuple[str, ...]:
        from core.file_history import plan, put_back

        session = self._session
        images = await self._images(turn)
        planned = await run_in_thread(partial(plan, images, session.workspace), name="look at files")
        token = session.token.child("put files back")
        keep = session.record.keep_preimage
        restored = await put_back(planned, (), keep, session.record.turns[-1].turn, token)
        session.note_for_model(_words_for_model(restored))
        return tuple(each.sentence for each in restored)

    async def _images(self, turn: int) -> tuple[PreImage, ...]:
        try:
            return await self._kept.preimages(self._session.session_id, turn)
        except NoSuchSession:
            # Nothing was said in it yet.
            return ()

    # -- the notes of the workspace, which are there without any sessions (`tui.shelf.MemoryKeeper`) --

    def show_memory(self, lists: Lists) -> None:
        lists.open_memory(self)

    async def load_memory(self) -> WorkspaceNotes:
        from core.memory_file import NAME, load_memory

        def load() -> WorkspaceNotes:
            folder = self._memory_folder()
            return WorkspaceNotes(folder / NAME, load_memory(folder))

        return await run_in_thread(load, name="read notes")

    async def save_memory(self, text: str, *, read: str) -> None:
        from core.memory_file import save_memory

        await run_in_thread(lambda: save_memory(self._memory_folder(), text, read=read), name="save notes")

    async def replace_memory(self, text: str, *, read: str) -> None:
        from core.memory_file import save_memory, shorten_memory

        def replace() -> None:
            if read:
                shorten_memory(self._memory_folder(), text, read=read, check=lambda: None)
            else:
                # Nothing to keep, and the copy that was kept before stays.
                save_memory(self._memory_folder(), text, read=read)

        await run_in_thread(replace, name="save notes")

    def _memory_folder(self) -> Path:
        """Asks the disk, so it is for a thread."""
        from core.memory_file import memory_folder

        return memory_folder(self._session.workspace.root)

    @property
    def _kept(self) -> Sessions:
        if self._sessions is None:
            raise KeepingError("No sessions are kept here.")
        return self._sessions

    def _check_leaving(self) -> None:
        """Another session takes the place of this one, which ends what runs in it."""
        self._check_idle()
        if background_of(self._session):
            raise KeepingError("Commands run in the background: /running lists them, stop them first.")

    def _check_idle(self) -> None:
        if self._session.status is not Status.IDLE:
            raise KeepingError("A turn is running: stop it first, or let it end.")


def _words_for_model(restored: Iterable[Restored]) -> str:
    from core.file_history import RestoreStatus

    done = (RestoreStatus.PUT_BACK, RestoreStatus.REMOVED)
    paths = ", ".join(each.path for each in restored if each.status in done)
    return f"[The user has put these files back to how they were before: {paths}]" if paths else ""
