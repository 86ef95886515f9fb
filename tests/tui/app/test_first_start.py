"""The first start: what is offered, what each key does in each step, and that a key is seen by nobody."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.base.sanitize import printable
from core.model.settings import ServerAddress
from core.model.setup import (
    DemoChosen,
    EnvironmentKey,
    KeyHome,
    LocalServer,
    ModelChosen,
    StoredKey,
    fault_of_key,
)
from tests.support.snapshots import looks_right, pictures
from tests.tui.app.stage import (
    ANTHROPIC,
    GROQ,
    OLLAMA,
    OPENAI,
    SECRET,
    FirstStartApp,
    PlayedSetup,
    StartStage,
    starting,
)
from tui.app.first_start.rows import choice_rows, key_of, model_rows, name_cells, row_line
from tui.app.first_start.steps import (
    KEYS,
    Choosing,
    Over,
    PickingModel,
    PickingProvider,
    Placing,
    StartAct,
    Trying,
    TypedLine,
    TypingKey,
    Unproven,
)
from tui.base.row import HintRow
from tui.keys.stop_keys import AFTERSHOCK_S, QUIT_WITHIN_S
from tui.terminal.interrupt import InterruptKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.snapshots import SnapCompare
    from tui.app.first_start.rows import AnyRow

ENVIRONMENT = EnvironmentKey(OPENAI, "OPENAI_API_KEY")
STORED = StoredKey(GROQ, KeyHome.KEYRING)
NO_KEYRING = "There is no keyring on this machine. Nothing was stored."
REFUSED = "Anthropic does not accept the key (401): enter another one."


@pytest.fixture
async def stage() -> AsyncIterator[StartStage]:
    async with starting() as stage:
        yield stage


def asked(stage: StartStage, *kinds: str) -> list[tuple[object, ...]]:
    return [call for call in stage.setup.calls if call[0] in kinds]


# -- rows and texts --


@given(
    st.lists(
        st.builds(
            LocalServer,
            st.just("vllm"),
            st.text(max_size=30),
            st.just("hosted_vllm"),
            st.text(max_size=60),
            st.lists(st.text(max_size=300), max_size=3).map(tuple),
        ),
        max_size=4,
    ),
    st.integers(8, 200),
)
def test_a_row_is_as_wide_as_the_list_whatever_a_server_said(servers: list[LocalServer], width: int) -> None:
    rows: list[AnyRow] = [*choice_rows((*servers, ENVIRONMENT, STORED))]
    rows += [row for server in servers for row in model_rows(server, "")]
    for row in rows:
        if isinstance(row, HintRow):
            continue
        text = "".join(piece.text for piece in row_line(row, width, name_cells(rows), selected=True))
        assert cell_len(text) == width
        assert printable(text) == text
        assert "\n" not in text


def test_keys_come_before_servers_and_the_demo_is_last() -> None:
    rows = choice_rows((OLLAMA, STORED, ENVIRONMENT))
    assert [row.key for row in rows] == [
        key_of(ENVIRONMENT),
        key_of(STORED),
        key_of(OLLAMA),
        "enter",
        "demo",
    ]


@given(st.text(max_size=80), st.integers(10, 120))
def test_a_key_is_shown_as_its_length(secret: str, width: int) -> None:
    line = TypedLine()
    line.insert(secret, 4096)
    shown = line.masked(width)
    assert set(shown) <= set("•▏ characters0123456789")
    assert cell_len(shown) <= max(width, 14 + 1)
    assert (str(len(secret)) in shown) is bool(secret)
    assert secret not in repr(line) or len(secret) < 20


@pytest.mark.parametrize(
    "text",
    ["", "sk a", "ключ", "x" * 5000, "OPENAI_API_KEY=sk-1", '"sk-1"', "sk-\x1b[31m", "export X=sk-1"],
)
def test_what_can_be_no_key_is_not_repeated(text: str) -> None:
    fault = fault_of_key(text)
    assert fault
    assert len(text) < 2 or text not in fault
    assert not fault_of_key(SECRET)
    assert not fault_of_key("YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY3ODkwYWJjZA==")


# -- looking --


async def test_things_appear_as_they_are_found_and_leave_the_selection_where_it_is(stage: StartStage) -> None:
    assert "Looking for keys and servers" in stage.text
    await stage.press("down")
    assert stage.chosen_row.startswith("› Try the demo")
    await stage.find(OLLAMA, STORED)
    assert "Groq" in stage.text
    assert "2 models · on this computer, 127.0.0.1:11434" in stage.text
    assert stage.chosen_row.startswith("› Try the demo")
    await stage.end_look()
    assert "Looking" not in stage.text
    await stage.press("home")
    assert stage.chosen_row.startswith("› Groq")


async def test_a_key_of_the_environment_is_selected_from_the_first_frame() -> None:
    async with starting(setup=PlayedSetup(here=(ENVIRONMENT,))) as stage:
        assert stage.chosen_row.startswith("› OpenAI")
        await stage.end_look()
        assert stage.setup.calls == [("look",)], "nobody is asked before something is chosen"


async def test_nothing_found_says_what_can_be_done_and_looking_again_finds(stage: StartStage) -> None:
    await stage.end_look()
    assert "No key and no server was found" in stage.text
    await stage.press("ctrl+r")
    await stage.find(OLLAMA)
    await stage.end_look()
    assert "Ollama" in stage.text
    await stage.press("ctrl+r")
    assert "Ollama" in stage.text, "it stays while it is looked for"
    await stage.end_look()
    assert "Ollama" not in stage.text


# -- choosing --


async def test_a_key_that_is_there_is_tested_and_leads_to_the_conversation() -> None:
    async with starting(setup=PlayedSetup(here=(ENVIRONMENT,))) as stage:
        await stage.press("enter")
        assert stage.is_at(Trying)
        assert stage.foot == "Enter unused  Esc stops the test"
        await stage.press("enter", "x")
        await stage.answer()
        chosen = stage.app.chosen[0].chosen
        assert isinstance(chosen, ModelChosen)
        assert (chosen.choice.model, chosen.choice.api_base) == ("openai/gpt-5.1", None)
        assert (chosen.setting, chosen.server, chosen.server_name) == ("openai/gpt-5.1", None, "")
        assert asked(stage, "test", "keep", "save") == [
            ("test", "openai/gpt-5.1"),
            ("save", "openai/gpt-5.1"),
        ]
        assert stage.app.chosen[0].notes == ()


async def test_the_demo_needs_nothing_and_keeps_nothing(stage: StartStage) -> None:
    await stage.press("end")
    assert stage.foot.startswith("Enter starts")
    await stage.press("enter", "enter")
    assert [type(one.chosen) for one in stage.app.chosen] == [DemoChosen]
    assert stage.setup.calls == [("look",)]


async def test_a_server_with_several_models_asks_which(stage: StartStage) -> None:
    await stage.find(OLLAMA)
    await stage.press("home", "enter")
    assert stage.is_at(PickingModel)
    await stage.press(*"QWEN")
    assert stage.chosen_row == "› qwen3:8b"
    await stage.press("x")
    assert "None of its models is called so." in stage.text
    await stage.press("enter")
    assert not stage.app.chosen
    await stage.press("backspace", "enter")
    chosen = stage.app.chosen[0].chosen
    assert isinstance(chosen, ModelChosen)
    # By its name in the settings, where it has no key.
    assert (chosen.choice.model, chosen.choice.api_base) == ("ollama/qwen3:8b", None)
    assert (chosen.setting, chosen.server_name) == ("ollama/qwen3:8b", "ollama")
    assert chosen.server == ServerAddress("ollama_chat", OLLAMA.api_base)
    assert not asked(stage, "test"), "it has just answered"


async def test_a_server_with_one_model_needs_one_key_and_one_without_says_so() -> None:
    empty = LocalServer("lmstudio", "LM Studio", "lm_studio", "http://127.0.0.1:1234/v1", ())
    one = LocalServer("vllm", "vLLM", "hosted_vllm", "http://127.0.0.1:8000/v1", ("qwen",))
    async with starting() as stage:
        await stage.find(empty, one)
        await stage.press("home", "enter")
        await stage.find(OLLAMA)
        assert "LM Studio runs but has no model yet" in stage.text
        await stage.end_look()
        assert "LM Studio runs but has no model yet" in stage.text
        await stage.press("down", "enter", "enter")
        assert [call[1] for call in asked(stage, "save")] == ["vllm/qwen"]


async def test_what_a_server_says_is_text() -> None:
    hostile = LocalServer(
        "vllm", "vLLM", "hosted_vllm", "http://127.0.0.1:8000/v1", ("[red]\x1b[31mx\u202e[/]", "y" * 500)
    )
    async with starting() as stage:
        await stage.find(hostile)
        await stage.press("home", "enter")
        assert "[red]␛[31mx\ufffd[/]" in stage.text
        assert all(len(line) <= 80 for line in stage.lines)


async def test_the_choice_is_used_though_it_cannot_be_written_down() -> None:
    async with starting(setup=PlayedSetup(save_failure="The disk is full.")) as stage:
        await stage.find(OLLAMA)
        await stage.press("home", "enter", "enter")
        assert stage.app.chosen[0].notes == ("The disk is full.",)
        chosen = stage.app.chosen[0].chosen
        assert isinstance(chosen, ModelChosen)
        assert (chosen.choice.model, chosen.choice.api_base) == (
            "ollama_chat/llama3.2:latest",
            OLLAMA.api_base,
        )


# -- a key --


async def test_a_key_is_tested_kept_and_nowhere_to_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with starting() as stage:
        await stage.press("end", "up", "enter", *"anthr", "enter")
        assert stage.is_at(TypingKey)
        assert stage.foot == "Enter tests the key  Esc goes back"
        await stage.press(*SECRET[:5])
        await stage.paste(f" {SECRET[5:]}\n")
        assert f"{len(SECRET)} characters" in stage.text
        assert "sk-" not in stage.text
        await stage.press("enter")
        assert stage.setup.held == {"anthropic": SECRET}
        assert not len(stage.app.start._typed), "cleared at once"
        await stage.answer()
        assert asked(stage, "take", "test", "keep", "save", "drop") == [
            ("take", "anthropic", len(SECRET)),
            ("test", "anthropic/claude-sonnet-5-5"),
            ("keep", "anthropic", KeyHome.KEYRING),
            ("save", "anthropic/claude-sonnet-5-5"),
        ]
        stage.setup.held.clear()
        shown = repr((stage.app.chosen, stage.app.start, stage.app.start.step, vars(stage.app.start)))
    assert SECRET not in shown
    assert SECRET not in caplog.text
    gc.collect()


async def test_keys_typed_all_at_once_go_where_they_are_meant_and_are_not_shown(stage: StartStage) -> None:
    await stage.press("end", "up")
    await stage.press("enter", *"groq", "enter", *"gsk-123", "enter", "z")
    assert stage.setup.held == {"groq": "gsk-123"}
    assert asked(stage, "test") == [("test", "groq/openai/gpt-oss-120b")]
    assert "gsk" not in stage.text


async def test_a_key_is_pasted_nowhere_else(stage: StartStage) -> None:
    await stage.paste(SECRET)
    await stage.press("end", "up", "enter")
    await stage.paste(SECRET)
    assert "Nothing was pasted" in stage.text
    assert "sk-" not in stage.text
    await stage.press("ctrl+u", *"zzz")
    assert "config.toml takes any" in stage.text


async def test_what_is_no_key_is_refused_before_anybody_is_asked(stage: StartStage) -> None:
    await stage.press("end", "up", "enter", "enter", "enter")
    assert "There is no key yet" in stage.text
    await stage.paste("two words")
    await stage.press("enter")
    assert "A key has no blanks in it" in stage.text
    assert "it will not be shown" in stage.text, "it is gone"
    assert not asked(stage, "take", "test")
    await stage.paste(SECRET)
    await stage.press("backspace", "ctrl+u")
    assert "it will not be shown" in stage.text


async def test_a_variable_that_is_set_would_go_before_what_is_typed() -> None:
    async with starting(setup=PlayedSetup(here=(ENVIRONMENT,))) as stage:
        await stage.press("down", "enter", *"openai", "enter")
        assert "OPENAI_API_KEY is set and goes before any other key" in stage.text
        assert stage.is_at(PickingProvider)


async def test_a_failed_test_loses_nothing(stage: StartStage) -> None:
    await stage.enter_key()
    await stage.answer(REFUSED)
    assert stage.is_at(Unproven)
    assert f"! {REFUSED}" in stage.text
    assert stage.foot == "Enter tests again  Esc goes back, forgets the key"
    assert not asked(stage, "keep", "save")
    await stage.press("enter")
    await stage.answer(REFUSED)
    assert len(asked(stage, "test")) == 2
    await stage.press("down", "enter")
    assert stage.is_at(TypingKey(ANTHROPIC))
    assert stage.setup.held == {}
    await stage.paste(SECRET)
    await stage.press("enter")
    await stage.answer(REFUSED)
    await stage.press("down", "down", "enter")
    assert asked(stage, "keep") == [("keep", "anthropic", KeyHome.KEYRING)]
    assert stage.is_at(Over())


async def test_a_failed_test_of_a_key_that_was_found_leads_back() -> None:
    async with starting(setup=PlayedSetup(here=(ENVIRONMENT,))) as stage:
        await stage.find(OLLAMA)
        await stage.press("enter")
        await stage.answer(REFUSED)
        assert "Enter the key again" not in stage.text
        await stage.press("end", "enter")
        assert stage.is_at(Choosing())
        assert stage.chosen_row.startswith("› OpenAI")
        assert "Ollama" in stage.text


async def test_to_go_back_from_a_failed_test_forgets_the_key(stage: StartStage) -> None:
    await stage.enter_key()
    await stage.answer(REFUSED)
    await stage.press("escape")
    assert stage.is_at(Choosing())
    assert stage.setup.held == {}
    assert stage.setup.calls[-1] == ("drop", "anthropic")


async def test_without_a_keyring_the_person_says_where() -> None:
    setup = PlayedSetup(failures={KeyHome.KEYRING: NO_KEYRING, KeyHome.FILE: "The disk is full."})
    async with starting(setup=setup) as stage:
        await stage.enter_key()
        await stage.answer()
        assert stage.is_at(Placing)
        assert NO_KEYRING in stage.text
        await stage.press("down", "enter")
        assert "The disk is full." in stage.text
        setup.failures.pop(KeyHome.FILE)
        await stage.press("down", "enter")
        assert stage.app.chosen[0].notes == ("The key is in a file.",)
        homes = [call[2] for call in asked(stage, "keep")]
        assert homes == [KeyHome.KEYRING, KeyHome.FILE, KeyHome.FILE]


# -- going back, stopping and quitting --


async def test_esc_closes_the_innermost_step_and_says_so() -> None:
    async with starting(setup=PlayedSetup(here=(ENVIRONMENT,))) as stage:
        assert "Esc unused" in stage.foot
        await stage.press("escape")
        assert stage.is_at(Choosing())
        await stage.press("end", "up", "enter")
        assert "Esc goes back" in stage.foot
        await stage.press("enter")
        await stage.paste(SECRET)
        await stage.press("escape")
        assert stage.is_at(PickingProvider())
        await stage.press("enter")
        assert "it will not be shown" in stage.text, "a key that was given up is gone"
        await stage.press("ctrl+c", "ctrl+c")
        assert stage.is_at(Choosing())
        assert stage.chosen_row.startswith("› Enter a key")
        assert stage.app.quits == 0


@pytest.mark.promise("E1", "E2", "E6")
@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_stop_ends_the_test_and_the_key_is_still_there(stage: StartStage, key: str) -> None:
    await stage.enter_key()
    await stage.press(key)
    await stage.until(lambda: stage.is_at(Unproven))
    assert stage.setup.closed == ["anthropic/claude-sonnet-5-5"]
    assert "The test was stopped" in stage.text
    await stage.press(key, key)
    assert stage.is_at(Unproven), "pressed for the test that has just ended"
    stage.app.time += AFTERSHOCK_S + 1
    assert stage.setup.held == {"anthropic": SECRET}
    await stage.press("enter")
    await stage.answer()
    assert stage.is_at(Over())


async def test_the_input_thread_can_stop_a_test_by_itself(stage: StartStage) -> None:
    assert not stage.app.gate.armed
    await stage.enter_key()
    assert stage.app.gate.press(InterruptKey.ESCAPE) is not None
    stage.app.start.show_interrupted()
    assert "Stopping the test" in stage.app.start._view._title.render().plain  # type: ignore[union-attr]
    await stage.until(lambda: stage.is_at(Unproven))
    assert not stage.app.gate.armed
    assert len(asked(stage, "test")) == 1


async def test_a_stopped_test_never_counts_as_passed(stage: StartStage) -> None:
    await stage.enter_key()
    stage.setup.answered.set()
    assert stage.app.gate.press(InterruptKey.CTRL_C) is not None
    await stage.until(lambda: not stage.is_at(Trying))
    assert stage.is_at(Unproven)
    assert not asked(stage, "keep", "save")


async def test_to_leave_in_a_test_ends_it(stage: StartStage) -> None:
    await stage.enter_key()
    await stage.app.start.remove()
    assert stage.setup.closed == ["anthropic/claude-sonnet-5-5"]
    assert not stage.app.gate.armed


async def test_ctrl_c_twice_quits_from_the_first_step(stage: StartStage) -> None:
    await stage.press("ctrl+c")
    assert "Ctrl+C again quits" in stage.text
    stage.app.time += QUIT_WITHIN_S + 1
    await stage.press("ctrl+c")
    assert stage.app.quits == 0
    await stage.press("ctrl+c")
    assert stage.app.quits == 1


# -- every window, and the mouse --


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (140, 45), (20, 6)])
async def test_it_works_in_a_window_of_any_size(size: tuple[int, int]) -> None:
    async with starting(size, PlayedSetup(here=(ENVIRONMENT,))) as stage:
        await stage.find(OLLAMA, STORED)
        assert stage.chosen_row.startswith("› OpenAI")
        if size[0] >= 40:
            assert "Enter tests it and starts  Esc unused" in stage.foot
        await stage.press("end", "up", "enter", "down", "down", "enter")
        assert stage.is_at(TypingKey(GROQ))
        assert "Key ▏" in stage.text
        await stage.paste(SECRET)
        await stage.press("enter")
        await stage.answer(REFUSED)
        assert any(line.startswith("› ") for line in stage.lines)
        await stage.press("down", "down", "enter")
        assert stage.is_at(Over())


async def test_a_click_on_a_row_takes_it_and_one_on_a_key_is_that_key(stage: StartStage) -> None:
    await stage.find(OLLAMA)
    await stage.click("Enter a key")
    assert stage.is_at(PickingProvider())
    await stage.click("Groq")
    assert stage.is_at(TypingKey(GROQ))
    await stage.click("goes back")
    assert stage.is_at(PickingProvider())
    await stage.press("escape")
    await stage.click("Ollama")
    await stage.click("qwen3:8b")
    assert [call[1] for call in asked(stage, "save")] == ["ollama/qwen3:8b"]


def test_no_key_is_taken_twice() -> None:
    assert set(KEYS.values()) | {StartAct.QUIT} == set(StartAct)


# -- looks --


async def show_first(stage: StartStage) -> None:
    await stage.find(OLLAMA, STORED)


async def show_key(stage: StartStage) -> None:
    await stage.press("end", "up", "enter", "enter")
    await stage.paste(SECRET)


async def show_failure(stage: StartStage) -> None:
    await stage.enter_key()
    await stage.answer(REFUSED)


async def show_providers(stage: StartStage) -> None:
    await stage.press("end", "up", "enter")


async def show_place(stage: StartStage) -> None:
    stage.setup.failures[KeyHome.KEYRING] = NO_KEYRING
    await stage.enter_key()
    await stage.answer()


SCENES = {
    "first": show_first,
    "providers": show_providers,
    "key": show_key,
    "failure": show_failure,
    "place": show_place,
}


@pictures(SCENES, wide=("first",))
def test_looks(
    snap_compare: SnapCompare, show: Callable[[StartStage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, StartStage(FirstStartApp(PlayedSetup(here=(ENVIRONMENT,)))), show, size)
