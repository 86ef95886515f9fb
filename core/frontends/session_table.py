"""Sessions and what a search found as lines: fitted to a terminal, or one record of fields for a program.

Pure. Nothing in a line is a control sequence, and only the tabs between fields are tabs. On a terminal a
title comes last in its line, so that letters whose width a terminal sees otherwise move nothing behind them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.base.cells import beginning, cell_width
from core.base.sanitize import printable
from core.base.values import Value
from core.model.costs import format_dollars
from core.session.archive import title_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from core.storage.records import SearchMatch, SessionInfo

LEAST_TITLE = 24
"""Columns that are kept for a title before anything else is shown of a session but its id."""

MOST_FOLDER = 30
_GAP = "  "
_INDENT = "    "
_MINUTES = "%Y-%m-%d %H:%M"


class Columns(Value):
    """`width` of the terminal in columns; so many characters of an id tell all sessions apart; whether each
    line says in which folder the session works."""

    width: int
    id_length: int
    folders: bool = False


def session_lines(infos: Sequence[SessionInfo], columns: Columns) -> Iterator[str]:
    """A line with the names of the columns, and one for each session, none wider than the terminal."""
    if not infos:
        return
    table = [_cells_of(info, columns) for info in infos]
    shown = _shown_columns(table, columns)
    widths = {name: max(cell_width(row[name]) for row in (_HEADS, *table)) for name in shown}
    for row in (_HEADS, *table):
        line = _GAP.join(_padded(name, row[name], widths[name]) for name in shown)
        yield fitted(f"{line}{_GAP}{row[_TITLE]}", columns.width)


def session_records(infos: Iterable[SessionInfo]) -> Iterator[str]:
    """Id, time, steps, cost, state, folder and title with tabs between them, in full."""
    for info in infos:
        figures = (info.session_id, _time(info.updated_at), str(info.steps), format_dollars(info.cost))
        yield "\t".join((*figures, _state(info), _line(info.workspace), title_of(info)))


def hit_lines(hits: Iterable[SearchMatch], columns: Columns) -> Iterator[str]:
    """Two lines for each: the session, and below it what surrounds the words."""
    for hit in hits:
        info = hit.info
        head = (info.session_id[: columns.id_length], _time(info.updated_at, _MINUTES), title_of(info))
        yield fitted(_GAP.join(head), columns.width)
        yield fitted(_INDENT + _line(hit.snippet), columns.width)


def hit_records(hits: Iterable[SearchMatch]) -> Iterator[str]:
    """Id, time, number of the step, folder, title and surroundings with tabs between them, in full."""
    for hit in hits:
        info = hit.info
        place = (info.session_id, _time(info.updated_at), str(hit.step), _line(info.workspace))
        yield "\t".join((*place, title_of(info), _line(hit.snippet)))


_ID, _CHANGED, _STEPS, _COST, _STATE, _FOLDER, _TITLE = range(7)
_HEADS = ("ID", "LAST CHANGE", "STEPS", "COST", "STATE", "FOLDER", "TITLE")
_BY_IMPORTANCE = (_CHANGED, _STATE, _FOLDER, _STEPS, _COST)


def _cells_of(info: SessionInfo, columns: Columns) -> tuple[str, ...]:
    return (
        info.session_id[: columns.id_length],
        _time(info.updated_at, _MINUTES),
        str(info.steps),
        format_dollars(info.cost),
        _state(info),
        _end_of(_line(info.workspace), MOST_FOLDER),
        title_of(info),
    )


def _state(info: SessionInfo) -> str:
    return "in use" if info.in_use else "crashed" if info.crashed else ""


def _shown_columns(rows: Sequence[tuple[str, ...]], columns: Columns) -> list[int]:
    """Those that leave room for a title, in their order; the state only if there is one to tell."""
    wanted = [_CHANGED, _STEPS, _COST]
    if any(row[_STATE] for row in rows):
        wanted.append(_STATE)
    if columns.folders:
        wanted.append(_FOLDER)
    shown = [_ID]
    room = columns.width - columns.id_length - len(_GAP) - LEAST_TITLE
    for name in _BY_IMPORTANCE:
        width = max(cell_width(row[name]) for row in (_HEADS, *rows)) + len(_GAP)
        if name in wanted and width <= room:
            shown.append(name)
            room -= width
    return sorted(shown)


def _padded(name: int, text: str, width: int) -> str:
    blanks = " " * (width - cell_width(text))
    return blanks + text if name in (_STEPS, _COST) else text + blanks


def fitted(text: str, width: int) -> str:
    """The beginning of a line that fits, with an ellipsis for what is missing."""
    text = text.rstrip()
    if cell_width(text) <= width:
        return text
    return beginning(text, max(0, width - 1)) + "…"


def _end_of(text: str, width: int) -> str:
    return text if cell_width(text) <= width else "…" + beginning(text[::-1], width - 1)[::-1]


def _line(text: str) -> str:
    return " ".join(printable(text).split())


def _time(at: float, form: str = "%Y-%m-%dT%H:%M:%S%z") -> str:
    """By this place's clock."""
    try:
        return time.strftime(form, time.localtime(at))
    except (OverflowError, OSError, ValueError):
        # A file can hold any number.
        return "unknown"
