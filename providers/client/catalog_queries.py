"""What the child is asked about models: a thread passes the answers on, tasks wait for them.

No question waits for a child that has gone, or for longer than `ANSWER_WITHIN_S`, and none raises: what
nobody can say is not known. Nothing here knows of pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from core.model import ModelInfo, Offer, OfferKind
from providers.wire import Describe, Described, Listed, ListModels, load_models

if TYPE_CHECKING:
    import itertools
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 20.0
"""The first answer waits for the child's import; a list of all models takes half a second more."""

Answer = Described | Listed


class Question:
    """One question, as its task knows it. Answers come in the order in which they were given."""

    def __init__(self, question_id: int) -> None:
        self.question_id = question_id
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue()

    def answer(self, answer: Answer | None) -> None:
        """From any thread."""
        # A closed loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answers.put_nowait, answer)

    async def next(self) -> Answer | None:
        """The next message of the answer; None when no more will come."""
        return await self._answers.get()


class Questions:
    """`ask` gives a question to the child. `describe` and `offers` are for tasks of any event loop, what
    follows them is for the thread."""

    def __init__(self, ids: itertools.count[int], ask: Callable[[Describe | ListModels], None]) -> None:
        self._ids = ids
        self._ask = ask
        self._open: dict[int, Question] = {}
        self._offers: tuple[Offer, ...] | None = None
        self._keys = 0

    async def describe(self, model: str) -> ModelInfo:
        with self._asked() as question, contextlib.suppress(TimeoutError):
            self._ask(Describe(question.question_id, model))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await question.next()
            if isinstance(answer, Described):
                return answer.info
        return ModelInfo(model)

    async def offers(self) -> tuple[Offer, ...]:
        """All models of the catalogue, which is asked once; none when it cannot be asked now."""
        if self._offers is None:
            with self._asked() as question, contextlib.suppress(TimeoutError):
                self._ask(ListModels(question.question_id))
                keys = self._keys
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    offers = await _all_of(question)
                if keys == self._keys:
                    self._offers = offers
                return offers or ()
        return self._offers or ()

    def forget_offers(self) -> None:
        """There is another key: what is usable may be something else now."""
        self._keys += 1
        self._offers = None

    @contextlib.contextmanager
    def _asked(self) -> Iterator[Question]:
        question = Question(next(self._ids))
        self._open[question.question_id] = question
        try:
            yield question
        finally:
            self._open.pop(question.question_id, None)

    def answer(self, answer: Answer) -> None:
        if (question := self._open.get(answer.stream_id)) is not None:
            question.answer(answer)

    def give_up(self) -> None:
        """Nobody is left who knew the answers."""
        for question in list(self._open.values()):
            question.answer(None)


async def _all_of(question: Question) -> tuple[Offer, ...] | None:
    """All offers of an answer; None when it breaks off. Others get the loop in between."""
    offers: list[Offer] = []
    while isinstance(answer := await question.next(), Listed):
        try:
            models = load_models(answer.models)
        except (ValueError, TypeError, KeyError) as error:
            log.error("the list of models cannot be read: %s", type(error).__name__)
            return None
        offers += (Offer(it.info, OfferKind.CATALOG, it.usable) for it in models)
        if answer.last:
            return tuple(offers)
        await asyncio.sleep(0)
    return None
