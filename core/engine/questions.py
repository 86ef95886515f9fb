"""The questions that are open: asked by calls, answered by id, closed by stops.

A call that asks waits under its token, so that whatever stops the call closes its question (E4). This module
must never answer by itself, and never let an answer allow anything once the call is stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from core.base.values import Value

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from core.operations.events import Answer, Question

log = logging.getLogger(__name__)

Again = Callable[[], Awaitable["Answer | None"]]
"""What the rules and the mode answer to a question by now; None if it is still the person's to answer."""


class _Pending(Value):
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
    """

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        """The tasks of `reconsider_soon` that have not ended."""

    async def ask(self, question: Question, token: CancelToken, again: Again) -> Answer:
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
            with token.bind():
                await pending.answered
        finally:
            del self._pending[question.ask_id]
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
        """Have the rules answer what they can, in the order of asking. The first answer to each counts."""
        for pending in list(self._pending.values()):
            if pending.open and (answer := await pending.again()) is not None:
                self.answer(pending.question.ask_id, answer)

    def reconsider_soon(self) -> None:
        """`reconsider` in a task of its own. A failure is logged."""
        task = asyncio.create_task(self.reconsider(), name="open questions are decided again")
        self.tasks.add(task)
        task.add_done_callback(self._on_reconsidered)

    def _on_reconsidered(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("open questions could not be decided again", exc_info=error)

    @property
    def open(self) -> tuple[Question, ...]:
        """In the order in which they were asked."""
        return tuple(pending.question for pending in self._pending.values() if pending.open)
