"""Composer, completion, palette and help in an application of their own, wired as in a pane.

What commands ask of the screen is written down in `asked`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.containers import Container, Vertical
from textual.widgets import Static

from core.base.errors import CaesuraError
from tests.support.played_app import AppStage, PlayedApp
from tui.commands.opening import NO_OPENING
from tui.commands.table import COMMANDS
from tui.composer.completion import Completion
from tui.composer.completions import offers_for
from tui.composer.prompt import Prompt
from tui.keys.bindings import KeyBinding, KeyScope, bindings, use_keymap
from tui.keys.state import KeyState
from tui.lists.help_list import HelpList
from tui.lists.overlays import Overlays
from tui.lists.palette import Palette

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from core.session.session import Session
    from tui.commands.opening import Opening
    from tui.composer.queue import QueueActions
    from tui.pane.call_stops import CallStops
    from tui.pane.sessions import SessionFiles

MODELS = ("openai/gpt-5.1", "openai/gpt-5.1-mini", "anthropic/claude-sonnet-4-5")
SERVERS = ("files", "search")
THEMES = ("caesura-dark", "caesura-light", "sixteen")


class PlayedScreen:
    """A screen for commands (`tui.commands.command.Screen`) that writes down what it is asked for."""

    session: Session
    stops: CallStops
    queue_actions: QueueActions
    session_files: SessionFiles

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.told: list[str] = []
        self.works: list[asyncio.Task[object]] = []

    def model_names(self) -> tuple[str, ...]:
        return MODELS

    def theme_names(self) -> tuple[str, ...]:
        return THEMES

    def server_names(self) -> tuple[str, ...]:
        return SERVERS

    def do_later(self, work: Coroutine[object, object, None]) -> None:
        self.works.append(asyncio.ensure_future(work))

    def do_first(self, work: Coroutine[object, object, None]) -> None:
        self.do_later(work)

    def open_session(self, session_id: str | None, opening: Opening = NO_OPENING) -> None:
        self.asked.append(("open_session", session_id or "", *opening.notes))

    def check_unsaved(self) -> None: ...

    def check_free(self) -> None: ...

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

    async def addresses(self) -> tuple[str, ...]:
        return ()

    def copy_text(self, text: str) -> None:
        self.asked.append(("copy_text", text))

    def notify(self, text: str) -> None:
        self.told.append(text)

    def show_running(self) -> None:
        self.asked.append(("show_running",))

    def kill_survivors(self) -> None:
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
        self.lists = Overlays(self.prompt, self.played.notify)

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
            typed = COMMANDS.read(text)
            if typed is None:
                self.sent.append(text)
            else:
                self.done.append(text.strip())
                typed.run(self.played)
        except CaesuraError as error:
            self.played.notify(str(error))

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


class CommandApp(PlayedApp):
    CSS = """
    Screen { background: $background; }
    #body { height: 1fr; layers: default lists; }
    """

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.keymap = use_keymap(keys or {})
        self.pane = PlayedPane()

    def on_load(self) -> None:
        self.set_keymap(dict(self.keymap.entries))

    def compose(self) -> ComposeResult:
        yield self.pane


class CommandStage(AppStage[CommandApp]):
    """The application, and what can be read in it."""

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
        return "\n".join(self.lines_of(self.pane.lists))

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


@asynccontextmanager
async def commanded(
    size: tuple[int, int] = (80, 24), keys: Mapping[str, str] | None = None
) -> AsyncIterator[CommandStage]:
    try:
        async with CommandStage(CommandApp(keys)).running(size) as stage:
            yield stage
    finally:
        use_keymap({})
