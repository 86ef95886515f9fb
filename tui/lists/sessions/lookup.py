"""What the list of sessions knows: all sessions, and where the words that are typed were found.

One question at a time: what is typed while an answer is awaited waits for it, and only the latest is asked
then. An answer to what is no longer asked is dropped. So a slow search is never asked for every letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.records import Hit, SessionInfo
    from tui.shelf import SessionShelf


class Lookup:
    """See the module. `start` runs a coroutine and owns it. `found` hears of everything new, with the session
    to be selected; `failed` gets a sentence. `infos` is None until they have been read once."""

    def __init__(
        self,
        shelf: SessionShelf,
        start: Callable[[Coroutine[None, None, None]], object],
        found: Callable[[str | None], object],
        failed: Callable[[str], object],
    ) -> None:
        self._shelf = shelf
        self._start = start
        self._found = found
        self._failed = failed
        self._loads = 0
        self._asking = False
        self._answered: str | None = None
        self.infos: tuple[SessionInfo, ...] | None = None
        self.query = ""
        self.hits: tuple[Hit, ...] = ()

    @property
    def words(self) -> str:
        """What is searched for, "" if nothing is."""
        return self.query.strip()

    @property
    def is_answered(self) -> bool:
        """Whether `hits` are those of what is searched for now."""
        return not self.words or self._answered == self.query

    def load(self, *, select: str | None = None) -> None:
        """Read all sessions anew, and search in them again; `select` is handed on to `found`."""
        self._loads += 1
        self._start(self._load(self._loads, select))

    def ask(self, query: str) -> None:
        """Search for this from now on. The hits of something else are forgotten at once."""
        self.query = query
        self.hits = ()
        self._answered = None
        self._search_next()

    async def _load(self, number: int, select: str | None) -> None:
        failure = ""
        infos = self.infos or ()
        try:
            infos = await self._shelf.sessions()
        except CaesuraError as error:
            failure = str(error)
        if number != self._loads:
            return
        self.infos = infos
        self._answered = None
        self._found(select)
        if failure:
            self._failed(failure)
        self._search_next()

    def _search_next(self) -> None:
        if not self._asking and not self.is_answered:
            self._asking = True
            self._start(self._search())

    async def _search(self) -> None:
        try:
            while not self.is_answered:
                await self._search_once(self.query)
        finally:
            self._asking = False

    async def _search_once(self, query: str) -> None:
        failure = ""
        hits: tuple[Hit, ...] = ()
        try:
            hits = await self._shelf.search(query)
        except CaesuraError as error:
            failure = str(error)
        if query != self.query:
            return
        self.hits, self._answered = hits, query
        self._found(None)
        if failure:
            self._failed(failure)
