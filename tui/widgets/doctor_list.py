"""What the doctor finds, as it comes: good, warning or bad in words, and what to do about it.

All of it can be copied as text, which holds no key, no host name and no home folder: see `core.doctor`.
Esc and Ctrl+C are not its business.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, assert_never

from textual.content import Content
from textual.widgets import Static

from core.doctor import State, examine, report
from tui.doctor_rows import DoctorRow, make_rows, row_line
from tui.output import one_line
from tui.widgets.chords import Chord, Chords
from tui.widgets.open_list import OpenList
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from core.doctor import Check, Finding, Redaction
    from tui.list_rows import Line

LOW: Final = 6
"""With fewer rows than this there is no frame and no foot."""


class DoctorAct(Enum):
    """What a person can do here."""

    COPY = auto()
    AGAIN = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()


KEYS: Final = {
    "c": DoctorAct.COPY,
    "r": DoctorAct.AGAIN,
    "up": DoctorAct.UP,
    "k": DoctorAct.UP,
    "down": DoctorAct.DOWN,
    "j": DoctorAct.DOWN,
    "pageup": DoctorAct.PAGE_UP,
    "pagedown": DoctorAct.PAGE_DOWN,
    "home": DoctorAct.FIRST,
    "ctrl+home": DoctorAct.FIRST,
    "end": DoctorAct.LAST,
    "ctrl+end": DoctorAct.LAST,
}
_CHORDS: Final = (Chord(DoctorAct.COPY, "c", "copy all of it"), Chord(DoctorAct.AGAIN, "r", "look again"))


class DoctorList(OpenList):
    """See the module. The titles of `checks` tell them apart; what they find goes through `redact`."""

    DEFAULT_CSS = """
    DoctorList {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .doctor-list--note { display: none; height: auto; max-height: 3; padding: 0 1; }
        & > .doctor-list--note.-failed { color: $text-error; text-style: bold; }
        & > Chords { padding: 0 1; }
        &.-low { border: none; }
        &.-low > Chords { display: none; }
        &.-low > .doctor-list--note { max-height: 1; }
    }
    """

    def __init__(self, checks: Sequence[Check], redact: Redaction) -> None:
        super().__init__()
        self._checks = tuple(checks)
        self._redact = redact
        self._findings: dict[str, Finding] = {}
        self.rows: RowList[DoctorRow] = RowList(self._paint, self._hear)
        self._note = Static("", classes="doctor-list--note")
        self._chords: Chords[DoctorAct] = Chords(_CHORDS)

    def assemble(self) -> None:
        """Mount what is inside, at once; see `SessionList.assemble`."""
        self.mount(self._note, self.rows, self._chords)

    def on_mount(self) -> None:
        self.border_title = Content("Doctor")
        self._look()

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height < LOW, "-low")
        self.call_after_refresh(self._arrange)

    # -- what the owner does --

    @property
    def station(self) -> RowList[DoctorRow]:
        return self.rows

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What has come by now, in the order of the checks."""
        return tuple(self._findings[check.title] for check in self._checks if check.title in self._findings)

    def fail(self, text: str) -> None:
        """Say in the list that something cannot be done."""
        self._say(text, failed=True)

    # -- keys and clicks --

    def _hear(self, key: str) -> bool:
        if (act := KEYS.get(key)) is not None:
            self._act(act)
        return act is not None

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        self._focus_rows()
        if isinstance(message.act, DoctorAct):
            self._act(message.act)

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._focus_rows()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self._focus_rows()

    def _focus_rows(self) -> None:
        self.screen.set_focus(self.rows, scroll_visible=False)

    def _act(self, act: DoctorAct) -> None:
        match act:
            case DoctorAct.COPY:
                self.app.copy_to_clipboard(report(self.findings))
                missing = len(self._checks) - len(self._findings)
                self._say("Copied." if not missing else f"Copied; {missing} have not come yet.")
            case DoctorAct.AGAIN:
                self._look()
            case DoctorAct.UP | DoctorAct.DOWN:
                self.rows.move(-1 if act is DoctorAct.UP else 1)
            case DoctorAct.PAGE_UP | DoctorAct.PAGE_DOWN:
                self.rows.move_page(-1 if act is DoctorAct.PAGE_UP else 1)
            case DoctorAct.FIRST | DoctorAct.LAST:
                self.rows.move_to_end(-1 if act is DoctorAct.FIRST else 1)
            case _:
                assert_never(act)

    # -- showing --

    def _look(self) -> None:
        """Look at everything, again; what was being looked at is given up."""
        self._findings.clear()
        self._say("")
        self._arrange()
        self.run_worker(self._examine(), group="doctor", exclusive=True)

    async def _examine(self) -> None:
        await examine(self._checks, self._redact, self._found)

    def _found(self, finding: Finding) -> None:
        self._findings[finding.title] = finding
        self._arrange()

    def _arrange(self) -> None:
        width = self.rows.scrollable_content_region.width
        self.rows.show(make_rows(self._checks, self._findings, width))
        counts = Counter(finding.state for finding in self._findings.values())
        told = [f"{counts[state]} {state}" for state in State if counts[state]]
        if missing := len(self._checks) - len(self._findings):
            told.append(f"{missing} to come")
        self.border_subtitle = ", ".join(told)

    def _paint(self, row: DoctorRow, width: int, selected: bool) -> Line:
        return row_line(row, width, selected=selected)

    def _say(self, text: str, *, failed: bool = False) -> None:
        self._note.update(Content(("! " if failed else "") + one_line(text)))
        self._note.set_class(failed, "-failed")
        self._note.display = bool(text)
