"""The status row: what the session does, what Esc does now (E1), and which model answers.

It displays a `StatusView` and decides nothing: the status is the engine's, "running" never comes from a
widget (U4). No meaning is expressed by color alone.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from core.base.sanitize import printable
from core.base.values import Value
from core.operations.events import Status
from core.operations.silence import Silence
from tui.base.format import format_elapsed, format_tokens
from tui.keys.state import EscAction

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.geometry import Region

_REFRESH_S = 0.1
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_GAP = 2
_SEPARATOR = " · "
_FIRST_WORD_S = 5
_MORE_WORDS_S = 10
"""Seconds of silence, at the beginning of a reply and later, from which the row tells it."""
_MIN_CUT = 6
"""Cells below which a shortened model or note is useless and left out."""


class BackOffView(Value):
    """A wait before the next attempt: why, until when in seconds of the `StatusLine`'s clock, and the key
    that ends it."""

    why: str
    until: float
    key: str

    def fitted(self, now: float, room: int) -> str:
        """The time until the next attempt, in at most `room` cells. A number is never cut: the reason is
        shortened first, then dropped, then the key (R2)."""
        left = f"again in {max(0, math.ceil(self.until - now))} s"
        when = f"{left}, {self.key} now"
        if why := _cut(_one_line(self.why), room - cell_len(when) - 2):
            return f"{why}: {when}"
        return next((words for words in (when, left) if cell_len(words) <= room), "")


class StatusView(Value):
    """Everything that the row shows.

    `context_used` and `context_window` are tokens, None if unknown. `started_at` is when the turn began, in
    seconds of the `StatusLine`'s clock. `note` is a short temporary text, such as "press Ctrl+C again to
    quit" or "2 queued"; only the state, the Esc action and the mode are more important. `mode` says in a word
    what needs no approval, `cost` what the session has cost. A `back_off` takes the place of the note; a long
    `silence` goes before it, except before a hint.
    """

    state: Status
    esc: EscAction
    model: str
    context_used: int | None = None
    context_window: int | None = None
    started_at: float | None = None
    note: str | None = None
    mode: str = ""
    cost: str = ""
    back_off: BackOffView | None = None
    silence: Silence | None = None
    is_hint: bool = False


class StatusText(Value):
    """The texts of the row after fitting. Empty parts are not shown."""

    state: str
    esc: str
    glyph: str = ""
    elapsed: str = ""
    note: str = ""
    mode: str = ""
    model: str = ""
    context: str = ""

    @property
    def activity(self) -> str:
        return " ".join(part for part in (self.glyph, self.state, self.elapsed) if part)

    @property
    def left(self) -> str:
        return _SEPARATOR.join(part for part in (self.activity, self.note) if part)

    @property
    def right(self) -> str:
        return _SEPARATOR.join(part for part in (self.mode, self.model, self.context) if part)

    @property
    def cells(self) -> int:
        """The minimum number of columns that the row needs."""
        parts = [cell_len(part) for part in (self.left, self.esc, self.right) if part]
        return sum(parts) + _GAP * (len(parts) - 1)


def fit_status(view: StatusView, *, now: float, width: int) -> StatusText:
    """Choose the texts that fit into `width` columns (from 20 up the state and the Esc action always fit).

    In order of importance: state, Esc action, mode, note, elapsed time, context used, model. A model or note
    that does not fit is shortened, and dropped if too little would be left.
    """
    text = StatusText(state=view.state.value, esc=view.esc.value)
    for wish in ({"mode": view.mode}, {"esc": view.esc.in_full}):
        text = _if_it_fits(text, width, **wish)
    text = _fit_note(text, view, now=now, width=width)
    busy = view.state is not Status.IDLE
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


def _context_words(used: int, window: int | None) -> tuple[str, ...]:
    """Texts from the shortest to the longest."""
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
    note = _cut(_one_line(view.note or ""), room)
    if view.state is Status.RUNNING and not (view.is_hint and note):
        silence = _fit_silence(view.silence, now, room)
        both = _SEPARATOR.join(part for part in (silence, _one_line(view.note or "")) if part)
        note = both if cell_len(both) <= room else silence or note
    return replace(text, note=note)


def _fit_silence(silence: Silence | None, now: float, room: int) -> str:
    """How long no word has come, and when the request is given up; nothing of a short silence."""
    if not isinstance(silence, Silence):
        return ""
    no_word_s = now - silence.since
    quiet_s = no_word_s if silence.alive_at is None else now - silence.alive_at
    if not silence.is_begun:
        what, seconds, least = "waiting for the first word", no_word_s, _FIRST_WORD_S
    elif quiet_s >= _MORE_WORDS_S:
        what, seconds, least = "nothing received for", quiet_s, _MORE_WORDS_S
    else:
        what, seconds, least = "no word for", no_word_s, _MORE_WORDS_S
    if seconds < least:
        return ""
    waits = f"{what} {int(seconds)} s"
    if silence.is_begun and seconds > quiet_s:
        full = f"{waits}, the server is alive"
    else:
        full = f"{waits}, gives up at {silence.limit_s:g} s" if int(seconds) <= silence.limit_s else waits
    shortest = f"silent {int(seconds)} s"
    return next((words for words in (full, waits, shortest) if cell_len(words) <= room), "")


def _fit_model(text: StatusText, model: str, width: int) -> StatusText:
    """The full name, else the name without its provider prefix, else its beginning."""
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
    """Clean external text (a model name, a note), which must not contain control sequences."""
    return " ".join(printable(words).split())


class _Drawn(NamedTuple):
    """A row that was drawn, as it is and in the terminal's colors, and all that decides about it.

    In `text` a sign stands for each one of the spinner and of the time.
    """

    text: StatusText
    look: tuple[object, ...]
    strip: Strip
    filtered: Strip


class StatusLine(Widget):
    """The status row of a pane. It only repaints itself, ten times a second while busy. `silence` is asked
    each time."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
        width: 1fr;
        color: $foreground-muted;
    }
    """
    ALLOW_SELECT = False

    def __init__(
        self,
        view: StatusView,
        *,
        silence: Callable[[], Silence | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.view = view
        self._silence = silence
        self._clock = clock
        self._last: _Drawn | None = None

    def show(self, view: StatusView) -> None:
        """Show `view` from the next frame on."""
        self.view = view
        if self.is_mounted:
            self._tick_while_busy()
            self.refresh()

    def on_mount(self) -> None:
        self._tick_while_busy()

    def _tick_while_busy(self) -> None:
        interval = None if self.view.state is Status.IDLE else _REFRESH_S
        if interval != self.auto_refresh:
            self.auto_refresh = interval

    def render_line(self, y: int) -> Strip:
        text = self._fitted()
        drawn = self._drawn(text)
        return _with_activity(drawn.strip, drawn.text, text)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The row in the terminal's colors. Most often only spinner and time differ from the last one."""
        text = self._fitted()
        drawn = self._drawn(text)
        strip = _with_activity(drawn.filtered, drawn.text, text).crop(*crop.column_span)
        return [strip] * crop.height

    def _fitted(self) -> StatusText:
        # Each piece of a reply ends a silence, and none of them has the view made anew.
        view = replace(self.view, silence=self._silence() if self.view.state is Status.RUNNING else None)
        return fit_status(view, now=self._clock(), width=self.size.width - 2 * _margin(self.size.width))

    def _drawn(self, text: StatusText) -> _Drawn:
        """The row with the first frame of the spinner, and signs for the time."""
        text = replace(text, glyph=text.glyph and _FRAMES[0], elapsed="0" * len(text.elapsed))
        width = self.size.width
        look = self.view.state, self.view.esc, width, self.app.theme
        if self._last is None or (self._last.text, self._last.look) != (text, look):
            content = _painted(text, self.view, width=width, margin=_margin(width))
            strip = filtered = Visual.to_strips(self, content, width, 1, self.visual_style)[0]
            for line_filter in self.get_line_filters():
                filtered = filtered.apply_filter(line_filter, self.background_colors[1])
            self._last = _Drawn(text, look, strip, filtered)
        return self._last

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._last = None


def _margin(width: int) -> int:
    return 1 if width >= 40 else 0


def _with_activity(strip: Strip, drawn: StatusText, text: StatusText) -> Strip:
    """The strip of the row `drawn`, with what is done now according to `text`, which is as long."""
    if drawn.activity == text.activity:
        # Also where there is no room for a whole word: neither spinner nor time are shown there.
        return strip
    segments = list(strip)
    for index, (words, style, control) in enumerate(segments):
        if drawn.activity in words:
            segments[index] = Segment(words.replace(drawn.activity, text.activity, 1), style, control)
            return Strip(segments, strip.cell_length)
    raise AssertionError(f"the row does not show {drawn.activity}")


def _painted(text: StatusText, view: StatusView, *, width: int, margin: int) -> Content:
    used = text.cells - (_GAP if text.right else 0)
    blank = " " * max(0, width - 2 * margin - used)
    return Content.assemble(
        " " * margin,
        (text.activity, _STATE_STYLES[view.state]),
        (_SEPARATOR + text.note if text.note else "", "$foreground"),
        " " * _GAP,
        (text.esc, _ESC_STYLES.get(view.esc, "bold $foreground")),
        blank,
        (text.mode, _MODE_STYLES.get(text.mode, "$foreground")),
        text.right.removeprefix(text.mode),
        " " * margin,
        end="",
    )


_STATE_STYLES = {
    Status.IDLE: "$foreground-muted",
    Status.RUNNING: "bold $primary",
    Status.STOPPING: "bold $warning",
}
_ESC_STYLES = {
    EscAction.NOTHING: "$foreground-muted",
    EscAction.FORCE: "bold $warning",
}
_MODE_STYLES = {
    # Emphasized: in one of them nothing may change, in the other nearly everything may.
    "plan": "bold $primary",
    "auto": "bold $warning",
}
