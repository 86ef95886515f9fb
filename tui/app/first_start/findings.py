"""What has been found so far: it grows while somebody looks, and loses what is gone when they are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.setup import EnvironmentKey
from tui.first_start_rows import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.setup import Found, KeyedProvider, Setup

LOOKING = "Looking for keys and servers on this computer…"
NOTHING_FOUND = "No key and no server was found on this computer: enter a key, or try the demo."


class Findings:
    """What `setup` finds. `changed` is called when there is more to show, or less."""

    def __init__(self, setup: Setup, changed: Callable[[], object]) -> None:
        self._setup = setup
        self._changed = changed
        self._found: dict[str, Found] = {}
        self._looking = False

    @property
    def found(self) -> tuple[Found, ...]:
        return tuple(self._found.values())

    @property
    def note(self) -> str:
        """What is to be said of it."""
        if self._looking:
            return LOOKING
        return "" if self._found else NOTHING_FOUND

    def key_in_environment(self, provider: KeyedProvider) -> EnvironmentKey | None:
        keys = (found for found in self._found.values() if isinstance(found, EnvironmentKey))
        return next((key for key in keys if key.provider == provider), None)

    def begin(self) -> None:
        """Begin to look; what is there without looking is found."""
        self._looking = True
        self._found |= self._present()

    async def look(self) -> None:
        """Look everywhere, after `begin`."""
        seen = self._present()

        def on_found(found: Found) -> None:
            seen[key_of(found)] = self._found[key_of(found)] = found
            self._changed()

        await self._setup.look(on_found)
        self._found = seen
        self._looking = False
        self._changed()

    def _present(self) -> dict[str, Found]:
        return {key_of(found): found for found in self._setup.present()}
