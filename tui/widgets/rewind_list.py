"""The prompts of a session, to go back to one of them: picked, to be edited and sent again.

It changes nothing itself: it posts which prompt was picked, and whether files are to be put back, which is
never so unless the person has said it here, with the names of the files in sight.

Esc and Ctrl+C are not its business.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from core.errors import CaesuraError
from tui.list_rows import HintRow
from tui.output import one_line
from tui.rewind_rows import Looks, PutBackRow, RewindRow, can_put_back, make_rows, row_line
from tui.widgets.chords import Chord, Chords
from tui.widgets.open_list import OpenList
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events

    from tui.list_rows import Line
    from tui.shelf import RewindPoint, RewindPoints

LOW = 6
"""With fewer rows than this there is no frame and no foot."""


class RewindAct(Enum):
    """What a person can do here."""

    PICK = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()
    TOGGLE = auto()


KEYS = {
    "enter": RewindAct.PICK,
    "up": RewindAct.UP,
    "k": RewindAct.UP,
    "down": RewindAct.DOWN,
    "j": RewindAct.DOWN,
    "pageup": RewindAct.PAGE_UP,
    "pagedown": RewindAct.PAGE_DOWN,
    "home": RewindAct.FIRST,
    "ctrl+home": RewindAct.FIRST,
    "end": RewindAct.LAST,
    "ctrl+end": RewindAct.LAST,
    "space": RewindAct.TOGGLE,
}

NOTHING = "No prompt was sent yet: there is nothing to go back to."

_PICK = Chord(RewindAct.PICK, "Enter", "edit and send again")
_TOGGLE = Chord(RewindAct.TOGGLE, "Space", "put files back too")


class RewindList(OpenList):
    """See the module. `now` gives Unix time."""

    DEFAULT_CSS = """
    RewindList {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .rewind-list--note { display: none; height: auto; max-height: 3; padding: 0 1; }
        & > .rewind-list--note.-failed { color: $text-error; text-style: bold; }
        & > Chords { padding: 0 1; }
        &.-low { border: none; }
        &.-low > Chords { display: none; }
        &.-low > .rewind-list--note { max-height: 1; }
    }
    """

    class Picked(Message):
        """Go back to before this turn. The list stays until its owner closes it, or tells why it cannot."""

        def __init__(self, turn: int, *, put_files_back: bool) -> None:
            super().__init__()
            self.turn = turn
            self.put_files_back = put_files_back

    def __init__(self, points: RewindPoints, now: Callable[[], float]) -> None:
        super().__init__()
        self._source = points
        self._now = now
        self._points: tuple[RewindPoint, ...] | None = None
        self._put_back = ""
        """The prompt whose files are to be put back; another one has other files, and asks again."""
        self._picked = False
        self._read_at = now()
        self.rows: RowList[RewindRow] = RowList(self._paint, self._hear)
        self._note = Static("", classes="rewind-list--note")
        self._chords: Chords[RewindAct] = Chords()

    def assemble(self) -> None:
        """Mount what is inside, at once; see `SessionList.assemble`."""
        self.mount(self._note, self.rows, self._chords)

    def on_mount(self) -> None:
        self.border_title = Content("Rewind: go back to before a prompt, in a copy of the session")
        self._arrange()
        self.run_worker(self._read(), group="prompts")

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height < LOW, "-low")

    # -- what the owner does --

    @property
    def station(self) -> RowList[RewindRow]:
        return self.rows

    def fail(self, text: str) -> None:
        """Say in the list why what was asked for cannot be done."""
        self._picked = False
        self._note.update(Content(f"! {one_line(text)}"))
        self._note.set_class(True, "-failed")
        self._note.display = True

    # -- keys and clicks --

    def _hear(self, key: str) -> bool:
        if (act := KEYS.get(key)) is not None:
            self._act(act)
        return act is not None

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        self._focus_rows()
        if isinstance(message.act, RewindAct):
            self._act(message.act)

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._focus_rows()
        if isinstance(message.row, PutBackRow):
            self._act(RewindAct.TOGGLE)
        elif message.again:
            self._act(RewindAct.PICK)
        else:
            self._arrange()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self._focus_rows()

    def _focus_rows(self) -> None:
        self.screen.set_focus(self.rows, scroll_visible=False)

    def _act(self, act: RewindAct) -> None:
        match act:
            case RewindAct.UP | RewindAct.DOWN:
                self.rows.move(-1 if act is RewindAct.UP else 1)
            case RewindAct.PAGE_UP | RewindAct.PAGE_DOWN:
                self.rows.move_page(-1 if act is RewindAct.PAGE_UP else 1)
            case RewindAct.FIRST | RewindAct.LAST:
                self.rows.move_to_end(-1 if act is RewindAct.FIRST else 1)
            case RewindAct.TOGGLE:
                selected = self.rows.selected
                self._put_back = selected if self._can_put_back and self._put_back != selected else ""
            case RewindAct.PICK:
                self._pick()
            case _:
                assert_never(act)
        self._arrange()

    def _pick(self) -> None:
        point = self._selected
        if point is not None and not self._picked:
            self._picked = True
            put_back = self._put_back == self.rows.selected and can_put_back(point)
            self.post_message(self.Picked(point.turn, put_files_back=put_back))

    # -- showing --

    async def _read(self) -> None:
        try:
            self._points = await self._source.prompts()
        except CaesuraError as error:
            self._points = ()
            self.fail(str(error))
        self._read_at = self._now()
        self._arrange()
        self.rows.move_to_end(1)
        self._arrange()

    @property
    def _selected(self) -> RewindPoint | None:
        key = self.rows.selected
        return next((point for point in self._points or () if str(point.turn) == key), None)

    @property
    def _can_put_back(self) -> bool:
        return (point := self._selected) is not None and can_put_back(point)

    def _arrange(self) -> None:
        if self._put_back != self.rows.selected:
            self._put_back = ""
        rows = make_rows(self._points or (), self.rows.selected)
        self.rows.show(rows or [HintRow("Reading…" if self._points is None else NOTHING)])
        self.border_subtitle = f"{len(self.rows.keys)}"
        picks = (_PICK,) if self.rows.keys else ()
        self._chords.show((*picks, _TOGGLE) if self._can_put_back else picks)

    def _paint(self, row: RewindRow, width: int, selected: bool) -> Line:
        return row_line(row, Looks(width, self._read_at, put_back=bool(self._put_back), selected=selected))
