"""The table of bindings: complete, without collisions, and with a stop that no key map can take away."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.widgets import TextArea

from tui.keys.bindings import (
    KEYS,
    KeymapError,
    KeyScope,
    apply_keymap,
    bindings,
    editing_bindings,
    key_name,
    key_names,
    use_keymap,
)

if TYPE_CHECKING:
    from textual.binding import BindingType


class Pane(Vertical):
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.PANE)]

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def compose(self) -> ComposeResult:
        yield TextArea()

    def action_stop(self) -> None:
        self.done.append("stop")

    def action_toggle_reasoning(self) -> None:
        self.done.append("reasoning")


class PaneApp(App[None]):
    ENABLE_COMMAND_PALETTE = False

    def __init__(self) -> None:
        super().__init__()
        self.pane = Pane()

    def compose(self) -> ComposeResult:
        yield self.pane


def test_every_id_is_there_once_and_no_scope_has_a_key_twice() -> None:
    assert all(count == 1 for count in Counter(key.id for key in KEYS).values())
    for scope in KeyScope:
        keys = Counter(key for binding in KEYS if binding.scope is scope for key in binding.keys)
        assert all(count == 1 for count in keys.values()), scope


def test_no_default_key_is_taken_by_the_prompt_before_its_owner_sees_it() -> None:
    editing = {binding.key for binding in editing_bindings()}
    # Home and End edit, except in an empty prompt, which leaves them to the transcript.
    shared = {"home", "end"} | {"super+c"}
    for binding in KEYS:
        if binding.scope is not KeyScope.PROMPT and not binding.priority:
            assert not editing & set(binding.keys) - shared, binding.id


def test_the_bindings_carry_their_ids_and_the_stop_keys_come_first() -> None:
    by_id = {binding.id: binding for binding in bindings(KeyScope.PANE)}
    assert by_id["pane.stop"].key == "escape"
    assert by_id["pane.interrupt"].key == "ctrl+c"
    assert by_id["pane.stop"].priority
    assert by_id["pane.interrupt"].priority


@pytest.mark.promise("E9")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"pane.stop": "f1"}, "pane.stop stays on escape and cannot be rebound"),
        ({"pane.stop": ""}, "pane.stop stays on escape and cannot be rebound"),
        ({"pane.interrupt": "f1,ctrl+c"}, "pane.interrupt stays on ctrl+c and cannot be rebound"),
        ({"app.quit": "escape"}, "app.quit cannot use escape"),
        ({"app.quit": "f10, ESCAPE"}, "app.quit cannot use escape"),
        ({"app.copy": "ctrl+c"}, "app.copy cannot use ctrl+c"),
        ({"panel.stop": "f1"}, "panel.stop stays on x and cannot be rebound"),
    ],
)
def test_stop_cannot_be_rebound_away(overrides: dict[str, str], said: str) -> None:
    with pytest.raises(KeymapError) as caught:
        apply_keymap(overrides)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"app.quti": "f10"}, "Did you mean app.quit?"),
        ({"app.quit": " , "}, "app.quit has no key"),
        ({"app.quit": "q"}, "which types text"),
        ({"app.quit": "space"}, "which types text"),
        ({"app.quit": "contrl+q"}, "Did you mean ctrl?"),
        ({"app.quit": "pagupe"}, "Did you mean pageup?"),
        ({"app.quit": "ctrl+k"}, "which edits the prompt"),
        ({"app.quit": "ctrl+r"}, "ctrl+r is asked for by app.quit and by transcript.toggle_reasoning"),
        ({"app.quit": "f8", "pane.kill": "f8"}, "f8 is asked for by"),
    ],
)
def test_a_bad_key_map_is_refused_in_a_sentence(overrides: dict[str, str], said: str) -> None:
    with pytest.raises(KeymapError) as caught:
        apply_keymap(overrides)
    assert said in str(caught.value)


def test_keys_may_change_places() -> None:
    overrides = {"prompt.submit": "ctrl+enter", "prompt.newline": "Enter, ctrl+j"}
    assert apply_keymap(overrides) == {"prompt.submit": "ctrl+enter", "prompt.newline": "enter,ctrl+j"}
    assert apply_keymap({}) == {}


@pytest.mark.promise("E9")
async def test_a_rebound_key_works_and_esc_still_stops() -> None:
    app = PaneApp()
    async with app.run_test() as pilot:
        app.set_keymap(apply_keymap({"transcript.toggle_reasoning": "f4"}))
        await pilot.press("f4", "ctrl+r", "escape")
        assert app.pane.done == ["reasoning", "stop"]


@pytest.mark.promise("E9")
def test_a_bad_entry_does_not_count_and_all_others_do() -> None:
    asked = {
        "pane.stop": "f3",
        "app.quit": "escape",
        "pane.kill": "f8",
        "pane.hepl": "f4",
        "pane.help": "f10",
        "prompt.submit": "ctrl+enter,f12",
        "pane.palette": "f10",
    }
    try:
        keymap = use_keymap(asked)
        kept = {"pane.kill": "f8", "prompt.submit": "ctrl+enter,f12", "pane.palette": "f10"}
        assert keymap.entries == kept
        assert {error.binding_id for error in keymap.errors} == set(asked) - set(kept)
        assert key_name("pane.stop") == "Esc"
        assert key_name("pane.help") == "F1"
        assert key_names("prompt.submit") == "Ctrl+Enter or F12"
    finally:
        assert use_keymap({}).errors == ()
    assert key_names("prompt.newline") == "Shift+Enter, Ctrl+J or Alt+Enter"
    assert key_names("prompt.submit") == "Enter"


async def test_the_keys_in_force_are_those_that_work_from_the_first_frame() -> None:
    class EarlyApp(PaneApp):
        def on_load(self) -> None:
            self.set_keymap(dict(use_keymap({"transcript.toggle_reasoning": "f4"}).entries))

    try:
        app = EarlyApp()
        async with app.run_test() as pilot:
            await pilot.press("ctrl+r", "f4", "escape")
            assert app.pane.done == ["reasoning", "stop"]
            assert key_name("transcript.toggle_reasoning") == "F4"
    finally:
        use_keymap({})
