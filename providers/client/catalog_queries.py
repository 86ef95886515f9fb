"""Questions to the model process: about its catalogue, and about what servers list. A thread passes the
answers on, tasks wait for them.

No query waits for a child that has ended, or for longer than `ANSWER_WITHIN_S`, and none raises: without an
answer nothing is known. Nothing here knows of pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from core.model.directory import OwnServer, ServerModels
from core.model.provider import ModelInfo, Offer, OfferKind
from providers.wire import (
    AskWindow,
    Cancel,
    Describe,
    Described,
    Listed,
    ListModels,
    ListServer,
    ServerListed,
    WindowTold,
)

if TYPE_CHECKING:
    import itertools
    from collections.abc import Callable, Iterator

    from providers.wire import Answer, Query

ANSWER_WITHIN_S = 20.0
"""The first answer waits for the child's import. A list of all models takes half a second more."""


class CatalogQuery:
    """One query of a task. `answers` are the messages in their order; None is their end."""

    def __init__(self, query_id: int) -> None:
        self.query_id = query_id
        self.answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def answer(self, answer: Answer | None) -> None:
        """Pass on one message of the answer, or None for its end. May be called from any thread."""
        # On a closed loop no task waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.answers.put_nowait, answer)


class CatalogQueries:
    """Open queries. `ask` sends one to the child, which it starts if there is none; `send` takes one back.

    Tasks of any event loop call `describe`, `offers`, `models_of` and `window_of`; the thread calls
    `answer` and `give_up`.
    """

    def __init__(
        self,
        ids: itertools.count[int],
        ask: Callable[[Query], None],
        send: Callable[[Cancel], None],
    ) -> None:
        self._ids = ids
        self._ask = ask
        self._send = send
        self._open: dict[int, CatalogQuery] = {}
        self._offers: tuple[Offer, ...] | None = None
        self._keys = 0

    @property
    def waiting(self) -> bool:
        """Whether a query has no answer yet."""
        return bool(self._open)

    async def describe(self, model: str) -> ModelInfo:
        with self._new_query() as query, contextlib.suppress(TimeoutError):
            self._ask(Describe(query.query_id, model))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await query.answers.get()
            if isinstance(answer, Described):
                return answer.info
        return ModelInfo(model)

    async def offers(self) -> tuple[Offer, ...]:
        """All models of the catalogue, which is asked once; none if it does not answer now."""
        if self._offers is None:
            with self._new_query() as query, contextlib.suppress(TimeoutError):
                self._ask(ListModels(query.query_id))
                keys = self._keys
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    offers = await _all_of(query)
                if keys == self._keys:
                    self._offers = offers
                return offers or ()
        return self._offers or ()

    async def models_of(self, server: OwnServer) -> ServerModels:
        """What a server lists. The question is taken back when nobody waits for the answer any more."""
        with contextlib.suppress(TimeoutError), self._new_query() as query:
            answer = await self._ask_server(query, ListServer(query.query_id, server))
            if isinstance(answer, ServerListed):
                offers = (Offer(info, OfferKind.SERVER, usable=True) for info in answer.models)
                return ServerModels(tuple(offers), (answer.problem,) if answer.problem else ())
        why = "the process that asks for them does not answer; open the list again"
        return ServerModels(problems=(f"{server.title} lists no models: {why}.",))

    async def window_of(self, server: OwnServer, model: str) -> int | None:
        """How much a model of a server reads, in tokens, as the server tells it."""
        with contextlib.suppress(TimeoutError), self._new_query() as query:
            answer = await self._ask_server(query, AskWindow(query.query_id, server, model))
            if isinstance(answer, WindowTold):
                return answer.tokens
        return None

    async def _ask_server(self, query: CatalogQuery, question: ListServer | AskWindow) -> Answer | None:
        """Raises `TimeoutError`."""
        self._ask(question)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await query.answers.get()
        except (TimeoutError, asyncio.CancelledError):
            self._send(Cancel(query.query_id))
            raise

    def forget_offers(self) -> None:
        """Ask again next time: there is another key, so other models may be usable."""
        self._keys += 1
        self._offers = None

    @contextlib.contextmanager
    def _new_query(self) -> Iterator[CatalogQuery]:
        query = CatalogQuery(next(self._ids))
        self._open[query.query_id] = query
        try:
            yield query
        finally:
            self._open.pop(query.query_id, None)

    def answer(self, answer: Answer) -> None:
        if (query := self._open.get(answer.stream_id)) is not None:
            query.answer(answer)

    def give_up(self) -> None:
        """End all queries: the child is gone."""
        for query in list(self._open.values()):
            query.answer(None)


async def _all_of(query: CatalogQuery) -> tuple[Offer, ...] | None:
    """All offers of an answer, or None if it breaks off. Lets other tasks run between two messages."""
    offers: list[Offer] = []
    while isinstance(answer := await query.answers.get(), Listed):
        offers += (Offer(it.info, OfferKind.CATALOG, it.usable) for it in answer.models)
        if answer.last:
            return tuple(offers)
        await asyncio.sleep(0)
    return None
