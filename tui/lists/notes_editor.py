"""The notes of the workspace over the transcript: shown, changed, and saved when the person says so.

Nothing that was written here may be lost without two keys that say so: not to Esc, not to a job or another
Caesura that has changed the file meanwhile, not to a disk that is full. What others have written is replaced
only after it was said, and kept in a copy. Nothing here waits for the disk.

Esc and Ctrl+C are not its business; who holds it calls `close_innermost`.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from textual.content import Content
from textual.widgets import Static, TextArea

from core.errors import CaesuraError
from core.memory_file import BACKUP, NAME, MemoryChanged
from core.memory_notes import MOST_CHARACTERS
from core.sanitize import printable
from tui.output import one_line
from tui.session_rows import short_path
from tui.widgets.chords import Chord, Chords
from tui.widgets.notes_area import NotesArea
from tui.widgets.open_list import OpenList

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events

    from tui.shelf import MemoryKeeper

LOW = 6
"""With fewer rows than this there is no frame, and what is said has one row."""

AGAIN_S = 0.4
"""An Esc that comes sooner after the one that asked is taken for a part of it."""

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
"""What is said where there is one row for it, or two."""


class UnsavedNotes(CaesuraError):
    """The notes are being written: what was asked for would lose what is not saved of them."""


class MemoryAct(Enum):
    """What a person can do here beside writing."""

    SAVE = auto()
    CLOSE = auto()


class MemoryEditor(OpenList):
    """See the module. `tell` says in the transcript what was done; `clock` is `time.monotonic` or like it."""

    DEFAULT_CSS = """
    MemoryEditor {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .memory-editor--note { display: none; height: auto; max-height: 5; padding: 0 1; }
        &.-failed > .memory-editor--note { color: $text-error; text-style: bold; }
        & > Chords { padding: 0 1; }
        &.-low { border: none; }
        &.-low > NotesArea, &.-low > .memory-editor--note, &.-low > Chords { padding: 0; }
        &.-low > .memory-editor--note { max-height: 1; }
        &.-low.-failed > .memory-editor--note { max-height: 2; }
        &.-low.-failed > Chords { display: none; }
    }
    """

    def __init__(
        self, keeper: MemoryKeeper, tell: Callable[[str], object], clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self._keeper = keeper
        self._tell = tell
        self._clock = clock
        self._path: Path | None = None
        self._read: str | None = None
        """What is in the file as far as is known; None as long as nothing can be saved."""
        self._shown = ""
        """The text without any changes of the person."""
        self._overwrites = False
        """Whether `_read` came after the person had begun, so that saving replaces what others wrote."""
        self._saving = False
        self._asked_at: float | None = None
        self._said = ""
        self.area = NotesArea(self._save, self.fail)
        self._note = Static("", classes="memory-editor--note")
        self._chords: Chords[MemoryAct] = Chords()

    def assemble(self) -> None:
        """Mount what is inside, at once; see `SessionList.assemble`."""
        self.mount(self.area, self._note, self._chords)

    def on_mount(self) -> None:
        self._say("Reading…")
        self._arrange()
        self.run_worker(self._load(), group="notes")

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height < LOW, "-low")
        self._show_note()
        self._arrange()

    # -- what the owner does --

    @property
    def station(self) -> NotesArea:
        return self.area

    def enter(self) -> None:
        """Go there at once, unlike `Widget.focus`: what is typed behind the key that led here goes there."""
        self.screen.set_focus(self.area, scroll_visible=False)

    def close_innermost(self) -> bool:
        """Esc: ask before changes are thrown away. False if there are none, or this was the answer."""
        if not self.area.message_queue_size:
            return self._stays()
        # It must not overtake what was typed before it.
        self.area.call_later(self._leave)
        return True

    def check_unsaved(self) -> None:
        """Raises `UnsavedNotes` if something here is not saved, and says so here."""
        if self._changed:
            self.enter()
            self.fail(_UNSAVED)
            raise UnsavedNotes(_UNSAVED)

    def fail(self, text: str) -> None:
        """Say here why what was asked for cannot be done."""
        self._say(text, failed=True)

    # -- keys and clicks --

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        message.stop()
        if not self._saving:
            self._say("")
        self._asked_at = None
        self._arrange()

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        if isinstance(message.act, MemoryAct):
            # Behind what was typed before.
            self.area.call_later(self._act, message.act)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.enter()

    def _act(self, act: MemoryAct) -> None:
        match act:
            case MemoryAct.SAVE:
                self._save()
            case MemoryAct.CLOSE:
                self._leave()
            case _:
                assert_never(act)

    def _leave(self) -> None:
        if not self._stays():
            self.post_message(self.Closed(self))

    def _stays(self) -> bool:
        """Whether there is something to lose, and nobody has said yet that it may be."""
        if not (self._changed or self._saving):
            return False
        if self._asked_at is not None and self._clock() - self._asked_at >= AGAIN_S:
            return False
        if self._asked_at is None:
            self._asked_at = self._clock()
            self._say(_SAVING if self._saving else _AGAIN)
            self._arrange()
        self.enter()
        return True

    # -- the file --

    @property
    def _changed(self) -> bool:
        return self._read is not None and self.area.text != self._shown

    async def _load(self) -> None:
        try:
            notes = await self._keeper.load_memory()
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
            self._say("" if shown == notes.text.replace("\r\n", "\n") else _REPLACED)
        self._arrange()

    def _save(self) -> None:
        if self._read is None or self._saving:
            return
        self._asked_at = None
        if not self._changed and not self._overwrites:
            self._tell("The notes are as they were: there was nothing to save.")
            self.post_message(self.Closed(self))
            return
        self._saving = True
        self._say("Saving…")
        # The application's and not its own: what was asked for is done though this is closed.
        self.app.run_worker(self._write(self.area.text, self._read), group="notes")

    async def _write(self, text: str, read: str) -> None:
        write = self._keeper.replace_memory if self._overwrites else self._keeper.save_memory
        try:
            await write(text, read=read)
        except MemoryChanged as error:
            await self._compare(text, read, error)
        except CaesuraError as error:
            self._failed(error)
        else:
            self._saved(text)

    async def _compare(self, text: str, read: str, error: MemoryChanged) -> None:
        """Somebody else has changed the file: say how, and what the next Ctrl+S does."""
        try:
            now = (await self._keeper.load_memory()).text
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
            self._tell(str(error))

    def _saved(self, text: str) -> None:
        if not self.is_attached:
            self._tell("Notes saved.")
            return
        self._saving, self._asked_at = False, None
        self._read, self._shown, self._overwrites = text, text, False
        self._arrange()
        # Behind what was typed meanwhile.
        self.area.call_later(self._close_saved)

    def _close_saved(self) -> None:
        if self._changed:
            self._say(_SAVED_BEFORE)
        else:
            self._tell("Notes saved.")
            self.post_message(self.Closed(self))

    # -- showing --

    def _arrange(self) -> None:
        where = "" if self._path is None else str(self._path)
        room = max(0, self.size.width - len("Notes · ") - 4)
        self.border_title = Content(
            f"Notes · {short_path(where, str(Path.home()), room)}" if where else "Notes"
        )
        self.border_subtitle = "not saved" if self._changed else ""
        save = Chord(MemoryAct.SAVE, "^S", "overwrite" if self._overwrites else "save")
        close = Chord(MemoryAct.CLOSE, "Esc", "close" if self._asked_at is None else "discard")
        self._chords.show((close,) if self._read is None else (save, close))

    def _say(self, text: str, *, failed: bool = False) -> None:
        self._said = text
        self.set_class(failed, "-failed")
        self._note.display = bool(text)
        self._show_note()

    def _show_note(self) -> None:
        text = self._said
        if self.has_class("-low"):
            text = _BRIEF.get(text, text if self._path is None else text.replace(str(self._path), NAME))
        mark = "! " if self.has_class("-failed") else ""
        # Not a string, in which a path could be markup.
        self._note.update(Content(mark + one_line(text)))


def _difference(before: str, now: str) -> str:
    """How many lines are new and gone."""
    old, new = Counter(before.splitlines()), Counter(now.splitlines())
    counts = ((new - old).total(), "new"), ((old - new).total(), "gone")
    said = [f"{count} line{'s' * (count != 1)} {word}" for count, word in counts if count]
    return ", ".join(said) or "lines moved"
