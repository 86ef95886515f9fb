"""The questions that are open: asked by calls, answered by id, closed by stops.

A call that asks waits under its token, so that whatever stops the call closes its question (E4). This module
must never answer by itself, and never let an answer allow anything once the call is stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from core.values import dataclass

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from core.events import Answer, Question

Again = Callable[[], Awaitable["Answer | None"]]
"""What the rules and the mode answer to a question by now; None if it is still the person's to answer."""


async def _still_asks() -> Answer | None:
    return None


@dataclass(frozen=True, slots=True)
class _Pending:
    question: Question
    token: CancelToken
    again: Again
    answered: asyncio.Future[Answer]

    @property
    def open(self) -> bool:
        return not (self.token.cancelled or self.answered.done())


class Questions:
    """The open questions of one session. All of it belongs to the session's event loop.

    Tokens may be cancelled from any thread nevertheless: from then on their questions are not open any more.
    `on_change` is called whenever a question has come or gone, so that a front end shows what is open.
    """

    def __init__(self, on_change: Callable[[], object] = lambda: None) -> None:
        self._pending: dict[str, _Pending] = {}
        self._on_change = on_change

    async def ask(self, question: Question, token: CancelToken, again: Again = _still_asks) -> Answer:
        """Wait for the answer; `again` lets `reconsider` answer when rules have changed meanwhile.

        A refusal is returned like any answer. Raises `core.cancel.Cancelled` when the token closes the
        question, also where an answer that allows came in the same tick: nothing may start after a stop. A
        denial before the stop stays a denial. Raises `ValueError` for an id that is open already.
        """
        if question.ask_id in self._pending:
            raise ValueError(f"question {question.ask_id!r} is open already")
        token.check()
        pending = _Pending(question, token, again, asyncio.get_running_loop().create_future())
        self._pending[question.ask_id] = pending
        try:
            self._on_change()
            with token.bind():
                await pending.answered
        finally:
            del self._pending[question.ask_id]
            self._on_change()
        answer = pending.answered.result()
        if answer.kind.allows:
            token.check()
        return answer

    def answer(self, ask_id: str, answer: Answer) -> bool:
        """False if there is no such question any more: an answer that comes late changes nothing."""
        pending = self._pending.get(ask_id)
        if pending is None or not pending.open:
            return False
        pending.answered.set_result(answer)
        return True

    async def reconsider(self) -> None:
        """Have the rules answer what they can, in the order of asking: after a rule or the mode has changed.

        The person stays free to answer meanwhile; who comes first counts.
        """
        for pending in list(self._pending.values()):
            if pending.open and (answer := await pending.again()) is not None:
                self.answer(pending.question.ask_id, answer)

    @property
    def open(self) -> tuple[Question, ...]:
        """In the order in which they were asked."""
        return tuple(pending.question for pending in self._pending.values() if pending.open)
