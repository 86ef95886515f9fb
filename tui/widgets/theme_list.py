"""The themes, each tried on while it is selected, with a sample of what is said in colours.

It changes nothing itself: it posts which theme to show, which to keep, and, however it was closed without one
being kept, which to go back to.

Esc and Ctrl+C are not its business.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.list_rows import HintRow
from tui.output import one_line
from tui.theme_rows import BrokenRow, ThemesRow, make_rows, row_line
from tui.widgets.chords import Chord, Chords
from tui.widgets.open_list import OpenList
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events
    from textual.widget import Widget

    from tui.list_rows import Line
    from tui.theme_files import LoadedThemes
    from tui.theme_terminal import Scheme

LOW = 6
"""With fewer rows than this there is no frame and no foot."""

TALL = 17
"""From so many rows on there is a sample."""

SAMPLE = Content("\n").join(
    [
        Content.assemble(("❯ ", "bold $text-accent"), ("What is a stop?", "bold"), " It ends what runs."),
        Content.assemble(
            ("Heading", "bold $primary"),
            (" · link", "underline $primary"),
            (" · quote", "$secondary"),
            (" · reasoning", "italic $foreground-muted"),
            (" · selected", "on $screen-selection-background"),
        ),
        Content.assemble(
            ("def ", "$text-accent on $surface"),
            ("cancel", "$text-primary on $surface"),
            ("(self): ", "on $surface"),
            ("return ", "$text-accent on $surface"),
            ('"stopped"', "$text-success on $surface"),
            (", ", "on $surface"),
            ("7", "$text-warning on $surface"),
            ("  # at once", "italic $foreground-muted on $surface"),
        ),
        Content.assemble(("- an old line", "$text-error"), ("  + a new line", "$text-success")),
        Content.assemble(
            ("✓ completed", "$text-success"),
            ("  ✗ failed", "$text-error"),
            ("  ■ stopped", "$text-warning"),
            ("  ⠹ running", "$text-primary"),
        ),
    ]
)


class ThemeAct(Enum):
    """What a person can do here."""

    KEEP = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()


KEYS = {
    "enter": ThemeAct.KEEP,
    "up": ThemeAct.UP,
    "k": ThemeAct.UP,
    "down": ThemeAct.DOWN,
    "j": ThemeAct.DOWN,
    "pageup": ThemeAct.PAGE_UP,
    "pagedown": ThemeAct.PAGE_DOWN,
    "home": ThemeAct.FIRST,
    "ctrl+home": ThemeAct.FIRST,
    "end": ThemeAct.LAST,
    "ctrl+end": ThemeAct.LAST,
}

_KEEP = Chord(ThemeAct.KEEP, "Enter", "keep")
_CHOOSE = Chord(ThemeAct.DOWN, "↑↓", "try on")


class ThemeList(OpenList):
    """See the module. `load` finds the themes and is called in a thread; `kept` is the name that is set now,
    `scheme` what the terminal is."""

    DEFAULT_CSS = """
    ThemeList {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .theme-list--note { display: none; height: auto; max-height: 5; padding: 0 1; }
        & > .theme-list--note.-failed { color: $text-error; text-style: bold; }
        & > .theme-list--sample {
            display: none;
            height: 6;
            padding: 0 1;
            border-top: solid $border-blurred;
        }
        & > Chords { padding: 0 1; }
        &.-tall > .theme-list--sample { display: block; }
        &.-low { border: none; }
        &.-low > Chords { display: none; }
        &.-low > .theme-list--note { max-height: 1; }
    }
    """

    class Previewed(Message):
        """Show this theme; nothing is kept yet."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Picked(Message):
        """Keep this theme. The list closes."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Dismissed(Message):
        """The list is gone and nothing was picked: show the theme again that was there before."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, load: Callable[[], LoadedThemes], kept: str, scheme: Scheme) -> None:
        super().__init__()
        self._load = load
        self._kept = kept
        self._scheme = scheme
        self._loaded: LoadedThemes | None = None
        self._made: dict[str, ThemesRow] = {}
        self._shown = kept
        self._picked = False
        self._failure = ""
        self.rows: RowList[ThemesRow] = RowList(self._paint, self._hear)
        self._note = Static("", classes="theme-list--note")
        self._chords: Chords[ThemeAct] = Chords((_KEEP, _CHOOSE))

    @property
    def station(self) -> Widget:
        return self.rows

    def assemble(self) -> None:
        """Mount what is inside, at once; see `OpenList.assemble`."""
        sample = Static(SAMPLE, classes="theme-list--sample")
        self.mount(self._note, self.rows, sample, self._chords)

    def fail(self, text: str) -> None:
        """Say in the list why what was asked for cannot be done."""
        self._picked = False
        self._failure = text
        self._arrange()

    def on_mount(self) -> None:
        self.border_title = Content("Themes")
        self._arrange()
        self.run_worker(self._read(), group="themes")

    def on_unmount(self) -> None:
        """To the app: what is mounted no more posts nothing upward."""
        if not self._picked and self._shown != self._kept:
            self.app.post_message(self.Dismissed(self._kept))

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height < LOW, "-low")
        self.set_class(self.outer_size.height >= TALL, "-tall")

    # -- keys and clicks --

    def _hear(self, key: str) -> bool:
        if (act := KEYS.get(key)) is not None:
            self._act(act)
        return act is not None

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        self._focus_rows()
        if isinstance(message.act, ThemeAct):
            self._act(message.act)

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._focus_rows()
        if message.again:
            self._act(ThemeAct.KEEP)
        else:
            self._try_on()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self._focus_rows()

    def _focus_rows(self) -> None:
        self.screen.set_focus(self.rows, scroll_visible=False)

    def _act(self, act: ThemeAct) -> None:
        match act:
            case ThemeAct.UP | ThemeAct.DOWN:
                self.rows.move(-1 if act is ThemeAct.UP else 1)
            case ThemeAct.PAGE_UP | ThemeAct.PAGE_DOWN:
                self.rows.move_page(-1 if act is ThemeAct.PAGE_UP else 1)
            case ThemeAct.FIRST | ThemeAct.LAST:
                self.rows.move_to_end(-1 if act is ThemeAct.FIRST else 1)
            case ThemeAct.KEEP:
                self._keep()
                return
            case _:
                assert_never(act)
        self._try_on()

    def _try_on(self) -> None:
        """Show the selected theme, once; one that is broken leaves what is shown."""
        self._failure = ""
        name = self.rows.selected
        if name and name != self._shown and not isinstance(self._made.get(name), BrokenRow):
            self._shown = name
            self.post_message(self.Previewed(name))
        self._arrange()

    def _keep(self) -> None:
        row = self._made.get(self.rows.selected)
        if row is None or self._picked:
            return
        if isinstance(row, BrokenRow):
            self.fail(row.error)
            return
        self._picked = True
        self.post_message(self.Picked(self.rows.selected))
        self.post_message(self.Closed(self))

    # -- showing --

    async def _read(self) -> None:
        self._loaded = await asyncio.to_thread(self._load)
        self._arrange()
        self.rows.select(self._kept)
        self._arrange()

    def _arrange(self) -> None:
        rows: list[ThemesRow] = [HintRow("Reading…")]
        if self._loaded is not None:
            rows = make_rows(self._loaded, self._scheme)
        self._made = {row.key: row for row in rows if row.key}
        self.rows.show(rows)
        self.border_subtitle = f"{len(self._made)}" if self._made else ""
        row = self._made.get(self.rows.selected)
        self._say(self._failure or (row.error if isinstance(row, BrokenRow) else ""))

    def _say(self, text: str) -> None:
        self._note.update(Content(f"! {one_line(text)}" if text else ""))
        self._note.set_class(bool(text), "-failed")
        self._note.display = bool(text)

    def _paint(self, row: ThemesRow, width: int, selected: bool) -> Line:
        return row_line(row, width, kept=self._kept, selected=selected)
