"""The list of sessions as rows: which of them, in which order, and the facts of each. Pure.

Only rows in sight become lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from core.base.values import Value
from tui.base.fit import count_fitting, fit, short_path, without_beginning
from tui.base.format import AGE_CELLS, format_age
from tui.base.printable import one_line
from tui.base.row import Line, ListRow, Piece, Tone, cursor, fitted, inline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.storage.records import SearchMatch, SessionInfo
    from tui.lists.base.sources import CurrentSession

UNTITLED = "untitled"
SNIPPETS_EACH = 3
"""The most places that are shown of one session."""

SEARCHED_CHARACTERS = 500
"""How much of a title is searched."""

BRIEF = 40
"""The most characters of a title in a sentence."""

_LEAST_TITLE = 28
_WIDE = 110
"""Columns from which more of a workspace's path is shown."""


class RowContext(Value):
    """What rows depend on beside their session. `where` is the session on the screen, `now` Unix time, `home`
    the person's folder; with `everywhere` the sessions of all workspaces are listed."""

    where: CurrentSession
    now: float
    home: str = ""
    everywhere: bool = False

    def listed(self, infos: Iterable[SessionInfo]) -> list[SessionInfo]:
        """The sessions to list: those of this workspace first, the newest first."""
        here = self.where.workspace
        kept = [info for info in infos if self.everywhere or info.workspace == here]
        return sorted(kept, key=lambda info: (info.workspace != here, -info.updated_at))


class SessionRow(ListRow):
    info: SessionInfo
    context: RowContext

    def line(self, width: int, *, selected: bool) -> Line:
        info = self.info
        glyph, word = _state(info, self.context.where)
        facts = _facts(info, word, width, self.context)
        title = fit(title_of(info), width - 4 - cell_len(facts))
        pieces = (
            cursor(selected),
            Piece(f"{glyph} ", Tone.MARK),
            Piece(title, Tone.NAME if info.title.strip() else Tone.DETAIL),
            Piece(facts, Tone.DETAIL),
        )
        return fitted(pieces, width)


class SnippetRow(ListRow):
    """The text around what was found."""

    hit: SearchMatch

    def line(self, width: int, *, selected: bool) -> Line:
        """The text with the words marked and the first of them in sight."""
        text, at = self.hit.snippet, 0
        pieces: list[Piece] = []
        for start, end in self.hit.marks:
            if start < at or end > len(text):
                continue
            pieces += [
                Piece(inline(text[at:start]), Tone.DETAIL),
                Piece(inline(text[start:end]), Tone.FOUND),
            ]
            at = end
        pieces.append(Piece(inline(text[at:]), Tone.DETAIL))
        if len(pieces) > 1 and sum(cell_len(piece.text) for piece in pieces) > width - 6:
            room = max(0, width - 6 - cell_len(pieces[1].text))
            pieces[0] = Piece(without_beginning(pieces[0].text, room // 2), Tone.DETAIL)
        return fitted([Piece("    │ ", Tone.DETAIL), *pieces], width)


def title_of(info: SessionInfo) -> str:
    """The title, printable and on one line."""
    return one_line(info.title) or UNTITLED


def brief_title(info: SessionInfo) -> str:
    """The title, short enough for a sentence."""
    title = title_of(info)
    return title if len(title) <= BRIEF else title[: BRIEF - 1] + "…"


def session_rows(
    infos: Sequence[SessionInfo], query: str, hits: Iterable[SearchMatch], context: RowContext
) -> list[ListRow]:
    """The sessions of `infos` whose title has all words of `query`, then those in which `hits` were found.

    Hits in sessions that are not in `infos` are left out, and hits that would only repeat a title.
    """
    words = query.casefold().split()
    found: dict[str, list[SearchMatch]] = {}
    for hit in hits:
        found.setdefault(hit.info.session_id, []).append(hit)
    known = {info.session_id: info for info in infos}
    shown = {key: info for key, info in known.items() if _has(info.title, words)}
    shown |= {key: known[key] for key in found if key in known and key not in shown}
    rows: list[ListRow] = []
    for key, info in shown.items():
        rows.append(SessionRow(info, context, key=key))
        said = [hit for hit in found.get(key, ()) if hit.snippet.strip("… ") not in info.title]
        rows += [SnippetRow(hit, key=key) for hit in said[:SNIPPETS_EACH]]
    return rows


def _has(title: str, words: list[str]) -> bool:
    # A first prompt in place of a title may be very long.
    folded = title[:SEARCHED_CHARACTERS].casefold()
    return all(word in folded for word in words)


def _state(info: SessionInfo, where: CurrentSession) -> tuple[str, str]:
    if info.session_id == where.session_id:
        return "●", "current"
    return ("○", "in use") if info.in_use else (" ", "")


def _facts(info: SessionInfo, word: str, width: int, context: RowContext) -> str:
    """As many columns as leave room for a title; the least important are left out first."""
    workspace = 24 if width >= _WIDE else 16
    steps = "1 step" if info.steps == 1 else f"{info.steps} steps"
    columns = {
        "age": f"{format_age(context.now - info.updated_at, info.updated_at):>{AGE_CELLS}}",
        "workspace": fit(short_path(info.workspace, context.home, workspace), workspace),
        "word": f"{word:<7}",
        "steps": f"{steps:>9}",
        "cost": f"{_cost(info):>7}",
    }
    if not context.everywhere:
        del columns["workspace"]
    count = count_fitting((cell_len(text) + 2 for text in columns.values()), width - 4 - _LEAST_TITLE)
    kept = list(columns)[:count]
    order = ("workspace", "cost", "steps", "age", "word")
    return "".join(f"  {columns[name]}" for name in order if name in kept)


def _cost(info: SessionInfo) -> str:
    """The cost in dollars; `$ ?` where it is not known."""
    if info.cost is None:
        return "$ ?"
    return f"${info.cost:.2f}" if info.cost >= 0.005 or not info.cost else "<$0.01"
