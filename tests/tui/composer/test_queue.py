"""The list of queued prompts: what it shows, what its keys and clicks do, and that it loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Static

from core.base.sanitize import printable
from core.cancel import CancelReason, Cause
from core.operations.events import Status
from core.session.queue import PromptQueue, QueuedPrompt
from tests.support.played_app import PlayedApp
from tests.support.snapshots import pictures
from tui.base.key_hints import KeyHints
from tui.base.row_list import MOVED_S
from tui.commands.slash import SlashCommandError
from tui.composer.prompt import Prompt
from tui.composer.queue import QueueActions
from tui.composer.queue_list import MOST_ROWS, QueueEditor, QueueList, QueueRows
from tui.composer.queue_rows import QueueRow, QueueState, listing, queue_line, state_words
from tui.keys.bindings import KEYS, KeyScope
from tui.keys.stop_keys import KEY_REPEAT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from textual.app import ComposeResult
    from textual.pilot import Pilot
    from textual.widget import Widget

    from tests.support.snapshots import SnapCompare


class PlayedSession:
    """A queue over turns that begin and end when the test says so."""

    closed = False

    def __init__(self) -> None:
        self.status = Status.IDLE
        self.sent: list[str] = []
        self.stopped: list[str] = []
        self.queue = PromptQueue(self)

    def run(self, *queued: str) -> None:
        """A turn, and what waits behind it."""
        self.status = Status.RUNNING
        for text in queued:
            self.queue.submit(text)

    def end(self, *, completed: bool = True) -> None:
        self.status = Status.IDLE
        if not completed:
            self.queue.pause()
        self.queue.begin_next()

    def check_open(self) -> None:
        """It is open."""

    def begin_turn(self, text: str) -> None:
        self.sent.append(text)
        self.status = Status.RUNNING

    def stop(self, reason: CancelReason) -> bool:
        self.stopped.append(reason.source)
        self.status = Status.STOPPING
        return True

    def queue_changed(self) -> None:
        """Nothing to store."""


class QueueApp(PlayedApp):
    """The list between something to read and a composer."""

    CSS = "Static#above { height: 1fr; } .-low Prompt { border: none; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", priority=True),
        Binding("tab", "enter", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.said: list[str] = []
        self.session = PlayedSession()
        self.prompt = Prompt(placeholder="Ask anything.")
        self.queue = QueueList(self.session.queue, self.prompt, self.said.append, clock=lambda: self.now)
        self.stopped = 0

    def compose(self) -> ComposeResult:
        yield Static("What the model says.", id="above")
        yield self.queue
        yield self.prompt

    def on_mount(self) -> None:
        self.prompt.focus()
        self.screen.set_class(self.size.height < 8, "-low")

    def action_close(self) -> None:
        """What a pane does: an Esc that closes nothing stops the turn."""
        if self.queue.closes:
            self.queue.close_innermost()
        else:
            self.stopped += 1

    def action_enter(self) -> None:
        stations: list[Widget] = [self.prompt, *self.queue.focus_targets]
        at = stations.index(self.focused) if self.focused in stations else 0
        self.screen.set_focus(stations[(at + 1) % len(stations)])
        self.queue.update()

    def at(self) -> object:
        """Where the focus is."""
        return self.focused

    def takes_esc(self) -> bool:
        return self.queue.closes

    def is_closed(self) -> bool:
        return not self.queue.display

    @property
    def rows(self) -> QueueRows:
        return self.queue.query_one(QueueRows)

    @property
    def editor(self) -> QueueEditor:
        return self.queue.query_one(QueueEditor)

    @property
    def texts(self) -> list[str]:
        return [prompt.text for prompt in self.session.queue.prompts]

    @property
    def seen(self) -> list[str]:
        """The line above the rows, and the rows in sight."""
        above = str(self.queue.query_one(Static).content)
        keys = self.queue.query_one(KeyHints).render_line(0).text.strip()
        rows = [self.rows.render_line(at).text.rstrip() for at in range(self.rows.size.height)]
        return [f"{above} | {keys}", *rows]


class Scene:
    """The application, and what is done in it."""

    def __init__(self, app: QueueApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot, self.session = app, pilot, app.session

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.update()

    async def type_at_once(self, text: str) -> None:
        """Letters, and `\\n`, that all came in one read of the terminal."""
        for letter in text:
            self.app.post_message(events.Key({"\n": "enter"}.get(letter, letter), letter))
        await self.update()

    async def update(self) -> None:
        self.app.queue.update()
        await self.pilot.pause()

    async def run(self, *queued: str) -> None:
        self.session.run(*queued)
        await self.update()

    async def enter(self, *queued: str) -> None:
        """A turn runs, these wait, and the focus is in the list."""
        await self.run(*queued)
        await self.press("tab")


@pytest.fixture(params=[(80, 24)])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    app = QueueApp()
    async with app.run_test(size=request.param) as pilot:
        yield Scene(app, pilot)


@pytest.fixture
def app(scene: Scene) -> QueueApp:
    return scene.app


# -- rows --


@given(st.text(max_size=80), st.integers(1, 10**6), st.booleans(), st.booleans(), st.integers(12, 200))
def test_a_row_fills_its_width_and_is_printable(
    text: str, number: int, urgent: bool, edited: bool, width: int
) -> None:
    row = QueueRow(QueuedPrompt(number, text, urgent), edited)
    for selected in (False, True):
        line = "".join(piece.text for piece in queue_line(row, width, selected=selected))
        assert cell_len(line) == width
        assert printable(line) == line
        assert "\n" not in line
        assert str(number)[: width - 5] in line


def test_a_row_says_what_its_prompt_is_and_how_much_more_of_it_there_is() -> None:
    def line(text: str, *, urgent: bool = False, edited: bool = False) -> str:
        row = QueueRow(QueuedPrompt(3, text, urgent), edited)
        return "".join(piece.text for piece in queue_line(row, 40, selected=False)).rstrip()

    assert line("\n one\ntwo\nthree\n") == "   3 one  +2 lines"
    assert line("one", urgent=True) == "   3 next one"
    assert line("one", edited=True) == "   3 editing one"
    assert line("x" * 100 + "\ny").endswith("x…  +1 line")


def test_the_line_above_says_what_will_happen() -> None:
    running, idle, stopping = Status.RUNNING, Status.IDLE, Status.STOPPING
    said = {
        state_words(state): state_words(state, short=True)
        for state in (
            QueueState(2, 0, False, running),
            QueueState(2, 0, True, idle),
            QueueState(3, 1, True, stopping),
            QueueState(2, 1, False, running),
            QueueState(1, 0, False, idle, edited=True),
            QueueState(0, 0, False, idle),
        )
    }
    assert said == {
        "2 queued: sent after this reply": "2 queued",
        "2 queued, paused": "2 paused",
        "1 sent after the stop, 2 paused": "1 next, 2 paused",
        "1 sent next, 1 queued": "1 next, 1 queued",
        "1 queued: waiting for your edit": "1 queued",
        "Nothing is queued": "Nothing is queued",
    }


def test_the_list_in_words_goes_by_the_numbers_of_the_rows() -> None:
    state = QueueState(2, 0, True, Status.IDLE)
    told = listing((QueuedPrompt(4, "one\ntwo"), QueuedPrompt(7, "b")), state)
    assert told.splitlines()[0].startswith("2 queued, paused.")
    assert told.splitlines()[1:] == ["  4. one ↵ two", "  7. b"]
    assert listing((), state) == "No prompt is queued."


# -- what is seen --


@pytest.mark.promise("E8")
async def test_it_is_there_only_while_something_waits(scene: Scene, app: QueueApp) -> None:
    assert app.is_closed()
    assert app.queue.focus_targets == []
    await scene.run("write the tests", "one\ntwo")
    assert not app.is_closed()
    assert app.seen == [
        "2 queued: sent after this reply | Tab edit, remove",
        "   1 write the tests",
        "   2 one  +1 line",
    ]
    scene.session.end(completed=False)
    await scene.update()
    # A key that is visible sends them.
    assert app.seen[0] == "2 queued, paused | Ctrl+G send  Tab edit, remove"
    await scene.pilot.click(KeyHints)
    assert scene.session.sent == ["write the tests"]
    scene.session.end()
    await scene.update()
    assert app.is_closed()
    assert app.at() is app.prompt


@pytest.mark.parametrize("scene", [(80, 24), (140, 45), (20, 5)], indirect=True)
async def test_many_are_scrolled_through_and_the_composer_stays_in_sight(scene: Scene, app: QueueApp) -> None:
    await scene.enter(*(f"prompt {number}" for number in range(1, 13)))
    height = app.size.height
    assert app.rows.size.height == min(MOST_ROWS, max(1, height // 6))
    assert app.prompt.region.bottom <= height
    await scene.press(*["down"] * 12)
    assert any("▸ 12" in row for row in app.seen)
    await scene.press(*["k"] * 12)
    assert any("▸  1" in row for row in app.seen)


@pytest.mark.parametrize("scene", [(20, 5)], indirect=True)
async def test_where_others_need_the_room_the_rows_show_only_while_somebody_is_there(
    scene: Scene, app: QueueApp
) -> None:
    app.queue.set_compact(compact=True)
    await scene.run("one", "two")
    assert app.rows.size.height == 0
    assert app.queue.size.height == 1
    await scene.press("tab", "down")
    assert app.seen[1:] == ["▸  2 two"]
    await scene.press("e", "!")
    assert app.rows.size.height == 0
    assert app.editor.size.height == 1
    assert app.prompt.region.bottom <= app.size.height
    await scene.press("escape", "escape")
    assert app.queue.size.height == 1


# -- Esc --


@pytest.mark.promise("E1")
async def test_esc_goes_back_step_by_step_and_a_list_that_is_merely_visible_never_takes_it(
    scene: Scene, app: QueueApp
) -> None:
    await scene.run("one")
    assert not app.takes_esc()
    await scene.press("escape")
    assert app.stopped == 1
    await scene.press("tab", "e")
    assert app.at() is app.editor
    assert app.queue.edits
    await scene.press("escape")
    assert app.at() is app.rows
    assert app.takes_esc()
    await scene.press("escape")
    assert app.at() is app.prompt
    assert not app.is_closed()
    assert not app.takes_esc()
    assert app.stopped == 1
    # An editor that was left for the composer does not take it either.
    await scene.press("tab", "e")
    app.screen.set_focus(app.prompt)
    await scene.press("escape")
    assert app.stopped == 2


# -- removing --


@pytest.mark.promise("E8")
@pytest.mark.parametrize("key", ["x", "delete", "backspace"])
async def test_what_is_removed_can_be_put_back_even_the_last(scene: Scene, app: QueueApp, key: str) -> None:
    await scene.enter("one", "two")
    await scene.press("down", key)
    assert app.texts == ["one"]
    assert app.said == ["removed “two”: /undrop undoes"]
    await scene.press(key)
    assert app.texts == []
    assert not app.is_closed()
    assert app.seen[0] == "Nothing is queued | Ctrl+Z undo  Esc back"
    await scene.press("ctrl+z", "u")
    assert app.texts == ["one", "two"]
    await scene.press("u")
    assert app.said[-1] == "there is nothing to bring back"
    await scene.press(key, key, "escape")
    assert app.is_closed()
    assert app.at() is app.prompt


@pytest.mark.promise("E8")
async def test_a_key_that_comes_late_does_not_reach_the_next_prompt(scene: Scene, app: QueueApp) -> None:
    await scene.enter("one", "two", "three")
    scene.session.end()
    await scene.update()
    assert scene.session.sent == ["one"]
    await scene.press("x", "s", "e")
    assert app.texts == ["two", "three"]
    assert app.session.queue.edited is None
    # It is past in a moment, or with the next look at the list.
    await scene.press("down", "s")
    assert app.texts == ["three", "two"]
    scene.session.end(completed=False)
    await scene.press("tab")
    scene.session.queue.submit("four")
    scene.session.queue.submit("five")
    scene.session.queue.remove(2)
    await scene.update()
    await scene.press("x")
    assert app.texts == ["four", "five"]
    app.now += 2 * MOVED_S
    # Who removes several in a row means the next one.
    await scene.press("x", "x")
    assert app.texts == []


# -- editing --


@pytest.mark.promise("E8")
@pytest.mark.parametrize("key", ["e", "enter"])
async def test_an_edit_leaves_the_draft_in_the_composer_alone(scene: Scene, app: QueueApp, key: str) -> None:
    await scene.press(*"draft")
    await scene.enter("one", "two")
    await scene.press("down", key, "end", "!", "shift+enter", "m")
    assert app.seen[2] == "   2 editing two"
    assert app.seen[0].endswith("Enter keep  Ctrl+S send now  Esc back")
    await scene.press("enter")
    assert app.texts == ["one", "two!\nm"]
    assert app.at() is app.rows
    assert app.prompt.draft == "draft"
    await scene.press("ctrl+z")
    assert app.texts == ["one", "two"]


@pytest.mark.promise("E8")
async def test_what_is_typed_behind_the_key_goes_into_the_editor_and_behind_enter_nowhere(
    scene: Scene, app: QueueApp
) -> None:
    await scene.enter("one", "two")
    await scene.type_at_once("jexsk\nxxx")
    await scene.update()
    assert app.texts[:2] == ["one", "twoxsk"]
    assert app.at() is app.rows


@pytest.mark.promise("E8")
async def test_a_prompt_is_not_sent_while_it_is_edited(scene: Scene, app: QueueApp) -> None:
    await scene.enter("one", "two")
    await scene.press("e", "!")
    scene.session.end()
    await scene.update()
    assert scene.session.sent == []
    assert app.seen[0].startswith("2 queued |")
    await scene.press("enter")
    assert scene.session.sent == ["one!"]
    # As it was before, if the edit is given up.
    app.now += 2 * MOVED_S
    await scene.press("e", "?")
    scene.session.end()
    await scene.press("escape")
    assert scene.session.sent == ["one!", "two"]


@pytest.mark.promise("E8")
async def test_an_edit_that_was_left_is_there_the_next_time(scene: Scene, app: QueueApp) -> None:
    await scene.enter("one")
    await scene.press("e", "!", "escape")
    assert app.texts == ["one"]
    assert app.said == ["the prompt is as it was; your edit is kept for the next time"]
    await scene.press("e", "?", "enter")
    assert app.texts == ["one!?"]


@pytest.mark.promise("E8")
@pytest.mark.parametrize("end", ["enter", "escape", "ctrl+s"])
async def test_an_edit_of_a_prompt_that_was_removed_meanwhile_is_kept(
    scene: Scene, app: QueueApp, end: str
) -> None:
    await scene.enter("one")
    await scene.press("e", "!")
    scene.session.queue.take_all()
    await scene.update()
    assert app.at() is app.editor
    await scene.press(end)
    assert app.texts == ["one!"]
    assert scene.session.queue.paused
    assert app.said == ["it had been removed: your edit is queued and waits"]


async def test_nothing_is_kept_of_an_edit_that_leaves_nothing(scene: Scene, app: QueueApp) -> None:
    await scene.enter("one")
    await scene.press("e", "ctrl+u", "enter")
    assert app.at() is app.editor
    assert app.texts == ["one"]
    await scene.press("escape", "e")
    assert app.editor.draft == "one"


# -- sending --


@pytest.mark.promise("E8")
@pytest.mark.parametrize("key", ["s", "ctrl+s"])
async def test_s_stops_the_turn_and_sends_this_one_alone(scene: Scene, app: QueueApp, key: str) -> None:
    await scene.enter("one", "two", "three")
    await scene.press("down", key)
    assert scene.session.stopped == ["the queue"]
    assert app.seen[:2] == ["1 sent after the stop, 2 paused | Tab edit, remove", "   2 next two"]
    # Esc is for the turn from now on.
    assert app.at() is app.prompt
    scene.session.end(completed=False)
    await scene.update()
    assert scene.session.sent == ["two"]
    assert app.texts == ["one", "three"]
    assert scene.session.queue.paused


@pytest.mark.promise("E8")
async def test_ctrl_s_in_the_editor_sends_what_is_written_there(scene: Scene, app: QueueApp) -> None:
    await scene.enter("one", "two")
    await scene.press("j", "e", "!", "ctrl+s")
    assert scene.session.stopped == ["Ctrl+S"]
    scene.session.end(completed=False)
    assert scene.session.sent == ["two!"]
    assert app.at() is app.prompt


# -- the mouse --


@pytest.mark.promise("E8")
async def test_a_click_selects_and_the_names_of_keys_can_be_clicked(scene: Scene, app: QueueApp) -> None:
    await scene.run("one", "two", "three")
    await scene.pilot.click(QueueRows, offset=(10, 1))
    await scene.update()
    assert app.at() is app.rows
    assert app.seen[2] == "▸  2 two"
    column = app.queue.query_one(KeyHints).render_line(0).text.index("remove")
    await scene.pilot.click(KeyHints, offset=(column, 0))
    await scene.update()
    assert app.texts == ["one", "three"]


# -- Ctrl+S in the composer, and commands --


class PlayedActions:
    """`QueueActions` over a played session, and what it says."""

    def __init__(self, *queued: str, running: bool = True) -> None:
        self.session = PlayedSession()
        self.session.run(*queued)
        if not running:
            self.session.queue.pause()
            self.session.status = Status.IDLE
        self.said: list[str] = []
        self.composer = ""
        self.queue_actions = QueueActions(
            self.session.queue, hint=self.said.append, notify=self.said.append, give_back=self._give_back
        )

    def _give_back(self, text: str) -> bool:
        if self.composer:
            return False
        self.composer = text
        return True


@pytest.mark.promise("E8")
def test_stop_and_send_overtakes_the_queue_and_leaves_it_paused() -> None:
    played = PlayedActions("one", "two")
    played.queue_actions.stop_and_send("now", 10.0)
    assert played.session.stopped == ["Ctrl+S"]
    assert played.session.status is Status.STOPPING
    # While it is stopping: neither forced nor sent twice.
    played.queue_actions.stop_and_send("", 20.0)
    assert played.said == ["write first: Ctrl+S stops and sends it"]
    played.session.end(completed=False)
    assert played.session.sent == ["now"]
    assert played.session.queue.texts == ("one", "two")
    assert played.session.queue.paused


@pytest.mark.promise("E8")
@pytest.mark.parametrize("composer", ["", "other"])
def test_a_key_that_repeats_sends_nothing_and_loses_nothing(composer: str) -> None:
    played = PlayedActions()
    played.queue_actions.stop_and_send("now", 10.0)
    played.composer = composer
    played.queue_actions.stop_and_send("hidden draft", 10.0 + KEY_REPEAT_S / 2)
    assert played.composer == (composer or "hidden draft")
    assert played.session.queue.texts == (("now", "hidden draft") if composer else ("now",))
    played.session.end(completed=False)
    assert played.session.sent == ["now"]


@pytest.mark.promise("E8")
def test_with_nothing_written_the_next_queued_prompt_is_sent_and_no_other() -> None:
    played = PlayedActions("one", "two", running=False)
    played.queue_actions.stop_and_send("", 10.0)
    assert played.session.sent == ["one"]
    played.session.end()
    assert played.session.sent == ["one"]
    played.queue_actions.go_on()
    assert played.session.sent == ["one", "two"]
    played.session.end()
    played.queue_actions.stop_and_send("", 20.0)
    assert played.said == ["nothing is written, nothing is queued"]


@pytest.mark.promise("E8")
def test_drop_says_how_it_is_undone() -> None:
    played = PlayedActions("one", "two", "three")
    played.queue_actions.drop("2")
    played.queue_actions.drop("")
    played.queue_actions.drop("")
    played.queue_actions.put_back()
    played.queue_actions.put_back()
    played.queue_actions.put_back()
    assert played.said == [
        "Removed “two”: /undrop brings it back.",
        "Removed 2 queued prompts: /undrop brings them back.",
        "No prompt is queued: there is nothing to drop.",
        "2 prompts are queued again as they were.",
        "“two” is queued again as it was.",
        "There is nothing to bring back: no queued prompt was removed or edited.",
    ]
    assert played.session.queue.texts == ("one", "two", "three")
    for number in ("9", "all of it", "²"):
        with pytest.raises(SlashCommandError, match="/queue lists them"):
            played.queue_actions.drop(number)


def test_to_go_on_says_why_it_cannot() -> None:
    played = PlayedActions("one")
    played.queue_actions.go_on()
    played.session.queue.begin_edit(1)
    played.session.end()
    played.queue_actions.go_on()
    played.session.queue.take_all()
    played.queue_actions.go_on()
    assert [said.partition(": ")[2] for said in played.said] == [
        "a turn is still running. Esc stops it.",
        "the next prompt is being edited.",
        "no prompt is queued.",
    ]


def test_every_key_of_the_list_is_in_the_table_and_does_something() -> None:
    for binding in KEYS:
        if binding.scope is KeyScope.QUEUE:
            name = binding.action.partition("(")[0]
            assert callable(getattr(QueueRows, f"action_{name}"))


def test_a_stop_by_the_list_is_the_persons() -> None:
    reasons: list[CancelReason] = []

    class StoppedSession(PlayedSession):
        def stop(self, reason: CancelReason) -> bool:
            reasons.append(reason)
            return super().stop(reason)

    session = StoppedSession()
    session.run()
    queue_actions = QueueActions(session.queue, hint=print, notify=print, give_back=lambda _: True)
    queue_actions.stop_and_send("now", 12.5)
    assert [(reason.cause, reason.source, reason.at) for reason in reasons] == [(Cause.USER, "Ctrl+S", 12.5)]


# -- pictures --


async def show_waiting(scene: Scene) -> None:
    await scene.run("Write the tests\nand run them", "Explain what a newcomer would not know", "third")


async def show_paused(scene: Scene) -> None:
    await show_waiting(scene)
    scene.session.end(completed=False)
    await scene.update()


async def show_selected(scene: Scene) -> None:
    await scene.run(*(f"prompt {number}" for number in range(1, 8)))
    await scene.press("tab", "down", "down")


async def show_editing(scene: Scene) -> None:
    await show_waiting(scene)
    await scene.press("tab", "down", "enter", *", please")


async def show_stopping(scene: Scene) -> None:
    await show_waiting(scene)
    await scene.press("tab", "down", "s")


SCENES = {
    "waiting": show_waiting,
    "paused": show_paused,
    "selected": show_selected,
    "editing": show_editing,
    "stopping": show_stopping,
}


@pytest.mark.promise("E8")
@pictures(SCENES, wide=("waiting",), tiny=("waiting", "selected", "editing"))
def test_looks(
    snap_compare: SnapCompare, show: Callable[[Scene], Awaitable[None]], size: tuple[int, int]
) -> None:
    app = QueueApp()

    async def play(pilot: Pilot[int]) -> None:
        app.queue.set_compact(compact=size[1] < 8)
        await show(Scene(app, pilot))

    assert snap_compare(app, terminal_size=size, run_before=play)
