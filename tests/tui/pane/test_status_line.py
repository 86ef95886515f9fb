"""The status row: what survives when it gets narrow, and that it says what Esc does without colour."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from textual.app import App, ComposeResult

from core.base.sanitize import printable
from core.operations.events import Status
from core.operations.silence import Silence
from core.permissions.policy import Mode
from tui.base.format import format_elapsed, format_tokens
from tui.keys.state import EscAction
from tui.pane.status_line import BackOffView, StatusLine, StatusView, fit_status
from tui.theme.files import load_all

MODEL = "anthropic/claude-sonnet-4-5-20250929"
RUNNING = StatusView(
    Status.RUNNING, EscAction.STOP, MODEL, 15_400, 128_000, started_at=100.0, note="2 queued"
)

views = st.builds(
    StatusView,
    state=st.sampled_from(Status),
    esc=st.sampled_from(EscAction),
    model=st.text(max_size=60) | st.just(MODEL),
    mode=st.sampled_from(["", *Mode]),
    context_used=st.none() | st.integers(0, 3_000_000),
    context_window=st.none() | st.integers(0, 2_000_000),
    started_at=st.none() | st.floats(-1e6, 1e6),
    note=st.none() | st.text(max_size=60),
    cost=st.sampled_from(["", "at least $1,234.50"]),
    back_off=st.none() | st.builds(BackOffView, st.text(max_size=60), st.floats(0, 1e6), st.just("F5")),
    silence=st.none() | st.builds(Silence, st.floats(-1e6, 1e6), st.floats(0.1, 1e6), st.booleans()),
    is_hint=st.booleans(),
    # While something runs Esc is for that.
).filter(lambda view: view.esc is not EscAction.REWIND or view.state is Status.IDLE)


@pytest.mark.promise("E1")
@given(view=views, now=st.floats(0, 1e6), width=st.integers(20, 200))
def test_state_and_esc_are_whole_at_every_width(view: StatusView, now: float, width: int) -> None:
    text = fit_status(view, now=now, width=width)
    assert text.state == view.state.value
    assert text.esc in (view.esc.value, view.esc.in_full)
    # The longest state and Esc action, and the mode: 31 columns.
    assert text.mode == view.mode or width < 31
    assert text.cells <= width
    words = text.left + text.esc + text.right
    assert printable(words) == words
    assert "\n" not in words


@pytest.mark.promise("R2", "E1")
@pytest.mark.parametrize(
    ("width", "note"),
    [
        (120, "rate limited, overloaded, no key: again in 588 s, F5 now"),
        (78, "rate limited, overloaded, n…: again in 588 s, F5 now"),
        (60, "rate limi…: again in 588 s, F5 now"),
        (50, "again in 588 s, F5 now"),
        (42, "again in 588 s"),
        (36, ""),
    ],
)
def test_a_countdown_is_whole_or_not_there(width: int, note: str) -> None:
    waits = BackOffView("rate limited, overloaded, no key", 700.4, "F5")
    view = StatusView(Status.RUNNING, EscAction.STOP, MODEL, mode=Mode.ASK, note="x", back_off=waits)
    text = fit_status(view, now=112.5, width=width)
    assert (text.note, text.esc) == (note, "Esc stops")


FIRST_WORD = Silence(100.0, 600.0, is_begun=False)
LATER = Silence(100.0, 60.0, is_begun=True)
ALIVE = replace(LATER, alive_at=165.0)


@pytest.mark.promise("E1")
@pytest.mark.parametrize(
    ("silence", "now", "width", "note"),
    [
        (FIRST_WORD, 104.9, 120, "2 queued"),
        (FIRST_WORD, 105.0, 120, "waiting for the first word 5 s, gives up at 600 s · 2 queued"),
        (FIRST_WORD, 142.0, 78, "waiting for the first word 42 s, gives up at 600 s"),
        (FIRST_WORD, 142.0, 62, "waiting for the first word 42 s"),
        (FIRST_WORD, 142.0, 40, "silent 42 s"),
        (FIRST_WORD, 142.0, 33, "2 queu…"),
        # Its limit is over, and its end is seen in a moment.
        (FIRST_WORD, 701.0, 78, "waiting for the first word 601 s · 2 queued"),
        (LATER, 109.9, 120, "2 queued"),
        (LATER, 125.0, 120, "nothing received for 25 s, gives up at 60 s · 2 queued"),
        # The server has shown that it is alive, with what is no part of the reply.
        (ALIVE, 166.0, 120, "no word for 66 s, the server is alive · 2 queued"),
        (ALIVE, 166.0, 52, "no word for 66 s"),
        (ALIVE, 190.0, 120, "nothing received for 25 s, gives up at 60 s · 2 queued"),
        (replace(LATER, alive_at=105.0), 109.9, 120, "2 queued"),
    ],
)
def test_a_long_silence_is_told_with_what_ends_it(
    silence: Silence, now: float, width: int, note: str
) -> None:
    runs = StatusView(Status.RUNNING, EscAction.STOP, MODEL, mode=Mode.ASK, started_at=99.0)
    view = replace(runs, note="2 queued", silence=silence)
    text = fit_status(view, now=now, width=width)
    assert (text.note, text.esc) == (note, "Esc stops")


def test_a_hint_goes_before_a_silence() -> None:
    hint = StatusView(
        Status.RUNNING, EscAction.STOP, MODEL, note="gone; /undrop", silence=LATER, is_hint=True
    )
    assert fit_status(hint, now=125.0, width=120).note == "gone; /undrop"


def test_the_model_is_shortened_first_then_the_rest_goes_by_importance() -> None:
    def at(width: int) -> tuple[str, str]:
        text = fit_status(RUNNING, now=112.0, width=width)
        return text.left, text.right

    assert at(100) == ("⠋ running  12s · 2 queued", f"{MODEL} · 12% of 128k")
    assert at(79) == ("⠋ running  12s · 2 queued", "claude-sonnet-4-5-20250929 · 12% of 128k")
    assert at(70) == ("⠋ running  12s · 2 queued", "claude-sonnet-4-5… · 12% of 128k")
    assert at(55) == ("⠋ running  12s · 2 queued", "12% of 128k")
    assert at(44) == ("⠋ running  12s · 2 queued", "12%")
    assert at(40) == ("⠋ running  12s · 2 queued", "")
    assert at(30) == ("running · 2 queued", "")
    assert at(20) == ("⠋ running", "")


def test_what_esc_does_to_a_question_is_told_in_full_where_there_is_room() -> None:
    view = StatusView(Status.RUNNING, EscAction.DENY, MODEL, mode=Mode.PLAN)
    assert fit_status(view, now=0.0, width=30).esc == "Esc denies"
    assert fit_status(view, now=0.0, width=40).esc == "Esc denies and stops"
    assert fit_status(view, now=0.0, width=40).mode == "plan"


def test_a_note_that_is_too_long_is_cut_before_the_state_is() -> None:
    view = StatusView(Status.IDLE, EscAction.NOTHING, MODEL, note="press Ctrl+C again to quit")
    assert fit_status(view, now=0.0, width=80).left == "idle · press Ctrl+C again to quit"
    assert fit_status(view, now=0.0, width=35).left == "idle · press Ctrl+C ag…"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0.0s"), (9.99, "9.9s"), (12.7, " 12s"), (65, "1m 05s"), (3725, "1h 02m")]
)
def test_elapsed(seconds: float, shown: str) -> None:
    assert format_elapsed(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (950, "950"),
        (1234, "1.2k"),
        (128_000, "128k"),
        (1_000_000, "1M"),
        (1_500_000, "1.5M"),
        (999_960, "1M"),
    ],
)
def test_tokens(count: int, shown: str) -> None:
    assert format_tokens(count) == shown


def test_an_unknown_window_shows_tokens() -> None:
    view = StatusView(Status.IDLE, EscAction.NOTHING, "demo", 1234)
    assert fit_status(view, now=0.0, width=80).context == "1.2k tokens"


class RowApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.now = 103.4
        self.row = StatusLine(StatusView(Status.IDLE, EscAction.NOTHING, MODEL), clock=lambda: self.now)

    def compose(self) -> ComposeResult:
        yield self.row

    def shown(self) -> str:
        return self.row.render_line(0).text


@pytest.mark.promise("E1")
@pytest.mark.parametrize("theme", ["caesura-dark", "caesura-light", "textual-dark"])
async def test_the_row_says_what_it_was_told_last_in_any_theme(theme: str) -> None:
    app = RowApp()
    async with app.run_test(size=(80, 5)) as pilot:
        for own in (found.theme for found in load_all().found):
            app.register_theme(own.to_textual())
        app.theme = theme
        for esc in EscAction:
            app.row.show(StatusView(Status.RUNNING, esc, "[b]漢字[/b]\x1b[2J", 12, 100, started_at=100.0))
            await pilot.pause()
            assert f"running 3.4s  {esc.value}" in app.shown()
            assert app.shown().rstrip().endswith("[b]漢字[/b]␛[2J · 12% of 100")
            assert cell_len(app.shown()) == 80


@pytest.mark.promise("E1")
@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("width", [1, 4, 7, 8, 12])
async def test_a_row_that_is_too_narrow_for_its_state_shows_the_beginning(status: Status, width: int) -> None:
    app = RowApp()
    async with app.run_test(size=(width, 5)) as pilot:
        app.row.show(StatusView(status, EscAction.STOP, MODEL, mode=Mode.ASK, started_at=100.0, note="x"))
        await pilot.pause()
        assert app.shown().startswith(status.value[:width])


async def test_it_ticks_only_while_busy() -> None:
    app = RowApp()
    async with app.run_test(size=(80, 5)) as pilot:
        assert app.row.auto_refresh is None
        app.row.show(RUNNING)
        await pilot.pause()
        app.now = 107.0
        # Nobody asks for a repaint; the row does it by itself.
        async with asyncio.timeout(30):
            while "7.0s" not in app.shown():
                await pilot.pause()
        app.row.show(StatusView(Status.IDLE, EscAction.NOTHING, MODEL))
        assert app.row.auto_refresh is None
        await pilot.pause()
        assert app.shown().startswith(" idle  Esc unused  ")
