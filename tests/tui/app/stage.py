"""The first start in an application of its own, over a `Setup` that a test holds in its hand.

Nothing is found, tested or kept before the test lets it; what was done with a key is written down.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual import events

from core.model.setup import Kept, KeyedProvider, KeyHome, LocalServer
from tests.support.played_app import AppStage, PlayedApp
from tui.app.first_start.screen import FirstStart
from tui.terminal.interrupt import InterruptGate

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from textual.app import ComposeResult

    from core.cancel import CancelToken
    from core.model.setup import Found, ModelChosen
    from tui.app.first_start.steps import Step

SECRET = "sk-ant-never-shown-83b1c7f0"

ANTHROPIC = KeyedProvider("anthropic", "Anthropic", "ANTHROPIC_API_KEY", "anthropic/claude-sonnet-5-5")
OPENAI = KeyedProvider("openai", "OpenAI", "OPENAI_API_KEY", "openai/gpt-5.1")
GROQ = KeyedProvider("groq", "Groq", "GROQ_API_KEY", "groq/openai/gpt-oss-120b")
OLLAMA = LocalServer(
    "ollama", "Ollama", "ollama_chat", "http://127.0.0.1:11434", ("llama3.2:latest", "qwen3:8b")
)


@dataclass
class PlayedSetup:
    """See the module. `calls` is what was asked for, in order; a key is in it as its length."""

    here: tuple[Found, ...] = ()
    trials: list[str] = field(default_factory=list)
    failures: dict[KeyHome, str] = field(default_factory=dict)
    save_failure: str = ""
    providers: tuple[KeyedProvider, ...] = (ANTHROPIC, OPENAI, GROQ)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tell: Callable[[Found], object] = lambda _: None
        self.looked = asyncio.Event()
        self.answered = asyncio.Event()

    def present(self) -> tuple[Found, ...]:
        return self.here

    async def look(self, on_found: Callable[[Found], object]) -> None:
        self.calls.append(("look",))
        self.tell = on_found
        self.looked.clear()
        await self.looked.wait()

    def take_key(self, provider: str, value: str) -> None:
        self.calls.append(("take", provider, len(value)))
        self.held[provider] = value

    def drop_key(self, provider: str) -> None:
        self.calls.append(("drop", provider))
        self.held.pop(provider, None)

    async def test(self, chosen: ModelChosen, token: CancelToken) -> str:
        self.calls.append(("test", chosen.choice.model))
        try:
            with token.bind():
                await self.answered.wait()
        finally:
            self.closed.append(chosen.choice.model)
        self.answered.clear()
        return self.trials.pop(0) if self.trials else ""

    async def keep_key(self, provider: str, home: KeyHome) -> Kept:
        self.calls.append(("keep", provider, home))
        if failure := self.failures.get(home, ""):
            return Kept(failure)
        return Kept(note="The key is in a file." if home is KeyHome.FILE else "")

    async def save(self, chosen: ModelChosen) -> Kept:
        self.calls.append(("save", chosen.setting))
        return Kept(self.save_failure)


class FirstStartApp(PlayedApp):
    def __init__(self, setup: PlayedSetup) -> None:
        super().__init__()
        self.gate = InterruptGate()
        self.time = 100.0
        self.setup = setup
        self.start = FirstStart(setup, self.gate, clock=lambda: self.time)
        self.chosen: list[FirstStart.Chosen] = []
        self.quits = 0

    def compose(self) -> ComposeResult:
        yield self.start

    def on_first_start_chosen(self, message: FirstStart.Chosen) -> None:
        self.chosen.append(message)

    def on_first_start_quit_requested(self) -> None:
        self.quits += 1


class StartStage(AppStage[FirstStartApp]):
    """The first start, and what can be read in it."""

    @property
    def setup(self) -> PlayedSetup:
        return self.app.setup

    @property
    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return [strip.text.strip(" │╭╮╰╯") for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def is_at(self, step: Step | type) -> bool:
        """Whether the person is in this step, or in a step of this kind."""
        now = self.app.start.step
        return isinstance(now, step) if isinstance(step, type) else now == step

    @property
    def chosen_row(self) -> str:
        return next((line for line in self.lines if line.startswith("› ")), "")

    @property
    def foot(self) -> str:
        """What the keys do, as the last line says it."""
        return next(line for line in reversed(self.lines) if "Esc" in line and "Enter" in line)

    async def press(self, *keys: str) -> None:
        """Keys that all came in one read of the terminal."""
        for key in keys:
            character = {"enter": "\r", "space": " "}.get(key, key if len(key) == 1 else None)
            self.app.post_message(events.Key(key, character))
        await self.pilot.pause()

    async def paste(self, text: str) -> None:
        self.app.start.post_message(events.Paste(text))
        await self.pilot.pause()

    async def find(self, *found: Found) -> None:
        for one in found:
            self.setup.tell(one)
        await self.pilot.pause()

    async def end_look(self) -> None:
        self.setup.looked.set()
        await self.pilot.pause()

    async def answer(self, failure: str = "") -> None:
        """Let the test end so."""
        self.setup.trials.append(failure)
        self.setup.answered.set()
        await self.pilot.pause()

    async def click(self, words: str) -> None:
        strips = self.app.screen._compositor.render_strips()
        y = next(at for at, strip in enumerate(strips) if words in strip.text)
        await self.pilot.click(offset=(strips[y].text.index(words), y))
        await self.pilot.pause()

    async def enter_key(self, *, secret: str = SECRET) -> None:
        """From the first step to the test of Anthropic's key."""
        await self.press("end", "up", "enter", "enter")
        await self.paste(secret)
        await self.press("enter")


def starting(
    size: tuple[int, int] = (80, 24), setup: PlayedSetup | None = None
) -> AbstractAsyncContextManager[StartStage]:
    return StartStage(FirstStartApp(setup or PlayedSetup())).running(size)
