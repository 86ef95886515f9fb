"""The first start: a user without settings chooses a model, enters a key if needed, and continues.

The screen takes the place of a pane. All keys come to this one widget in the order in which they were typed:
keys typed after Enter belong to the next step, so that no letter of a key is ever shown by the step before.
It makes no requests before a choice, keeps a key only while it is typed, and writes nothing itself: `Setup`
does.

Esc closes the innermost step. Ctrl+C does too, and pressed twice it quits from the first step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, assert_never

from textual.message import Message
from textual.widget import Widget

from core.cancel import CancelReason, Cause
from core.model.setup import (
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
from tui.app.first_start.findings import LOOKING, Findings
from tui.app.first_start.steps import (
    KEYS,
    MOVES,
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
    typing_limit,
)
from tui.app.first_start.view import FirstStartView
from tui.app.first_start.work import FirstStartWork
from tui.base.row import inline
from tui.base.timers import call_after
from tui.keys.stop_keys import AFTERSHOCK_S, QUIT_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events
    from textual.app import ComposeResult

    from core.model.setup import ModelChosen, Setup
    from tui.app.first_start.steps import Item, Step
    from tui.base.key_hints import KeyHints
    from tui.base.row_list import RowList
    from tui.terminal.interrupt import InterruptGate

LOW = 14
"""Rows below which there is no frame."""

PASTED = "Nothing was pasted: a key goes where it says Key, once its provider is chosen."
NO_MODEL = (
    "{title} runs but has no model yet. Give it one, `ollama pull llama3.2` for instance; then press ^R."
)


class FirstStart(Widget, can_focus=True):
    """The widget of the first start. `gate` is armed during a test, so that the input thread can stop it;
    `clock` returns seconds as `time.monotonic` does and decides what "twice" means."""

    DEFAULT_CSS = """
    FirstStart { width: 100%; height: 100%; align: center middle; background: $background; }
    """

    class Chosen(Message):
        """Posted after a choice; `notes` are sentences to show in the conversation."""

        def __init__(self, chosen: ModelChosen | DemoChosen, notes: tuple[str, ...]) -> None:
            super().__init__()
            self.chosen = chosen
            self.notes = notes

    class QuitRequested(Message):
        """Posted when the user wants to quit instead."""

    def __init__(
        self, setup: Setup, gate: InterruptGate, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._setup = setup
        self._clock = clock
        self.step: Step = Choosing()
        self._typed = TypedLine()
        self._findings = Findings(setup, self._show_choices)
        self._chosen_before = ""
        self._first_ctrl_c = float("-inf")
        self._quiet_until = float("-inf")
        self._work = FirstStartWork(
            setup, gate, self._go, lambda chosen, notes: self.post_message(self.Chosen(chosen, notes))
        )
        self._view = FirstStartView(setup, self._typed, self._findings)

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
        self._view.show_line(self.step)
        self._view.show_key_hints(self.step)

    # -- called by the owner --

    def stop(self, reason: CancelReason) -> bool:
        """Stop a running test, or force it the second time; false if there is none."""
        return self._work.stop(reason)

    def show_interrupted(self) -> None:
        """Show in this frame that the test is being stopped."""
        if isinstance(self.step, Trying) and self._work.is_stopping:
            self.step = Trying(self.step.attempt, stopping=True)
            self._view.show(self.step)

    # -- keys, pastes and clicks --

    async def _on_key(self, event: events.Key) -> None:
        if self._hear(event.key, event.character if event.is_printable else None):
            event.stop()
            event.prevent_default()

    def _hear(self, key: str, character: str | None) -> bool:
        if (act := KEYS.get(key)) is not None:
            self._act(act)
            return True
        if self._view.rows.navigate(MOVES.get(key, key)):
            self._view.show_key_hints(self.step)
            return True
        if character is not None and (limit := typing_limit(self.step)):
            self._typed.insert(character, limit)
            self._typing()
        return character is not None

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        text = event.text.strip()
        match self.step:
            case TypingKey():
                self._typed.insert(text, KEY_LIMIT)
                self._typing()
            case Choosing() | PickingProvider() | PickingModel():
                # The text may be a key, and this step would show it.
                self._view.say(PASTED)
            case _:
                pass

    def on_row_list_clicked(self, message: RowList.Clicked) -> None:
        message.stop()
        self._act(StartAct.TAKE)

    def on_key_hints_clicked(self, message: KeyHints.Clicked) -> None:
        message.stop()
        if isinstance(message.action, StartAct):
            self._act(message.action)

    def _act(self, act: StartAct) -> None:
        match act:
            case StartAct.TAKE:
                self._take()
            case StartAct.BACK:
                self._close_innermost("Esc")
            case StartAct.INTERRUPT:
                if not self._close_innermost("Ctrl+C"):
                    self._quit_on_second()
            case StartAct.ERASE | StartAct.CLEAR:
                self._typed.erase() if act is StartAct.ERASE else self._typed.clear()
                self._typing()
            case StartAct.LOOK_AGAIN:
                if isinstance(self.step, Choosing):
                    self._look()
            case StartAct.QUIT:
                self.post_message(self.QuitRequested())
            case _:
                assert_never(act)
        self._view.show_key_hints(self.step)

    def _typing(self) -> None:
        if not typing_limit(self.step):
            return
        self._view.say("")
        self._view.show_line(self.step)
        if not isinstance(self.step, TypingKey):
            self._view.show_rows(self.step, select_first=True)

    def _close_innermost(self, key: str) -> bool:
        """Go one step back; false if there is none. A press right after a stop was meant for the test."""
        if self._clock() < self._quiet_until:
            return True
        match self.step:
            case Trying():
                self.stop(CancelReason(Cause.USER, key))
                self.show_interrupted()
            case TypingKey():
                self._go(PickingProvider())
            case PickingProvider() | PickingModel():
                self._go(Choosing())
            case Unproven(attempt, _) | Placing(attempt, _):
                self._work.forget_key(attempt)
                self._go(Choosing())
            case Choosing() | Keeping() | Over():
                return False
            case _:
                assert_never(self.step)
        return True

    def _quit_on_second(self) -> None:
        now = self._clock()
        if now - self._first_ctrl_c < QUIT_WITHIN_S:
            self.post_message(self.QuitRequested())
        self._first_ctrl_c = now
        self._view.say("Ctrl+C again quits")
        call_after(self, QUIT_WITHIN_S, self._show_search)

    # -- choosing --

    def _take(self) -> None:
        """Handle Enter: take what is typed or selected."""
        if isinstance(self.step, TypingKey):
            self._take_key(self.step.provider)
        elif isinstance(self.step, Trying | Keeping | Over):
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
                if isinstance(self.step, Placing):
                    self._finish(self.step.attempt, item)
            case _:
                assert_never(item)

    def _ask_for_key(self, provider: KeyedProvider) -> None:
        if (found := self._findings.key_in_environment(provider)) is not None:
            # A request prefers that key, so the typed one would not even be tested.
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
            # The server has just answered, which is all that a test could show.
            self._finish(Attempt(model_on(server, server.models[0]), server.title))
        else:
            self._go(PickingModel(server))

    def _take_key(self, provider: KeyedProvider) -> None:
        value = self._typed.take()
        self._view.show_line(self.step)
        if fault := fault_of_key(value):
            self._view.say(fault, failed=True)
            return
        self._setup.take_key(provider.name, value)
        self._try(Attempt(model_of(provider), provider.title, provider))

    def _remedy(self, remedy: Remedy) -> None:
        if not isinstance(self.step, Unproven):
            return
        attempt = self.step.attempt
        match remedy:
            case Remedy.AGAIN:
                self._try(attempt)
            case Remedy.ANYWAY:
                self._finish(attempt)
            case Remedy.OTHER_KEY if attempt.entered is not None:
                self._work.forget_key(attempt)
                self._go(TypingKey(attempt.entered))
            case Remedy.OTHER_KEY | Remedy.BACK:
                self._work.forget_key(attempt)
                self._go(Choosing())
            case _:
                assert_never(remedy)

    # -- tests and saving --

    def _look(self) -> None:
        self._findings.begin()
        self._show_search()
        self.run_worker(self._findings.look(), group="look", exclusive=True)

    def _try(self, attempt: Attempt) -> None:
        self.run_worker(self._work.test(attempt), group="work", exclusive=True)

    def _finish(self, attempt: Attempt, home: KeyHome = KeyHome.KEYRING) -> None:
        self.run_worker(self._work.keep(attempt, home), group="work", exclusive=True)

    # -- showing --

    def _go(self, step: Step) -> None:
        """Go to another step and forget what was typed."""
        if isinstance(self.step, Choosing):
            self._chosen_before = self._view.rows.selected
        elif isinstance(self.step, Trying) and self.step.stopping:
            self._quiet_until = self._clock() + AFTERSHOCK_S
        self._typed.clear()
        self.step = step
        self._view.show(self.step)
        self._view.show_rows(self.step, select_first=True)
        if isinstance(step, Choosing):
            self._view.rows.select(self._chosen_before)
            self._show_search()
        else:
            self._view.say("")
        self._view.show_key_hints(self.step)

    def _show_choices(self) -> None:
        if isinstance(self.step, Choosing):
            self._view.show_rows(self.step)
            self._view.show_key_hints(self.step)
            # Do not replace a sentence about what the user did.
            if self._view.said == LOOKING:
                self._show_search()

    def _show_search(self) -> None:
        self._view.show_search(self.step)
