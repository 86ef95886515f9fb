"""Quick keys and pauses for every test that plays on an application, and the application itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import idle
from tests.tui.stage import staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.tui.stage import Stage


@pytest.fixture(autouse=True)
def quick_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    idle.use_in_pilot(monkeypatch)
    for module in ("tui.app.app", "tui.pane.pane"):
        monkeypatch.setattr(f"{module}.FIRST_KEYS_S", 0.001)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """The application at its first frame."""
    async with staged() as stage:
        yield stage
