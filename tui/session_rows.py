"""The list of sessions as rows: which of them, in which order, and what is said of each.

Pure: what is selected and what a key does is the business of `tui.widgets.session_list`. Only rows that are
looked at become lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from rich.cells import cell_len

from core.values import dataclass
from tui.list_rows import AGE_CELLS, HintRow, Line, Piece, Tone, age, fitted, inline, without_beginning
from tui.operation_rows import fit
from tui.output import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.records import Hit, SessionInfo

UNTITLED = "untitled"
SNIPPETS_EACH = 3
"""How many places of one session are shown at the most."""

SEARCHED_CHARACTERS = 500
"""So much of a title is looked at."""

BRIEF = 40
"""Characters of a title in a sentence."""

_LEAST_TITLE = 28
_WIDE = 110
"""Columns from which more of a workspace's path is shown."""


class SessionRow(NamedTuple):
    info: SessionInfo

    @property
    def key(self) -> str:
        return self.info.session_id


class SnippetRow(NamedTuple):
    hit: Hit

    @property
    def key(self) -> str:
        return self.hit.info.session_id


ShelfRow: TypeAlias = SessionRow | SnippetRow | HintRow


@dataclass(frozen=True, slots=True)
class Scope:
    """Of which sessions: those of `workspace` alone, or `everywhere`, which has those first."""

    workspace: str
    everywhere: bool = False

    def of(self, infos: Iterable[SessionInfo]) -> list[SessionInfo]:
        """The newest first."""
        kept = [info for info in infos if self.everywhere or info.workspace == self.workspace]
        return sorted(kept, key=lambda info: (info.workspace != self.workspace, -info.updated_at))


@dataclass(frozen=True, slots=True)
class Looks:
    """How a row is shown. `now` is Unix time, `current` the session on the screen, `home` the person's
    folder."""

    width: int
    now: float
    current: str
    home: str = ""
    everywhere: bool = False
    selected: bool = False


def title_of(info: SessionInfo) -> str:
    """Its title as it may be shown."""
    return one_line(info.title) or UNTITLED


def brief_title(info: SessionInfo) -> str:
    """The same in a sentence."""
    title = title_of(info)
    return title if len(title) <= BRIEF else title[: BRIEF - 1] + "…"


def make_rows(infos: Sequence[SessionInfo], query: str, hits: Iterable[Hit]) -> list[ShelfRow]:
    """Those of `infos` whose title has all words of `query`, and then those in which `hits` were found.

    Hits of sessions that are not among `infos` are left out, and what would only repeat a title.
    """
    words = query.casefold().split()
    found: dict[str, list[Hit]] = {}
    for hit in hits:
        found.setdefault(hit.info.session_id, []).append(hit)
    named = [info for info in infos if _has(info.title, words)]
    names = {info.session_id for info in named}
    by_id = {info.session_id: info for info in infos}
    others = [by_id[key] for key in found if key in by_id and key not in names]
    rows: list[ShelfRow] = []
    for info in (*named, *others):
        rows.append(SessionRow(info))
        said = [hit for hit in found.get(info.session_id, ()) if hit.snippet.strip("… ") not in info.title]
        rows += [SnippetRow(hit) for hit in said[:SNIPPETS_EACH]]
    return rows


def _has(title: str, words: list[str]) -> bool:
    # A first prompt in the place of a title may be a book.
    folded = title[:SEARCHED_CHARACTERS].casefold()
    return all(word in folded for word in words)


def row_line(row: ShelfRow, looks: Looks) -> Line:
    """What is painted, exactly as wide as asked for."""
    match row:
        case SessionRow(info):
            return _session_line(info, looks)
        case SnippetRow(hit):
            return _snippet_line(hit, looks.width)
        case HintRow(text):
            return fitted([Piece(f" {text}", Tone.HINT)], looks.width)
        case _:
            assert_never(row)


def short_path(path: str, home: str, width: int) -> str:
    """As much of the end of a path as fits; `~` stands for the folder `home`."""
    path = one_line(path)
    if home and (path == home or path.startswith(f"{home}/")):
        path = "~" + path.removeprefix(home)
    return without_beginning(path, width)


def _session_line(info: SessionInfo, looks: Looks) -> Line:
    glyph, word = _state(info, looks)
    facts = _facts(info, word, looks)
    room = looks.width - 4 - cell_len(facts)
    return fitted(
        [
            Piece("› " if looks.selected else "  ", Tone.MARK),
            Piece(f"{glyph} ", Tone.MARK),
            Piece(fit(title_of(info), room), Tone.NAME if info.title.strip() else Tone.DETAIL),
            Piece(facts, Tone.DETAIL),
        ],
        looks.width,
    )


def _state(info: SessionInfo, looks: Looks) -> tuple[str, str]:
    if info.session_id == looks.current:
        return "●", "current"
    return ("○", "in use") if info.in_use else (" ", "")


def _facts(info: SessionInfo, word: str, looks: Looks) -> str:
    """As many columns as leave room for a title, the most important ones kept to the last."""
    workspace = 24 if looks.width >= _WIDE else 16
    columns = {
        "word": f"{word:<7}",
        "age": f"{age(looks.now - info.updated_at, info.updated_at):>{AGE_CELLS}}",
        "steps": f"{_steps(info.steps):>9}",
        "cost": f"{_cost(info):>7}",
        "workspace": fit(short_path(info.workspace, looks.home, workspace), workspace),
    }
    if not looks.everywhere:
        del columns["workspace"]
    room = looks.width - 4 - _LEAST_TITLE
    kept: set[str] = set()
    for name in ("age", "workspace", "word", "steps", "cost"):
        if name not in columns:
            continue
        if (room := room - cell_len(columns[name]) - 2) < 0:
            break
        kept.add(name)
    order = ("workspace", "cost", "steps", "age", "word")
    return "".join(f"  {columns[name]}" for name in order if name in kept)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _cost(info: SessionInfo) -> str:
    """In dollars; `$ ?` where it is not known, for a guess would be worse than nothing."""
    if info.cost is None:
        return "$ ?"
    return f"${info.cost:.2f}" if info.cost >= 0.005 or not info.cost else "<$0.01"


def _snippet_line(hit: Hit, width: int) -> Line:
    """The text around what was found, with the words marked; moved so that the first of them is in sight."""
    pieces: list[Piece] = []
    at = 0
    for start, end in hit.marks:
        if start < at or end > len(hit.snippet):
            continue
        pieces += [
            Piece(inline(hit.snippet[at:start]), Tone.DETAIL),
            Piece(inline(hit.snippet[start:end]), Tone.FOUND),
        ]
        at = end
    pieces.append(Piece(inline(hit.snippet[at:]), Tone.DETAIL))
    if len(pieces) > 1:
        room = max(0, width - 6 - cell_len(pieces[1].text))
        whole = sum(cell_len(piece.text) for piece in pieces) <= width - 6
        if not whole:
            pieces[0] = Piece(without_beginning(pieces[0].text, room // 2), Tone.DETAIL)
    return fitted([Piece("    │ ", Tone.DETAIL), *pieces], width)
