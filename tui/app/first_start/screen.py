"""The first start: a person without settings chooses a model, enters a key if need be, and goes on.

It stands in the place of a pane, and all keys come to this one widget, in the order in which they were typed:
what is typed behind an Enter belongs to the step which that leads to, so that no letter of a key is ever
shown by the step before. It asks nobody anything before something was chosen, holds no key longer than it is
typed, and writes nothing itself: `Setup` does.

Esc closes the innermost step. Ctrl+C does too, and quits from the first step when pressed twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, assert_never

from textual.message import Message
from textual.widget import Widget

from core.cancel import CancelReason, Cause
from core.setup import (
    KEY_LIMIT,
    DemoChosen,
    EnvironmentKey,
    KeyedProvider,
    KeyHome,
    LocalServer,
    StoredKey,
    fault_of_key,
    model_of,
    model_on,
)
from tui.first_start import (
    FILTER_LIMIT,
    KEYS,
    Attempt,
    Choosing,
    Keeping,
    ModelOf,
    Over,
    PickingModel,
    PickingProvider,
    Placing,
    Remedy,
    StartAct,
    Trying,
    TypedLine,
    TypingKey,
    Unproven,
    Way,
    enter_words,
    esc_words,
    heading,
)
from tui.first_start_found import LOOKING, Findings
from tui.first_start_rows import (
    PLACE_ROWS,
    choice_rows,
    model_rows,
    provider_rows,
    remedy_rows,
)
from tui.first_start_work import FirstStartWork
from tui.list_rows import inline
from tui.stop_keys import AFTERSHOCK_S, QUIT_WITHIN_S
from tui.widgets.chords import Chord, Chords
from tui.widgets.first_start_view import FirstStartView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual import events
    from textual.app import ComposeResult

    from core.setup import ModelChosen, Setup
    from tui.first_start import Item, Step
    from tui.first_start_rows import AnyRow
    from tui.first_start_work import Work
    from tui.interrupt import InterruptGate
    from tui.widgets.row_list import RowList

LOW = 14
"""With fewer rows than this there is no frame."""

ROOMY = 66
"""Columns from which the last line has room for more than Enter and Esc."""

PASTED = "Nothing was pasted: a key goes where it says Key, once its provider is chosen."
NO_MODEL = (
    "{title} runs but has no model yet. Give it one, `ollama pull llama3.2` for instance; then press ^R."
)


class FirstStart(Widget, can_focus=True):
    """See the module. `gate` is armed while something is tested, so that the input thread can stop it by
    itself; `clock` gives seconds as `time.monotonic` does and decides what "twice" means."""

    DEFAULT_CSS = """
    FirstStart { width: 100%; height: 100%; align: center middle; background: $background; }
    """

    class Chosen(Message):
        """The person has chosen; `notes` are sentences to be told in the conversation."""

        def __init__(self, chosen: ModelChosen | DemoChosen, notes: tuple[str, ...]) -> None:
            super().__init__()
            self.chosen = chosen
            self.notes = notes

    class QuitRequested(Message):
        """The person wants to quit instead."""

    def __init__(
        self, setup: Setup, gate: InterruptGate, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._setup = setup
        self._clock = clock
        self._step: Step = Choosing()
        self._typed = TypedLine()
        self._findings = Findings(setup, self._show_choices)
        self._chosen_before = ""
        self._first_ctrl_c = float("-inf")
        self._quiet_until = float("-inf")
        self._work = FirstStartWork(setup, gate, self._go, self._done)
        self._view = FirstStartView()

    def compose(self) -> ComposeResult:
        yield self._view

    def on_mount(self) -> None:
        self.screen.set_focus(self)
        self._look()
        self._go(Choosing())

    def on_unmount(self) -> None:
        self._typed.clear()

    def on_resize(self) -> None:
        self._view.set_class(self.size.height < LOW, "-low")
        self._show_line()
        self._show_chords()

    # -- what the owner does --

    @property
    def step(self) -> Step:
        """Where the person is."""
        return self._step

    def stop(self, reason: CancelReason) -> bool:
        """Stop the test, if there is one; false if there is not. A second time: force it."""
        return self._work.stop(reason)

    def show_interrupted(self) -> None:
        """The test is being stopped: show it in this very frame."""
        if isinstance(self._step, Trying) and self._work.is_stopping:
            self._step = Trying(self._step.attempt, stopping=True)
            self._show()

    # -- keys, pastes and clicks --

    async def _on_key(self, event: events.Key) -> None:
        if self._hear(event.key, event.character if event.is_printable else None):
            event.stop()
            event.prevent_default()

    def _hear(self, key: str, character: str | None) -> bool:
        if (act := KEYS.get(key)) is not None:
            self._act(act)
            return True
        if character is not None and (limit := self._limit):
            self._typed.insert(character, limit)
            self._typing()
        return character is not None

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        text = event.text.strip()
        match self._step:
            case TypingKey():
                self._typed.insert(text, KEY_LIMIT)
                self._typing()
            case Choosing() | PickingProvider() | PickingModel():
                # It may be a key, and would be shown.
                self._view.say(PASTED)
            case _:
                pass

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._act(StartAct.TAKE)

    def on_chords_clicked(self, message: Chords.Clicked) -> None:
        message.stop()
        if isinstance(message.act, StartAct):
            self._act(message.act)

    @property
    def _limit(self) -> int:
        """How many characters can be typed in this step."""
        match self._step:
            case TypingKey():
                return KEY_LIMIT
            case PickingProvider() | PickingModel():
                return FILTER_LIMIT
            case _:
                return 0

    def _act(self, act: StartAct) -> None:
        match act:
            case StartAct.TAKE:
                self._take()
            case StartAct.BACK:
                self._close_innermost("Esc")
            case StartAct.INTERRUPT:
                if not self._close_innermost("Ctrl+C"):
                    self._quit_on_second()
            case StartAct.UP | StartAct.DOWN:
                self._view.rows.move(-1 if act is StartAct.UP else 1)
            case StartAct.PAGE_UP | StartAct.PAGE_DOWN:
                self._view.rows.move_page(-1 if act is StartAct.PAGE_UP else 1)
            case StartAct.FIRST | StartAct.LAST:
                self._view.rows.move_to_end(-1 if act is StartAct.FIRST else 1)
            case StartAct.ERASE | StartAct.CLEAR:
                self._typed.erase() if act is StartAct.ERASE else self._typed.clear()
                self._typing()
            case StartAct.LOOK_AGAIN:
                if isinstance(self._step, Choosing):
                    self._look()
            case StartAct.QUIT:
                self.post_message(self.QuitRequested())
            case _:
                assert_never(act)
        self._show_chords()

    def _typing(self) -> None:
        if not self._limit:
            return
        self._view.say("")
        self._show_line()
        if not isinstance(self._step, TypingKey):
            self._show_rows(select_first=True)

    def _close_innermost(self, key: str) -> bool:
        """One step back; false if there is none. What comes right after a stop was meant for the test."""
        if self._clock() < self._quiet_until:
            return True
        match self._step:
            case Trying():
                self.stop(CancelReason(Cause.USER, key))
                self.show_interrupted()
            case TypingKey():
                self._go(PickingProvider())
            case PickingProvider() | PickingModel():
                self._go(Choosing())
            case Unproven(attempt, _) | Placing(attempt, _):
                self._forget_key(attempt)
                self._go(Choosing())
            case Choosing() | Keeping() | Over():
                return False
            case _:
                assert_never(self._step)
        return True

    def _quit_on_second(self) -> None:
        now = self._clock()
        if now - self._first_ctrl_c < QUIT_WITHIN_S:
            self.post_message(self.QuitRequested())
        self._first_ctrl_c = now
        self._view.say("Ctrl+C again quits")
        self.set_timer(QUIT_WITHIN_S, self._say_of_looking)

    # -- choosing --

    def _take(self) -> None:
        """Enter: what is typed or selected is meant."""
        if isinstance(self._step, TypingKey):
            self._take_key(self._step.provider)
        elif isinstance(self._step, Trying | Keeping | Over):
            pass
        elif (item := self._view.selected) is not None:
            self._take_item(item)

    def _take_item(self, item: Item) -> None:
        match item:
            case EnvironmentKey(provider, _) | StoredKey(provider, _):
                self._try(Attempt(model_of(provider), provider.title))
            case LocalServer():
                self._take_server(item)
            case ModelOf(server, model):
                self._finish(Attempt(model_on(server, model), server.title))
            case Way.ENTER_KEY:
                self._go(PickingProvider())
            case Way.DEMO:
                self._go(Over())
                self.post_message(self.Chosen(DemoChosen(), ()))
            case KeyedProvider():
                self._ask_for_key(item)
            case Remedy():
                self._remedy(item)
            case KeyHome():
                if isinstance(self._step, Placing):
                    self._finish(self._step.attempt, item)
            case _:
                assert_never(item)

    def _ask_for_key(self, provider: KeyedProvider) -> None:
        if (found := self._findings.key_in_environment(provider)) is not None:
            # A request takes that one first: what is typed would not even be tested.
            self._view.say(
                f"{found.variable} is set and goes before any other key: use it, or start again without it.",
                failed=True,
            )
        else:
            self._go(TypingKey(provider))

    def _take_server(self, server: LocalServer) -> None:
        if not server.models:
            self._view.say(NO_MODEL.format(title=inline(server.title)), failed=True)
        elif len(server.models) == 1:
            # It has just answered: that is all a test could show.
            self._finish(Attempt(model_on(server, server.models[0]), server.title))
        else:
            self._go(PickingModel(server))

    def _take_key(self, provider: KeyedProvider) -> None:
        value = self._typed.take()
        self._show_line()
        if fault := fault_of_key(value):
            self._view.say(fault, failed=True)
            return
        self._setup.take_key(provider.name, value)
        self._try(Attempt(model_of(provider), provider.title, provider))

    def _remedy(self, remedy: Remedy) -> None:
        if not isinstance(self._step, Unproven):
            return
        attempt = self._step.attempt
        match remedy:
            case Remedy.AGAIN:
                self._try(attempt)
            case Remedy.ANYWAY:
                self._finish(attempt)
            case Remedy.OTHER_KEY if attempt.entered is not None:
                self._forget_key(attempt)
                self._go(TypingKey(attempt.entered))
            case Remedy.OTHER_KEY | Remedy.BACK:
                self._forget_key(attempt)
                self._go(Choosing())
            case _:
                assert_never(remedy)

    def _forget_key(self, attempt: Attempt) -> None:
        if attempt.entered is not None:
            self._setup.drop_key(attempt.entered.name)

    # -- what takes its time --

    def _look(self) -> None:
        self._findings.begin()
        self._say_of_looking()
        self.run_worker(self._findings.look(), group="look", exclusive=True)

    def _try(self, attempt: Attempt) -> None:
        self._work_on(self._work.test(attempt))

    def _work_on(self, work: Work) -> None:
        self.run_worker(work(), group="work", exclusive=True)

    def _finish(self, attempt: Attempt, home: KeyHome = KeyHome.KEYRING) -> None:
        self._work_on(self._work.keep(attempt, home))

    def _done(self, chosen: ModelChosen, notes: tuple[str, ...]) -> None:
        self.post_message(self.Chosen(chosen, notes))

    # -- showing --

    def _go(self, step: Step) -> None:
        """To another step; nothing that was typed comes along."""
        if isinstance(self._step, Choosing):
            self._chosen_before = self._view.rows.selected
        elif isinstance(self._step, Trying) and self._step.stopping:
            self._quiet_until = self._clock() + AFTERSHOCK_S
        self._typed.clear()
        self._step = step
        self._show()
        self._show_rows(select_first=True)
        if isinstance(step, Choosing):
            self._view.rows.select(self._chosen_before)
            self._say_of_looking()
        else:
            self._view.say("")
        self._show_chords()

    def _show(self) -> None:
        self._view.show_heading(heading(self._step), failed=isinstance(self._step, Unproven | Placing))
        self._show_line()
        self._show_chords()

    def _show_line(self) -> None:
        shown = heading(self._step)
        cells = self._view.line_cells(shown)
        if not len(self._typed):
            text = ""
        elif isinstance(self._step, TypingKey):
            text = self._typed.masked(cells)
        else:
            text = self._typed.shown(cells)
        self._view.show_typed(text, shown.hint)

    def _show_choices(self) -> None:
        if isinstance(self._step, Choosing):
            self._show_rows()
            self._show_chords()
            # Not in the place of a sentence about what the person did.
            if self._view.said == LOOKING:
                self._say_of_looking()

    def _show_rows(self, *, select_first: bool = False) -> None:
        rows = self._rows_now()
        self._view.show_rows(rows, select=rows[0].key if select_first and rows else None)

    def _rows_now(self) -> Sequence[AnyRow]:
        match self._step:
            case Choosing():
                return choice_rows(self._findings.found)
            case PickingProvider():
                return provider_rows(self._setup.providers, self._typed.query)
            case PickingModel(server):
                return model_rows(server, self._typed.query)
            case Unproven(attempt, _):
                return remedy_rows(attempt)
            case Placing():
                return PLACE_ROWS
            case TypingKey() | Trying() | Keeping() | Over():
                return ()
            case _:
                assert_never(self._step)

    def _show_chords(self) -> None:
        chords = [
            Chord(StartAct.TAKE, "Enter", enter_words(self._step, self._view.selected)),
            Chord(StartAct.BACK, "Esc", esc_words(self._step)),
        ]
        if isinstance(self._step, Choosing) and self.size.width >= ROOMY:
            chords += [
                Chord(StartAct.QUIT, "^Q", "quits"),
                Chord(StartAct.LOOK_AGAIN, "^R", "looks again"),
            ]
        self._view.show_chords(chords)

    def _say_of_looking(self) -> None:
        if isinstance(self._step, Choosing):
            self._view.say(self._findings.note)
