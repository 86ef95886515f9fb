"""The themes as rows: which is kept, dark or light, in a few words what it is like, or why it is of no use.

Pure, like `tui.session_rows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from rich.cells import cell_len

from tui.list_rows import HintRow, Line, Piece, Tone, fitted, inline
from tui.operation_rows import fit
from tui.output import one_line
from tui.theme_files import AUTO

if TYPE_CHECKING:
    from tui.theme_files import FoundTheme, LoadedThemes
    from tui.theme_terminal import Scheme

_NAME_CELLS = 16
_LOOK_CELLS = len("light")


class AutoRow(NamedTuple):
    """The terminal decides; `scheme` is what it is now."""

    scheme: Scheme

    @property
    def key(self) -> str:
        return AUTO


class ThemeRow(NamedTuple):
    found: FoundTheme

    @property
    def key(self) -> str:
        return self.found.theme.name


class BrokenRow(NamedTuple):
    """A file that is of no use; `number` tells it from others."""

    number: int
    error: str

    @property
    def key(self) -> str:
        # A blank, which no name has, keeps it apart from the themes.
        return f" {self.number}"


ThemesRow: TypeAlias = AutoRow | ThemeRow | BrokenRow | HintRow


def make_rows(loaded: LoadedThemes, scheme: Scheme) -> list[ThemesRow]:
    """The terminal's own choice first, then the person's themes, then ours, then what is broken."""
    own_first = sorted(loaded.found, key=lambda found: (not found.own, found.theme.name))
    rows: list[ThemesRow] = [AutoRow(scheme), *map(ThemeRow, own_first)]
    return [*rows, *(BrokenRow(number, error) for number, error in enumerate(loaded.errors))]


def row_line(row: ThemesRow, width: int, *, kept: str, selected: bool) -> Line:
    """What is painted, exactly `width` cells; `kept` is the name that is set."""
    match row:
        case AutoRow(scheme):
            words = "follows the terminal"
            return _line(AUTO, scheme.value, words, width, kept=kept == AUTO, selected=selected)
        case ThemeRow(found):
            name, description = found.theme.name, inline(found.theme.description)
            words = " · ".join(part for part in ("yours" if found.own else "", description) if part)
            look = "dark" if found.theme.dark else "light"
            return _line(name, look, words, width, kept=kept == name, selected=selected)
        case BrokenRow():
            mark = Piece("› " if selected else "  ", Tone.MARK)
            return fitted((mark, Piece(fit(f"! {one_line(row.error)}", width - 2), Tone.WARNING)), width)
        case HintRow(text):
            return fitted([Piece(f" {text}", Tone.HINT)], width)
        case _:
            assert_never(row)


def _line(name: str, look: str, words: str, width: int, *, kept: bool, selected: bool) -> Line:
    pad = " " * max(0, _NAME_CELLS - cell_len(name))
    return fitted(
        (
            Piece("› " if selected else "  ", Tone.MARK),
            Piece("● " if kept else "  ", Tone.MARK),
            Piece(f"{name}{pad}", Tone.NAME),
            Piece(f" {look:<{_LOOK_CELLS}}  ", Tone.DETAIL),
            Piece(words, Tone.DETAIL),
        ),
        width,
    )
