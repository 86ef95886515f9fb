"""One row that says what the session does, what Esc does at this moment (E1), and which model answers.

It shows what it is told and decides nothing: the pane maps the engine's status to a `StatusView`, so that
"running" never comes from a widget (U4). No meaning is carried by colour alone.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.widget import Widget

from core.sanitize import printable
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import RenderResult

_REFRESH_S = 0.1
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_GAP = 2
_SEPARATOR = " · "
_MIN_CUT = 6
"""A shortened model or note below this many cells says nothing and is left out."""


class TurnState(StrEnum):
    """What the session does, in the word that is displayed."""

    IDLE = "idle"
    RUNNING = "running"
    STOPPING = "stopping"


class EscAction(StrEnum):
    """What Esc does now, in the words that are displayed."""

    NOTHING = "Esc unused"
    CLOSE = "Esc closes"
    REWIND = "Esc rewinds"
    DENY = "Esc denies"
    STOP = "Esc stops"
    FORCE = "Esc forces"

    @property
    def in_full(self) -> str:
        """The same where there is room for all of it."""
        return "Esc denies and stops" if self is EscAction.DENY else self.value


@dataclass(frozen=True, slots=True)
class BackOffView:
    """A wait before the next attempt: why, until when in seconds of the `StatusLine`'s clock, and the key
    that ends it."""

    why: str
    until: float
    key: str

    def fitted(self, now: float, room: int) -> str:
        """How long it is until the next attempt, in at most `room` cells. A number is whole or not there: the
        reason is shortened first, then it goes, and after it the key (R2)."""
        left = f"again in {max(0, math.ceil(self.until - now))} s"
        when = f"{left}, {self.key} now"
        if why := _cut(_one_line(self.why), room - cell_len(when) - 2):
            return f"{why}: {when}"
        return next((words for words in (when, left) if cell_len(words) <= room), "")


@dataclass(frozen=True, slots=True)
class StatusView:
    """All that the row shows.

    `context_used` and `context_window` are tokens, None where unknown. `started_at` is when the turn began,
    in seconds of the clock that the `StatusLine` was given. `note` is a short word of the moment, such as
    "press Ctrl+C again to quit" or "2 queued"; it outlives everything but the state, the Esc action and the
    mode. `mode` says in a word what needs no approval, `cost` what the session has cost. While there is a
    `back_off`, it takes the place of the note.
    """

    state: TurnState
    esc: EscAction
    model: str
    context_used: int | None = None
    context_window: int | None = None
    started_at: float | None = None
    note: str | None = None
    mode: str = ""
    cost: str = ""
    back_off: BackOffView | None = None


@dataclass(frozen=True, slots=True)
class StatusText:
    """The words of the row after fitting. Empty parts are not shown."""

    state: str
    esc: str
    glyph: str = ""
    elapsed: str = ""
    note: str = ""
    mode: str = ""
    model: str = ""
    context: str = ""

    @property
    def left(self) -> str:
        state = " ".join(part for part in (self.glyph, self.state, self.elapsed) if part)
        return _SEPARATOR.join(part for part in (state, self.note) if part)

    @property
    def right(self) -> str:
        return _SEPARATOR.join(part for part in (self.mode, self.model, self.context) if part)

    @property
    def cells(self) -> int:
        """Columns that the row needs at least."""
        parts = [cell_len(part) for part in (self.left, self.esc, self.right) if part]
        return sum(parts) + _GAP * (len(parts) - 1)


def fit_status(view: StatusView, *, now: float, width: int) -> StatusText:
    """Choose the words that fit into `width` columns (from 20 up the state and the Esc action always do).

    In order of importance: state, Esc action, mode, note, elapsed time, context used, model. A model or
    note that does not fit whole is shortened, and dropped when too little would be left of it.
    """
    text = StatusText(state=view.state.value, esc=view.esc.value)
    for wish in ({"mode": view.mode}, {"esc": view.esc.in_full}):
        text = _if_it_fits(text, width, **wish)
    text = _fit_note(text, view, now=now, width=width)
    busy = view.state is not TurnState.IDLE
    since = max(0.0, now - view.started_at) if busy and view.started_at is not None else None
    used = view.context_used
    wishes: list[dict[str, str]] = []
    if since is not None:
        wishes.append({"elapsed": format_elapsed(since)})
    if busy:
        spun = now if since is None else since
        wishes.append({"glyph": _FRAMES[int(spun / _REFRESH_S) % len(_FRAMES)]})
    if used is not None:
        wishes += [{"context": words} for words in _context_words(used, view.context_window)]
        if view.cost:
            wishes.append({"context": f"{wishes[-1]['context']} · {view.cost}"})
    for wish in wishes:
        text = _if_it_fits(text, width, **wish)
    return _fit_model(text, _one_line(view.model), width)


def format_elapsed(seconds: float) -> str:
    """`3.4s`, ` 12s`, `1m 05s`, `1h 02m`; padded so that the row does not jump at the tenth second."""
    if seconds < 10:
        return f"{int(seconds * 10) / 10:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s".rjust(4)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    return f"{minutes // 60}h {minutes % 60:02}m"


def format_tokens(count: int) -> str:
    """`950`, `1.2k`, `128k`, `1M`, `1.5M`."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            value = f"{count / unit:.1f}" if count < 100 * unit else f"{count / unit:.0f}"
            return value.removesuffix(".0") + name
    return str(count)


def _context_words(used: int, window: int | None) -> tuple[str, ...]:
    """From the shortest to the fullest."""
    if not window:
        return (f"{format_tokens(used)} tokens",)
    share = f"{used / window:.0%}"
    return (share, f"{share} of {format_tokens(window)}")


def _if_it_fits(text: StatusText, width: int, **parts: str) -> StatusText:
    trial = replace(text, **parts)
    return trial if trial.cells <= width else text


def _fit_note(text: StatusText, view: StatusView, *, now: float, width: int) -> StatusText:
    room = width - text.cells - len(_SEPARATOR)
    if view.back_off is not None:
        return replace(text, note=view.back_off.fitted(now, room))
    return replace(text, note=_cut(_one_line(view.note or ""), room))


def _fit_model(text: StatusText, model: str, width: int) -> StatusText:
    """The name as a whole, else without its provider prefix, else its beginning."""
    separator = len(_SEPARATOR) if text.right else _GAP
    room = width - text.cells - separator
    if cell_len(model) > room:
        model = model.rpartition("/")[2]
    return replace(text, model=_cut(model, room))


def _cut(words: str, room: int) -> str:
    if cell_len(words) <= room:
        return words
    return set_cell_size(words, room - 1).rstrip() + "…" if room >= _MIN_CUT else ""


def _one_line(words: str) -> str:
    """A model's name or a note comes from outside; it must not reach the terminal as a control sequence."""
    return " ".join(printable(words).split())


class StatusLine(Widget):
    """The status row of one pane. Its only activity is to repaint itself ten times a second while busy."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
        width: 1fr;
        color: $foreground-muted;
    }
    """
    ALLOW_SELECT = False

    def __init__(self, view: StatusView, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._view = view
        self._clock = clock

    @property
    def view(self) -> StatusView:
        return self._view

    def show(self, view: StatusView) -> None:
        """Show this from the next frame on."""
        self._view = view
        if self.is_mounted:
            self._tick_while_busy()
            self.refresh()

    def on_mount(self) -> None:
        self._tick_while_busy()

    def _tick_while_busy(self) -> None:
        interval = None if self._view.state is TurnState.IDLE else _REFRESH_S
        if interval != self.auto_refresh:
            self.auto_refresh = interval

    def render(self) -> RenderResult:
        width = self.size.width
        margin = 1 if width >= 40 else 0
        text = fit_status(self._view, now=self._clock(), width=width - 2 * margin)
        return _painted(text, self._view, width=width, margin=margin)


def _painted(text: StatusText, view: StatusView, *, width: int, margin: int) -> Content:
    used = text.cells - (_GAP if text.right else 0)
    blank = " " * max(0, width - 2 * margin - used)
    state = " ".join(part for part in (text.glyph, text.state, text.elapsed) if part)
    return Content.assemble(
        " " * margin,
        (state, _STATE_STYLES[view.state]),
        (_SEPARATOR + text.note if text.note else "", "$foreground"),
        " " * _GAP,
        (text.esc, _ESC_STYLES[view.esc]),
        blank,
        (text.mode, _MODE_STYLES.get(text.mode, "$foreground")),
        text.right.removeprefix(text.mode),
        " " * margin,
        end="",
    )


_STATE_STYLES = {
    TurnState.IDLE: "$foreground-muted",
    TurnState.RUNNING: "bold $primary",
    TurnState.STOPPING: "bold $warning",
}
_ESC_STYLES = {
    EscAction.NOTHING: "$foreground-muted",
    EscAction.CLOSE: "bold $foreground",
    EscAction.REWIND: "bold $foreground",
    EscAction.DENY: "bold $foreground",
    EscAction.STOP: "bold $foreground",
    EscAction.FORCE: "bold $warning",
}
_MODE_STYLES = {
    # The two in which the word matters most: nothing may change, and nearly everything may.
    "plan": "bold $primary",
    "auto": "bold $warning",
}
