"""The composer: it sends, it keeps every draft, and a big paste costs it nothing."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.widgets import Label

from tui.composer.prompt import MAX_LINES, Prompt
from tui.composer.prompt_history import HISTORY_CHARACTERS, HISTORY_ENTRIES
from tui.keys.bindings import KeyScope, apply_keymap, bindings
from tui.theme.choose import DARK, LIGHT
from tui.theme.files import load_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from textual.binding import BindingType
    from textual.pilot import Pilot

MEGABYTE = ("a line of pasted text, é 漢字\n" * 40_000)[:1_000_000]


class Pane(Vertical):
    """What the prompt leaves to others ends here."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.PANE)]

    def __init__(self, prompt: Prompt) -> None:
        super().__init__()
        self.prompt = prompt
        self.sent: list[str] = []
        self.done: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("transcript")
        yield self.prompt

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        self.sent.append(event.text)

    def action_stop(self) -> None:
        self.done.append("stop")

    def action_interrupt(self) -> None:
        self.done.append("interrupt")

    def action_transcript_page_up(self) -> None:
        self.done.append("page up")

    def action_transcript_home(self) -> None:
        self.done.append("home")

    def action_transcript_end(self) -> None:
        self.done.append("end")


class PromptApp(App[None]):
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, *, sent: list[str] | None = None, placeholder: str = "") -> None:
        super().__init__()
        self.history: list[str] = [] if sent is None else sent
        self.prompt = Prompt(sent=self.history, placeholder=placeholder)
        self.pane = Pane(self.prompt)

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.prompt.focus()

    async def type(self, pilot: Pilot[None], text: str) -> None:
        await pilot.press(*("space" if letter == " " else letter for letter in text))

    async def read(self, pilot: Pilot[None], data: str) -> None:
        """Handle what a terminal sent, through Textual's own parser."""
        for message in XTermParser().feed(data):
            self.post_message(message)
        await pilot.pause()
        await pilot.pause()


@pytest.fixture
def app() -> PromptApp:
    return PromptApp()


@pytest.fixture
async def pilot(app: PromptApp) -> AsyncIterator[Pilot[None]]:
    async with app.run_test() as pilot:
        yield pilot


async def test_enter_sends_and_clears_and_blank_is_not_sent(app: PromptApp, pilot: Pilot[None]) -> None:
    await pilot.press("enter", "space", "enter", "backspace")
    await app.type(pilot, "hi there")
    await pilot.press("enter")
    assert app.pane.sent == ["hi there"]
    assert app.prompt.is_empty
    assert app.history == ["hi there"]


@pytest.mark.parametrize(
    "data",
    ["\n", "\x1b[13;2u", "\x1b[13;3u", "\x1b[106;5u", "\x1b[27;2;13~", "\x1b[27;3;13~"],
    ids=["ctrl+j", "kitty shift+enter", "kitty alt+enter", "kitty ctrl+j", "xterm shift", "xterm alt"],
)
async def test_the_newline_chords_of_every_terminal_insert_a_line_and_send_nothing(
    app: PromptApp, pilot: Pilot[None], data: str
) -> None:
    await app.read(pilot, f"a{data}b")
    assert app.prompt.draft == "a\nb"
    assert app.pane.sent == []
    await app.read(pilot, "\r")
    assert app.pane.sent == ["a\nb"]


async def test_keys_of_one_read_are_handled_in_their_order() -> None:
    app = PromptApp(sent=["old"])
    async with app.run_test() as pilot:
        await app.read(pilot, "hix\x7f\nyou\rx\x1b[Dw\rq\x1b[A\rt")
        assert app.pane.sent == ["hi\nyou", "wx", "wx"]
        assert app.prompt.draft == "qt"


async def test_rebound_keys_send_and_break_lines(app: PromptApp, pilot: Pilot[None]) -> None:
    app.set_keymap(apply_keymap({"prompt.submit": "f12", "prompt.newline": "enter"}))
    await app.read(pilot, "a\rb\x1b[24~c")
    assert app.pane.sent == ["a\nb"]
    assert app.prompt.draft == "c"


@pytest.mark.promise("E1")
async def test_esc_never_touches_the_draft_and_reaches_the_pane(app: PromptApp, pilot: Pilot[None]) -> None:
    await app.type(pilot, "draft")
    await pilot.press("shift+left", "escape", "escape")
    assert app.prompt.draft == "draft"
    assert app.prompt.selected_text == "t"
    assert app.pane.done == ["stop", "stop"]


@pytest.mark.promise("E2")
async def test_ctrl_c_is_never_a_copy_and_the_copy_chords_never_stop(
    app: PromptApp, pilot: Pilot[None]
) -> None:
    await app.type(pilot, "draft")
    await pilot.press("shift+left", "shift+left", "ctrl+c")
    assert app.clipboard == ""
    assert app.pane.done == ["interrupt"]
    for chord in ("super+c", "ctrl+shift+c"):
        app.copy_to_clipboard("")
        await pilot.press(chord)
        assert app.clipboard == "ft"
    assert app.pane.done == ["interrupt"]
    # Without the pane's priority binding the key would still not end in the text area.
    assert "ctrl+c" not in app.prompt._bindings.key_to_bindings


@pytest.mark.promise("E2")
async def test_clearing_can_be_undone(app: PromptApp, pilot: Pilot[None]) -> None:
    assert not app.prompt.clear_undoable()
    await app.type(pilot, "two words")
    app.prompt.insert_paste(MEGABYTE)
    assert app.prompt.clear_undoable()
    assert app.prompt.is_empty
    await app.type(pilot, "x")
    await pilot.press("ctrl+z", "ctrl+z")
    assert app.prompt.draft == "two words" + MEGABYTE
    await pilot.press("backspace", "backspace")
    app.prompt.clear_undoable()
    await pilot.press("ctrl+z")
    assert app.prompt.draft == "two word", "what was deleted before stays deleted"


@pytest.mark.promise("H1")
async def test_a_rolled_back_prompt_returns_to_an_empty_composer_and_never_over_a_draft(
    app: PromptApp, pilot: Pilot[None]
) -> None:
    text = "first\nsecond " + "word " * 500
    assert app.prompt.set_text_if_empty(text)
    assert app.prompt.text == text
    assert not app.prompt.set_text_if_empty("other")
    assert app.prompt.draft == text
    await pilot.press("enter", "space")
    assert not app.prompt.set_text_if_empty(text)
    assert app.prompt.text == " "


async def test_history_walks_both_ways_and_keeps_the_draft_and_what_was_edited() -> None:
    app = PromptApp(sent=["old", "one\ntwo"])
    async with app.run_test() as pilot:
        await app.type(pilot, "draft")
        await pilot.press("up")
        assert app.prompt.text == "one\ntwo"
        await pilot.press("up")
        assert app.prompt.text == "one\ntwo", "the first Up only went up a line"
        await pilot.press("up", "up", "up")
        assert app.prompt.text == "old"
        await app.type(pilot, "er")
        await pilot.press("down", "down")
        assert app.prompt.text == "draft"
        await pilot.press("down")
        assert app.prompt.text == "draft"
        await pilot.press("up", "up", "up")
        assert app.prompt.text == "older"
        await pilot.press("enter")
        assert app.pane.sent == ["older"]
        assert app.prompt.text == "draft"
        await pilot.press("ctrl+u")
        assert app.history == ["old", "one\ntwo", "older"]
        await pilot.press("up", "up", "up", "up")
        assert app.prompt.text == "old", "the edit of an old entry does not change history"


async def test_sending_an_old_prompt_gives_the_draft_back() -> None:
    app = PromptApp(sent=["old"])
    async with app.run_test() as pilot:
        app.prompt.insert_paste(MEGABYTE)
        await app.type(pilot, "draft")
        await pilot.press("up", "enter")
        assert app.pane.sent == ["old"]
        assert app.prompt.draft == MEGABYTE + "draft"
        await pilot.press("enter")
        assert app.pane.sent == ["old", MEGABYTE + "draft"]
        assert app.prompt.is_empty


async def test_up_inside_a_wrapped_line_moves_the_cursor() -> None:
    app = PromptApp(sent=["old"])
    async with app.run_test(size=(40, 24)) as pilot:
        app.prompt.insert_paste("word " * 20)
        await pilot.pause()
        await pilot.press("up")
        await pilot.pause()
        assert app.prompt.text == "word " * 20
        await pilot.press("up", "up")
        assert app.prompt.text == "old"


@pytest.mark.usefixtures("pilot")
async def test_history_is_bounded_and_does_not_repeat(app: PromptApp) -> None:
    for number in range(HISTORY_ENTRIES + 5):
        for _ in range(2):
            app.prompt.set_text_if_empty(f"prompt {number}")
            app.prompt.action_submit()
    assert len(app.history) == HISTORY_ENTRIES
    assert app.history[0] == "prompt 5"
    for letter in "abcdefgh":
        app.prompt.insert_paste(letter * 1_000_000)
        app.prompt.action_submit()
    assert sum(map(len, app.history)) == HISTORY_CHARACTERS


async def test_a_megabyte_becomes_a_chip_and_is_sent_recalled_and_returned_whole(
    app: PromptApp, pilot: Pilot[None]
) -> None:
    await app.type(pilot, "read ")
    app.prompt.post_message(events.Paste(MEGABYTE))
    await pilot.pause()
    await app.type(pilot, " now")
    shown = app.prompt.text
    lines = MEGABYTE.count("\n") + 1
    size = round(len(MEGABYTE.encode()) / 1e6)
    assert shown == f"read [pasted {lines} lines, {size} MB #1] now"
    assert app.prompt.draft == f"read {MEGABYTE} now"
    await pilot.press("enter")
    assert app.pane.sent == [f"read {MEGABYTE} now"]
    assert app.prompt.set_text_if_empty(app.pane.sent[0])
    assert app.prompt.text == shown
    app.prompt.clear_undoable()
    await pilot.press("up")
    assert app.prompt.draft == app.pane.sent[0]
    assert len(app.prompt.text) < 100


@pytest.mark.parametrize(
    ("pasted", "is_chip"),
    [
        ("x" * 2_000, False),
        ("x" * 2_001, True),
        ("x\n" * 19, False),
        ("x\n" * 20, True),
        ("a\r\nb\rc\td", False),
    ],
)
async def test_what_becomes_a_chip(app: PromptApp, pilot: Pilot[None], pasted: str, is_chip: bool) -> None:
    await app.read(pilot, f"\x1b[200~{pasted}\x1b[201~\x1b[I")
    assert app.prompt.text.startswith("[pasted ") is is_chip
    assert app.prompt.draft == pasted.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.usefixtures("pilot")
async def test_many_small_pastes_do_not_fill_the_document_without_end(app: PromptApp) -> None:
    for _ in range(20):
        app.prompt.insert_paste("word " * 300)
    assert app.prompt.draft == "word " * 6_000
    assert len(app.prompt.text) < 8_000


@pytest.mark.usefixtures("pilot")
async def test_control_characters_in_a_paste_do_not_reach_the_screen_or_the_model(app: PromptApp) -> None:
    app.prompt.insert_paste("a\x1b[2Jb\x07c\x9bd\x00e\x7f\ud83d")
    assert app.prompt.draft == "a[2Jbcde"
    app.prompt.clear_undoable()
    app.prompt.insert_paste("x\x1b]0;title\x07\n" * 30)
    assert app.prompt.draft == "x]0;title\n" * 30


async def test_the_cursor_steps_over_a_chip_and_one_backspace_removes_it(
    app: PromptApp, pilot: Pilot[None]
) -> None:
    await app.type(pilot, "a")
    app.prompt.insert_paste("x" * 3_000)
    await app.type(pilot, "b")
    chip = app.prompt.text[1:-1]
    await pilot.press("left", "left")
    assert app.prompt.cursor_location == (0, 1)
    await pilot.press("right")
    assert app.prompt.cursor_location == (0, 1 + len(chip))
    await app.type(pilot, "-")
    await pilot.press("left", "backspace")
    assert app.prompt.text == "a-b"
    await pilot.press("ctrl+z")
    assert app.prompt.draft == "a" + "x" * 3_000 + "-b"


async def test_copying_and_cutting_a_chip_takes_its_text(app: PromptApp, pilot: Pilot[None]) -> None:
    app.prompt.insert_paste("x" * 3_000)
    await pilot.press("shift+left", "super+c")
    assert app.clipboard == "x" * 3_000
    app.copy_to_clipboard("")
    await pilot.press("ctrl+x")
    assert app.prompt.is_empty
    await pilot.press("ctrl+v", "ctrl+v", "enter")
    assert app.pane.sent == ["x" * 6_000]


async def test_no_edit_ever_breaks_a_chip() -> None:
    """After any of thousands of edits a chip stands for its whole text, and the cursor is not inside one."""
    dice = random.Random(20261121)
    app = PromptApp(sent=["t", "t\n" * 30])
    async with app.run_test(size=(60, 30)) as pilot:
        prompt = app.prompt
        edits: list[Callable[[], object]] = [
            lambda: prompt.insert_paste("t\n" * dice.randrange(1, 15)),
            prompt.clear_undoable,
            lambda: prompt.insert_paste(dice.choice("pq") * 2_500),
            lambda: prompt.replace(
                dice.choice(["t", " ", "漢", "\n"]), *prompt.selection, maintain_selection_offset=False
            ),
            prompt.action_delete_left,
            prompt.action_delete_right,
            prompt.action_delete_word_left,
            prompt.action_delete_word_right,
            prompt.action_delete_to_start_of_line,
            prompt.undo,
            prompt.redo,
            prompt.action_cursor_up,
            prompt.action_cursor_down,
            lambda: prompt.action_cursor_left(dice.random() < 0.3),
            lambda: prompt.action_cursor_right(dice.random() < 0.3),
            lambda: prompt.action_cursor_word_left(dice.random() < 0.3),
            lambda: prompt.action_cursor_word_right(dice.random() < 0.3),
        ]
        for number in range(3_000):
            dice.choice(edits)()
            if number % 50 == 0:
                await pilot.pause()
            sent = prompt.draft
            assert not set(sent) - set("pqt 漢\n")
            assert (sent.count("p") + sent.count("q")) % 2_500 == 0
            for row, column in prompt.selection:
                assert not any(start < column < end for start, end in prompt._chip_spans(row))


@pytest.mark.parametrize(("rows", "most"), [(24, 8), (45, 8), (15, 5), (6, 2)])
async def test_it_grows_with_the_text_to_a_third_of_the_screen_and_then_scrolls(rows: int, most: int) -> None:
    app = PromptApp(placeholder="Ask anything")
    async with app.run_test(size=(80, rows)) as pilot:
        prompt = app.prompt
        assert prompt.content_size.height == 1
        for wanted in range(2, MAX_LINES + 4):
            await pilot.press("ctrl+j")
            await pilot.pause()
            assert prompt.content_size.height == min(wanted, most)
            assert prompt.cursor_screen_offset.y == prompt.content_region.bottom - 1
        await pilot.resize_terminal(80, 9)
        await pilot.pause()
        assert prompt.content_size.height == 3
        assert prompt.cursor_screen_offset.y == prompt.content_region.bottom - 1
        prompt.clear_undoable()
        await pilot.pause()
        assert prompt.content_size.height == 1


async def test_paging_keys_belong_to_the_transcript_and_home_and_end_while_empty(
    app: PromptApp, pilot: Pilot[None]
) -> None:
    await pilot.press("pageup", "home", "end", "ctrl+home")
    assert app.pane.done == ["page up", "home", "end", "home"]
    await app.type(pilot, "abc")
    await pilot.press("home")
    assert app.prompt.cursor_location == (0, 0)
    await pilot.press("end", "pageup")
    assert app.prompt.cursor_location == (0, 3)
    assert app.pane.done == ["page up", "home", "end", "home", "page up"]


async def test_it_follows_the_theme(app: PromptApp, pilot: Pilot[None]) -> None:
    for theme in (found.theme for found in load_all().found):
        app.register_theme(theme.to_textual())
    app.prompt.insert_paste("漢字 🎉 " + "x" * 3_000)
    for name in (DARK, LIGHT, DARK):
        app.theme = name
        await pilot.pause()
        theme = next(found.theme for found in load_all().found if found.theme.name == name)
        strip = app.prompt.render_line(0)
        styles = {segment.style.color.name for segment in strip if segment.style and segment.style.color}
        assert theme.colors.accent in styles
        assert app.prompt.styles.background.hex.lower() == theme.colors.background
        assert strip.cell_length == app.prompt.content_size.width
