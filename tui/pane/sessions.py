"""Actions of a pane on stored sessions: open, copy and export them, rewind one, restore files.

The notes of the workspace are read and written here too. The only state is the session it works for. A
failure is shown as a sentence and has changed nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from core.base.errors import CaesuraError
from core.base.threads import run_in_thread
from core.operations.events import Status
from core.session.archive import LEAST_ID, title_of
from core.storage.store import NoSuchSession
from tui.commands.opening import NO_OPENING, Opening
from tui.lists.base.sources import CurrentSession, FileChange, RewindPoint, WorkspaceNotes
from tui.pane.call_stops import background_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from core.session.archive import Sessions
    from core.session.session import Session
    from core.storage.file_history import Restored
    from core.storage.records import PreImage, TurnRecord
    from tui.lists.overlays import Overlays


class Opener(Protocol):
    """Replaces this session on the screen by another: `tui.pane.commands.PaneCommands`. The checks raise
    `CaesuraError` if unsaved text would be lost with the pane, or work in the background cut off."""

    def open_session(self, session_id: str | None, opening: Opening = NO_OPENING) -> None: ...

    def check_unsaved(self) -> None: ...

    def check_free(self) -> None: ...

    def notify(self, text: str) -> None: ...


class SessionFiles:
    """Actions for `session`. If `sessions` is None, none are stored: they raise `CaesuraError`.

    Also the `RewindPoints` and, without stored sessions too, the `NotesSource` of `tui.lists.base.sources`.
    """

    def __init__(self, session: Session, sessions: Sessions | None, opener: Opener) -> None:
        self._session = session
        self._sessions = sessions
        self._opener = opener

    def show_list(self, lists: Overlays) -> None:
        kept = self._kept
        lists.open_sessions(kept, CurrentSession(self._session.session_id, str(kept.workspace)))

    def open(self, session_id: str | None, opening: Opening = NO_OPENING) -> None:
        """Open a session. Raises `CaesuraError` while a turn runs, because that would stop it."""
        self._check_leaving()
        if session_id == self._session.session_id:
            raise CaesuraError("This is that session.")
        self._opener.check_unsaved()
        self._opener.open_session(session_id, opening)

    async def resume(self, beginning: str) -> None:
        """Open the session whose id begins with `beginning`."""
        self.check_idle()
        self.open((await self._kept.find(beginning)).session_id)

    async def offer_crashed(self) -> None:
        """In a new session, report that the last one crashed during a turn, and how to resume it (H8)."""
        if self._sessions is None or self._session.record.loaded is not None:
            return
        try:
            recent = await self._sessions.recent()
        except CaesuraError as error:
            self._opener.notify(str(error))
            return
        last = next((info for info in recent if not info.in_use), None)
        if last is not None and last.crashed:
            title = f", ‘{title_of(last)}’," if last.title else ""
            self._opener.notify(
                f"The last session here{title} ended in the middle of a turn: Caesura died in it. "
                f"/resume {last.session_id[:LEAST_ID]} goes on with it, and shows what was running."
            )

    async def fork(self) -> None:
        """Continue in a copy of this session."""
        self._check_leaving()
        self._opener.check_unsaved()
        copy = await self._kept.fork(self._session.session_id)
        self._opener.open_session(
            copy, Opening(("This is a copy. The session that it was made of is kept.",))
        )

    async def export(self, *, suffix: str) -> None:
        name = await self._kept.export(self._session.session_id, suffix=suffix)
        self._opener.notify(f"Written to {name} in {self._kept.workspace}.")

    async def rename(self, title: str) -> None:
        await self._kept.rename(self._session.session_id, title)
        self._session.after_turn.settle_title(title)
        self._opener.notify(f"This session is called {title} now.")

    async def prompts(self) -> tuple[RewindPoint, ...]:
        """The prompts of this session to rewind to."""
        from core.storage.file_history import plan

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
        """Continue in a fork from before that turn, with its prompt in the composer."""
        self._check_leaving()
        record = next((each for each in self._session.record.turns if each.turn == turn), None)
        if record is None:
            raise CaesuraError("That prompt is not in this session any more.")
        notes = await self._put_back(turn) if put_files_back else ()
        before = sum(stored.turn < turn for stored in self._session.record.steps)
        fork = await self._kept.fork(self._session.session_id, before)
        told = "Back to before that prompt, in a copy. /sessions has the session as it was."
        self._opener.open_session(fork, Opening((told, *notes), record.prompt))

    async def undo(self) -> None:
        """Restore the files that the latest turn with changes has changed: `/undo`."""
        self.check_idle()
        images = await self._images(0)
        if not images:
            raise CaesuraError("There is nothing to put back: no file was changed by a tool here.")
        turn = max(image.turn for image in images)
        told = await self._put_back(turn)
        if not told:
            raise CaesuraError("There is nothing to put back: these files are as they were.")
        self._opener.notify("\n".join(told))

    async def _put_back(self, turn: int) -> tuple[str, ...]:
        from core.storage.file_history import plan, put_back

        session = self._session
        images = await self._images(turn)
        planned = await run_in_thread(partial(plan, images, session.workspace), name="look at files")
        token = session.token.child("put files back")
        keep = session.record.keep_preimage
        restored = await put_back(planned, (), keep, session.record.turns[-1].turn, token)
        if words := _words_for_model(restored):
            session.background.give_back_notes((words,))
        return tuple(each.sentence for each in restored)

    async def _images(self, turn: int) -> tuple[PreImage, ...]:
        try:
            return await self._kept.preimages(self._session.session_id, turn)
        except NoSuchSession:
            # The session has no content yet.
            return ()

    async def load_memory(self) -> WorkspaceNotes:
        from core.context.memory_file import NAME, load_memory

        def load() -> WorkspaceNotes:
            folder = self._memory_folder()
            return WorkspaceNotes(folder / NAME, load_memory(folder))

        return await run_in_thread(load, name="read notes")

    async def save_memory(self, text: str, *, read: str) -> None:
        from core.context.memory_file import save_memory

        await run_in_thread(lambda: save_memory(self._memory_folder(), text, read=read), name="save notes")

    async def replace_memory(self, text: str, *, read: str) -> None:
        from core.context.memory_file import save_memory, shorten_memory

        def replace() -> None:
            if read:
                shorten_memory(self._memory_folder(), text, read=read, check=lambda: None)
            else:
                # There is nothing to save, and an earlier copy stays.
                save_memory(self._memory_folder(), text, read=read)

        await run_in_thread(replace, name="save notes")

    def _memory_folder(self) -> Path:
        """The folder of the notes. Reads the disk, so call it in a thread."""
        from core.context.memory_file import memory_folder

        return memory_folder(self._session.workspace.root)

    @property
    def _kept(self) -> Sessions:
        if self._sessions is None:
            raise CaesuraError("No sessions are kept here.")
        return self._sessions

    def _check_leaving(self) -> None:
        """Raise `CaesuraError` while something runs, which opening another session would stop."""
        self.check_idle()
        if background_of(self._session):
            raise CaesuraError("Commands run in the background: /running lists them, stop them first.")

    def check_idle(self) -> None:
        """Raise `CaesuraError` while a turn runs, or work that must not be cut off."""
        if self._session.status is not Status.IDLE:
            raise CaesuraError("A turn is running: stop it first, or let it end.")
        self._opener.check_free()


def _words_for_model(restored: Iterable[Restored]) -> str:
    from core.storage.file_history import RestoreStatus

    done = (RestoreStatus.PUT_BACK, RestoreStatus.REMOVED)
    paths = ", ".join(each.path for each in restored if each.status in done)
    return f"[The user has put these files back to how they were before: {paths}]" if paths else ""
