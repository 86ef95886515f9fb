"""The notes of the workspace over the transcript: shown, edited, and saved with Ctrl+S.

Nothing that was written here is lost without two keys that say so: not to Esc, not to a job or another
Caesura that has changed the file meanwhile, not to a full disk. What others have written is replaced only
after that was said, and kept in a copy. All disk work happens in the background.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from core.base.errors import CaesuraError
from core.base.sanitize import printable
from core.context.memory_file import BACKUP, NAME, MemoryChanged
from core.context.memory_notes import MOST_CHARACTERS
from tui.base.fit import short_path
from tui.base.key_hints import KeyHint
from tui.lists.base.overlay import Overlay
from tui.lists.notes_area import NotesArea

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.widget import Widget
    from textual.widgets import TextArea

    from tui.lists.base.sources import NotesSource

AGAIN_S = 0.4
"""Seconds after the Esc that asked during which another one is part of the same press."""

HINT = """\
No notes yet. What stands here is told to the model in every conversation in this workspace: how things are \
built and tested, what you prefer, what was decided. Caesura adds such facts by itself, a line each.

[jobs] memory = false in the configuration turns the notes off.\
"""

_AGAIN = "Esc again throws the changes away, Ctrl+S saves"
_SAVING = "Saving… Esc again closes without waiting for it"
_UNSAVED = "These notes are changed and not saved: Ctrl+S saves them, Esc twice throws the changes away."
_REPLACED = "Some characters cannot be shown: they are replaced here, and by Ctrl+S in the file too."
_SAVED_BEFORE = "Saved without what you wrote since: Ctrl+S saves that too."
_TOO_LONG = (
    f"These notes are too long to be edited here (more than {MOST_CHARACTERS // 1000},000 characters)."
)
_BRIEF = {_AGAIN: "Not saved yet", _SAVING: "Saving…", _UNSAVED: "These notes are not saved yet."}
"""Shorter notes, for a low terminal."""


class UnsavedNotes(CaesuraError):
    """The notes have changes that are not saved, which the requested action would lose."""


class NotesEditor(Overlay):
    """`notify` reports in the transcript what was done; `clock` is `time.monotonic` or like it."""

    DEFAULT_CSS = """
    NotesEditor {
        & > .overlay--note { max-height: 5; }
        &.-low > NotesArea, &.-low > .overlay--note, &.-low > KeyHints { padding: 0; }
        &.-low > KeyHints { display: block; }
        &.-low > .overlay--note.-failed { max-height: 2; }
        &.-low.-failed > KeyHints { display: none; }
    }
    """

    def __init__(
        self, source: NotesSource, notify: Callable[[str], object], clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self._source = source
        self._notify = notify
        self._clock = clock
        self._path: Path | None = None
        self._read: str | None = None
        """What is in the file as far as is known; None while nothing can be saved."""
        self._shown = ""
        """The text without the person's changes."""
        self._overwrites = False
        """Whether `_read` came after the person had begun: then saving replaces what others wrote."""
        self._saving = False
        self._asked_at: float | None = None
        self._said = ""
        self.area = NotesArea(self._save, self.fail)

    def parts(self) -> Sequence[Widget]:
        return (self.area, self._note, self._key_hints)

    def on_mount(self) -> None:
        self.show_note("Reading…")
        self._arrange()
        self.run_worker(self._load(), group="notes")

    def on_resize(self) -> None:
        # The base sets the class for a low terminal after this.
        self.call_later(self._fit)

    def _fit(self) -> None:
        self.show_note(self._said, failed=self.has_class("-failed"))
        self._arrange()

    # -- what the owner does --

    @property
    def focus_target(self) -> NotesArea:
        return self.area

    def close_innermost(self) -> bool:
        """Ask before changes are thrown away. False if there are none, or if this was the answer."""
        if not self.area.message_queue_size:
            return self._stays()
        # Esc must not overtake what was typed before it.
        self.area.call_later(self._leave)
        return True

    def check_unsaved(self) -> None:
        """Raises `UnsavedNotes` if there are changes that are not saved, and shows that too."""
        if self._changed:
            self.take_focus()
            self.fail(_UNSAVED)
            raise UnsavedNotes(_UNSAVED)

    # -- keys and clicks --

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        message.stop()
        if not self._saving:
            self.show_note("")
        self._asked_at = None
        self._arrange()

    def press(self, key: str) -> None:
        # After what was typed before the click.
        self.area.call_later(self._save if key == "ctrl+s" else self._leave)

    def _leave(self) -> None:
        if not self._stays():
            self.post_message(self.Closed(self))

    def _stays(self) -> bool:
        """Whether something would be lost that the person has not given up yet; asks at the first Esc."""
        if not (self._changed or self._saving):
            return False
        if self._asked_at is not None and self._clock() - self._asked_at >= AGAIN_S:
            return False
        if self._asked_at is None:
            self._asked_at = self._clock()
            self.show_note(_SAVING if self._saving else _AGAIN)
            self._arrange()
        self.take_focus()
        return True

    # -- the file --

    @property
    def _changed(self) -> bool:
        return self._read is not None and self.area.text != self._shown

    async def _load(self) -> None:
        try:
            notes = await self._source.load_memory()
        except CaesuraError as error:
            self.area.begin("", editable=False)
            self.fail(str(error))
            return
        self._path = notes.path
        shown = printable(notes.text)
        if len(shown) > MOST_CHARACTERS:
            self.area.begin("", editable=False)
            self.fail(f"{_TOO_LONG} Open {notes.path} in an editor of yours.")
        else:
            self.area.placeholder = Content(HINT)
            self.area.begin(shown, editable=True)
            self._read, self._shown = notes.text, self.area.text
            self.show_note("" if shown == notes.text.replace("\r\n", "\n") else _REPLACED)
        self._arrange()

    def _save(self) -> None:
        if self._read is None or self._saving:
            return
        self._asked_at = None
        if not self._changed and not self._overwrites:
            self._notify("The notes are as they were: there was nothing to save.")
            self.post_message(self.Closed(self))
            return
        self._saving = True
        self.show_note("Saving…")
        # A worker of the app: saving is finished even if the editor is closed.
        self.app.run_worker(self._write(self.area.text, self._read), group="notes")

    async def _write(self, text: str, read: str) -> None:
        write = self._source.replace_memory if self._overwrites else self._source.save_memory
        try:
            await write(text, read=read)
        except MemoryChanged as error:
            await self._compare(text, read, error)
        except CaesuraError as error:
            self._failed(error)
        else:
            self._saved(text)

    async def _compare(self, text: str, read: str, error: MemoryChanged) -> None:
        """Somebody else has changed the file: show how, and what the next Ctrl+S does."""
        try:
            now = (await self._source.load_memory()).text
        except CaesuraError as unreadable:
            self._failed(unreadable)
            return
        if now == text:
            self._saved(text)
            return
        if not self.is_attached:
            self._failed(error)
            return
        self._saving, self._asked_at = False, None
        self._read, self._overwrites = now, True
        kept = f" and keeps what is in it as {BACKUP}" if now else ""
        self.fail(
            f"{NAME} was changed meanwhile ({_difference(read, now)}) and was left as it is. "
            f"Ctrl+S again overwrites it{kept}."
        )
        self._arrange()

    def _failed(self, error: CaesuraError) -> None:
        self._saving, self._asked_at = False, None
        if self.is_attached:
            self.fail(str(error))
        else:
            self._notify(str(error))

    def _saved(self, text: str) -> None:
        if not self.is_attached:
            self._notify("Notes saved.")
            return
        self._saving, self._asked_at = False, None
        self._read, self._shown, self._overwrites = text, text, False
        self._arrange()
        # After what was typed meanwhile.
        self.area.call_later(self._close_saved)

    def _close_saved(self) -> None:
        if self._changed:
            self.show_note(_SAVED_BEFORE)
        else:
            self._notify("Notes saved.")
            self.post_message(self.Closed(self))

    # -- showing --

    def _arrange(self) -> None:
        where = "" if self._path is None else str(self._path)
        room = max(0, self.size.width - len("Notes · ") - 4)
        self.border_title = Content(
            f"Notes · {short_path(where, str(Path.home()), room)}" if where else "Notes"
        )
        self.border_subtitle = "not saved" if self._changed else ""
        self.show_key_hints()

    def key_hints(self) -> Sequence[KeyHint[str]]:
        close = KeyHint("escape", "Esc", "close" if self._asked_at is None else "discard")
        if self._read is None:
            return (close,)
        return KeyHint("ctrl+s", "^S", "overwrite" if self._overwrites else "save"), close

    def show_note(self, text: str, *, failed: bool = False) -> None:
        self._said = text
        self.set_class(failed, "-failed")
        if self.has_class("-low"):
            text = _BRIEF.get(text, text if self._path is None else text.replace(str(self._path), NAME))
        super().show_note(text, failed=failed)


def _difference(before: str, now: str) -> str:
    """How many lines are new and gone."""
    old, new = Counter(before.splitlines()), Counter(now.splitlines())
    counts = ((new - old).total(), "new"), ((old - new).total(), "gone")
    said = [f"{count} line{'s' * (count != 1)} {word}" for count, word in counts if count]
    return ", ".join(said) or "lines moved"
