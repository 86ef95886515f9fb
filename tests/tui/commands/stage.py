"""Composer, completion, palette and help in an application of their own, wired as in a pane.

What commands ask of the screen is written down in `asked`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.containers import Container, Vertical
from textual.widgets import Static

from core.errors import CaesuraError
from tests.tui.scripted import BOUND_S
from tui import theme
from tui.command_table import COMMANDS, read_command
from tui.commands import obey
from tui.completing import offers_for
from tui.keeping import NO_GREETING
from tui.key_state import KeyState
from tui.keys import KeyBinding, KeyScope, bindings, use_keymap
from tui.widgets.completion import Completion
from tui.widgets.help_list import HelpList
from tui.widgets.lists import Lists
from tui.widgets.palette import Palette
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.pilot import Pilot

    from core.session import Session
    from tests.tui.test_snapshots import SnapCompare
    from tui.keeping import Greeting, Keeping
    from tui.queueing import Queueing
    from tui.stops import CallStops

MODELS = ("openai/gpt-5.1", "openai/gpt-5.1-mini", "anthropic/claude-sonnet-4-5")
THEMES = ("caesura-dark", "caesura-light", "sixteen")


class PlayedScreen:
    """A screen for commands (`tui.commands.Screen`) that writes down what it is asked for."""

    session: Session
    stops: CallStops
    queueing: Queueing
    keeping: Keeping

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.told: list[str] = []
        self.works: list[asyncio.Task[object]] = []

    def model_names(self) -> tuple[str, ...]:
        return MODELS

    def theme_names(self) -> tuple[str, ...]:
        return THEMES

    def do_later(self, work: Coroutine[object, object, None]) -> None:
        self.works.append(asyncio.ensure_future(work))

    def do_first(self, work: Coroutine[object, object, None]) -> None:
        self.do_later(work)

    def open_session(self, session_id: str | None, greeting: Greeting = NO_GREETING) -> None:
        self.asked.append(("open_session", session_id or "", *greeting.notes))

    def check_unsaved(self) -> None: ...

    def show_sessions(self) -> None:
        self.asked.append(("show_sessions",))

    def show_rewind(self) -> None:
        self.asked.append(("show_rewind",))

    def show_memory(self) -> None:
        self.asked.append(("show_memory",))

    def show_models(self) -> None:
        self.asked.append(("show_models",))

    def use_model(self, name: str) -> None:
        self.asked.append(("use_model", name))

    def show_themes(self) -> None:
        self.asked.append(("show_themes",))

    def use_theme(self, name: str) -> None:
        self.asked.append(("use_theme", name))

    def show_doctor(self) -> None:
        self.asked.append(("show_doctor",))

    def show_help(self) -> None:
        self.asked.append(("show_help",))

    def trust_project(self, words: str) -> None:
        self.asked.append(("trust_project", words))

    def config_report(self) -> str:
        return "/home/ada/.config/caesura/config.toml\n/work/.caesura.toml"

    def copy_text(self, text: str) -> None:
        self.asked.append(("copy_text", text))

    def tell(self, text: str) -> None:
        self.told.append(text)

    def show_running(self) -> None:
        self.asked.append(("show_running",))

    def action_kill_survivors(self) -> None:
        self.asked.append(("kill",))

    def quit(self) -> None:
        self.asked.append(("quit",))


class PlayedPane(Vertical):
    """Obeys what is typed and chosen as a pane does, on a `PlayedScreen`."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KeyScope.PANE)]

    def __init__(self) -> None:
        super().__init__()
        self.played = PlayedScreen()
        self.played.show_help = self.action_show_help  # type: ignore[method-assign]
        self.prompt = Prompt()
        self.sent: list[str] = []
        self.done: list[str] = []
        self.state = KeyState()
        self.completion = Completion(self.prompt, lambda line: offers_for(line, COMMANDS, self.played))
        self.prompt.completer = self.completion
        self.lists = Lists(self.prompt, self.played.tell)

    def compose(self) -> ComposeResult:
        with Container(id="body"):
            yield Static("What is said in a conversation stands here. " * 200)
            yield self.lists
        yield self.completion
        yield self.prompt

    def on_mount(self) -> None:
        self.screen.set_focus(self.prompt)

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        message.stop()
        self._obey(message.text)

    def _obey(self, text: str) -> None:
        try:
            typed = read_command(text)
            if typed is None:
                self.sent.append(text)
            else:
                self.done.append(text.strip())
                obey(typed, self.played)
        except CaesuraError as error:
            self.played.tell(str(error))

    def action_stop(self) -> None:
        if self.lists.is_open:
            self.lists.close_innermost()
        elif self.completion.is_open:
            self.completion.dismiss()

    def action_go_on(self) -> None:
        self.prompt.call_later(self.completion.complete)

    def action_show_palette(self) -> None:
        self.lists.open(Palette(COMMANDS))

    def action_show_help(self) -> None:
        self.lists.open(HelpList(lambda: self.state, COMMANDS))

    def action_retry_now(self) -> None:
        self.done.append("retry_now")

    def action_toggle_cards(self) -> None:
        self.done.append("toggle_cards")

    async def on_palette_chosen(self, message: Palette.Chosen) -> None:
        message.stop()
        self.lists.close()
        if isinstance(message.act, KeyBinding):
            await self.app.run_action(message.act.action, self)
        else:
            self._obey(f"/{message.act.name}")


class CommandApp(App[int]):
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; }
    #body { height: 1fr; layers: default lists; }
    """

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.animation_level = "none"
        self.keymap = use_keymap(keys or {})
        self.pane = PlayedPane()

    def on_load(self) -> None:
        chosen = theme.choose_theme(theme.DARK)
        self.register_theme(chosen.theme)
        self.theme = chosen.theme.name
        self.set_keymap(dict(self.keymap.entries))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.default_css_variables(self.current_theme)

    def compose(self) -> ComposeResult:
        yield self.pane


class CommandStage:
    """The application, and what can be read in it."""

    def __init__(self, app: CommandApp) -> None:
        self.app = app
        self.pilot: Pilot[int]

    @property
    def pane(self) -> PlayedPane:
        return self.app.pane

    @property
    def offered(self) -> list[str]:
        """The rows of the completion; none while it is not to be seen."""
        completion = self.pane.completion
        if not completion.is_open:
            return []
        return [completion.render_line(row).text.rstrip() for row in range(completion.size.height)]

    @property
    def text(self) -> str:
        """All that the open list shows."""
        region = self.pane.lists.region
        rows = self.app.screen._compositor.render_strips()[region.y : region.bottom]
        return "\n".join(row.crop(region.x, region.right).text.rstrip() for row in rows)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        await self.press(
            *("space" if letter == " " else "slash" if letter == "/" else letter for letter in text)
        )

    async def type_at_once(self, *keys: str) -> None:
        """Keys that all came in one read of the terminal."""
        for key in keys:
            self.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await self.pilot.pause()
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not condition():
                await self.pilot.pause()


@asynccontextmanager
async def commanded(
    size: tuple[int, int] = (80, 24), keys: Mapping[str, str] | None = None
) -> AsyncIterator[CommandStage]:
    stage = CommandStage(CommandApp(keys))
    try:
        async with stage.app.run_test(size=size) as stage.pilot:
            await stage.pilot.pause()
            yield stage
    finally:
        use_keymap({})


def looks_right(
    snap_compare: SnapCompare, show: Callable[[CommandStage], Awaitable[None]], size: tuple[int, int]
) -> bool:
    stage = CommandStage(CommandApp())

    async def play(pilot: Pilot[int]) -> None:
        stage.pilot = pilot
        await pilot.pause()
        await show(stage)
        await pilot.pause()

    return snap_compare(stage.app, terminal_size=size, run_before=play)
