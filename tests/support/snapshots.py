"""Pictures of the screen that a person has looked at.

`pytest PATH --snapshot-update` makes them anew; look at each one before it is kept. No wide characters and no
emoji here: fonts of browsers do not agree about them, and other tests count their cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from textual.app import App
    from textual.pilot import Pilot

NARROW: Final = (80, 24)
WIDE: Final = (140, 45)
TINY: Final = (20, 5)


class SnapCompare(Protocol):
    """The fixture of pytest-textual-snapshot, as it is used here."""

    def __call__(
        self,
        app: App[Any],
        *,
        terminal_size: tuple[int, int],
        run_before: Callable[[Pilot[Any]], Awaitable[None]],
    ) -> bool: ...


class Stage(Protocol):
    """An application that a test plays on."""

    pilot: Pilot[Any]

    @property
    def app(self) -> App[Any]: ...


S = TypeVar("S", bound=Stage)


def pictures(
    scenes: Mapping[str, object], *, wide: Collection[str] = (), tiny: Collection[str] = ()
) -> pytest.MarkDecorator:
    """Parametrize a test with `show` and `size`: each scene in a usual terminal, and those whose layout is
    another there in a wide or a tiny one too."""
    cases = [pytest.param(show, NARROW, id=f"{name}-80x24") for name, show in scenes.items()]
    cases += [pytest.param(scenes[name], WIDE, id=f"{name}-140x45") for name in wide]
    cases += [pytest.param(scenes[name], TINY, id=f"{name}-20x5") for name in tiny]
    return pytest.mark.parametrize(("show", "size"), cases)


def looks_right(
    snap_compare: SnapCompare, stage: S, show: Callable[[S], Awaitable[None]], size: tuple[int, int]
) -> bool:
    """Whether the application, once `show` has played on it, looks as in the picture that was kept."""

    async def play(pilot: Pilot[Any]) -> None:
        stage.pilot = pilot
        await pilot.pause()
        await show(stage)
        await pilot.pause()

    return snap_compare(stage.app, terminal_size=size, run_before=play)
