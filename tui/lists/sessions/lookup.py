"""All sessions, and the places where the words that are typed were found.

One search runs at a time. After it, only the latest text is searched for, so that a slow search is not
started for every letter. The result of a search for an older text is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.storage.records import SearchMatch, SessionInfo
    from tui.lists.base.sources import SessionSource


class Lookup:
    """Reads and searches `source`. `start` runs a coroutine and owns it. `found` is called after each change,
    with the session to select; `failed` gets a sentence. `infos` is None until it was read once."""

    def __init__(
        self,
        source: SessionSource,
        start: Callable[[Coroutine[None, None, None]], object],
        found: Callable[[str | None], object],
        failed: Callable[[str], object],
    ) -> None:
        self._source = source
        self._start = start
        self._found = found
        self._failed = failed
        self._loads = 0
        self._asking = False
        self._answered: str | None = None
        self.infos: tuple[SessionInfo, ...] | None = None
        self.query = ""
        self.hits: tuple[SearchMatch, ...] = ()

    @property
    def words(self) -> str:
        """The words that are searched for, "" for none."""
        return self.query.strip()

    @property
    def is_answered(self) -> bool:
        """Whether `hits` belong to the current query."""
        return not self.words or self._answered == self.query

    def load(self, *, select: str | None = None) -> None:
        """Read all sessions again, and search again; `select` is passed to `found`."""
        self._loads += 1
        self._start(self._load(self._loads, select))

    def ask(self, query: str) -> None:
        """Search for this from now on; the hits of the previous query are dropped at once."""
        self.query = query
        self.hits = ()
        self._answered = None
        self._search_next()

    async def _load(self, number: int, select: str | None) -> None:
        failure = ""
        infos = self.infos or ()
        try:
            infos = await self._source.sessions()
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
        hits: tuple[SearchMatch, ...] = ()
        try:
            hits = await self._source.search(query)
        except CaesuraError as error:
            failure = str(error)
        if query != self.query:
            return
        self.hits, self._answered = hits, query
        self._found(None)
        if failure:
            self._failed(failure)
