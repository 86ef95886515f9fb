"""Keys and servers found so far: the list grows during a search; at its end, what is gone is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.setup import EnvironmentKey
from tui.app.first_start.rows import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.setup import Found, KeyedProvider, Setup

LOOKING = "Looking for keys and servers on this computer…"
NOTHING_FOUND = "No key and no server was found on this computer: enter a key, or try the demo."


class Findings:
    """What `setup` finds. `changed` is called when the list has changed."""

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
        """The sentence to show about the search."""
        if self._looking:
            return LOOKING
        return "" if self._found else NOTHING_FOUND

    def key_in_environment(self, provider: KeyedProvider) -> EnvironmentKey | None:
        keys = (found for found in self._found.values() if isinstance(found, EnvironmentKey))
        return next((key for key in keys if key.provider == provider), None)

    def begin(self) -> None:
        """Begin a search, with everything that is found without looking."""
        self._looking = True
        self._found |= self._present()

    async def look(self) -> None:
        """Look everywhere; call `begin` first."""
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
