"""What the applications of the tests share, and the stages on which they are played."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from textual.app import App

from tests.support.waiting import GENEROUS_S
from tui.theme import choose as theme
from tui.theme.palette import default_css_variables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from textual.pilot import Pilot
    from textual.widget import Widget


class PlayedApp(App[int]):
    """An application in the default theme, without animations."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: $background; }"

    def __init__(self) -> None:
        super().__init__()
        self.animation_level = "none"
        chosen = theme.choose_theme(theme.DARK)
        self.register_theme(chosen.theme)
        self.theme = chosen.theme.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return default_css_variables(self.current_theme)


AnyApp = TypeVar("AnyApp", bound=App[int])


class AppStage(Generic[AnyApp]):
    """An application, and what can be read in it."""

    def __init__(self, app: AnyApp) -> None:
        self.app = app
        self.pilot: Pilot[int]

    @asynccontextmanager
    async def running(self, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Self]:
        """The application in a terminal of this size, at its first frame."""
        async with self.app.run_test(size=size) as self.pilot:
            await self.pilot.pause()
            yield self

    def lines_of(self, widget: Widget) -> list[str]:
        """What stands on the screen where `widget` is."""
        region = widget.region
        rows = self.app.screen._compositor.render_strips()[region.y : region.bottom]
        return [row.crop(region.x, region.right).text.rstrip() for row in rows]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(GENEROUS_S):
            while not condition():
                await self.pilot.pause()
