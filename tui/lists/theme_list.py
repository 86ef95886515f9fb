"""The list of themes: each is tried on while it is selected, with a sample of its colors.

It changes nothing itself. It posts which theme to show, which to keep, and, if it closes without one being
kept, which to show again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from core.base.threads import run_in_thread
from tui.base.key_hints import KeyHint
from tui.base.printable import one_line
from tui.base.row import HintRow, Piece, TextRow, Tone, inline
from tui.lists.base.list_overlay import ListOverlay
from tui.theme.files import AUTO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.widget import Widget

    from tui.terminal.looks import Scheme
    from tui.theme.files import FoundTheme, LoadedThemes

TALL = 17
"""Height in rows from which a sample is shown."""

SAMPLE = Content.from_markup(
    """\
[bold $text-accent]❯ [/][bold]What is a stop?[/] It ends what runs.
[bold $primary]Heading[/][underline $primary] · link[/][$secondary] · quote[/]\
[italic $foreground-muted] · reasoning[/][on $screen-selection-background] · selected[/]
[$text-accent on $surface]def [/][$text-primary on $surface]cancel[/][on $surface](self): [/]\
[$text-accent on $surface]return [/][$text-success on $surface]"stopped"[/][on $surface], [/]\
[$text-warning on $surface]7[/][italic $foreground-muted on $surface]  # at once[/]
[$text-error]- an old line[/][$text-success]  + a new line[/]
[$text-success]✓ completed[/][$text-error]  ✗ failed[/][$text-warning]  ■ stopped[/]\
[$text-primary]  ⠹ running[/]"""
)

_NAME_CELLS = 16
_LOOK_CELLS = len("light")


class ThemeRow(TextRow):
    """The terminal's own choice, a theme, or a file that cannot be used: then `error` says why."""

    error: str = ""


def theme_rows(loaded: LoadedThemes, scheme: Scheme, kept: str) -> list[ThemeRow]:
    """The terminal's own choice first, then the person's themes, then ours, then what is broken.

    `scheme` is that of the terminal, `kept` the name that is set.
    """
    own_first = sorted(loaded.found, key=lambda found: (not found.own, found.theme.name))
    return [
        _row(AUTO, scheme.value, "follows the terminal", kept),
        *(_theme_row(found, kept) for found in own_first),
        # No name of a theme has a blank.
        *(
            ThemeRow((Piece(f"! {one_line(error)}", Tone.WARNING),), error=error, key=f" {number}")
            for number, error in enumerate(loaded.errors)
        ),
    ]


def _theme_row(found: FoundTheme, kept: str) -> ThemeRow:
    theme = found.theme
    words = " · ".join(filter(None, ("yours" if found.own else "", inline(theme.description))))
    return _row(theme.name, "dark" if theme.dark else "light", words, kept)


def _row(name: str, look: str, words: str, kept: str) -> ThemeRow:
    pad = " " * max(0, _NAME_CELLS - cell_len(name))
    pieces = (
        Piece("● " if kept == name else "  ", Tone.MARK),
        Piece(f"{name}{pad}", Tone.NAME),
        Piece(f" {look:<{_LOOK_CELLS}}  ", Tone.DETAIL),
        Piece(words, Tone.DETAIL),
    )
    return ThemeRow(pieces, key=name)


class ThemeMessage(Message):
    """Something about the theme of this name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class ThemeList(ListOverlay):
    """`load` finds the themes; it is called in a thread. `kept` is the name that is set now, `scheme` that of
    the terminal."""

    TITLE = "Themes"
    DEFAULT_CSS = """
    ThemeList {
        & > .overlay--note { max-height: 5; }
        & > .theme-list--sample {
            display: none;
            height: 6;
            padding: 0 1;
            border-top: solid $border-blurred;
        }
        &.-tall > .theme-list--sample { display: block; }
    }
    """

    class Previewed(ThemeMessage):
        """Show this theme; nothing is kept yet."""

    class Picked(ThemeMessage):
        """Keep this theme. The list closes."""

    class Dismissed(ThemeMessage):
        """The list is gone and nothing was picked: show the theme again that was shown before."""

    def __init__(self, load: Callable[[], LoadedThemes], kept: str, scheme: Scheme) -> None:
        super().__init__()
        self._load = load
        self._kept = kept
        self._scheme = scheme
        self._loaded: LoadedThemes | None = None
        self._made: dict[str, ThemeRow] = {}
        self._shown = kept
        self._failure = ""

    def parts(self) -> Sequence[Widget]:
        sample = Static(SAMPLE, classes="theme-list--sample")
        return (self._note, self.rows, sample, self._key_hints)

    def key_hints(self) -> Sequence[KeyHint[str]]:
        return KeyHint("enter", "Enter", "keep"), KeyHint("down", "↑↓", "try on")

    def fail(self, text: str) -> None:
        self._chosen = False
        self._failure = text
        self._arrange()

    def on_mount(self) -> None:
        self._arrange()
        self.run_worker(self._read(), group="themes")

    def on_unmount(self) -> None:
        """Tell the app, since a widget that is unmounted posts nothing to its ancestors."""
        if not self._chosen and self._shown != self._kept:
            self.app.post_message(self.Dismissed(self._kept))

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height >= TALL, "-tall")

    def act(self, key: str) -> bool:
        if key == "enter":
            self._keep()
        return key == "enter"

    def selection_moved(self) -> None:
        """Show the selected theme, once; a broken one changes nothing."""
        self._failure = ""
        row = self._made.get(self.rows.selected)
        if row is not None and row.key != self._shown and not row.error:
            self._shown = row.key
            self.post_message(self.Previewed(row.key))
        self._arrange()

    def _keep(self) -> None:
        row = self._made.get(self.rows.selected)
        if row is None or self._chosen:
            return
        if row.error:
            self.fail(row.error)
            return
        self._chosen = True
        self.post_message(self.Picked(self.rows.selected))
        self.post_message(self.Closed(self))

    async def _read(self) -> None:
        self._loaded = await run_in_thread(self._load, name="read themes")
        self._arrange()
        self.rows.select(self._kept)
        self._arrange()

    def _arrange(self) -> None:
        rows = [] if self._loaded is None else theme_rows(self._loaded, self._scheme, self._kept)
        self._made = {row.key: row for row in rows}
        self.rows.show(rows or [HintRow("Reading…")])
        self.border_subtitle = f"{len(self._made)}" if self._made else ""
        row = self._made.get(self.rows.selected)
        error = self._failure or ("" if row is None else row.error)
        self.show_note(error, failed=bool(error))
